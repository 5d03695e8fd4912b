//! WeSpeaker's residual network: a speaker embedding.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use rayon::prelude::*;
use soundalike_kernels::{ConvChain, ConvStep, Pool};
use soundalike_network::{BlockKind, Graph, WeSpeakerResNet as Config};

use super::check_waveforms;
use crate::{
    Engine, Input, Kernels, LoadError, Network, NoProbe, Probe,
    layers::{ConvNorm, Fbank, FeatureMaps, Linear, at_least_f32, interpolate_nearest, stats_pool},
};

/// Most convolutions of a block that read neighbouring frames: a basic block has two, a bottleneck block one.
const CONVOLUTIONS: usize = 2;
/// Later frames on which the bits of a frame can depend through such a convolution. One frame by definition; but Winograd's
/// algorithm computes tiles of four frames, and all frames that a tile reads enter its rounding.
const FARTHEST: usize = 4;

/// The speaker embedding network of pyannote.audio: Kaldi's mel filter bank, a two-dimensional residual network (the
/// *trunk*), statistics over time, one linear layer. `pyannote/audio/models/embedding/wespeaker/`.
///
/// The trunk does not depend on the masks. It is computed once per window, then its frames are pooled for each speaker.
#[derive(Debug, Clone)]
pub(super) struct WeSpeakerResNet {
    /// Without masks, and with masks.
    graphs: [Graph; 2],
    engine: Engine,
    config: Config,
    fbank: Fbank,
    conv1: ConvNorm,
    blocks: Vec<Block>,
    seg_1: Linear,
    /// The state of the kernels, if they are used.
    native: Option<Native>,
}

/// The state of the trunk on hand-written kernels.
#[derive(Debug, Clone)]
struct Native {
    pool: Pool,
    /// `conv1` and the first blocks, whose images are larger than their weights, a few rows at a time.
    first: ConvChain,
    /// Number of blocks in `first`.
    blocks: usize,
}

/// Most weights of a convolution that is computed a few rows at a time. The weights are read again for each few rows, so they
/// must stay in the cache of a core.
const CASCADED: usize = 64 * 64 * 9;

