//! Shapes and costs of stages.

use super::{Graph, Op, Operand, Stage};

/// The shapes of a network's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShapes {
    /// Windows.
    pub batch: usize,
    /// Samples of a window.
    pub samples: usize,
    /// Masks per window and frames per mask, if embeddings are pooled over masks.
    pub masks: Option<(usize, usize)>,
}

/// The position of a network's output frames in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameGeometry {
    /// Samples that one frame depends on.
    pub receptive_field: usize,
    /// Samples from one frame to the next.
    pub step: usize,
}

impl FrameGeometry {
    /// Frames for `samples` samples: 0 below one receptive field.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        // Nested floors: several strided layers drop exactly as many samples as one layer with the product of the strides.
        samples
            .checked_sub(self.receptive_field)
            .map_or(0, |rest| rest / self.step + 1)
    }
}

impl Graph {
    /// The shape of every stage's output. `None` if the inputs are too short, if a stage reads masks and `inputs` has none,
    /// or if there is an [`Op::Other`].
    #[must_use]
    pub fn shapes(&self, inputs: InputShapes) -> Option<Vec<Vec<usize>>> {
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(self.stages().len());
        for stage in self.stages() {
            let shape = |operand: &Operand| match operand {
                Operand::Input => Some(vec![inputs.batch, 1, inputs.samples]),
                Operand::Masks => inputs
                    .masks
                    .map(|(masks, frames)| vec![inputs.batch, masks, frames]),
                Operand::Stage(index) => shapes.get(*index).cloned(),
            };
            let operands: Vec<_> = stage.operands.iter().map(shape).collect::<Option<_>>()?;
            shapes.push(stage.op.shape(&operands, self.is_transposed(stage))?);
        }
        Some(shapes)
    }

    /// Whether `stage` has features last and its first operand channels first.
    #[must_use]
    pub fn is_transposed(&self, stage: &Stage) -> bool {
        let first = stage.operands.first();
        let operand = first.and_then(|operand| match operand {
            Operand::Stage(index) => self.stages().get(*index),
            Operand::Input | Operand::Masks => None,
        });
        operand.is_some_and(|operand| operand.axes.channels_first() && !stage.axes.channels_first())
    }

    /// Multiply-adds of every stage, by the definition of its layer. `None` if [`Self::shapes`] is.
    #[must_use]
    pub fn multiply_adds(&self, inputs: InputShapes) -> Option<Vec<usize>> {
        let shapes = self.shapes(inputs)?;
        let cost = |(stage, shape): (&Stage, &Vec<usize>)| {
            stage.op.cost_and_window().0 * shape.iter().product::<usize>()
        };
        Some(self.stages().iter().zip(&shapes).map(cost).collect())
    }

    /// The position of the output's frames in the input: a receptive field of 991 samples and a step of 270 for a PyanNet
    /// with a sinc stride of 10. `None` if the output has no frames, or if an operation other than convolution and pooling
    /// sets their number. pyannote.audio `utils/receptive_field.py`.
    #[must_use]
    pub fn frame_geometry(&self) -> Option<FrameGeometry> {
        self.output()?.axes.frame()?;
        let mut layers = self.stages().iter().rev();
        let (receptive_field, step) = layers.try_fold((1, 1), |(field, step), stage| {
            let (size, stride) = stage.op.cost_and_window().1?;
            Some((size + (field - 1) * stride, step * stride))
        })?;
        Some(FrameGeometry {
            receptive_field,
            step,
        })
    }

    /// The fewest samples that give an output: one receptive field, or one frame of a filter bank.
    #[must_use]
    pub fn min_num_samples(&self) -> Option<usize> {
        let bank = self.stages().iter().find_map(|stage| match &stage.op {
            Op::Fbank(options) => Some(options.window_size()),
            _ => None,
        });
        let field = || Some(self.frame_geometry()?.receptive_field);
        bank.or_else(field)
    }

    /// Frames over which an embedding of `samples` samples is pooled: 125 for 10 s. `None` if there is no pooling over time,
    /// or too few samples. pyannote.audio `BaseWeSpeakerResNet.num_frames`.
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
