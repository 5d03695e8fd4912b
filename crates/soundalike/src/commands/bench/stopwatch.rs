//! The time of each stage of a network.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use soundalike_model::{Probe, Result, Tensor};
use soundalike_network::{Graph, Operand, Stage};

/// Notes when a stage is done. Looks at the first and the last stage only: kernels need not convert their values into
/// tensors, yet all windows go through a stage before the next one.
#[derive(Debug)]
pub(super) struct Stopwatch<'a> {
    graph: &'a Graph,
    started: Instant,
    /// Stages in the order of their last mention. A network queries the probe before it runs, too.
    mentioned: RefCell<Vec<(String, Instant)>>,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(graph: &'a Graph) -> Self {
        Self {
            graph,
            started: Instant::now(),
            mentioned: RefCell::default(),
        }
    }

    /// Time from the stage before to each stage, in order.
    pub(super) fn stages(self) -> Vec<(String, Duration)> {
        let mut before = self.started;
        let stages = self.mentioned.into_inner().into_iter();
        let times = stages.map(|(name, done)| (name, done - std::mem::replace(&mut before, done)));
        times.collect()
    }

    fn mention(&self, name: &str) {
        let mut mentioned = self.mentioned.borrow_mut();
        mentioned.retain(|(mentioned, _)| mentioned != name);
        mentioned.push((name.to_owned(), Instant::now()));
    }
}

impl Probe for Stopwatch<'_> {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.mention(name);
        Ok(value)
    }

    fn needs(&self, name: &str) -> bool {
        self.mention(name);
        let is_first = |stage: &Stage| stage.operands.contains(&Operand::Input);
        let output = self.graph.output();
        self.graph.get(name).is_some_and(is_first) || output.is_some_and(|last| last.name == name)
    }
}
