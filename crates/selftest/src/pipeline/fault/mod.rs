//! Mistakes that real ports made after the networks: each another way to compute one stage from those before it.

mod clustering;
mod counts;
mod inputs;
mod turns;

use serde::Serialize;
use soundalike_diarize::frames::FrameGrid;

use super::{PipelineStage, Setting, outputs::Outputs};
use crate::draft::{Draft, fault};

/// A mistake after the networks.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineFault {
    /// Its name on the command line.
    pub id: &'static str,
    /// What is wrong, in words.
    pub text: &'static str,
    /// Which real port had it, or one like it.
    pub seen_in: &'static str,
    /// The stage whose own output it changes.
    pub stage: PipelineStage,
    /// Why no turn changes, where none does although the stage changes.
    pub void: Option<&'static str>,
    /// Why the stage gives the same, where it is no fault at all.
    pub equivalent: Option<&'static str>,
    #[serde(skip)]
    change: Change,
}

/// Puts another output of the stage in the place of the right one, which is there already.
type Change = fn(&mut Outputs, &Setting);

impl Draft {
    /// Changes the output of `stage`.
    fn at(self, stage: PipelineStage, change: Change) -> PipelineFault {
        PipelineFault {
            id: self.id,
            text: self.text,
            seen_in: self.seen_in,
            stage,
            void: None,
            equivalent: None,
            change,
        }
    }
}

impl PipelineFault {
    /// All of them, in the order of the stages.
    #[must_use]
    pub fn catalogue() -> Vec<Self> {
        [
            inputs::segmentation(),
            counts::catalogue(),
            inputs::masks(),
            inputs::embeddings(),
            clustering::training(),
            clustering::clusters(),
            clustering::assignment(),
            turns::reconstruction(),
            turns::turns(),
        ]
        .concat()
    }

    pub(super) fn make(&self, outputs: &mut Outputs, setting: &Setting) {
        (self.change)(outputs, setting);
    }

    fn void(self, proof: &'static str) -> Self {
        let void = Some(proof);
        Self { void, ..self }
    }

    fn equivalent(self, proof: &'static str) -> Self {
        let equivalent = Some(proof);
        Self { equivalent, ..self }
    }
}

/// Windows that follow each other by whole frames, rounded down: 59 of them, where 59.26 make a second.
fn drifting(grid: &FrameGrid) -> FrameGrid {
    FrameGrid {
        window_step: (grid.window_step / grid.step).floor() * grid.step,
        ..*grid
    }
}
