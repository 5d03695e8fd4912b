//! `pyannote.audio.models.segmentation.PyanNet`.

use serde::{Deserialize, Serialize};

use super::{HyperparameterError, Role, TensorSpec, within};
use crate::{Axis, Graph, Op, graph::Builder};

/// Hyperparameters of `pyannote.audio.models.segmentation.PyanNet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PyanNet {
    /// Samples per second of the input. SincNet supports 16000 only.
    pub sample_rate: u32,
    /// Audio channels: 1.
    pub num_channels: usize,
    /// The convolutions at the front.
    pub sincnet: SincNet,
    /// The recurrent layers.
    pub lstm: LstmOptions,
    /// The linear layers after them.
    pub linear: LinearOptions,
    /// Outputs of the classifier: classes, or subsets of the classes for a powerset.
    pub num_outputs: usize,
    /// The function applied to the outputs of the classifier.
    pub activation: Activation,
}

/// The convolutions at the front. `pyannote.audio.models.blocks.sincnet.SincNet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SincNet {
    /// Samples from one output of the sinc filters to the next.
    pub stride: usize,
    /// The form of the sinc filters in the file.
    pub filters: SincFilters,
}

/// The form of the sinc filters in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SincFilters {
    /// Frequencies in Hz, `sincnet.conv1d.0.filterbank.{low_hz_, band_hz_}` `[40, 1]`, with the constants `window_` `[125]`
    /// and `n_` `[1, 125]`. asteroid-filterbanks `ParamSincFB`.
    Parametrised,
    /// Filters that an exporter has built, `sincnet.conv1d.0.filters` `[80, 1, 251]`.
    Baked,
}

/// The recurrent layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LstmOptions {
    /// Units per direction.
    pub hidden_size: usize,
    /// Layers.
    pub num_layers: usize,
    /// Whether each layer also runs from the last frame to the first.
    pub bidirectional: bool,
    /// Whether there is one `nn.LSTM` for all layers (`lstm.weight_ih_l1`), or a list with one per layer
    /// (`lstm.1.weight_ih_l0`). The arithmetic is the same, the names of the tensors differ.
    pub monolithic: bool,
}

/// The linear layers, each followed by LeakyReLU(0.01).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearOptions {
    /// Outputs of each layer. Not used if there are no layers.
    pub hidden_size: usize,
    /// Layers; may be 0.
    pub num_layers: usize,
}

/// The function applied to the outputs of the classifier. pyannote `Model.default_activation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Log-probabilities of mono-label (powerset) models.
    LogSoftmax,
    /// Probabilities of binary and multi-label models.
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

impl LstmOptions {
    /// Features of one frame of the output, of all directions.
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.hidden_size * if self.bidirectional { 2 } else { 1 }
    }

    /// Name of one tensor in the state dict. `kind` is `weight_ih`, `weight_hh`, `bias_ih` or `bias_hh`.
    #[must_use]
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

/// Slope of LeakyReLU for negative values: PyTorch's default, which pyannote keeps.
const LEAKY_SLOPE: f64 = 0.01;
/// Added to the variance by `torch.nn.InstanceNorm1d`: PyTorch's default.
const NORM_EPS: f64 = 1e-5;

impl PyanNet {
    pub(super) fn check(&self) -> Result<(), HyperparameterError> {
        let (lstm, linear) = (&self.lstm, &self.linear);
        within("sample_rate", self.sample_rate as usize, 16000..=16000)?;
        within("num_channels", self.num_channels, 1..=1)?;
        let strides = 1..=SincNet::KERNEL_SIZE;
        within("sincnet.stride", self.sincnet.stride, strides)?;
        within("lstm.hidden_size", lstm.hidden_size, 1..=MAX_UNITS)?;
        within("lstm.num_layers", lstm.num_layers, 1..=MAX_LAYERS)?;
        within("linear.num_layers", linear.num_layers, 0..=MAX_LAYERS)?;
        if linear.num_layers > 0 {
            within("linear.hidden_size", linear.hidden_size, 1..=MAX_UNITS)?;
        }
        within("num_outputs", self.num_outputs, 1..=MAX_UNITS)
    }

    pub(super) fn variant(&self) -> String {
        let filters = match self.sincnet.filters {
            SincFilters::Baked => "baked filters",
            SincFilters::Parametrised => "parametrised filters",
        };
        let activation = match self.activation {
            Activation::LogSoftmax => "log-softmax",
            Activation::Sigmoid => "sigmoid",
        };
        format!("PyanNet, {filters}, {activation}")
    }

