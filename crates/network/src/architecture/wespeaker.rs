//! `pyannote.audio.models.embedding.wespeaker.WeSpeakerResNet*`.

use serde::{Deserialize, Serialize};

use super::{HyperparameterError, require, within};
use crate::{Axis, FbankOptions, Graph, Op, Operand, graph::Builder};

/// Hyperparameters of `pyannote.audio.models.embedding.wespeaker.WeSpeakerResNet*`: a mel filter bank, whose options are
/// those of [`FbankOptions`], and a residual network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeSpeakerResNet {
    /// The number in the name of the class: 34, 152, 221 or 293. The residual network also exists with 18, 50 and 101.
    pub depth: u32,
    /// The kind of block; follows from the depth.
    pub block: BlockKind,
    /// Blocks in `layer1` to `layer4`; follows from the depth.
    pub num_blocks: [usize; 4],
    /// Channels of `layer1` before the block's expansion: 32. Each later layer doubles them.
    pub m_channels: usize,
    /// Values of one embedding: 256.
    pub embed_dim: usize,
    /// Whether there are two embedding layers, `seg_bn_1` and `seg_2` after `seg_1`.
    pub two_emb_layer: bool,
    /// Samples per second of the input: 16000.
    pub sample_rate: u32,
    /// Audio channels: 1.
    pub num_channels: usize,
    /// Mel bands: 80. Also the height of the image that the residual network reads (WeSpeaker's `feat_dim`).
    pub num_mel_bins: usize,
    /// Length of a frame, in milliseconds: 25.
    pub frame_length: f64,
    /// Time from one frame to the next, in milliseconds: 10.
    pub frame_shift: f64,
    /// Whether a frame is padded with zeros to a power of two.
    pub round_to_power_of_two: bool,
    /// Whether frames that reach beyond an end of the signal are left out.
    pub snip_edges: bool,
    /// Amplitude of random dither: 0.
    pub dither: f64,
    /// Kaldi's name of the window function: `hamming`.
    pub window_type: String,
    /// Whether the energy of the frame is added before the bands.
    pub use_energy: bool,
    /// Length of the running average that is subtracted, in seconds; `None`: the average of the whole input.
    pub fbank_centering_span: Option<f64>,
    /// Whether each batch norm is folded into the convolution before it, which then has a bias: WeSpeaker's ONNX exports. A
    /// stage of such a network has the name of the norm, whose output it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folded: bool,
}

/// pyannote's defaults, `BaseWeSpeakerResNet.__init__`, and its ResNet34.
impl Default for WeSpeakerResNet {
    fn default() -> Self {
        Self {
            depth: 34,
            block: BlockKind::Basic,
            num_blocks: [3, 4, 6, 3],
            m_channels: 32,
            embed_dim: 256,
            two_emb_layer: false,
            sample_rate: 16000,
            num_channels: 1,
            num_mel_bins: 80,
            frame_length: 25.0,
            frame_shift: 10.0,
            round_to_power_of_two: true,
            snip_edges: true,
            dither: 0.0,
            window_type: "hamming".to_owned(),
            use_energy: false,
            fbank_centering_span: None,
            folded: false,
        }
    }
}

/// The kind of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// Convolutions of 1x1, 3x3 and 1x1, the last with four times the channels.
    Bottleneck,
}

impl BlockKind {
    /// Channels at the end of a block over channels inside it.
    #[must_use]
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Depth, kind of block, blocks per layer. pyannote `wespeaker/resnet.py`, functions `ResNet*`.
const TABLE: [(u32, BlockKind, [usize; 4]); 7] = [
    (18, BlockKind::Basic, [2, 2, 2, 2]),
    (34, BlockKind::Basic, [3, 4, 6, 3]),
    (50, BlockKind::Bottleneck, [3, 4, 6, 3]),
    (101, BlockKind::Bottleneck, [3, 4, 23, 3]),
    (152, BlockKind::Bottleneck, [3, 8, 36, 3]),
    (221, BlockKind::Bottleneck, [6, 16, 48, 3]),
    (293, BlockKind::Bottleneck, [10, 20, 64, 3]),
];

/// Most channels, bands or embedding values. Real networks have 32, 80 and 256.
const MAX_UNITS: usize = 1 << 14;
/// Longest frame and longest time between frames, in milliseconds. Real networks have 25 and 10.
const MAX_MILLISECONDS: f64 = 1000.0;

impl WeSpeakerResNet {
    /// Stride of the first block of `layer1` to `layer4`, in both dimensions.
    pub const STRIDES: [usize; 4] = [1, 2, 2, 2];

    /// Kind of block and blocks per layer of a depth; `None` for an unknown depth.
    #[must_use]
    pub fn blocks(depth: u32) -> Option<(BlockKind, [usize; 4])> {
        let row = TABLE.iter().find(|row| row.0 == depth)?;
        Some((row.1, row.2))
    }

