//! WeSpeaker's residual network: who speaks, as a vector.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use rayon::prelude::*;
use soundalike_convert::Bundle;
use soundalike_kernels::{Cascade, Pool, Step};
use soundalike_network::{Architecture, Block as Kind, Graph, WeSpeakerResNet as Config};

use super::Identity;
use crate::{
    Engine, Input, Kernels, LoadError, Network, Probe, Silent,
    layers::{ConvNorm, ConvShape, Fbank, FeatureMaps, Linear, interpolate_nearest, stats_pool},
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
    identity: Identity,
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
    /// Builds the network of `bundle`, whose hyperparameters are `config`.
    pub(crate) fn load(
        config: &Config,
        bundle: &Bundle,
        engine: &Engine,
    ) -> std::result::Result<Self, LoadError> {
        config.check_supported()?;
        let fbank = Fbank::new(&config.fbank())?;
        let Engine {
            dtype,
            device,
            kernels,
        } = engine;
        let (dtype, kernels) = (*dtype, *kernels);
        let vb = VarBuilder::from_slice_safetensors(bundle.bytes(), dtype, device)?;
        let (mut channels, mut sizes) = (config.m_channels, Vec::new());
        for (layer, (count, stride)) in config.num_blocks.iter().zip(Config::STRIDES).enumerate() {
            let planes = config.m_channels << layer;
            for index in 0..*count {
                let name = format!("resnet.layer{}.{index}", layer + 1);
                let stride = if index == 0 { stride } else { 1 };
                sizes.push((name, [channels, planes, stride]));
                channels = planes * config.block.expansion();
            }
        }
        let conv1 = ConvNorm::load(
            ["resnet.conv1", "resnet.bn1"].map(str::to_owned),
            ConvShape {
                inputs: 1,
                outputs: config.m_channels,
                kernel: 3,
                stride: 1,
            },
            kernels,
            &vb,
        )?;
        // Bringing the weights into the layout of the kernels takes as long as a window.
        let blocks = sizes
            .into_par_iter()
            .map(|(name, [inputs, planes, stride])| {
                Block::load(name, config.block, inputs, planes, stride, kernels, &vb)
            });
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            fbank,
            native: Native::new(&conv1, &blocks),
            conv1,
            blocks,
            seg_1: Linear::load(
                config.pool_out_dim(),
                config.embed_dim,
                kernels,
                vb.pp("resnet.seg_1"),
            )?,
            config: config.clone(),
            identity: Identity::new(bundle, engine),
        })
    }

    /// Frames of the trunk, over which an embedding is pooled, for `samples` samples: 125 for 10 s.
    /// pyannote.audio `BaseWeSpeakerResNet.num_frames`.
    fn num_frames(&self, samples: usize) -> usize {
        let frames = self.fbank.num_frames(samples);
        Config::STRIDES
            .iter()
            .fold(frames, |frames, stride| frames.div_ceil(*stride))
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
        let weights = interpolate_nearest(weights, self.num_frames(waveform.dim(2)?))?;
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
    /// Where the waveforms have another shape, are shorter than [`Self::min_num_samples`], or the probe fails.
    fn compute_fbank(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (_, channels, samples) = waveforms.dims3()?;
        let least = self.fbank.window_size();
        if channels != 1 || samples < least {
            candle_core::bail!(
                "waveforms have shape {:?}, expected [batch, 1, at least {least} samples]",
                waveforms.dims(),
            );
        }
        let wide = match self.identity.engine.dtype {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let waveforms = waveforms.to_dtype(wide)?;
        let features = probe.see("fbank", self.fbank.forward(&waveforms)?)?;
        probe.see(
            "fbank.centred",
            self.fbank.centre(&features, self.identity.engine.kernels)?,
        )
    }

    /// The trunk: `[batch, channel, band, frame]`, 256 channels, 10 bands and 125 frames for 10 s of
    /// `waveforms` `[batch, 1, samples]`. pyannote.audio `BaseWeSpeakerResNet.forward_frames`.
    ///
    /// # Errors
    /// As [`Self::compute_fbank`].
    fn forward_frames(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let features = self.compute_fbank(waveforms, probe)?;
        self.trunk(&features, probe)
    }

    /// The trunk of `features` `[batch, frame, band]`.
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
        let image = features
            .to_dtype(self.identity.engine.dtype)?
            .transpose(1, 2)?;
        image.unsqueeze(1)
    }

    /// Embeddings of what [`Self::forward_frames`] gave, `[batch, 256]`, or `[batch, speaker, 256]` with
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
                let weights =
                    interpolate_nearest(&weights.to_dtype(self.identity.engine.dtype)?, length)?;
                Some(probe.see("weights", weights)?)
            }
        };
        let sequences = frames.flatten(1, 2)?;
        let stats = probe.see(
            "resnet.pool",
            stats_pool(&sequences, weights.as_ref(), self.identity.engine.kernels)?,
        )?;
        probe.see("resnet.seg_1", self.seg_1.forward(&stats)?)
    }
}

