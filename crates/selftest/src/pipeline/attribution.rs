//! DER attribution: the cost of each stage of another diarization pipeline.
//!
//! The candidate's output of one stage replaces the reference's. The stages after it are recomputed like those of
//! pyannote.audio, and the result is scored against the reference's own. Only one stage is replaced at a time, so the
//! error rate is the cost of that stage.

use serde::Serialize;
use soundalike_metrics::{Annotation, Components, DiarizationErrorRate};

use super::{CapturedRun, PipelineParameters, PipelineStage, outputs::Outputs};

/// An output whose shape does not fit the reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("has the shape {found:?}, expected {expected:?}")]
pub struct ShapeMismatch {
    /// Its shape.
    pub found: Vec<usize>,
    /// The expected shape.
    pub expected: Vec<usize>,
}

/// The error rate of a diarization against the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpliceScore {
    /// Diarization error rate, without a collar.
    pub der: f64,
    /// Its components.
    #[serde(flatten)]
    pub components: Components,
    /// Speakers of the diarization.
    pub speakers: usize,
}

/// The cost of one stage of the candidate.
#[derive(Debug, Clone, Serialize)]
pub struct Splice {
    /// The stage.
    pub stage: PipelineStage,
    /// The result.
    pub outcome: SpliceOutcome,
}

/// The result of a splice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpliceOutcome {
    /// The error rate.
    Score(SpliceScore),
    /// The output of the candidate has another shape.
    Misfit(ShapeMismatch),
    /// The candidate has no capture of the stage.
    NotCaptured,
}

/// The cost of each stage of a candidate.
#[derive(Debug, Clone, Serialize)]
pub struct Attribution {
    /// Speakers of the reference.
    pub speakers: usize,
    /// One for each stage, in order of execution.
    pub splices: Vec<Splice>,
}

/// Splices each stage of `candidate` into `reference`, which needs a segmentation and embeddings.
///
/// # Errors
/// [`ShapeMismatch`] if the outputs of the reference do not fit each other.
pub fn attribute(
    reference: &CapturedRun,
    candidate: &CapturedRun,
    setting: &PipelineParameters,
) -> Result<Attribution, ShapeMismatch> {
    let own = turns(reference, None, setting)?;
    let splice = |stage: PipelineStage| {
        let outcome = if !candidate.has(stage) {
            SpliceOutcome::NotCaptured
        } else {
            match turns(reference, Some((stage, candidate)), setting) {
                Ok(spliced) => SpliceOutcome::Score(score(&own, &spliced)),
                Err(misfit) => SpliceOutcome::Misfit(misfit),
            }
        };
        Splice { stage, outcome }
    };
    Ok(Attribution {
        speakers: own.labels().len(),
        splices: PipelineStage::SPLICED.map(splice).into(),
    })
}

fn score(reference: &Annotation, hypothesis: &Annotation) -> SpliceScore {
    let components = DiarizationErrorRate::default().components(reference, hypothesis, None);
    SpliceScore {
        der: components.rate(),
        components,
        speakers: hypothesis.labels().len(),
    }
}

/// The turns of `reference` with one stage of another run. Stages that depend on it are recomputed, and so are stages
/// without a capture.
fn turns(
    reference: &CapturedRun,
    spliced: Option<(PipelineStage, &CapturedRun)>,
    setting: &PipelineParameters,
) -> Result<Annotation, ShapeMismatch> {
    let mut outputs = Outputs::default();
    // The turns have an error rate of their own, and embeddings are not recomputed.
    let unneeded = [PipelineStage::Masks, PipelineStage::Score];
    for stage in PipelineStage::ALL {
        match spliced {
            _ if unneeded.contains(&stage) => continue,
            Some((spliced, run)) if spliced == stage => outputs.take(stage, &run.outputs),
            Some((spliced, _)) if spliced.feeds().contains(&stage) => {
                outputs.compute(stage, setting);
            }
            _ if reference.has(stage) => outputs.take(stage, &reference.outputs),
            _ => outputs.compute(stage, setting),
        }
        outputs.check(stage, setting, reference.size())?;
    }
    Ok(outputs.turns)
}

impl PipelineStage {
    /// The captured stages that depend on this one. Embeddings are not recomputed and do not count.
    fn feeds(self) -> &'static [Self] {
        match self {
            Self::Segmentation => &[
                Self::Counts,
                Self::Plda,
                Self::Ahc,
                Self::Vbx,
                Self::Assignment,
            ],
            Self::Embeddings => &[Self::Plda, Self::Ahc, Self::Vbx, Self::Assignment],
            Self::Plda | Self::Ahc => &[Self::Vbx, Self::Assignment],
            Self::Vbx => &[Self::Assignment],
            _ => &[],
        }
    }
}
