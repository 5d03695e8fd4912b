//! The pipeline after the networks, stage by stage, from windows and embeddings to turns and their score: DER
//! attribution between two captured runs, and a self-test with injected faults.

mod attribution;
mod captured;
mod fault;
mod outputs;
mod self_test;

use serde::Serialize;
use soundalike_diarize::{clustering::Plda, frames::FrameGrid};

pub use self::{
    attribution::{Attribution, ShapeMismatch, Splice, SpliceOutcome, SpliceScore, attribute},
    captured::{CaptureError, CapturedRun},
    fault::PipelineFault,
    self_test::{PipelineCleanRun, PipelineSelfTest, PipelineTrial, try_faults},
};

/// A stage of the pipeline after the networks, in order of execution. The outputs of the networks are included where
/// they are first needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelineStage {
    /// Speaker activity in each window. The embeddings stay the reference's.
    Segmentation,
    /// Number of speakers at each frame.
    Counts,
    /// The frames of each local speaker that embeddings are pooled over.
    Masks,
    /// Embeddings of the local speakers.
    Embeddings,
    /// The local speakers that are clustered.
    Training,
    /// Their embeddings in the space of the PLDA.
    Plda,
    /// The initial clusters of VBx.
    Ahc,
    /// The result of VBx.
    Vbx,
    /// The cluster of each local speaker.
    Assignment,
    /// Active speakers at each frame of the recording.
    Reconstruction,
    /// The speaker turns.
    Turns,
    /// The error rate of the turns against the same turns with renamed speakers.
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

    /// The stages whose output can be replaced alone by that of another run.
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

/// Parameters of the reference pipeline.
#[derive(Debug, Clone)]
pub struct PipelineParameters {
    /// Distance at which the agglomerative clustering stops.
    pub threshold: f64,
    /// Fa of VBx: scale of the acoustic evidence.
    pub fa: f64,
    /// Fb of VBx: speaker regularisation.
    pub fb: f64,
    /// Shorter pauses are filled, seconds.
    pub min_duration_off: f64,
    /// The PLDA of VBx.
    pub plda: Plda,
    /// Frames of a recording.
    pub grid: FrameGrid,
    /// Frames of a window.
    pub frames: usize,
    /// Frames alone in a window that a local speaker needs to be embedded by those only.
    pub min_clean_frames: usize,
}
