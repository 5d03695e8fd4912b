//! The stages of a network, as data.

mod axes;
mod op;
mod shapes;

use std::{collections::BTreeMap, ops::Range};

pub use axes::{Axes, Axis};
pub use op::Op;
pub use shapes::{FrameGeometry, InputShapes};

use crate::TensorSpec;

/// The stages of a network in order of execution. Names are unique, and the operands of a stage come before it.
///
/// The last stage is the network's output. The crate's documentation has an example.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    stages: Vec<Stage>,
}

/// One operation of a network. [`Stage::new`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// PyTorch's module path, with a suffix for a function without a module: `linear.0`, `linear.0.leaky_relu`. The same
    /// string is the prefix of its weights, the probe point, the entry of a trace and the row of a report.
    pub name: String,
    /// The layer that it belongs to: `resnet.layer1`, `lstm.0`. A summary has one row per layer.
    pub layer: String,
    /// The operation.
    pub op: Op,
    /// Its weights and buffers, in the order in which the operation takes them.
    pub parameters: Vec<TensorSpec>,
    /// What it reads, in the order in which the operation takes it. Empty for a stage made of weights alone.
    pub operands: Vec<Operand>,
    /// The axes of its output.
    pub axes: Axes,
    /// Index of the later stage that it is a part of: `lstm.0.forward` is a part of `lstm.0`. Part and whole read the same
    /// operands. An engine that computes the whole at once need not show the parts to a probe.
    pub part_of: Option<usize>,
}

/// An input of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The input of the network: waveforms, `[batch, 1, samples]`.
    Input,
    /// The masks over which embeddings are pooled, `[batch, mask, frame]`.
    Masks,
    /// The output of the stage with this index.
    Stage(usize),
}

/// Why a list of stages is not a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Two stages have the same name.
    #[error("two stages have the name `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// An operand of a stage does not come before it, or the whole that it is a part of does not come after it.
    #[error("stage `{name}` refers to a stage that is missing or out of order")]
    Order {
        /// The stage.
        name: String,
    },
}

impl Graph {
    /// Checks the stages, in order of execution.
    ///
    /// # Errors
    /// [`GraphError`] if a name is not unique, an operand does not come before its stage, or a whole does not come after
    /// its parts.
    pub fn new(stages: Vec<Stage>) -> Result<Self, GraphError> {
        let mut names = BTreeMap::new();
        for (index, stage) in stages.iter().enumerate() {
            let name = stage.name.clone();
            if names.insert(&stage.name, index).is_some() {
                return Err(GraphError::SameName { name });
            }
            let before = |operand: &Operand| match operand {
                Operand::Stage(operand) => *operand < index,
                Operand::Input | Operand::Masks => true,
            };
            let behind = stage
                .part_of
                .is_none_or(|whole| whole > index && whole < stages.len());
            if !stage.operands.iter().all(before) || !behind {
                return Err(GraphError::Order { name });
            }
        }
        Ok(Self { stages })
    }

    /// All stages, in order of execution.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stage with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The index of the stage with this name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// The output of the network: its last stage.
    #[must_use]
    pub fn output(&self) -> Option<&Stage> {
        self.stages.last()
    }

    /// The indices from the first stage for which `belongs` is true up to and including the last. Empty, at the end of the
    /// graph, if there is none.
    pub fn span(&self, belongs: impl Fn(&Stage) -> bool) -> Range<usize> {
        let first = self.stages.iter().position(&belongs);
        let last = self.stages.iter().rposition(&belongs);
        let end = self.stages.len();
        first.unwrap_or(end)..last.map_or(end, |last| last + 1)
    }

    /// The parts of the stage at index `whole`, in order: the directions of an LSTM layer.
    pub fn parts(&self, whole: usize) -> impl Iterator<Item = &Stage> {
        let stages = self.stages.iter();
        stages.filter(move |stage| stage.part_of == Some(whole))
    }

    /// For each stage, the index of the last stage that reads it; its own index if none does. After that stage, its output
    /// can be dropped.
    #[must_use]
    pub fn last_readers(&self) -> Vec<usize> {
        let mut readers: Vec<usize> = (0..self.stages.len()).collect();
        for (index, stage) in self.stages.iter().enumerate() {
            for operand in &stage.operands {
                if let Operand::Stage(operand) = operand {
                    readers[*operand] = index;
                }
            }
        }
        readers
    }

