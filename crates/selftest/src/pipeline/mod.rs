//! What comes after the networks, stage by stage, from windows and embeddings to turns and their score: how it is put
//! together from another run's outputs, and what is noticed of mistakes in it.

mod attribution;
mod captured;
mod fault;
mod outputs;
mod self_test;

use serde::Serialize;
use soundalike_diarize::{clustering::Plda, frames::FrameGrid};

pub use self::{
    attribution::{Attribution, Misfit, Outcome, Score, Splice, attribute},
    captured::{CaptureError, CapturedRun},
    fault::PipelineFault,
    self_test::{PipelineCleanRun, PipelineSelfTest, PipelineTrial, try_faults},
};

/// A stage of the pipeline after the networks, in order of execution. What the networks give stands among them where it
/// is first needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelineStage {
    /// Who speaks in each window. The embeddings stay the reference's.
    Segmentation,
    /// How many speak at each frame.
    Counts,
    /// By which frames each local speaker is heard.
    Masks,
    /// What the local speakers sound like.
    Embeddings,
    /// The local speakers whom clusters are made of.
    Training,
    /// Their embeddings in the space of the PLDA.
    Plda,
    /// The clusters that VBx starts from.
    Ahc,
    /// What VBx makes of them.
    Vbx,
    /// The cluster of each local speaker.
    Assignment,
    /// Who speaks at each frame of the recording.
    Reconstruction,
    /// Who speaks from when to when.
    Turns,
    /// The error rate of the turns against the same turns under other names.
    Score,
}

impl PipelineStage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Segmentation,
        Self::Counts,
        Self::Masks,
        Self::Embeddings,
        Self::Training,
        Self::Plda,
        Self::Ahc,
        Self::Vbx,
        Self::Assignment,
        Self::Reconstruction,
        Self::Turns,
        Self::Score,
    ];

    /// Those whose output another run's can take the place of, alone.
    pub const SPLICED: [Self; 7] = [
        Self::Segmentation,
        Self::Counts,
        Self::Embeddings,
        Self::Plda,
        Self::Ahc,
        Self::Vbx,
        Self::Assignment,
    ];

    /// Its name in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::Counts => "counts",
            Self::Masks => "masks",
            Self::Embeddings => "embeddings",
            Self::Training => "training set",
            Self::Plda => "PLDA",
            Self::Ahc => "AHC",
            Self::Vbx => "VBx",
            Self::Assignment => "assignment",
            Self::Reconstruction => "reconstruction",
            Self::Turns => "turns",
            Self::Score => "score",
        }
    }
}

/// How the reference clusters and what its frames are.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Distance at which the agglomerative clustering stops.
    pub threshold: f64,
    /// Weight of the evidence in VBx.
    pub fa: f64,
    /// What a speaker costs in VBx.
    pub fb: f64,
    /// Pauses shorter than this are filled, seconds.
    pub min_duration_off: f64,
    /// The space of VBx.
    pub plda: Plda,
    /// The frames of a recording.
    pub grid: FrameGrid,
    /// Frames of a window.
    pub frames: usize,
    /// Frames of a window in which a local speaker must talk alone to be heard by these only.
    pub min_alone: usize,
}