impl WeSpeakerResNet {
    /// Builds the network from its hyperparameters and the tensors of a checked bundle.
    pub(super) fn load(
        config: &Config,
        graphs: [Graph; 2],
        engine: &Engine,
        vb: &VarBuilder<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let fbank = Fbank::new(config.fbank())?;
        let kernels = engine.kernels;
        let mut blocks = Vec::new();
        for (layer, (count, stride)) in config.num_blocks.iter().zip(Config::STRIDES).enumerate() {
            for index in 0..*count {
                let name = format!("resnet.layer{}.{index}", layer + 1);
                blocks.push((name, if index == 0 { stride } else { 1 }));
            }
        }
        let names = ["resnet.conv1", "resnet.bn1"].map(str::to_owned);
        let folded = config.folded;
        let conv1 = ConvNorm::load(names, 1, folded, kernels, vb)?;
        // In parallel: packing the weights for the kernels takes as long as one window of inference.
        let blocks = blocks
            .into_par_iter()
            .map(|(name, stride)| Block::load(name, config, stride, kernels, vb))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            fbank,
            native: Native::new(&conv1, &blocks),
            conv1,
            blocks,
            seg_1: Linear::load(kernels, &vb.pp("resnet.seg_1"))?,
            config: config.clone(),
            graphs,
            engine: engine.clone(),
        })
    }

    /// As [`Network::forward`] for one window, if the probe needs no stage. With kernels, the trunk is not computed beyond
    /// the last frame with a weight above 0, as in the padding of a short recording. The result has the same bits.
    fn forward_alone(
        &self,
        waveform: &Tensor,
        weights: Option<&Tensor>,
        on_one_thread: bool,
    ) -> Result<Tensor> {
        let features = self.compute_fbank(waveform, &mut NoProbe)?;
        let Some(native) = &self.native else {
            let frames = self.trunk(&features, &mut NoProbe)?;
            return self.forward_embedding(&frames, weights, &mut NoProbe);
        };
        let trunk = |features: &Tensor| match on_one_thread {
            true => self.trunk_on_one_thread(native, features),
            false => self.trunk(features, &mut NoProbe),
        };
        let Some(weights) = weights else {
            return self.forward_embedding(&trunk(&features)?, None, &mut NoProbe);
        };
        let strides = Config::STRIDES.iter();
        let frames = strides.fold(features.dim(1)?, |frames, stride| frames.div_ceil(*stride));
        let weights = interpolate_nearest(weights, frames)?;
        let active = last_active_frame(&weights)?.map_or(1, |last| last + 1);
        let reached = reach(&self.config.num_blocks, active).min(features.dim(1)?);
        let frames = trunk(&features.narrow(1, 0, reached)?)?;
        let (frames, weights) = (frames.narrow(3, 0, active)?, weights.narrow(2, 0, active)?);
        self.forward_embedding(&frames, Some(&weights), &mut NoProbe)
    }

    /// Log mel energies minus their average over time: `[batch, 1, samples]` to `[batch, frame, band]`, 998 frames of 80
    /// bands for 10 s. pyannote.audio `BaseWeSpeakerResNet.compute_fbank`.
    ///
    /// In f32, or in f64 for a network in f64: energies of audio exceed the range of 16 bits.
    ///
    /// # Errors
    /// If the waveforms have another shape or are too short, or the probe fails.
    fn compute_fbank(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        check_waveforms(waveforms, &self.graphs[0])?;
        let waveforms = waveforms.to_dtype(at_least_f32(self.engine.dtype))?;
        let features = probe.observe("fbank", self.fbank.forward(&waveforms)?)?;
        let centred = self.fbank.centre(&features, self.engine.kernels)?;
        probe.observe("fbank.centred", centred)
    }

    /// The trunk: `features` `[batch, frame, band]` to `[batch, channel, band, frame]`, 256 channels, 10 bands and 125
    /// frames for 10 s. pyannote.audio `BaseWeSpeakerResNet.forward_frames`.
    fn trunk(&self, features: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let image = self.image(features)?;
        let x = match &self.native {
            Some(native) => FeatureMaps::images(&native.pool, &image)?,
            None => FeatureMaps::Tensor(image.contiguous()?),
        };
        let x = self.conv1.forward_relu(&x, probe)?;
        through(&self.blocks, x, probe)
    }

    /// As [`Self::trunk`] on one thread, if the probe needs no stage. Same bits, less memory traffic.
    fn trunk_on_one_thread(&self, native: &Native, features: &Tensor) -> Result<Tensor> {
        let x = FeatureMaps::images(&native.pool, &self.image(features)?)?;
        let x = x.through(&native.first)?;
        through(&self.blocks[native.blocks..], x, &mut NoProbe)
    }

    /// The input of the first convolution: `features` `[batch, frame, band]` as `[batch, 1, band, frame]`.
    fn image(&self, features: &Tensor) -> Result<Tensor> {
        let image = features.to_dtype(self.engine.dtype)?.transpose(1, 2)?;
        image.unsqueeze(1)
    }

    /// Embeddings of the trunk's output `frames`: `[batch, 256]`, or `[batch, speaker, 256]` with `weights`
    /// `[batch, speaker, frame]` between 0 and 1. The weights may have any number of frames (a segmentation has 589 for
    /// 10 s); they are resampled to the trunk's. If all are 0, the embedding is the bias of the last layer. pyannote.audio
    /// `BaseWeSpeakerResNet.forward_embedding`.
    ///
    /// # Errors
    /// If the probe fails.
    fn forward_embedding(
        &self,
        frames: &Tensor,
        weights: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let length = frames.dim(3)?;
        let weights = match weights {
            None => None,
            Some(weights) => {
                let weights = weights.to_dtype(self.engine.dtype)?;
                Some(probe.observe("weights", interpolate_nearest(&weights, length)?)?)
            }
        };
        let sequences = frames.flatten(1, 2)?;
        let stats = stats_pool(&sequences, weights.as_ref(), self.engine.kernels)?;
        let stats = probe.observe("resnet.pool", stats)?;
        probe.observe("resnet.seg_1", self.seg_1.forward(&stats)?)
    }
}

impl Network for WeSpeakerResNet {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn graph(&self, masked: bool) -> &Graph {
        &self.graphs[usize::from(masked)]
    }