    /// The depth with this kind of block and these blocks per layer; `None` for others.
    #[must_use]
    pub fn depth(block: BlockKind, num_blocks: [usize; 4]) -> Option<u32> {
        let row = TABLE
            .iter()
            .find(|row| (row.1, row.2) == (block, num_blocks))?;
        Some(row.0)
    }

    /// Inputs of the first embedding layer: mean and standard deviation of each channel and remaining band.
    /// pyannote `ResNet.pool_out_dim`.
    fn pool_out_dim(&self) -> usize {
        (self.num_mel_bins / 8) * self.m_channels * 8 * self.block.expansion() * 2
    }

    /// Refuses networks that a file may hold but that pyannote.audio cannot run, or not deterministically.
    ///
    /// # Errors
    /// The first [`HyperparameterError`] that is refused.
    pub fn check_supported(&self) -> Result<(), HyperparameterError> {
        let expected = "false: pyannote.audio has no network with two embedding layers";
        require(!self.two_emb_layer, "two_emb_layer", true, expected)?;
        self.fbank().check()
    }

    /// The options of the filter bank.
    #[must_use]
    pub fn fbank(&self) -> FbankOptions {
        FbankOptions {
            sample_rate: self.sample_rate,
            num_mel_bins: self.num_mel_bins,
            frame_length: self.frame_length,
            frame_shift: self.frame_shift,
            round_to_power_of_two: self.round_to_power_of_two,
            snip_edges: self.snip_edges,
            dither: self.dither,
            window_type: self.window_type.clone(),
            use_energy: self.use_energy,
            centering_span: self.fbank_centering_span,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("WeSpeakerResNet{}", self.depth)
    }

    pub(super) fn variant(&self) -> String {
        let edges = match self.snip_edges {
            true => "snipped edges",
            false => "mirrored edges",
        };
        let centre = match self.fbank_centering_span {
            None => "window",
            Some(_) => "running average",
        };
        let (name, window) = (self.name(), &self.window_type);
        let folded = if self.folded { ", folded norms" } else { "" };
        format!("{name}, {window} frames, {edges}, centred on the {centre}{folded}")
    }

    pub(super) fn check(&self) -> Result<(), HyperparameterError> {
        let Some(blocks) = Self::blocks(self.depth) else {
            let known = TABLE.map(|row| row.0.to_string()).join(", ");
            let expected = format!("one of {known}");
            return Err(HyperparameterError::new("depth", self.depth, &expected));
        };
        let found = (self.block, self.num_blocks);
        let [known, given] = [blocks, found].map(|(block, layers)| format!("{block:?} {layers:?}"));
        require(found == blocks, "num_blocks", given, &known)?;
        within("sample_rate", self.sample_rate as usize, 1000..=768_000)?;
        within("num_channels", self.num_channels, 1..=1)?;
        within("m_channels", self.m_channels, 1..=MAX_UNITS)?;
        within("embed_dim", self.embed_dim, 1..=MAX_UNITS)?;
        let bins = self.num_mel_bins;
        within("num_mel_bins", bins, 8..=MAX_UNITS)?;
        // Three strides of 2 leave ceil(bins / 8) bands; the linear layer has inputs for floor(bins / 8).
        let whole = bins.is_multiple_of(8);
        require(whole, "num_mel_bins", bins, "a multiple of 8")?;
        for (name, value) in [
            ("frame_length", self.frame_length),
            ("frame_shift", self.frame_shift),
        ] {
            let holds = value > 0.0 && value <= MAX_MILLISECONDS;
            require(holds, name, value, "milliseconds above 0")?;
        }
        let dither = self.dither.is_finite() && self.dither >= 0.0;
        require(dither, "dither", self.dither, "0 or more")?;
        if let Some(span) = self.fbank_centering_span {
            let (name, expected) = ("fbank_centering_span", "seconds above 0, or none");
            require(span.is_finite() && span > 0.0, name, span, expected)?;
        }
        Ok(())
    }

    /// The stages in the order of `BaseWeSpeakerResNet.forward` and `ResNet.forward`.
    pub(super) fn graph(&self, masked: bool) -> Graph {
        use Axis::{Batch, Feature, Frame, Mask};
        let features = [Batch, Frame, Feature];
        let fbank = self.fbank();
        let span = fbank.span_frames();
        let mut graph = Builder::default();
        graph.then("fbank", Op::Fbank(fbank), &features);
        graph.then("fbank.centred", Op::Centre { span }, &features);

        // The transpose of the features is part of conv1.
        graph.layer("resnet.conv1");
        let centred = graph.last();
        let sizes = [1, self.m_channels, 3, 1];
        let names = ["resnet.conv1", "resnet.bn1"];
        conv_norm(&mut graph, centred, names, sizes, self.folded);
        graph.then("resnet.bn1.relu", Op::Relu, &IMAGE);
        let mut inputs = self.m_channels;
        for (layer, (&blocks, stride)) in self.num_blocks.iter().zip(Self::STRIDES).enumerate() {
            let planes = self.m_channels << layer;
            graph.layer(format!("resnet.layer{}", layer + 1));
            for index in 0..blocks {
                let name = format!("resnet.layer{}.{index}", layer + 1);
                let stride = if index == 0 { stride } else { 1 };
                let sizes = [inputs, planes, stride];
                inputs = self.block.stages(&mut graph, &name, sizes, self.folded);
            }
        }
        graph.layer("");

        let trunk = graph.last();
        let (pooled, read): (&[Axis], &[Operand]) = if masked {
            let read = [trunk, Operand::Masks];
            graph.stage("weights", Op::ResampleMasks, &[Batch, Mask, Frame], &read);
            (&[Batch, Mask, Feature], &[trunk, graph.last()])
        } else {
            (&[Batch, Feature], &[trunk])
        };
        graph.stage("resnet.pool", Op::StatsPool, pooled, read);
        let outputs = self.embed_dim;
        let linear = |inputs| Op::Linear { inputs, outputs };
        graph.then("resnet.seg_1", linear(self.pool_out_dim()), pooled);
        if self.two_emb_layer {
            graph.then("resnet.seg_1.relu", Op::Relu, pooled);
            graph.then("resnet.seg_bn_1", batch_norm(outputs, false), pooled);
            graph.then("resnet.seg_2", linear(outputs), pooled);
        }
        graph.build()
    }
}

/// The axes of the residual network.
const IMAGE: [Axis; 4] = [Axis::Batch, Axis::Channel, Axis::Band, Axis::Time];

/// A batch norm with PyTorch's default eps.
fn batch_norm(channels: usize, affine: bool) -> Op {
    Op::BatchNorm {
        channels,
        eps: 1e-5,
        affine,
    }
}

/// Adds the convolution `conv` of `operand`, and the batch norm `bn` after it, or one stage that is both. `sizes`: inputs,
/// outputs, side of the kernel, stride. The padding keeps the size of the image at a stride of 1.
fn conv_norm(
    graph: &mut Builder,
    operand: Operand,
    [conv, bn]: [&str; 2],
    sizes: [usize; 4],
    folded: bool,
) {
    let [inputs, outputs, kernel, stride] = sizes;
    let op = Op::Conv2d {
        inputs,
        outputs,
        kernel,
        stride,
        padding: kernel / 2,
        bias: folded,
    };
    if folded {
        let parameters = op.parameters(conv, 1);
        graph.stage(bn, op, &IMAGE, &[operand]).parameters = parameters;
        return;
    }
    graph.stage(conv, op, &IMAGE, &[operand]);
    graph.then(bn, batch_norm(outputs, true), &IMAGE);
}

impl BlockKind {
    /// Adds the stages of the block `name`, with `inputs` channels at its input and `planes` inside; returns its output
    /// channels. `folded`: without norms.
    /// pyannote.audio `wespeaker/resnet.py`, `BasicBlock` and `Bottleneck`.
    fn stages(
        self,
        graph: &mut Builder,
        name: &str,
        [inputs, planes, stride]: [usize; 3],
        folded: bool,
    ) -> usize {
        let outputs = planes * self.expansion();
        let convolutions: &[[usize; 4]] = match self {
            Self::Basic => &[[inputs, planes, 3, stride], [planes, planes, 3, 1]],
            Self::Bottleneck => &[
                [inputs, planes, 1, 1],
                [planes, planes, 3, stride],
                [planes, outputs, 1, 1],
            ],
        };
        let entry = graph.last();
        for (sizes, n) in convolutions.iter().zip(1..) {
            let [conv, bn] = ["conv", "bn"].map(|part| format!("{name}.{part}{n}"));
            let operand = graph.last();
            conv_norm(graph, operand, [&conv, &bn], *sizes, folded);
            if n < convolutions.len() {
                graph.then(format!("{bn}.relu"), Op::Relu, &IMAGE);
            }
        }
        let branch = graph.last();
        let mut residual = entry;
        if stride != 1 || inputs != outputs {
            let [conv, bn] = [0, 1].map(|part| format!("{name}.shortcut.{part}"));
            let sizes = [inputs, outputs, 1, stride];
            conv_norm(graph, entry, [&conv, &bn], sizes, folded);
            residual = graph.last();
        }
        graph.stage(format!("{name}.add"), Op::Add, &IMAGE, &[branch, residual]);
        graph.then(name, Op::Relu, &IMAGE);
        outputs
    }
}