impl Network for WeSpeakerResNet {
    fn architecture(&self) -> &Architecture {
        &self.identity.architecture
    }

    fn engine(&self) -> &Engine {
        &self.identity.engine
    }

    fn graph(&self, masked: bool) -> &Graph {
        self.identity.graph(masked)
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
            || !self.identity.engine.device.is_cpu()
            || probe.looks_at_any(self.graph(masks.is_some()).stages())
            || !masks.is_none_or(of_each)
        {
            let frames = self.forward_frames(waveforms, probe)?;
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
        let mut steps = vec![Step {
            conv: conv1.kernel()?.clone(),
            input: 0,
            residual: None,
            relu: true,
        }];
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
    /// Reads the block `name` of `vb`: from `inputs` channels over `planes` to `planes` times the expansion.
    fn load(
        name: String,
        kind: Kind,
        inputs: usize,
        planes: usize,
        stride: usize,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let outputs = planes * kind.expansion();
        // Outputs, kernel and stride of conv1, conv2, ... before the last.
        let (before, last): (&[_], _) = match kind {
            Kind::Basic => (&[(planes, 3, stride)], (planes, 3, 1)),
            Kind::Bottleneck => (&[(planes, 1, 1), (planes, 3, stride)], (outputs, 1, 1)),
        };
        let pair = |names: [&str; 2], inputs, (outputs, kernel, stride)| {
            let shape = ConvShape {
                inputs,
                outputs,
                kernel,
                stride,
            };
            ConvNorm::load(
                names.map(|part| format!("{name}.{part}")),
                shape,
                kernels,
                vb,
            )
        };
        let numbered =
            |n: usize, inputs, size| pair([&format!("conv{n}"), &format!("bn{n}")], inputs, size);
        let mut channels = inputs;
        let mut branch = Vec::with_capacity(before.len());
        for (size, n) in before.iter().zip(1..) {
            branch.push(numbered(n, channels, *size)?);
            channels = size.0;
        }
        let last = numbered(before.len() + 1, channels, last)?;
        let shortcut = (stride != 1 || inputs != outputs)
            .then(|| pair(["shortcut.0", "shortcut.1"], inputs, (outputs, 1, stride)))
            .transpose()?;
        Ok(Self {
            name,
            branch,
            last,
            shortcut,
        })
    }

    /// The block as steps of a cascade, after `input` of them; `None` where there are no kernels.
    fn steps(&self, input: usize) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        let mut residual = input;
        if let Some(shortcut) = &self.shortcut {
            steps.push(Step {
                conv: shortcut.kernel()?.clone(),
                input,
                residual: None,
                relu: false,
            });
            residual += 1;
        }
        let mut last = input;
        for layer in self.branch.iter().chain([&self.last]) {
            steps.push(Step {
                conv: layer.kernel()?.clone(),
                input: last,
                residual: None,
                relu: true,
            });
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
