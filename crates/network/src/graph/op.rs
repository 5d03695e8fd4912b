//! What a stage computes.

use crate::{Expected, FbankOptions, Kind, Role, SincFilters};

/// What a stage computes, with all that is needed to compute it besides its tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `torch.nn.InstanceNorm1d(affine=True)` of `[batch, channel, time]`.
    InstanceNorm {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// The filters of SincNet, `[2 pairs, 1, kernel]`, from frequencies or as an export has built them.
    /// asteroid-filterbanks `ParamSincFB`.
    SincFilters {
        /// The form in which the tensors have them.
        filters: SincFilters,
        /// Samples per second.
        sample_rate: u32,
        /// Pairs of a cosine and a sine filter.
        pairs: usize,
        /// Samples of a filter.
        kernel: usize,
    },
    /// `torch.nn.Conv1d` without padding of `[batch, inputs, time]`. Filters that are a stage of their own are its second
    /// operand, and then it has no bias.
    Conv1d {
        /// Channels of its operand.
        inputs: usize,
        /// Channels of its output.
        outputs: usize,
        /// Samples of a filter.
        kernel: usize,
        /// Samples from one output to the next.
        stride: usize,
    },
    /// `torch.abs`.
    Abs,
    /// `torch.nn.MaxPool1d(size)` over time; what is left over at the end is dropped.
    MaxPool {
        /// Values in one maximum, and from one to the next.
        size: usize,
    },
    /// `torch.nn.functional.leaky_relu`.
    LeakyRelu {
        /// Factor of negative values.
        slope: f64,
    },
    /// One direction of a layer of `torch.nn.LSTM(batch_first=True)`. It transposes an operand whose channels come first.
    /// Its tensors are `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`, the gates in the order i, f, g, o.
    LstmDirection {
        /// Features of its operand.
        inputs: usize,
        /// Units.
        hidden: usize,
        /// Whether it runs from the last frame to the first.
        reverse: bool,
    },
    /// A layer of `torch.nn.LSTM`: its directions side by side. Its tensors are those of the forward direction, then those
    /// of the reverse one.
    Lstm {
        /// Features of its operand.
        inputs: usize,
        /// Units of each direction.
        hidden: usize,
        /// Whether there are two directions.
        bidirectional: bool,
    },
    /// `torch.nn.Linear` of the last axis.
    Linear {
        /// Features of its operand.
        inputs: usize,
        /// Features of its output.
        outputs: usize,
    },
    /// `torch.nn.LogSoftmax(dim=-1)`.
    LogSoftmax,
    /// `torch.nn.Sigmoid`.
    Sigmoid,
    /// `torchaudio.compliance.kaldi.fbank` of waveforms: `[batch, frame, band]`.
    Fbank(FbankOptions),
    /// Subtracts the average over time.
    Centre {
        /// Frames of the running average; none for the average of all frames.
        span: Option<usize>,
    },
    /// `torch.nn.Conv2d` without bias, square kernel. It turns features `[batch, frame, band]` into an image
    /// `[batch, 1, band, frame]`.
    Conv2d {
        /// Channels of its operand.
        inputs: usize,
        /// Channels of its output.
        outputs: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Pixels from one output to the next, along both axes.
        stride: usize,
        /// Zeros around the image.
        padding: usize,
    },
    /// `torch.nn.BatchNorm2d` (`BatchNorm1d`) in evaluation.
    BatchNorm {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether it has a weight and a bias.
        affine: bool,
    },
    /// `torch.relu`.
    Relu,
    /// The sum of its two operands.
    Add,
    /// Masks (the second operand) resampled to the frames of the first by the nearest:
    /// `torch.nn.functional.interpolate`.
    ResampleMasks,
    /// Mean and standard deviation over time of each feature, with a second operand over the frames of each mask.
    /// pyannote.audio `StatsPool`.
    StatsPool,
    /// Something that is not defined here, by the name its maker gave it.
    Other(String),
}