    /// Every tensor that the stages use, once each, in their order.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors: Vec<TensorSpec> = Vec::new();
        for tensor in self.stages.iter().flat_map(|stage| &stage.parameters) {
            if !tensors.iter().any(|known| known.name == tensor.name) {
                tensors.push(tensor.clone());
            }
        }
        tensors
    }
}

impl Stage {
    /// A stage that computes `op` from `operands`. It is a layer of its own and not a part of another stage. Its tensors are
    /// those of the PyTorch module `name`, such as `NAME.weight` and `NAME.bias`; for an LSTM and for [`Op::Other`] there
    /// are none yet: set [`Self::parameters`].
    pub fn new(name: impl Into<String>, op: Op, axes: &[Axis], operands: &[Operand]) -> Self {
        let name = name.into();
        Self {
            layer: name.clone(),
            parameters: op.parameters(&name, operands.len()),
            name,
            op,
            operands: operands.to_vec(),
            axes: Axes::new(axes),
            part_of: None,
        }
    }

    /// Whether its output depends on weights alone, not on the input.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.operands.is_empty()
    }

    /// Whether it is a part of a larger stage.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.part_of.is_some()
    }
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    stages: Vec<Stage>,
    layer: String,
}

impl Builder {
    /// Sets the layer of the stages that are added from here on. Empty: each is a layer of its own.
    pub(crate) fn layer(&mut self, layer: impl Into<String>) {
        self.layer = layer.into();
    }

    /// Adds a stage that reads the previous one; the first reads the input.
    pub(crate) fn then(&mut self, name: impl Into<String>, op: Op, axes: &[Axis]) -> &mut Stage {
        let before = self.last();
        self.stage(name, op, axes, &[before])
    }

    /// Adds a stage that reads `operands`.
    pub(crate) fn stage(
        &mut self,
        name: impl Into<String>,
        op: Op,
        axes: &[Axis],
        operands: &[Operand],
    ) -> &mut Stage {
        let mut stage = Stage::new(name, op, axes, operands);
        if !self.layer.is_empty() {
            stage.layer.clone_from(&self.layer);
        }
        self.stages.push(stage);
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }

    /// The output of the previous stage, or the input.
    pub(crate) fn last(&self) -> Operand {
        let before = self.stages.len().checked_sub(1);
        before.map_or(Operand::Input, Operand::Stage)
    }

    /// The index of the next stage.
    pub(crate) fn next(&self) -> usize {
        self.stages.len()
    }

    /// The graph. The check of [`Graph::new`] is not needed: names and operands come from this crate's own code.
    pub(crate) fn build(self) -> Graph {
        Graph {
            stages: self.stages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, operands: &[Operand], part_of: Option<usize>) -> Stage {
        let op = Op::Other(String::new());
        Stage {
            part_of,
            ..Stage::new(name, op, &[Axis::Batch, Axis::Feature], operands)
        }
    }

    #[test]
    fn operands_come_before_a_stage_and_wholes_after_their_parts() {
        use Operand::{Input, Stage};
        let good = vec![
            stage("a", &[Input], Some(2)),
            stage("b", &[Input], Some(2)),
            stage("c", &[Input], None),
            stage("d", &[Stage(2), Stage(0)], None),
        ];
        let graph = Graph::new(good).unwrap();
        assert_eq!(graph.last_readers(), [3, 1, 3, 3]);
        let parts: Vec<_> = graph.parts(2).map(|stage| &*stage.name).collect();
        assert_eq!(parts, ["a", "b"]);
        assert_eq!(graph.span(|stage| stage.is_part()), 0..2);
        assert!(graph.span(|_| false).is_empty());
        for bad in [
            vec![stage("a", &[Stage(0)], None)],
            vec![stage("a", &[Stage(1)], None), stage("b", &[], None)],
            vec![stage("a", &[], Some(0))],
            vec![stage("a", &[], Some(1))],
        ] {
            assert!(matches!(Graph::new(bad), Err(GraphError::Order { .. })));
        }
        let twice = vec![stage("a", &[], None), stage("a", &[], None)];
        assert!(matches!(
            Graph::new(twice),
            Err(GraphError::SameName { .. })
        ));
    }
}
