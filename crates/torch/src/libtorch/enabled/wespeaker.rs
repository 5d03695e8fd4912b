//! WeSpeaker's residual network: who speaks, as a vector.

use soundalike_convert::{Architecture, Block as Kind, Bundle, WeSpeakerResNet as Config};

use super::{
    Tensor,
    fbank::Fbank,
    layers::{BatchNorm2d, Conv2d, Linear, interpolate_nearest, stats_pool},
    stages::Stages,
    tensor::kind,
    weights::Weights,
};
use crate::{Arithmetic, Error, Precision, Probe, Result};

/// The speaker embedding network of pyannote.audio: Kaldi's mel filter bank, a two-dimensional residual
/// network (the *trunk*), statistics over time, one linear layer.
/// `pyannote/audio/models/embedding/wespeaker/`.
///
/// The trunk sees no mask: [`forward_frames`](Self::forward_frames) once per window serves all its speakers,
/// which [`forward_embedding`](Self::forward_embedding) then pools.
#[derive(Debug)]
pub struct WeSpeakerResNet {
    config: Config,
    arithmetic: Arithmetic,
    fbank: Fbank,
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Block>,
    seg_1: Linear,
}

impl WeSpeakerResNet {
    /// Builds the network of `bundle`.
    ///
    /// # Errors
    /// [`Error::OtherArchitecture`] where the bundle holds another network, [`Error::Unsupported`] where
    /// pyannote.audio could not run it, or not twice the same.
    pub fn load(bundle: &Bundle, arithmetic: impl Into<Arithmetic>) -> Result<Self> {
        let Architecture::WeSpeakerResNet(config) = bundle.architecture() else {
            return Err(Error::OtherArchitecture {
                expected: "WeSpeakerResNet",
                found: bundle.architecture().name(),
            });
        };
        if config.two_emb_layer {
            return Err(Error::Unsupported {
                hyperparameter: "two_emb_layer",
                found: "true".into(),
                expected: "false: pyannote.audio has no network with two embedding layers",
            });
        }
        let arithmetic = arithmetic.into();
        let weights = Weights::new(bundle, arithmetic);
        let mut channels = config.m_channels;
        let mut blocks = Vec::new();
        for (layer, (count, stride)) in config.num_blocks.iter().zip(Config::STRIDES).enumerate() {
            let planes = config.m_channels << layer;
            for index in 0..*count {
                let name = format!("resnet.layer{}.{index}", layer + 1);
                let stride = if index == 0 { stride } else { 1 };
                blocks.push(Block::load(
                    name,
                    config.block,
                    channels,
                    planes,
                    stride,
                    &weights,
                )?);
                channels = planes * config.block.expansion();
            }
        }
        Ok(Self {
            fbank: Fbank::new(config, kind(arithmetic.precision()))?,
            conv1: Conv2d::load("resnet.conv1", 1, 1, &weights)?,
            bn1: BatchNorm2d::load("resnet.bn1", &weights)?,
            blocks,
            seg_1: Linear::load("resnet.seg_1", &weights)?,
            config: config.clone(),
            arithmetic,
        })
    }