impl Op {
    /// The tensors of a module `module` that computes this. An LSTM's have names that depend on how its layers are
    /// stored, so they come from its hyperparameters.
    pub(crate) fn parameters(&self, module: &str) -> Vec<Expected> {
        let named = |leaf: &str| format!("{module}.{leaf}");
        let weight = |leaf, shape: &[usize]| Expected::floats(named(leaf), shape, Role::Parameter);
        let buffer = |leaf, shape: &[usize]| Expected::floats(named(leaf), shape, Role::Buffer);
        match *self {
            Self::InstanceNorm { channels, .. } => {
                vec![weight("weight", &[channels]), weight("bias", &[channels])]
            }
            Self::SincFilters {
                filters: SincFilters::Baked,
                pairs,
                kernel,
                ..
            } => {
                let shape = [2 * pairs, 1, kernel];
                vec![Expected::floats(module.into(), &shape, Role::Buffer)]
            }
            // The module is the filter bank beside the filters: `conv1d.0.filters` is computed by `conv1d.0.filterbank`.
            Self::SincFilters {
                filters: SincFilters::Parametrised,
                pairs,
                kernel,
                ..
            } => {
                let bank = module.strip_suffix("filters").unwrap_or(module);
                let tensor = |leaf, shape: &[usize], role| {
                    Expected::floats(format!("{bank}filterbank.{leaf}"), shape, role)
                };
                vec![
                    tensor("low_hz_", &[pairs, 1], Role::Parameter),
                    tensor("band_hz_", &[pairs, 1], Role::Parameter),
                    tensor("window_", &[kernel / 2], Role::Buffer),
                    tensor("n_", &[1, kernel / 2], Role::Buffer),
                ]
            }
            Self::Conv1d {
                inputs,
                outputs,
                kernel,
                ..
            } => vec![
                weight("weight", &[outputs, inputs, kernel]),
                weight("bias", &[outputs]),
            ],
            Self::Linear { inputs, outputs } => vec![
                weight("weight", &[outputs, inputs]),
                weight("bias", &[outputs]),
            ],
            Self::Conv2d {
                inputs,
                outputs,
                kernel,
                ..
            } => vec![weight("weight", &[outputs, inputs, kernel, kernel])],
            Self::BatchNorm {
                channels, affine, ..
            } => {
                let mut tensors = Vec::new();
                if affine {
                    tensors.push(weight("weight", &[channels]));
                    tensors.push(weight("bias", &[channels]));
                }
                tensors.push(buffer("running_mean", &[channels]));
                tensors.push(buffer("running_var", &[channels]));
                tensors.push(Expected {
                    kind: Kind::Counter,
                    optional: true,
                    ..buffer("num_batches_tracked", &[])
                });
                tensors
            }
            Self::LstmDirection { .. }
            | Self::Lstm { .. }
            | Self::Abs
            | Self::MaxPool { .. }
            | Self::LeakyRelu { .. }
            | Self::LogSoftmax
            | Self::Sigmoid
            | Self::Fbank(_)
            | Self::Centre { .. }
            | Self::Relu
            | Self::Add
            | Self::ResampleMasks
            | Self::StatsPool
            | Self::Other(_) => Vec::new(),
        }
    }

