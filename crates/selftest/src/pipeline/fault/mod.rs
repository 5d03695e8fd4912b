//! Faults after the networks, as real ports had them: each computes one stage in another way.

mod clustering;
mod counts;
mod inputs;
mod turns;

use serde::Serialize;
use soundalike_diarize::frames::FrameGrid;

use super::{PipelineParameters, PipelineStage, outputs::Outputs};
use crate::draft::{Draft, fault};

/// A fault after the networks.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineFault {
    /// Its id on the command line.
    pub id: &'static str,
    /// What is wrong, in words.
    pub text: &'static str,
    /// The real port that had it or a similar fault.
    pub seen_in: &'static str,
    /// The stage whose own output changes.
    pub stage: PipelineStage,
    /// Why no turn changes although the stage does, if so.
    pub void: Option<&'static str>,
    /// Why the stage does not change, if it is an equivalent mutant.
    pub equivalent: Option<&'static str>,
    #[serde(skip)]
    change: Change,
}

/// Replaces the output of the stage, which has been computed correctly.
type Change = fn(&mut Outputs, &PipelineParameters);

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

    pub(super) fn make(&self, outputs: &mut Outputs, setting: &PipelineParameters) {
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

/// Windows with a step of whole frames, rounded down: 59 frames instead of 59.26, for a second.
fn drifting(grid: &FrameGrid) -> FrameGrid {
    FrameGrid {
        window_step: (grid.window_step / grid.step).floor() * grid.step,
        ..*grid
    }
}
