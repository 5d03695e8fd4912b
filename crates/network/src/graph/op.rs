//! Operations.

use crate::{ElementType, FbankOptions, Role, SincFilters, TensorSpec};

/// The operation of a stage, with everything needed to compute it except the tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `torch.nn.InstanceNorm1d(affine=True)`, `[batch, channel, time]`.
    InstanceNorm {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// The filters of SincNet, `[2 x pairs, 1, kernel]`, made of weights alone. asteroid-filterbanks `ParamSincFB`.
    SincFilters {
        /// Whether the tensors are frequencies or the finished filters.
        filters: SincFilters,
        /// Samples per second.
        sample_rate: u32,
        /// Pairs of a cosine and a sine filter.
        pairs: usize,
        /// Samples of a filter.
        kernel: usize,
    },
    /// `torch.nn.Conv1d` without padding, `[batch, inputs, time]` to `[batch, outputs, time]`. If the filters are a stage of
    /// their own, that stage is the second operand and there is no bias.
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
    /// `torch.nn.MaxPool1d(size)` over time; an incomplete window at the end is dropped.
    MaxPool {
        /// Values in one window, and from one window to the next.
        size: usize,
    },
    /// `torch.nn.functional.leaky_relu`.
    LeakyRelu {
        /// Factor of negative values.
        slope: f64,
    },
    /// One direction of a layer of `torch.nn.LSTM(batch_first=True)`, `[batch, frame, hidden]`. An operand with channels
    /// first is transposed. The tensors are `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`, gates in the order i, f, g, o.
    LstmDirection {
        /// Features of its operand.
        inputs: usize,
        /// Units.
        hidden: usize,
        /// Whether it runs from the last frame to the first.
        reverse: bool,
    },
    /// A layer of `torch.nn.LSTM`, `[batch, frame, hidden]`, or twice as wide with two directions, forward first. The
    /// tensors are those of the forward direction, then those of the reverse one.
    Lstm {
        /// Features of its operand.
        inputs: usize,
        /// Units of each direction.
        hidden: usize,
        /// Whether there are two directions.
        bidirectional: bool,
    },
    /// `torch.nn.Linear` over the last axis.
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
    /// `torchaudio.compliance.kaldi.fbank` of waveforms, `[batch, frame, band]`.
    Fbank(FbankOptions),
    /// Subtraction of the average over time.
    Centre {
        /// Frames of the running average; `None`: the average of all frames.
        span: Option<usize>,
    },
    /// `torch.nn.Conv2d` with a square kernel, `[batch, channel, band, frame]`. Features `[batch, frame, band]` are
    /// transposed to an image of one channel first.
    Conv2d {
        /// Channels of its operand.
        inputs: usize,
        /// Channels of its output.
        outputs: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Pixels from one output to the next, along both axes.
        stride: usize,
        /// Zeros on each side of the image.
        padding: usize,
        /// Whether it adds a bias.
        bias: bool,
    },
    /// `torch.nn.BatchNorm2d` or `BatchNorm1d` in evaluation.
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
    /// The masks (second operand) resampled to the frames of the first operand:
    /// `torch.nn.functional.interpolate(mode="nearest")`, `[batch, mask, frame]`.
    ResampleMasks,
    /// Mean and standard deviation over time of each feature, `[batch, 2 x features]`. With masks as second operand, one
    /// pair per mask, weighted by it, `[batch, mask, 2 x features]`. pyannote.audio `StatsPool`.
    StatsPool,
    /// An operation of a foreign network, by its own name.
    Other(String),
}

impl Op {
    /// Whether its outputs depend on its own outputs at other frames, which can amplify rounding.
    #[must_use]
    pub fn is_recurrent(&self) -> bool {
        matches!(self, Self::Lstm { .. } | Self::LstmDirection { .. })
    }

    /// The tensors of the PyTorch module `module` with this operation on `operands` operands. Empty for an LSTM: the names of
    /// its tensors depend on a hyperparameter.
    pub(crate) fn parameters(&self, module: &str, operands: usize) -> Vec<TensorSpec> {
        let named = |leaf: &str| format!("{module}.{leaf}");
        let weight =
            |leaf, shape: &[usize]| TensorSpec::floats(named(leaf), shape, Role::Parameter);
        let buffer = |leaf, shape: &[usize]| TensorSpec::floats(named(leaf), shape, Role::Buffer);
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
                vec![TensorSpec::floats(module.into(), &shape, Role::Buffer)]
            }
            // `conv1d.0.filters` is computed by the module `conv1d.0.filterbank`.
            Self::SincFilters {
                filters: SincFilters::Parametrised,
                pairs,
                kernel,
                ..
            } => {
                let bank = module.strip_suffix("filters").unwrap_or(module);
                let tensor = |leaf, shape: &[usize], role| {
                    TensorSpec::floats(format!("{bank}filterbank.{leaf}"), shape, role)
                };
                vec![
                    tensor("low_hz_", &[pairs, 1], Role::Parameter),
                    tensor("band_hz_", &[pairs, 1], Role::Parameter),
                    tensor("window_", &[kernel / 2], Role::Buffer),
                    tensor("n_", &[1, kernel / 2], Role::Buffer),
                ]
            }
            // The second operand has the filters.
            Self::Conv1d { .. } if operands > 1 => Vec::new(),
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
                bias,
                ..
            } => {
                let mut tensors = vec![weight("weight", &[outputs, inputs, kernel, kernel])];
                if bias {
                    tensors.push(weight("bias", &[outputs]));
                }
                tensors
            }
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
                tensors.push(TensorSpec {
                    kind: ElementType::Counter,
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

    /// The shape of the output, from the shapes of the operands. `transposed`: the operand has channels first, the output
    /// features last. `None` if an operand is missing, too short or of another rank, and for [`Op::Other`].
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

    /// Two facts per value of the output.
    ///
    /// The multiply-adds, by the definition of the layer; a faster algorithm (Winograd) does not change the count. 0 for
    /// elementwise operations, norms and pooling, and for an LSTM layer, whose directions are counted instead.
    ///
    /// The window over time: values that one output depends on, and values from one output to the next. `None` if the
    /// number of outputs follows another rule.
    pub(super) const fn cost_and_window(&self) -> (usize, Option<(usize, usize)>) {
        match *self {
            Self::Conv1d {
                inputs,
                kernel,
                stride,
                ..
            } => (inputs * kernel, Some((kernel, stride))),
            Self::MaxPool { size } => (0, Some((size, size))),
            // An LSTM depends on every frame; it has one output per frame of its operand.
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