    /// Embeddings, not normalised: one per window, `[batch, 256]`, or one per mask, `[batch, mask, 256]`. pyannote.audio
    /// `BaseWeSpeakerResNet.forward`.
    ///
    /// On the CPU, if the probe needs no stage, each thread computes one window at a time. This bounds the memory to one
    /// window per thread, 13 MB each for 10 s.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor> {
        let Input { waveforms, masks } = input;
        let windows = waveforms.dim(0)?;
        if let Some(masks) = masks {
            let (rows, speakers, frames) = masks.dims3()?;
            if rows != windows || speakers == 0 || frames == 0 {
                candle_core::bail!(
                    "masks have shape {:?}, expected [{windows}, speakers, frames]",
                    masks.dims()
                );
            }
        }
        if windows == 0
            || !self.engine.device.is_cpu()
            || probe.needs_any(self.graph(masks.is_some()).stages())
        {
            let features = self.compute_fbank(waveforms, probe)?;
            let frames = self.trunk(&features, probe)?;
            return self.forward_embedding(&frames, masks, probe);
        }
        // With fewer windows than threads, each layer uses several threads for a window.
        let one_thread_each = windows >= rayon::current_num_threads();
        let parts = (0..windows).into_par_iter().map(|window| {
            let masks = masks.map(|masks| masks.narrow(0, window, 1));
            let waveform = waveforms.narrow(0, window, 1)?;
            let masks = masks.transpose()?;
            self.forward_alone(&waveform, masks.as_ref(), one_thread_each)
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }
}

impl Native {
    /// `None` if there are no kernels.
    fn new(conv1: &ConvNorm, blocks: &[Block]) -> Option<Self> {
        let mut steps = vec![step(conv1, 0, true)?];
        let mut count = 0;
        for block in blocks {
            let more = block.steps(steps.len())?;
            if more.iter().any(|step| step.conv.weights() > CASCADED) {
                break;
            }
            steps.extend(more);
            count += 1;
        }
        Some(Self {
            pool: Pool::default(),
            first: ConvChain::new(steps),
            blocks: count,
        })
    }
}

/// `layer` as a step of a chain, reading the output of step `input`. `None` if there are no kernels.
fn step(layer: &ConvNorm, input: usize, relu: bool) -> Option<ConvStep> {
    Some(ConvStep {
        conv: layer.kernel()?.clone(),
        input,
        residual: None,
        relu,
    })
}

/// Runs `blocks` on `x`.
fn through(blocks: &[Block], mut x: FeatureMaps, probe: &mut dyn Probe) -> Result<Tensor> {
    for block in blocks {
        x = block.forward(&x, probe)?;
    }
    x.into_tensor()
}

/// The last frame in which one of `weights` `[batch, speaker, frame]` is not 0.
fn last_active_frame(weights: &Tensor) -> Result<Option<usize>> {
    let frames = weights.dim(2)?;
    let weights = weights
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let places = weights.iter().enumerate();
    let above = places.filter(|(_, weight)| **weight != 0.0);
    Ok(above.map(|(place, _)| place % frames).max())
}

/// An upper bound of the frames of the filter bank on which the bits of the first `frames` frames of the trunk depend.
/// `num_blocks`: residual blocks of each layer.
fn reach(num_blocks: &[usize; 4], frames: usize) -> usize {
    let layers = num_blocks.iter().zip(Config::STRIDES).rev();
    layers.fold(frames, |frames, (blocks, stride)| {
        (frames + blocks * CONVOLUTIONS * FARTHEST) * stride
    }) + FARTHEST
}

/// A residual block. pyannote.audio `wespeaker/resnet.py`, `BasicBlock` and `Bottleneck`.
#[derive(Debug, Clone)]
struct Block {
    /// Canonical name and prefix of the weights: `resnet.layerL.B`.
    name: String,
    /// `conv1` and `bn1`, `conv2` and `bn2`, ... before the last.
    branch: Vec<ConvNorm>,
    last: ConvNorm,
    /// `shortcut.0` and `shortcut.1`, if the block changes the size of the image.
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// Reads the block `name` from `vb`. `stride`: of its first 3x3 convolution, and of its shortcut.
    fn load(
        name: String,
        config: &Config,
        stride: usize,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        // Of conv1, conv2, ... before the last, whose stride is 1.
        let strides: &[usize] = match config.block {
            BlockKind::Basic => &[stride],
            BlockKind::Bottleneck => &[1, stride],
        };
        let pair = |parts: [String; 2], stride| {
            let names = parts.map(|part| format!("{name}.{part}"));
            ConvNorm::load(names, stride, config.folded, kernels, vb)
        };
        let numbered = |n: usize, stride| pair([format!("conv{n}"), format!("bn{n}")], stride);
        let branch = (1..).zip(strides).map(|(n, stride)| numbered(n, *stride));
        let shortcut = ["shortcut.0", "shortcut.1"].map(str::to_owned);
        Ok(Self {
            branch: branch.collect::<Result<_>>()?,
            last: numbered(strides.len() + 1, 1)?,
            shortcut: vb
                .contains_tensor(&format!("{name}.shortcut.0.weight"))
                .then(|| pair(shortcut, stride))
                .transpose()?,
            name,
        })
    }

    /// The block as steps of a chain, reading the output of step `input`. `None` if there are no kernels.
    fn steps(&self, input: usize) -> Option<Vec<ConvStep>> {
        let mut steps = Vec::new();
        let mut residual = input;
        if let Some(shortcut) = &self.shortcut {
            steps.push(step(shortcut, input, false)?);
            residual += 1;
        }
        let mut last = input;
        for layer in self.branch.iter().chain([&self.last]) {
            steps.push(step(layer, last, true)?);
            last = input + steps.len();
        }
        steps.last_mut()?.residual = Some(residual);
        Some(steps)
    }

    /// `[batch, inputs, band, frame]` to `[batch, outputs, band / stride, frame / stride]`, rounded up.
    fn forward(&self, x: &FeatureMaps, probe: &mut dyn Probe) -> Result<FeatureMaps> {
        let mut out = x.clone();
        for layer in &self.branch {
            out = layer.forward_relu(&out, probe)?;
        }
        let shortcut = |probe: &mut dyn Probe| match &self.shortcut {
            None => Ok(x.clone()),
            Some(layer) => layer.forward(x, probe),
        };
        self.last
            .forward_residual(&out, shortcut, &self.name, probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ResNet34: ((((10 + 24) * 2 + 48) * 2 + 32) * 2 + 24) + 4, of 998 frames in 10 s.
    #[test]
    fn the_first_frames_of_the_trunk_depend_on_a_part_of_the_window() {
        assert_eq!(reach(&[3, 4, 6, 3], 10), 556);
    }
}
