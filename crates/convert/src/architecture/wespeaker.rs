//! `pyannote.audio.models.embedding.wespeaker.WeSpeakerResNet*`.

use serde::{Deserialize, Serialize};

use super::{Expected, Tensors, within};
use crate::error::Hyperparameter;

/// Hyperparameters of `pyannote.audio.models.embedding.wespeaker.WeSpeakerResNet*`: the mel filter
/// bank of `torchaudio.compliance.kaldi.fbank` and the residual network behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeSpeakerResNet {
    /// The number in the name of the class: 34, 152, 221, 293 (18, 50, 101).
    pub depth: u32,
    /// The kind of block that goes with the depth.
    pub block: Block,
    /// Blocks in `layer1` to `layer4` that go with the depth.
    pub num_blocks: [usize; 4],
    /// Channels of `layer1` before the block's expansion: 32; doubled by each later layer.
    pub m_channels: usize,
    /// Values of one embedding: 256.
    pub embed_dim: usize,
    /// Whether there are two embedding layers, `seg_bn_1` and `seg_2` after `seg_1`.
    pub two_emb_layer: bool,
    /// Samples per second of the audio the network expects.
    pub sample_rate: u32,
    /// Audio channels: 1.
    pub num_channels: usize,
    /// Mel bands: 80. Also the height of the network's input (`feat_dim`).
    pub num_mel_bins: usize,
    /// Length of a filter bank frame, in milliseconds.
    pub frame_length: f64,
    /// Time between two filter bank frames, in milliseconds.
    pub frame_shift: f64,
    /// Whether a frame is padded to a power of two before its spectrum is taken.
    pub round_to_power_of_two: bool,
    /// Whether only frames that lie whole inside the signal are made.
    pub snip_edges: bool,
    /// Amount of random dither, in units of 16-bit samples: 0.
    pub dither: f64,
    /// Kaldi's name of the window: `hamming`.
    pub window_type: String,
    /// Whether an energy is put before the bands.
    pub use_energy: bool,
    /// Length of the running average taken off the filter bank, in seconds; `None`: the average of
    /// the whole input.
    pub fbank_centering_span: Option<f64>,
}

/// The kind of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1 with four times the channels at the end.
    Bottleneck,
}

impl Block {
    /// Channels at the end of a block in multiples of those inside.
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// depth, block, blocks per layer. pyannote `wespeaker/resnet.py`, functions `ResNet*`.
const TABLE: [(u32, Block, [usize; 4]); 7] = [
    (18, Block::Basic, [2, 2, 2, 2]),
    (34, Block::Basic, [3, 4, 6, 3]),
    (50, Block::Bottleneck, [3, 4, 6, 3]),
    (101, Block::Bottleneck, [3, 4, 23, 3]),
    (152, Block::Bottleneck, [3, 8, 36, 3]),
    (221, Block::Bottleneck, [6, 16, 48, 3]),
    (293, Block::Bottleneck, [10, 20, 64, 3]),
];

/// Most channels, bands or embedding values. Real networks have 32, 80 and 256.
const MAX_UNITS: usize = 1 << 14;
/// Longest filter bank frame, in milliseconds. Real networks have 25.
const MAX_MILLISECONDS: f64 = 1000.0;

impl WeSpeakerResNet {
    /// Block kind and blocks per layer for a depth.
    pub fn blocks(depth: u32) -> Option<(Block, [usize; 4])> {
        TABLE
            .iter()
            .find(|row| row.0 == depth)
            .map(|row| (row.1, row.2))
    }

    /// Height of the network's input: one row per mel band. pyannote `ResNet(feat_dim=...)`.
    pub fn feat_dim(&self) -> usize {
        self.num_mel_bins
    }

    /// Stride of the first block of `layer1` to `layer4`, in both dimensions.
    pub const STRIDES: [usize; 4] = [1, 2, 2, 2];

    /// Inputs of the first embedding layer: mean and standard deviation of each channel and band
    /// that is left. pyannote `ResNet.pool_out_dim`.
    pub fn pool_out_dim(&self) -> usize {
        (self.num_mel_bins / 8) * self.m_channels * 8 * self.block.expansion() * 2
    }

