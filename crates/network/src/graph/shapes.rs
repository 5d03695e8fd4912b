//! The shapes of stages, and what they cost.

use super::{Graph, Op, Operand, Stage};

/// The shapes of what a network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShapes {
    /// Windows.
    pub batch: usize,
    /// Samples of a window.
    pub samples: usize,
    /// Masks of a window and frames of a mask, where embeddings are pooled by masks.
    pub masks: Option<(usize, usize)>,
}

/// Where the frames of a network lie in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameGeometry {
    /// Samples that one frame sees.
    pub receptive_field: usize,
    /// Samples from one frame to the next.
    pub step: usize,
}

impl FrameGeometry {
    /// Frames that `samples` samples give: 0 where they are fewer than one receptive field.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        // Floors of floors nest: pooling after pooling loses exactly what one long stride loses.
        samples
            .checked_sub(self.receptive_field)
            .map_or(0, |rest| rest / self.step + 1)
    }
}

impl Graph {
    /// The shape of every stage's output. `None` where the inputs are too short, where masks are read and there are
    /// none, or where a stage is not defined here.
    #[must_use]
    pub fn shapes(&self, inputs: InputShapes) -> Option<Vec<Vec<usize>>> {
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(self.stages().len());
        for stage in self.stages() {
            let operands: Vec<Vec<usize>> = stage
                .operands
                .iter()
                .map(|operand| match operand {
                    Operand::Input => Some(vec![inputs.batch, 1, inputs.samples]),
                    Operand::Masks => {
                        let (masks, frames) = inputs.masks?;
                        Some(vec![inputs.batch, masks, frames])
                    }
                    Operand::Stage(index) => shapes.get(*index).cloned(),
                })
                .collect::<Option<_>>()?;
            shapes.push(self.shape(stage, &operands)?);
        }
        Some(shapes)
    }

    fn shape(&self, stage: &Stage, operands: &[Vec<usize>]) -> Option<Vec<usize>> {
        let first = operands.first().map(Vec::as_slice);
        // Outputs of windows of `size` values, one each `stride` values.
        let windows = |length: usize, size: usize, stride: usize| {
            Some(length.checked_sub(size)? / stride.max(1) + 1)
        };
        let positive = |shape: Vec<usize>| (!shape.contains(&0)).then_some(shape);
        positive(match (&stage.op, first) {
            (Op::SincFilters { pairs, kernel, .. }, _) => vec![2 * pairs, 1, *kernel],
            (
                Op::Conv1d {
                    outputs,
                    kernel,
                    stride,
                    ..
                },
                Some([batch, _, time]),
            ) => vec![*batch, *outputs, windows(*time, *kernel, *stride)?],
            (Op::MaxPool { size }, Some([batch, channels, time])) => {
                vec![*batch, *channels, windows(*time, *size, *size)?]
            }
            (Op::LstmDirection { hidden, .. }, Some([batch, a, b])) => {
                let frames = if self.is_transposed(stage) { b } else { a };
                vec![*batch, *frames, *hidden]
            }
            (
                Op::Lstm {
                    hidden,
                    bidirectional,
                    ..
                },
                Some([batch, a, b]),
            ) => {
                let frames = if self.is_transposed(stage) { b } else { a };
                let directions = 1 + usize::from(*bidirectional);
                vec![*batch, *frames, directions * hidden]
            }
            (Op::Linear { outputs, .. }, Some([leading @ .., _])) => {
                let mut shape = leading.to_vec();
                shape.push(*outputs);
                shape
            }
            (Op::Fbank(options), Some([batch, _, samples])) => {
                vec![*batch, options.num_frames(*samples), options.num_mel_bins]
            }
            (
                Op::Conv2d {
                    outputs,
                    kernel,
                    stride,
                    padding,
                    ..
                },
                Some([batch, rest @ ..]),
            ) => {
                let (bands, frames) = match rest {
                    // An image of one channel, from features.
                    [frames, bands] => (bands, frames),
                    [_, bands, frames] => (bands, frames),
                    _ => return None,
                };
                let side = |length: usize| windows(length + 2 * padding, *kernel, *stride);
                vec![*batch, *outputs, side(*bands)?, side(*frames)?]
            }
            (Op::ResampleMasks, Some([.., frames])) => {
                let [batch, masks, _] = operands.get(1)?[..] else {
                    return None;
                };
                vec![batch, masks, *frames]
            }
            (Op::StatsPool, Some([batch, channels, bands, _])) => {
                let features = 2 * channels * bands;
                match operands.get(1).map(Vec::as_slice) {
                    Some([_, masks, _]) => vec![*batch, *masks, features],
                    _ => vec![*batch, features],
                }
            }
            (
                Op::InstanceNorm { .. }
                | Op::Abs
                | Op::LeakyRelu { .. }
                | Op::LogSoftmax
                | Op::Sigmoid
                | Op::Centre { .. }
                | Op::BatchNorm { .. }
                | Op::Relu
                | Op::Add,
                Some(shape),
            ) => shape.to_vec(),
            // Operands of another rank, and what is not defined here: by name, so that nobody forgets a new operation.
            (
                Op::InstanceNorm { .. }
                | Op::Conv1d { .. }
                | Op::Abs
                | Op::MaxPool { .. }
                | Op::LeakyRelu { .. }
                | Op::LstmDirection { .. }
                | Op::Lstm { .. }
                | Op::Linear { .. }
                | Op::LogSoftmax
                | Op::Sigmoid
                | Op::Fbank(_)
                | Op::Centre { .. }
                | Op::Conv2d { .. }
                | Op::BatchNorm { .. }
                | Op::Relu
                | Op::Add
                | Op::ResampleMasks
                | Op::StatsPool
                | Op::Other(_),
                _,
            ) => return None,
        })
    }

