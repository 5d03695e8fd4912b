//! A network's stages as data.

mod axes;
mod op;
mod shapes;

use std::collections::BTreeMap;
use std::ops::Range;

pub use axes::{Axes, Axis};
pub use op::Op;
pub use shapes::{FrameGeometry, InputShapes};

use crate::Expected;

/// A network's stages in order of execution. Names are unique, and the operands of a stage come before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    stages: Vec<Stage>,
}

/// One step of a network, and its output.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// PyTorch's module path, with a suffix where a function has no module. The same string is the prefix of its
    /// weights, the probe point, the entry of a trace and the row of a report.
    pub name: String,
    /// The layer it belongs to, of which a summary shows one row: `resnet.layer1`, `lstm.0`.
    pub layer: String,
    /// What it computes.
    pub op: Op,
    /// The tensors it uses, in the order in which its operation takes them.
    pub parameters: Vec<Expected>,
    /// What it reads, in the order in which its operation takes it.
    pub operands: Vec<Operand>,
    /// What the axes of its output are.
    pub axes: Axes,
    /// The later stage that it stands in, side by side with others: `lstm.0.forward` in `lstm.0`. Both read the same
    /// operands, and an engine that computes the whole at once need not show the parts.
    pub part_of: Option<usize>,
}

/// What a stage reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The input of the network: waveforms `[batch, 1, samples]`.
    Input,
    /// The masks that embeddings are pooled by, `[batch, mask, frame]`.
    Masks,
    /// The output of the stage of this index.
    Stage(usize),
}

/// Why stages are no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Two stages have one name.
    #[error("two stages are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// A stage reads what is not before it, or is part of what is not behind it.
    #[error("stage `{name}` refers to a stage that is not there, or not in order")]
    Order {
        /// The stage.
        name: String,
    },
}

impl Graph {
    /// A graph of these stages.
    ///
    /// # Errors
    /// [`GraphError`] where a name is not unique, an operand does not come before its stage, or a whole does not come
    /// behind its parts.
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

    /// The stage of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Where the stage of this name stands.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// The output of the network: its last stage.
    #[must_use]
    pub fn output(&self) -> Option<&Stage> {
        self.stages.last()
    }

    /// From the first to behind the last of the stages that `belongs` to. Empty, at the end, where it belongs to none.
    pub fn span(&self, belongs: impl Fn(&Stage) -> bool) -> Range<usize> {
        let first = self.stages.iter().position(&belongs);
        let last = self.stages.iter().rposition(&belongs);
        let end = self.stages.len();
        first.unwrap_or(end)..last.map_or(end, |last| last + 1)
    }

    /// The parts of the stage at `whole`, in order: the directions of an LSTM layer.
    pub fn parts(&self, whole: usize) -> impl Iterator<Item = &Stage> {
        let stages = self.stages.iter();
        stages.filter(move |stage| stage.part_of == Some(whole))
    }

    /// For each stage the last one that reads it: itself where none does.
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

    /// Every tensor that its stages use, once, in their order.
    #[must_use]
    pub fn tensors(&self) -> Vec<Expected> {
        let mut tensors: Vec<Expected> = Vec::new();
        for tensor in self.stages.iter().flat_map(|stage| &stage.parameters) {
            if !tensors.iter().any(|known| known.name == tensor.name) {
                tensors.push(tensor.clone());
            }
        }
        tensors
    }
}

impl Stage {
    /// The stage `name`, which computes `op` from `operands`: a layer of its own, in no larger stage, with the tensors that
    /// a PyTorch module of that name has.
    pub fn new(name: impl Into<String>, op: Op, axes: &[Axis], operands: &[Operand]) -> Self {
        let name = name.into();
        Self {
            layer: name.clone(),
            parameters: op.parameters(&name),
            name,
            op,
            operands: operands.to_vec(),
            axes: Axes::new(axes),
            part_of: None,
        }
    }

    /// Whether it is made of weights alone, whatever the input.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.operands.is_empty()
    }

    /// Whether it stands beside others in a larger stage.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.part_of.is_some()
    }
}

/// A graph under construction: each stage reads the one before unless it says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    stages: Vec<Stage>,
    layer: String,
}

impl Builder {
    /// The stages from here on belong to this layer.
    pub(crate) fn layer(&mut self, layer: impl Into<String>) {
        self.layer = layer.into();
    }

    /// Adds a stage that reads the one before, or the input.
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

    /// What the next stage reads unless it says otherwise.
    pub(crate) fn last(&self) -> Operand {
        let before = self.stages.len().checked_sub(1);
        before.map_or(Operand::Input, Operand::Stage)
    }

    /// The index that the next stage will have.
    pub(crate) fn next(&self) -> usize {
        self.stages.len()
    }

    /// The graph. A builder makes no mistakes: its operands are behind it.
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
    fn operands_come_before_and_wholes_behind() {
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
