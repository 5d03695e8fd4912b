//! WeSpeaker's residual network: speaker embeddings.

use ndarray::ArrayD;
use soundalike_convert::Bundle;
use soundalike_network::{BlockKind, Graph, WeSpeakerResNet as Config};

use super::{
    Graphs,
    fbank::{Fbank, Variation},
    layers::{BatchNorm2d, Conv2d, Module, interpolate_nearest, stats_pool},
    stages::Stages,
    tensor::{kind, to_array, to_tensor, waveforms},
    weights::Weights,
};
use crate::{Arithmetic, Error, Network, Probe, Result};

/// The speaker embedding network of pyannote.audio: Kaldi's mel filter bank, a two-dimensional residual
/// network (the *trunk*), statistics over time, one linear layer.
/// `pyannote/audio/models/embedding/wespeaker/`.
#[derive(Debug)]
pub(super) struct WeSpeakerResNet {
    graphs: Graphs,
    arithmetic: Arithmetic,
    fbank: Fbank,
    conv1: ConvNorm,
    blocks: Vec<Block>,
    seg_1: Module,
}

impl WeSpeakerResNet {
    /// Builds the network of `bundle` with the hyperparameters `config`.
    pub(super) fn load(
        config: &Config,
        bundle: &Bundle,
        arithmetic: Arithmetic,
        graphs: Graphs,
    ) -> Result<Self> {
        config.check_supported()?;
        let weights = Weights::new(bundle, arithmetic);
        let precision = arithmetic.precision();
        let mut channels = config.m_channels;
        let mut blocks = Vec::new();
        for (layer, (count, stride)) in config.num_blocks.iter().zip(Config::STRIDES).enumerate() {
            let planes = config.m_channels << layer;
            for index in 0..*count {
                let name = format!("resnet.layer{}.{index}", layer + 1);
                let stride = if index == 0 { stride } else { 1 };
                let sizes = [channels, planes, stride];
                blocks.push(Block::load(name, config, sizes, &weights)?);
                channels = planes * config.block.expansion();
            }
        }
        Ok(Self {
            fbank: Fbank::new(&config.fbank(), kind(precision), Variation::NONE)?,
            conv1: ConvNorm::load(
                ["resnet.conv1", "resnet.bn1"].map(str::to_owned),
                [1, 1],
                config.folded,
                &weights,
            )?,
            blocks,
            seg_1: Module::load("resnet.seg_1", &weights)?,
            graphs,
            arithmetic,
        })
    }

    /// The trunk: `[batch, channel, band, frame]`, 256 channels (four times as many with bottleneck blocks), 10
    /// bands and 125 frames for 10 s. pyannote.audio `BaseWeSpeakerResNet.forward_frames`.
    fn trunk(&self, waveforms: &tch::Tensor, stages: &mut Stages<'_, '_>) -> Result<tch::Tensor> {
        let features = stages.see("fbank", self.fbank.forward(waveforms)?)?;
        let centred = stages.see("fbank.centred", self.fbank.centre(&features)?)?;
        // [batch, frame, band] to [batch, 1, band, frame]; belongs to resnet.conv1.
        let image = centred.f_permute([0, 2, 1])?.f_unsqueeze(1)?;
        let image = self.arithmetic.round(image)?;
        let mut x = self.conv1.forward(&image, stages)?;
        x = stages.see("resnet.bn1.relu", x.f_relu()?)?;
        for block in &self.blocks {
            x = block.forward(x, stages)?;
        }
        Ok(x)
    }

    /// Embeddings of the output of the trunk. pyannote.audio `BaseWeSpeakerResNet.forward_embedding`.
    fn pool(
        &self,
        frames: &tch::Tensor,
        masks: Option<&tch::Tensor>,
        stages: &mut Stages<'_, '_>,
    ) -> Result<tch::Tensor> {
        let length = frames.size().last().map_or(0, |length| *length as usize);
        let mut resample = |masks| stages.see("weights", interpolate_nearest(masks, length)?);
        let weights = masks.map(&mut resample).transpose()?;
        let sequences = frames.f_flatten(1, 2)?;
        let stats = stages.see("resnet.pool", stats_pool(&sequences, weights.as_ref())?)?;
        stages.see("resnet.seg_1", self.seg_1.linear(&stats)?)
    }
}

impl Network for WeSpeakerResNet {
    fn graph(&self, masked: bool) -> &Graph {
        self.graphs.get(masked)
    }

