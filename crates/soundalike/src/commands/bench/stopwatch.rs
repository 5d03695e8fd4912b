//! When each stage of a network was done.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use soundalike_model::{Probe, Result, Tensor};

/// Notes when a stage is shown, and looks at none of them, so that kernels need not bring what they have into the
/// layout of a tensor; but at the first and last of each network, so that all windows go through a stage before
/// they go through the next.
#[derive(Debug)]
pub(super) struct Stopwatch {
    started: Instant,
    /// Stages in the order of their last mention. A network asks what is looked at before it runs, too.
    mentioned: RefCell<Vec<(String, Instant)>>,
}

/// Stages that cost nothing to be shown.
const LOOKED_AT: [&str; 3] = ["sincnet.wav_norm1d", "activation", "fbank"];

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            mentioned: RefCell::default(),
        }
    }

    /// How long each stage took, in order, from the one before it.
    pub(super) fn stages(self) -> Vec<(String, Duration)> {
        let mut before = self.started;
        let mut stages = Vec::new();
        for (name, done) in self.mentioned.into_inner() {
            stages.push((name, done - before));
            before = done;
        }
        stages
    }

    fn mention(&self, name: &str) {
        let mut mentioned = self.mentioned.borrow_mut();
        mentioned.retain(|(mentioned, _)| mentioned != name);
        mentioned.push((name.to_owned(), Instant::now()));
    }
}

impl Probe for Stopwatch {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.mention(name);
        Ok(value)
    }

    fn looks_at(&self, name: &str) -> bool {
        self.mention(name);
        LOOKED_AT.contains(&name)
    }
}