    /// The shape of its output, from the shapes of its operands. `transposed`: it puts features last and reads channels
    /// first. `None` where an operand is missing, too short or of another rank, or for [`Op::Other`].
    pub(super) fn shape(&self, operands: &[Vec<usize>], transposed: bool) -> Option<Vec<usize>> {
        let first = || operands.first().map(Vec::as_slice);
        let windows = |length: usize, size: usize, stride: usize| {
            Some(length.checked_sub(size)? / stride.max(1) + 1)
        };
        let sequence = |features: usize| match *first()? {
            [batch, _, time] if transposed => Some(vec![batch, time, features]),
            [batch, time, _] => Some(vec![batch, time, features]),
            _ => None,
        };
        let shape = match *self {
            Self::InstanceNorm { .. }
            | Self::Abs
            | Self::LeakyRelu { .. }
            | Self::LogSoftmax
            | Self::Sigmoid
            | Self::Centre { .. }
            | Self::BatchNorm { .. }
            | Self::Relu
            | Self::Add => first()?.to_vec(),
            Self::SincFilters { pairs, kernel, .. } => vec![2 * pairs, 1, kernel],
            Self::Conv1d {
                outputs,
                kernel,
                stride,
                ..
            } => match *first()? {
                [batch, _, time] => vec![batch, outputs, windows(time, kernel, stride)?],
                _ => return None,
            },
            Self::MaxPool { size } => match *first()? {
                [batch, channels, time] => vec![batch, channels, windows(time, size, size)?],
                _ => return None,
            },
            Self::LstmDirection { hidden, .. } => sequence(hidden)?,
            Self::Lstm {
                hidden,
                bidirectional,
                ..
            } => sequence((1 + usize::from(bidirectional)) * hidden)?,
            Self::Linear { outputs, .. } => {
                let (_, leading) = first()?.split_last()?;
                [leading, &[outputs]].concat()
            }
            Self::Fbank(ref options) => match *first()? {
                [batch, _, samples] => {
                    vec![batch, options.num_frames(samples), options.num_mel_bins]
                }
                _ => return None,
            },
            Self::Conv2d {
                outputs,
                kernel,
                stride,
                padding,
                ..
            } => {
                let (batch, bands, frames) = match *first()? {
                    // Features: an image of one channel.
                    [batch, frames, bands] => (batch, bands, frames),
                    [batch, _, bands, frames] => (batch, bands, frames),
                    _ => return None,
                };
                let side = |length: usize| windows(length + 2 * padding, kernel, stride);
                vec![batch, outputs, side(bands)?, side(frames)?]
            }
            Self::ResampleMasks => match (first()?, operands.get(1)?.as_slice()) {
                (&[.., frames], &[batch, masks, _]) => vec![batch, masks, frames],
                _ => return None,
            },
            Self::StatsPool => {
                let &[batch, channels, bands, _] = first()? else {
                    return None;
                };
                let features = 2 * channels * bands;
                match operands.get(1).map(Vec::as_slice) {
                    Some(&[_, masks, _]) => vec![batch, masks, features],
                    _ => vec![batch, features],
                }
            }
            Self::Other(_) => return None,
        };
        (!shape.contains(&0)).then_some(shape)
    }

    /// What one value of its output costs and sees. First, multiplications and additions, as the layer is defined: a
    /// transform that needs fewer (Winograd's) does not change the count. 0 for an operation that hardly multiplies, and
    /// for an LSTM layer, whose directions are counted. Second, values along time that one output sees, and values from
    /// one output to the next; `None` where another rule decides how many outputs there are.
    pub(super) const fn cost_and_window(&self) -> (usize, Option<(usize, usize)>) {
        match *self {
            Self::Conv1d {
                inputs,
                kernel,
                stride,
                ..
            } => (inputs * kernel, Some((kernel, stride))),
            Self::MaxPool { size } => (0, Some((size, size))),
            // A sequence layer sees every frame; its frames are those of its operand.
            Self::LstmDirection { inputs, hidden, .. } => (4 * (inputs + hidden), Some((1, 1))),
            Self::Linear { inputs, .. } => (inputs, Some((1, 1))),
            Self::Conv2d { inputs, kernel, .. } => (inputs * kernel * kernel, None),
            Self::Lstm { .. }
            | Self::InstanceNorm { .. }
            | Self::SincFilters { .. }
            | Self::Abs
            | Self::LeakyRelu { .. }
            | Self::LogSoftmax
            | Self::Sigmoid
            | Self::Centre { .. }
            | Self::BatchNorm { .. }
            | Self::Relu
            | Self::Add => (0, Some((1, 1))),
            Self::Fbank(_) | Self::ResampleMasks | Self::StatsPool | Self::Other(_) => (0, None),
        }
    }
}
