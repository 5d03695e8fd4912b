//! Multiply-adds of a network, by timed stage.

use std::collections::BTreeMap;

use soundalike_network::{Graph, InputShapes, Operand};

/// Multiply-adds of one window, by stage.
pub(super) type Costs = BTreeMap<String, usize>;

/// Costs of `graph` on `inputs`. A stage that is not among `timed` is computed with a later stage that reads it, and
/// counts there.
pub(super) fn of(graph: &Graph, inputs: InputShapes, timed: &[String]) -> Costs {
    let stages = graph.stages();
    let mut costs = Costs::new();
    let counts = graph.multiply_adds(inputs).unwrap_or_default();
    for (stage, adds) in counts.into_iter().enumerate() {
        let mut at = Some(stage);
        while let Some(index) = at.filter(|index| !timed.contains(&stages[*index].name)) {
            at = stages[index].part_of.or_else(|| {
                let reads = |next: &usize| stages[*next].operands.contains(&Operand::Stage(index));
                (index + 1..stages.len()).find(reads)
            });
        }
        if let Some(index) = at.filter(|_| adds > 0) {
            *costs.entry(stages[index].name.clone()).or_default() += adds;
        }
    }
    costs
}
