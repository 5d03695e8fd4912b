//! WeSpeaker's residual network: who speaks, as a vector.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use rayon::prelude::*;
use soundalike_kernels::{Cascade, Pool, Step};
use soundalike_network::{Block as Kind, Graph, WeSpeakerResNet as Config};

use super::check_waveforms;
use crate::{
    Engine, Input, Kernels, LoadError, Network, Probe, Silent,
    layers::{ConvNorm, Fbank, FeatureMaps, Linear, at_least_f32, interpolate_nearest, stats_pool},
};

/// The most convolutions of a block that look at neighbours.
const CONVOLUTIONS: usize = 2;
/// How far behind itself a frame depends on others through such a convolution: by definition one frame, but a kernel
/// that computes tiles of four rounds by all that a tile sees.
const FARTHEST: usize = 4;

/// The speaker embedding network of pyannote.audio: Kaldi's mel filter bank, a two-dimensional residual
/// network (the *trunk*), statistics over time, one linear layer.
/// `pyannote/audio/models/embedding/wespeaker/`.
///
/// The trunk sees no mask: computed once per window, it serves all speakers, which are then pooled one by one.
#[derive(Debug, Clone)]
pub(super) struct WeSpeakerResNet {
    /// Without the stages of pooling by masks, and with them.
    graphs: [Graph; 2],
    engine: Engine,
    config: Config,
    fbank: Fbank,
    conv1: ConvNorm,
    blocks: Vec<Block>,
    seg_1: Linear,
    /// What the kernels have, where there are some.
    native: Option<Native>,
}

/// What the trunk needs on hand-written kernels.
#[derive(Debug, Clone)]
struct Native {
    pool: Pool,
    /// `conv1` and the first blocks, whose images are larger than their weights.
    first: Cascade,
    /// How many blocks these are.
    blocks: usize,
}

/// Values of the weights of a convolution, at most, for which it is done some rows at a time: they are read again for
/// each, while the cache of a core still has them.
const CASCADED: usize = 64 * 64 * 9;

impl WeSpeakerResNet {
    /// Builds the network with these hyperparameters from the tensors of its bundle.
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
        let conv1 = ConvNorm::load(names, 1, kernels, vb)?;
        // Bringing the weights into the layout of the kernels takes as long as a window.
        let blocks = blocks
            .into_par_iter()
            .map(|(name, stride)| Block::load(name, config.block, stride, kernels, vb))
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

    /// As [`Network::forward`], of one window that no probe looks at. Kernels leave out the end of a window where nobody is heard, as after a
    /// recording of a second; what they do compute has the same bits.
    fn forward_alone(
        &self,
        waveform: &Tensor,
        weights: Option<&Tensor>,
        on_one_thread: bool,
    ) -> Result<Tensor> {
        let features = self.compute_fbank(waveform, &mut Silent)?;
        let Some(native) = &self.native else {
            let frames = self.trunk(&features, &mut Silent)?;
            return self.forward_embedding(&frames, weights, &mut Silent);
        };
        let trunk = |features: &Tensor| match on_one_thread {
            true => self.trunk_on_one_thread(native, features),
            false => self.trunk(features, &mut Silent),
        };
        let Some(weights) = weights else {
            return self.forward_embedding(&trunk(&features)?, None, &mut Silent);
        };
        let strides = Config::STRIDES.iter();
        let frames = strides.fold(features.dim(1)?, |frames, stride| frames.div_ceil(*stride));
        let weights = interpolate_nearest(weights, frames)?;
        let heard = last_above_zero(&weights)?.map_or(1, |last| last + 1);
        let reached = self.reach(heard).min(features.dim(1)?);
        let frames = trunk(&features.narrow(1, 0, reached)?)?;
        let (frames, weights) = (frames.narrow(3, 0, heard)?, weights.narrow(2, 0, heard)?);
        self.forward_embedding(&frames, Some(&weights), &mut Silent)
    }

    /// Frames of the filter bank on which the first `frames` of the trunk depend, to the last bit, or some more.
    fn reach(&self, frames: usize) -> usize {
        let layers = self.config.num_blocks.iter().zip(Config::STRIDES).rev();
        layers.fold(frames, |frames, (blocks, stride)| {
            (frames + blocks * CONVOLUTIONS * FARTHEST) * stride
        }) + FARTHEST
    }

