//! `pyannote.audio.models.segmentation.PyanNet`.

use serde::{Deserialize, Serialize};

use super::{Expected, Tensors, within};
use crate::error::Hyperparameter;

/// Hyperparameters of `pyannote.audio.models.segmentation.PyanNet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PyanNet {
    /// Samples per second of the audio the network expects. SincNet knows 16000 only.
    pub sample_rate: u32,
    /// Audio channels: 1.
    pub num_channels: usize,
    /// The filters at the front.
    pub sincnet: SincNet,
    /// The recurrent layers.
    pub lstm: Lstm,
    /// The linear layers after them.
    pub linear: Linear,
    /// Outputs of the classifier: classes, or subsets of them for a powerset.
    pub num_outputs: usize,
    /// What is applied to the outputs of the classifier.
    pub activation: Activation,
}

/// The front of the network. `pyannote.audio.models.blocks.sincnet.SincNet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SincNet {
    /// Samples between two outputs of the sinc filters.
    pub stride: usize,
    /// The form in which the file has the sinc filters.
    pub filters: SincFilters,
}

/// The form in which a file has the sinc filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SincFilters {
    /// As frequencies: `sincnet.conv1d.0.filterbank.{low_hz_, band_hz_}` `[40, 1]` in Hz, with the
    /// constants `window_` `[125]` and `n_` `[1, 125]`. asteroid-filterbanks `ParamSincFB`.
    Parametrised,
    /// Already built by an exporter: `sincnet.conv1d.0.filters` `[80, 1, 251]`.
    Baked,
}

/// The recurrent layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lstm {
    /// Units per direction.
    pub hidden_size: usize,
    /// Layers.
    pub num_layers: usize,
    /// Whether each layer also runs backwards in time.
    pub bidirectional: bool,
    /// One `nn.LSTM` (`lstm.weight_ih_l1`), or a list with one for each layer
    /// (`lstm.1.weight_ih_l0`). Same arithmetic, other names.
    pub monolithic: bool,
}

/// The linear layers, each followed by LeakyReLU(0.01).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Outputs of each layer. Without meaning where there are no layers.
    pub hidden_size: usize,
    /// Layers; 0 for none.
    pub num_layers: usize,
}

/// What is applied to the outputs of the classifier. pyannote `Model.default_activation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Mono-label (powerset) models.
    LogSoftmax,
    /// Binary and multi-label models.
    Sigmoid,
}

impl SincNet {
    /// Sinc filters: 40 even ones (cosine) and 40 odd ones (sine).
    pub const NUM_FILTERS: usize = 80;
    /// Length of a sinc filter, in samples.
    pub const KERNEL_SIZE: usize = 251;
    /// Channels after each of the three convolutions.
    pub const CHANNELS: [usize; 3] = [Self::NUM_FILTERS, 60, 60];
    /// Kernel of the second and third convolution.
    pub const CONV_KERNEL_SIZE: usize = 5;
    /// Kernel and stride of the pooling after each convolution.
    pub const POOL_SIZE: usize = 3;
}

impl Lstm {
    /// Features of one frame at the output: both directions where there are two.
    pub fn num_features(&self) -> usize {
        self.hidden_size * if self.bidirectional { 2 } else { 1 }
    }

    /// Name of one LSTM tensor in the state dict.
    /// `kind` is `weight_ih`, `weight_hh`, `bias_ih` or `bias_hh`.
    pub fn tensor_name(&self, kind: &str, layer: usize, reverse: bool) -> String {
        let suffix = if reverse { "_reverse" } else { "" };
        if self.monolithic {
            format!("lstm.{kind}_l{layer}{suffix}")
        } else {
            format!("lstm.{layer}.{kind}_l0{suffix}")
        }
    }
}

/// Most layers of either kind. Real networks have 2 to 4.
const MAX_LAYERS: usize = 64;
/// Most units of a layer, or outputs of the classifier. Real networks have 128 and 7.
const MAX_UNITS: usize = 1 << 16;

impl PyanNet {
    pub(super) fn check(&self) -> Result<(), Hyperparameter> {
        within("sample_rate", self.sample_rate as usize, 16000..=16000)?;
        within("num_channels", self.num_channels, 1..=1)?;
        within(
            "sincnet.stride",
            self.sincnet.stride,
            1..=SincNet::KERNEL_SIZE,
        )?;
        within("lstm.hidden_size", self.lstm.hidden_size, 1..=MAX_UNITS)?;
        within("lstm.num_layers", self.lstm.num_layers, 1..=MAX_LAYERS)?;
        within("linear.num_layers", self.linear.num_layers, 0..=MAX_LAYERS)?;
        if self.linear.num_layers > 0 {
            within("linear.hidden_size", self.linear.hidden_size, 1..=MAX_UNITS)?;
        }
        within("num_outputs", self.num_outputs, 1..=MAX_UNITS)
    }

    pub(super) fn tensors(&self) -> Vec<Expected> {
        let mut list = Tensors::default();
        let half = SincNet::NUM_FILTERS / 2;
        let side = SincNet::KERNEL_SIZE / 2;

        list.affine("sincnet.wav_norm1d", &[1], 1);
        match self.sincnet.filters {
            SincFilters::Parametrised => {
                let filterbank = "sincnet.conv1d.0.filterbank";
                list.parameter(format!("{filterbank}.low_hz_"), &[half, 1]);
                list.parameter(format!("{filterbank}.band_hz_"), &[half, 1]);
                list.buffer(format!("{filterbank}.window_"), &[side]);
                list.buffer(format!("{filterbank}.n_"), &[1, side]);
            }
            SincFilters::Baked => {
                let shape = [SincNet::NUM_FILTERS, 1, SincNet::KERNEL_SIZE];
                list.buffer("sincnet.conv1d.0.filters", &shape);
            }
        }
        for (i, pair) in SincNet::CHANNELS.windows(2).enumerate() {
            let shape = [pair[1], pair[0], SincNet::CONV_KERNEL_SIZE];
            list.affine(&format!("sincnet.conv1d.{}", i + 1), &shape, pair[1]);
        }
        for (i, channels) in SincNet::CHANNELS.into_iter().enumerate() {
            list.affine(&format!("sincnet.norm1d.{i}"), &[channels], channels);
        }

        // PyTorch stacks the four gates (input, forget, cell, output) in the first dimension.
        let gates = 4 * self.lstm.hidden_size;
        let directions: &[bool] = if self.lstm.bidirectional {
            &[false, true]
        } else {
            &[false]
        };
        let mut features = SincNet::CHANNELS[2];
        for layer in 0..self.lstm.num_layers {
            for &reverse in directions {
                let name = |kind| self.lstm.tensor_name(kind, layer, reverse);
                list.parameter(name("weight_ih"), &[gates, features]);
                list.parameter(name("weight_hh"), &[gates, self.lstm.hidden_size]);
                list.parameter(name("bias_ih"), &[gates]);
                list.parameter(name("bias_hh"), &[gates]);
            }
            features = self.lstm.num_features();
        }

        for layer in 0..self.linear.num_layers {
            let outputs = self.linear.hidden_size;
            list.affine(&format!("linear.{layer}"), &[outputs, features], outputs);
            features = outputs;
        }
        list.affine(
            "classifier",
            &[self.num_outputs, features],
            self.num_outputs,
        );
        list.0
    }
}