    pub(super) fn check(&self) -> Result<(), Hyperparameter> {
        let refuse = |name: &str, found: String, expected: &str| {
            Err(Hyperparameter {
                name: name.into(),
                found,
                expected: expected.into(),
            })
        };
        match Self::blocks(self.depth) {
            Some(row) if row == (self.block, self.num_blocks) => {}
            Some(row) => {
                let found = format!("{:?} {:?}", self.block, self.num_blocks);
                return refuse("num_blocks", found, &format!("{:?} {:?}", row.0, row.1));
            }
            None => {
                let known: Vec<String> = TABLE.iter().map(|row| row.0.to_string()).collect();
                let expected = format!("one of {}", known.join(", "));
                return refuse("depth", self.depth.to_string(), &expected);
            }
        }
        within("sample_rate", self.sample_rate as usize, 1000..=768_000)?;
        within("num_channels", self.num_channels, 1..=1)?;
        within("m_channels", self.m_channels, 1..=MAX_UNITS)?;
        within("embed_dim", self.embed_dim, 1..=MAX_UNITS)?;
        within("num_mel_bins", self.num_mel_bins, 8..=MAX_UNITS)?;
        if !self.num_mel_bins.is_multiple_of(8) {
            // Three strides of 2 leave ceil(bins / 8) rows, the linear layer counts floor.
            return refuse(
                "num_mel_bins",
                self.num_mel_bins.to_string(),
                "a multiple of 8",
            );
        }
        for (name, value) in [
            ("frame_length", self.frame_length),
            ("frame_shift", self.frame_shift),
        ] {
            if !(value > 0.0 && value <= MAX_MILLISECONDS) {
                return refuse(name, value.to_string(), "milliseconds above 0");
            }
        }
        if !(self.dither.is_finite() && self.dither >= 0.0) {
            return refuse("dither", self.dither.to_string(), "0 or more");
        }
        match self.fbank_centering_span {
            Some(span) if !(span.is_finite() && span > 0.0) => refuse(
                "fbank_centering_span",
                span.to_string(),
                "seconds above 0, or none",
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn tensors(&self) -> Vec<Expected> {
        let mut list = Tensors::default();
        let conv = |list: &mut Tensors, module: &str, to: usize, from: usize, kernel: usize| {
            list.parameter(format!("{module}.weight"), &[to, from, kernel, kernel]);
        };

        conv(&mut list, "resnet.conv1", self.m_channels, 1, 3);
        list.batch_norm("resnet.bn1", self.m_channels, true);
        let mut channels = self.m_channels;
        for (layer, (&blocks, stride)) in self.num_blocks.iter().zip(Self::STRIDES).enumerate() {
            let inner = self.m_channels << layer;
            let outer = inner * self.block.expansion();
            for block in 0..blocks {
                let module = format!("resnet.layer{}.{block}", layer + 1);
                // (from, to, kernel) of conv1, conv2, ...
                let convolutions: &[(usize, usize, usize)] = match self.block {
                    Block::Basic => &[(channels, inner, 3), (inner, inner, 3)],
                    Block::Bottleneck => {
                        &[(channels, inner, 1), (inner, inner, 3), (inner, outer, 1)]
                    }
                };
                for (i, &(from, to, kernel)) in convolutions.iter().enumerate() {
                    conv(
                        &mut list,
                        &format!("{module}.conv{}", i + 1),
                        to,
                        from,
                        kernel,
                    );
                    list.batch_norm(&format!("{module}.bn{}", i + 1), to, true);
                }
                let stride = if block == 0 { stride } else { 1 };
                if stride != 1 || channels != outer {
                    conv(
                        &mut list,
                        &format!("{module}.shortcut.0"),
                        outer,
                        channels,
                        1,
                    );
                    list.batch_norm(&format!("{module}.shortcut.1"), outer, true);
                }
                channels = outer;
            }
        }

        list.affine(
            "resnet.seg_1",
            &[self.embed_dim, self.pool_out_dim()],
            self.embed_dim,
        );
        if self.two_emb_layer {
            list.batch_norm("resnet.seg_bn_1", self.embed_dim, false);
            list.affine(
                "resnet.seg_2",
                &[self.embed_dim, self.embed_dim],
                self.embed_dim,
            );
        }
        list.0
    }
}
