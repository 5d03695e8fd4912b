//! The outputs that later stages still read.

use std::collections::BTreeMap;

use soundalike_network::{Graph, Operand};

/// Outputs of stages, each kept until its last reader has run.
#[derive(Debug)]
pub struct Operands<T> {
    graph: Graph,
    last_readers: Vec<usize>,
    values: BTreeMap<usize, T>,
}

impl<T> Operands<T> {
    /// Of the stages of `graph`, none yet.
    #[must_use]
    pub fn new(graph: Graph) -> Self {
        Self {
            last_readers: graph.last_readers(),
            values: BTreeMap::new(),
            graph,
        }
    }

    /// The stages.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Keeps the output of the stage `name`, and drops those that no later stage reads.
    pub fn keep(&mut self, name: &str, value: T) {
        let Some(index) = self.graph.position(name) else {
            return;
        };
        self.values
            .retain(|kept, _| self.last_readers[*kept] > index);
        if self.last_readers[index] > index {
            self.values.insert(index, value);
        }
    }

    /// The operands of the stage `name`, in order, with the outputs that were kept. Empty where the graph has no such stage.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<(Operand, Option<&T>)> {
        let stage = self.graph.get(name);
        let operands = stage.into_iter().flat_map(|stage| &stage.operands);
        let kept = |operand: &Operand| match operand {
            Operand::Stage(index) => (*operand, self.values.get(index)),
            Operand::Input | Operand::Masks => (*operand, None),
        };
        operands.map(kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use soundalike_network::{Axes, Axis, Op, Stage};

    use super::*;

    #[test]
    fn an_output_is_dropped_after_its_last_reader() {
        let stage = |name: &str, operands: &[Operand]| Stage {
            name: name.into(),
            layer: name.into(),
            op: Op::Other(String::new()),
            parameters: Vec::new(),
            operands: operands.to_vec(),
            axes: Axes::new(&[Axis::Feature]),
            part_of: None,
        };
        // Far more stages between an output and its last reader than any block has.
        let mut stages = vec![stage("first", &[Operand::Input])];
        for index in 0..40 {
            stages.push(stage(&format!("s{index}"), &[Operand::Stage(index)]));
        }
        stages.push(stage("sum", &[Operand::Stage(40), Operand::Stage(0)]));
        let graph = Graph::new(stages.clone()).unwrap();
        let mut kept = Operands::new(graph);
        assert_eq!(kept.of("first"), [(Operand::Input, None)]);
        for (value, stage) in stages[..41].iter().enumerate() {
            kept.keep(&stage.name, value);
            assert!(kept.values.len() <= 2, "{:?}", kept.values);
        }
        let sum = [
            (Operand::Stage(40), Some(&40)),
            (Operand::Stage(0), Some(&0)),
        ];
        assert_eq!(kept.of("sum"), sum);
        kept.keep("sum", 41);
        assert!(kept.values.is_empty());
    }
}