    /// The hyperparameters.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// In which arithmetic it runs.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.arithmetic.precision()
    }

    /// Embeddings, not normalised, of `waveforms` `[batch, 1, samples]` at the network's sample rate: of each
    /// whole window, `[batch, 256]`, or where each of `weights` `[batch, speaker, frame]` is,
    /// `[batch, speaker, 256]`. pyannote.audio `BaseWeSpeakerResNet.forward`; the stages that `probe` sees are
    /// listed in its order.
    ///
    /// It runs on one thread, as [`PyanNet::forward`](crate::PyanNet::forward) does.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes are others or the window is shorter than one frame of the filter
    /// bank, [`Error::Replaced`] where the probe returns another shape, and what the probe fails with.
    pub fn forward(
        &self,
        waveforms: &Tensor,
        weights: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let frames = self.forward_frames(waveforms, probe)?;
        self.forward_embedding(&frames, weights, probe)
    }

    /// The trunk: `[batch, channel, band, frame]`, 256 channels (four times as many of bottleneck blocks), 10
    /// bands and 125 frames for 10 s of `waveforms` `[batch, 1, samples]`. pyannote.audio
    /// `BaseWeSpeakerResNet.forward_frames`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_frames(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        waveforms.check_waveforms(self.fbank.window_size())?;
        let stages = &mut Stages::new(probe, self.arithmetic);
        let waveforms = waveforms.0.f_to_kind(kind(self.precision()))?;
        let features = stages.see("fbank", self.fbank.forward(&waveforms)?)?;
        let centred = stages.see("fbank.centred", self.fbank.centre(&features)?)?;
        // [batch, frame, band] to [batch, 1, band, frame]; belongs to resnet.conv1.
        let image = centred.f_permute([0, 2, 1])?.f_unsqueeze(1)?;
        let image = self.arithmetic.round(image)?;
        let mut x = stages.see("resnet.conv1", self.conv1.forward(&image)?)?;
        x = stages.see("resnet.bn1", self.bn1.forward(&x)?)?;
        x = stages.see("resnet.bn1.relu", x.f_relu()?)?;
        for block in &self.blocks {
            x = block.forward(x, stages)?;
        }
        Ok(Tensor(x))
    }

    /// Embeddings of what [`Self::forward_frames`] gave, `[batch, 256]`, or `[batch, speaker, 256]` with
    /// `weights` `[batch, speaker, frame]` between 0 and 1. The weights may have any number of frames (those of
    /// a segmentation, 589 for 10 s): they are resampled to the trunk's by the nearest. pyannote.audio
    /// `BaseWeSpeakerResNet.forward_embedding`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_embedding(
        &self,
        frames: &Tensor,
        weights: Option<&Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let [batch, channels, bands, length] = frames.shape()[..] else {
            return Err(Error::Shape {
                what: "frames",
                found: frames.shape(),
                expected: "[batch, channel, band, frame]".into(),
            });
        };
        let stages = &mut Stages::new(probe, self.arithmetic);
        let weights = match weights {
            None => None,
            Some(weights) => {
                match weights.shape()[..] {
                    [rows, speakers, values] if rows == batch && speakers > 0 && values > 0 => {}
                    _ => {
                        return Err(Error::Shape {
                            what: "weights",
                            found: weights.shape(),
                            expected: format!("[{batch}, speakers, frames]"),
                        });
                    }
                }
                let weights = weights.0.f_to_kind(kind(self.precision()))?;
                Some(stages.see("weights", interpolate_nearest(&weights, length)?)?)
            }
        };
        let flat = [batch, channels * bands, length].map(|dim| dim as i64);
        let sequences = frames
            .0
            .f_to_kind(kind(self.precision()))?
            .f_reshape(flat)?;
        let stats = stages.see("resnet.pool", stats_pool(&sequences, weights.as_ref())?)?;
        Ok(Tensor(
            stages.see("resnet.seg_1", self.seg_1.forward(&stats)?)?,
        ))
    }
}

/// A residual block. pyannote.audio `wespeaker/resnet.py`, `BasicBlock` and `Bottleneck`.
#[derive(Debug)]
struct Block {
    /// Canonical name and prefix of the weights: `resnet.layerL.B`.
    name: String,
    /// `conv1` and `bn1`, `conv2` and `bn2`, ...
    branch: Vec<(Conv2d, BatchNorm2d)>,
    /// Where the block changes size: `shortcut.0` and `shortcut.1`.
    shortcut: Option<(Conv2d, BatchNorm2d)>,
}

impl Block {
    /// Reads the block `name`: from `inputs` channels over `planes` to `planes` times the expansion.
    fn load(
        name: String,
        kind: Kind,
        inputs: usize,
        planes: usize,
        stride: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let pair = |conv: &str, bn: &str, stride, padding| {
            Ok::<_, Error>((
                Conv2d::load(&format!("{name}.{conv}"), stride, padding, weights)?,
                BatchNorm2d::load(&format!("{name}.{bn}"), weights)?,
            ))
        };
        let branch = match kind {
            Kind::Basic => vec![
                pair("conv1", "bn1", stride, 1)?,
                pair("conv2", "bn2", 1, 1)?,
            ],
            Kind::Bottleneck => vec![
                pair("conv1", "bn1", 1, 0)?,
                pair("conv2", "bn2", stride, 1)?,
                pair("conv3", "bn3", 1, 0)?,
            ],
        };
        let shortcut = (stride != 1 || inputs != planes * kind.expansion())
            .then(|| pair("shortcut.0", "shortcut.1", stride, 0))
            .transpose()?;
        Ok(Self {
            name,
            branch,
            shortcut,
        })
    }

    /// `[batch, inputs, band, frame]` to `[batch, outputs, band / stride, frame / stride]`, rounded up.
    fn forward(&self, x: tch::Tensor, stages: &mut Stages<'_>) -> Result<tch::Tensor> {
        let mut see =
            |stage: &str, value: tch::Tensor| stages.see(&format!("{}{stage}", self.name), value);
        let mut out = x.shallow_clone();
        for ((conv, bn), n) in self.branch.iter().zip(1..) {
            out = see(&format!(".conv{n}"), conv.forward(&out)?)?;
            out = see(&format!(".bn{n}"), bn.forward(&out)?)?;
            if n < self.branch.len() {
                out = see(&format!(".bn{n}.relu"), out.f_relu()?)?;
            }
        }
        let residual = match &self.shortcut {
            None => x,
            Some((conv, bn)) => {
                let projected = see(".shortcut.0", conv.forward(&x)?)?;
                drop(x);
                see(".shortcut.1", bn.forward(&projected)?)?
            }
        };
        out = see(".add", out.f_add(&residual)?)?;
        drop(residual);
        see("", out.f_relu()?)
    }
}