    /// Whether `stage`, which has its features last, reads what has its channels first.
    #[must_use]
    pub fn is_transposed(&self, stage: &Stage) -> bool {
        let first = stage.operands.first();
        let operand = first.and_then(|operand| match operand {
            Operand::Stage(index) => self.stages().get(*index),
            Operand::Input | Operand::Masks => None,
        });
        operand.is_some_and(|operand| operand.axes.channels_first() && !stage.axes.channels_first())
    }

    /// Multiplications and additions of every stage, as its layer is defined: a transform that needs fewer of them
    /// (Winograd's) does not change the count. 0 for a stage that hardly multiplies, and for a whole whose parts are counted.
    /// `None` where [`Self::shapes`] is.
    #[must_use]
    pub fn multiply_adds(&self, inputs: InputShapes) -> Option<Vec<usize>> {
        let shapes = self.shapes(inputs)?;
        let costs = self.stages().iter().zip(&shapes).map(|(stage, shape)| {
            let values: usize = shape.iter().product();
            values
                * match stage.op {
                    Op::Conv1d { inputs, kernel, .. } => inputs * kernel,
                    Op::LstmDirection { inputs, hidden, .. } => 4 * (inputs + hidden),
                    Op::Linear { inputs, .. } => inputs,
                    Op::Conv2d { inputs, kernel, .. } => inputs * kernel * kernel,
                    // An LSTM's are counted at its directions.
                    Op::Lstm { .. }
                    | Op::InstanceNorm { .. }
                    | Op::SincFilters { .. }
                    | Op::Abs
                    | Op::MaxPool { .. }
                    | Op::LeakyRelu { .. }
                    | Op::LogSoftmax
                    | Op::Sigmoid
                    | Op::Fbank(_)
                    | Op::Centre { .. }
                    | Op::BatchNorm { .. }
                    | Op::Relu
                    | Op::Add
                    | Op::ResampleMasks
                    | Op::StatsPool
                    | Op::Other(_) => 0,
                }
        });
        Some(costs.collect())
    }

    /// Where the frames of its output lie: 991 and 270 samples for a PyanNet with a sinc stride of 10. `None` where its
    /// output has no frames, or another operation than convolutions and pools decides how many.
    /// pyannote.audio `utils/receptive_field.py`.
    #[must_use]
    pub fn frame_geometry(&self) -> Option<FrameGeometry> {
        let output = self.output()?;
        let decides = |op: &Op| {
            matches!(
                op,
                Op::Fbank(_) | Op::Conv2d { .. } | Op::StatsPool | Op::Other(_)
            )
        };
        if output.axes.frame().is_none() || self.stages().iter().any(|stage| decides(&stage.op)) {
            return None;
        }
        let layers = self.stages().iter().rev();
        let (receptive_field, step) = layers.fold((1, 1), |(field, step), stage| {
            let (kernel, stride) = match stage.op {
                Op::Conv1d { kernel, stride, .. } => (kernel, stride),
                Op::MaxPool { size } => (size, size),
                _ => (1, 1),
            };
            (kernel + (field - 1) * stride, step * stride)
        });
        Some(FrameGeometry {
            receptive_field,
            step,
        })
    }

    /// Fewest samples that give an output: a receptive field, or one frame of a filter bank.
    #[must_use]
    pub fn min_num_samples(&self) -> Option<usize> {
        let bank = self.stages().iter().find_map(|stage| match &stage.op {
            Op::Fbank(options) => Some(options.window_size()),
            _ => None,
        });
        let field = || Some(self.frame_geometry()?.receptive_field);
        bank.or_else(field)
    }

    /// Frames over which an embedding of `samples` samples is pooled: 125 for 10 s. `None` where nothing is pooled, or
    /// `samples` are too few. pyannote.audio `BaseWeSpeakerResNet.num_frames`.
    #[must_use]
    pub fn pooled_frames(&self, samples: usize) -> Option<usize> {
        let pool = |stage: &Stage| matches!(stage.op, Op::StatsPool);
        let pool = self.stages().iter().find(|stage| pool(stage))?;
        let Some(Operand::Stage(trunk)) = pool.operands.first() else {
            return None;
        };
        let inputs = InputShapes {
            batch: 1,
            samples,
            masks: Some((1, 1)),
        };
        self.shapes(inputs)?.get(*trunk)?.last().copied()
    }
}