    /// Logarithmic mel energies less their average over the window, `[batch, frame, band]`, of `waveforms`
    /// `[batch, 1, samples]`: 998 frames of 80 bands for 10 s. pyannote.audio
    /// `BaseWeSpeakerResNet.compute_fbank`.
    ///
    /// In f32, or in f64 for a network in f64: energies of audio do not fit in 16 bits.
    ///
    /// # Errors
    /// Where the waveforms have another shape or give no frame, or the probe fails.
    fn compute_fbank(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        check_waveforms(waveforms, &self.graphs[0])?;
        let waveforms = waveforms.to_dtype(at_least_f32(self.engine.dtype))?;
        let features = probe.see("fbank", self.fbank.forward(&waveforms)?)?;
        let centred = self.fbank.centre(&features, self.engine.kernels)?;
        probe.see("fbank.centred", centred)
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

    /// As [`Self::trunk`] where nobody looks: the same bits on one thread, with less to read and write.
    fn trunk_on_one_thread(&self, native: &Native, features: &Tensor) -> Result<Tensor> {
        let x = FeatureMaps::images(&native.pool, &self.image(features)?)?;
        let x = x.cascade(&native.first)?;
        through(&self.blocks[native.blocks..], x, &mut Silent)
    }

    /// What the first convolution sees: `features` `[batch, frame, band]` as `[batch, 1, band, frame]`.
    fn image(&self, features: &Tensor) -> Result<Tensor> {
        let image = features.to_dtype(self.engine.dtype)?.transpose(1, 2)?;
        image.unsqueeze(1)
    }

    /// Embeddings of what [`Self::trunk`] gave, `[batch, 256]`, or `[batch, speaker, 256]` with
    /// `weights` `[batch, speaker, frame]` between 0 and 1. The weights may have any number of frames (those of
    /// a segmentation, 589 for 10 s): they are resampled to the trunk's by the nearest. Weights that are 0
    /// everywhere give the bias of the last layer. pyannote.audio `BaseWeSpeakerResNet.forward_embedding`.
    ///
    /// # Errors
    /// Where the shapes are others, or the probe fails.
    fn forward_embedding(
        &self,
        frames: &Tensor,
        weights: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let (batch, _, _, length) = frames.dims4()?;
        let weights = match weights {
            None => None,
            Some(weights) => {
                let (rows, speakers, values) = weights.dims3()?;
                if rows != batch || speakers == 0 || values == 0 {
                    candle_core::bail!(
                        "weights have shape {:?}, expected [{batch}, speakers, frames]",
                        weights.dims()
                    );
                }
                let weights = weights.to_dtype(self.engine.dtype)?;
                Some(probe.see("weights", interpolate_nearest(&weights, length)?)?)
            }
        };
        let sequences = frames.flatten(1, 2)?;
        let stats = stats_pool(&sequences, weights.as_ref(), self.engine.kernels)?;
        let stats = probe.see("resnet.pool", stats)?;
        probe.see("resnet.seg_1", self.seg_1.forward(&stats)?)
    }
}

impl Network for WeSpeakerResNet {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn graph(&self, masked: bool) -> &Graph {
        &self.graphs[usize::from(masked)]
    }

    /// Embeddings, not normalised: one per window, `[batch, 256]`, or one per mask, `[batch, mask, 256]`.
    /// pyannote.audio `BaseWeSpeakerResNet.forward`.
    ///
    /// On the CPU, where no probe looks at a stage, each thread takes one window after the other, so that
    /// memory is that of as many windows as there are threads: 13 MB each for 10 s.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor> {
        let Input { waveforms, masks } = input;
        let windows = waveforms.dim(0)?;
        let of_each = |masks: &Tensor| masks.dims().first() == Some(&windows);
        if windows == 0
            || !self.engine.device.is_cpu()
            || probe.looks_at_any(self.graph(masks.is_some()).stages())
            || !masks.is_none_or(of_each)
        {
            let features = self.compute_fbank(waveforms, probe)?;
            let frames = self.trunk(&features, probe)?;
            return self.forward_embedding(&frames, masks, probe);
        }
        // Fewer windows than threads share the threads among them in each layer.
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
    /// `None` where there are no kernels.
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
            first: Cascade::new(steps),
            blocks: count,
        })
    }
}

/// `layer` as a step of a cascade that reads the one at `input`; `None` where there are no kernels.
fn step(layer: &ConvNorm, input: usize, relu: bool) -> Option<Step> {
    Some(Step {
        conv: layer.kernel()?.clone(),
        input,
        residual: None,
        relu,
    })
}

/// `x` through `blocks`, as a tensor.
fn through(blocks: &[Block], mut x: FeatureMaps, probe: &mut dyn Probe) -> Result<Tensor> {
    for block in blocks {
        x = block.forward(&x, probe)?;
    }
    x.into_tensor()
}

/// The last frame where one of `weights` `[batch, speaker, frame]` is not 0.
fn last_above_zero(weights: &Tensor) -> Result<Option<usize>> {
    let frames = weights.dim(2)?;
    let weights = weights
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let places = weights.iter().enumerate();
    let above = places.filter(|(_, weight)| **weight != 0.0);
    Ok(above.map(|(place, _)| place % frames).max())
}

/// A residual block. pyannote.audio `wespeaker/resnet.py`, `BasicBlock` and `Bottleneck`.
#[derive(Debug, Clone)]
struct Block {
    /// Canonical name and prefix of the weights: `resnet.layerL.B`.
    name: String,
    /// `conv1` and `bn1`, `conv2` and `bn2`, ... before the last.
    branch: Vec<ConvNorm>,
    last: ConvNorm,
    /// Where the block changes size: `shortcut.0` and `shortcut.1`.
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// Reads the block `name` of `vb`, whose 3x3 convolution (the first of two) and shortcut move by `stride`.
    fn load(
        name: String,
        kind: Kind,
        stride: usize,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        // Of conv1, conv2, ... before the last, which moves by 1.
        let strides: &[usize] = match kind {
            Kind::Basic => &[stride],
            Kind::Bottleneck => &[1, stride],
        };
        let pair = |parts: [String; 2], stride| {
            let names = parts.map(|part| format!("{name}.{part}"));
            ConvNorm::load(names, stride, kernels, vb)
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

    /// The block as steps of a cascade, after `input` of them; `None` where there are no kernels.
    fn steps(&self, input: usize) -> Option<Vec<Step>> {
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