    /// Embeddings, not normalised: one per window, `[batch, 256]`, or one per mask, `[batch, mask, 256]`. Masks may
    /// have any number of frames (a segmentation has 589 for 10 s): nearest-neighbour resampling gives them the
    /// trunk's. pyannote.audio `BaseWeSpeakerResNet.forward`.
    fn forward(
        &self,
        samples: &ArrayD<f32>,
        masks: Option<&ArrayD<f32>>,
        probe: &mut Probe<'_>,
    ) -> Result<ArrayD<f64>> {
        let precision = self.arithmetic.precision();
        let waveforms = waveforms(samples, self.fbank.window_size(), precision)?;
        let batch = waveforms.size()[0] as usize;
        let of_batch = |masks: &ArrayD<f32>| match *masks.shape() {
            [rows, speakers, values] if rows == batch && speakers > 0 && values > 0 => {
                Ok(to_tensor(masks)?.f_to_kind(kind(precision))?)
            }
            _ => Err(Error::Shape {
                what: "masks",
                found: masks.shape().to_vec(),
                expected: format!("[{batch}, speakers, frames]"),
            }),
        };
        let masks = masks.map(of_batch).transpose()?;
        let graph = self.graphs.get(masks.is_some());
        let stages = &mut Stages::new(probe, graph, self.arithmetic);
        let frames = self.trunk(&waveforms, stages)?;
        to_array(&self.pool(&frames, masks.as_ref(), stages)?)
    }
}

/// A convolution and the norm after it, which may be folded into it.
#[derive(Debug)]
struct ConvNorm {
    /// Canonical names.
    names: [String; 2],
    conv: Conv2d,
    norm: Option<BatchNorm2d>,
}

impl ConvNorm {
    fn load(
        names: [String; 2],
        [stride, padding]: [usize; 2],
        folded: bool,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let norm = || BatchNorm2d::load(&names[1], weights);
        Ok(Self {
            conv: Conv2d::load(&names[0], stride, padding, folded, weights)?,
            norm: (!folded).then(norm).transpose()?,
            names,
        })
    }

    fn forward(&self, x: &tch::Tensor, stages: &mut Stages<'_, '_>) -> Result<tch::Tensor> {
        let [conv, bn] = &self.names;
        let out = self.conv.forward(x)?;
        match &self.norm {
            None => stages.see(bn, out),
            Some(norm) => {
                let out = stages.see(conv, out)?;
                stages.see(bn, norm.forward(&out)?)
            }
        }
    }
}

/// A residual block. pyannote.audio `wespeaker/resnet.py`, `BasicBlock` and `Bottleneck`.
#[derive(Debug)]
struct Block {
    /// Canonical name and prefix of the weights: `resnet.layerL.B`.
    name: String,
    /// `conv1` and `bn1`, `conv2` and `bn2`, ...
    branch: Vec<ConvNorm>,
    /// `shortcut.0` and `shortcut.1`, if the block changes the size.
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// Reads the block `name`, with `inputs` channels in and `planes` times the expansion out.
    fn load(
        name: String,
        config: &Config,
        [inputs, planes, stride]: [usize; 3],
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let pair = |conv: &str, bn: &str, stride, padding| {
            let names = [conv, bn].map(|part| format!("{name}.{part}"));
            ConvNorm::load(names, [stride, padding], config.folded, weights)
        };
        let kind = config.block;
        let branch = match kind {
            BlockKind::Basic => vec![
                pair("conv1", "bn1", stride, 1)?,
                pair("conv2", "bn2", 1, 1)?,
            ],
            BlockKind::Bottleneck => vec![
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
    fn forward(&self, x: tch::Tensor, stages: &mut Stages<'_, '_>) -> Result<tch::Tensor> {
        let mut out = x.shallow_clone();
        for (layer, n) in self.branch.iter().zip(1..) {
            out = layer.forward(&out, stages)?;
            if n < self.branch.len() {
                out = stages.see(&format!("{}.relu", layer.names[1]), out.f_relu()?)?;
            }
        }
        let residual = match &self.shortcut {
            None => x,
            Some(layer) => layer.forward(&x, stages)?,
        };
        out = stages.see(&format!("{}.add", self.name), out.f_add(&residual)?)?;
        drop(residual);
        stages.see(&self.name, out.f_relu()?)
    }
}