    /// The stages in the order of `PyanNet.forward` and `SincNet.forward`.
    pub(super) fn graph(&self) -> Graph {
        use Axis::{Batch, Channel, Feature, Frame, One, Time};
        let signal = [Batch, Channel, Time];
        let sequence = [Batch, Frame, Feature];
        let mut graph = Builder::default();
        let norm = |channels| Op::InstanceNorm {
            channels,
            eps: NORM_EPS,
        };
        let leaky = Op::LeakyRelu { slope: LEAKY_SLOPE };

        graph.then("sincnet.wav_norm1d", norm(1), &signal);
        let waveform = graph.last();
        let filters = Op::SincFilters {
            filters: self.sincnet.filters,
            sample_rate: self.sample_rate,
            pairs: SincNet::NUM_FILTERS / 2,
            kernel: SincNet::KERNEL_SIZE,
        };
        let axes = [Channel, One, Time];
        graph.stage("sincnet.conv1d.0.filters", filters, &axes, &[]);
        let filters = graph.last();
        let mut inputs = 1;
        for (index, outputs) in SincNet::CHANNELS.into_iter().enumerate() {
            let name = format!("sincnet.conv1d.{index}");
            let conv = |kernel, stride| Op::Conv1d {
                inputs,
                outputs,
                kernel,
                stride,
            };
            if index == 0 {
                let conv = conv(SincNet::KERNEL_SIZE, self.sincnet.stride);
                graph.stage(&name, conv, &signal, &[waveform, filters]);
                graph.then(format!("{name}.abs"), Op::Abs, &signal);
            } else {
                graph.then(&name, conv(SincNet::CONV_KERNEL_SIZE, 1), &signal);
            }
            let pool = Op::MaxPool {
                size: SincNet::POOL_SIZE,
            };
            graph.then(format!("sincnet.pool1d.{index}"), pool, &signal);
            let name = format!("sincnet.norm1d.{index}");
            graph.then(&name, norm(outputs), &signal);
            graph.then(format!("{name}.leaky_relu"), leaky.clone(), &signal);
            inputs = outputs;
        }

        let hidden = self.lstm.hidden_size;
        let directions: &[bool] = match self.lstm.bidirectional {
            true => &[false, true],
            false => &[false],
        };
        for layer in 0..self.lstm.num_layers {
            let name = format!("lstm.{layer}");
            graph.layer(&name);
            // The transpose of the convolutions' output is part of the first layer.
            let operand = graph.last();
            let whole = graph.next() + directions.len();
            let mut parameters = Vec::new();
            for &reverse in directions {
                let direction = if reverse { "reverse" } else { "forward" };
                let op = Op::LstmDirection {
                    inputs,
                    hidden,
                    reverse,
                };
                let part = format!("{name}.{direction}");
                let stage = graph.stage(part, op, &sequence, &[operand]);
                stage.part_of = Some(whole);
                stage.parameters = self.lstm.tensors(layer, inputs, reverse);
                parameters.extend(stage.parameters.clone());
            }
            let op = Op::Lstm {
                inputs,
                hidden,
                bidirectional: self.lstm.bidirectional,
            };
            let stage = graph.stage(name, op, &sequence, &[operand]);
            stage.parameters = parameters;
            inputs = self.lstm.num_features();
        }
        graph.layer("");

        for index in 0..self.linear.num_layers {
            let outputs = self.linear.hidden_size;
            let name = format!("linear.{index}");
            graph.then(&name, Op::Linear { inputs, outputs }, &sequence);
            graph.then(format!("{name}.leaky_relu"), leaky.clone(), &sequence);
            inputs = outputs;
        }
        let outputs = self.num_outputs;
        graph.then("classifier", Op::Linear { inputs, outputs }, &sequence);
        let activation = match self.activation {
            Activation::LogSoftmax => Op::LogSoftmax,
            Activation::Sigmoid => Op::Sigmoid,
        };
        graph.then("activation", activation, &sequence);
        graph.build()
    }
}

impl LstmOptions {
    /// The tensors of one direction of a layer, in the order of `torch.lstm`. PyTorch stacks the gates i, f, g, o in the
    /// first dimension.
    fn tensors(&self, layer: usize, inputs: usize, reverse: bool) -> Vec<TensorSpec> {
        let gates = 4 * self.hidden_size;
        let shapes: [(&str, &[usize]); 4] = [
            ("weight_ih", &[gates, inputs]),
            ("weight_hh", &[gates, self.hidden_size]),
            ("bias_ih", &[gates]),
            ("bias_hh", &[gates]),
        ];
        let parameter = |(kind, shape): (&str, _)| {
            let name = self.tensor_name(kind, layer, reverse);
            TensorSpec::floats(name, shape, Role::Parameter)
        };
        shapes.into_iter().map(parameter).collect()
    }
}
