//! Which stage of another diarization pipeline costs how much: DER attribution.
//!
//! The candidate's output of one stage takes the place of the reference's, what comes after is computed anew as
//! pyannote.audio computes it, and the result is scored against the reference's own. Only one stage is the
//! candidate's at a time, so the rate is that stage's doing.

use serde::Serialize;
use soundalike_metrics::{Annotation, Components, DiarizationErrorRate};

use super::{CapturedRun, PipelineStage, Setting, outputs::Outputs};

/// An output that does not fit the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("has the shape {found:?}, expected {expected:?}")]
pub struct Misfit {
    /// Its shape.
    pub found: Vec<usize>,
    /// The shape that fits.
    pub expected: Vec<usize>,
}

/// The errors of a diarization against the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Diarization error rate, without a collar.
    pub der: f64,
    /// What it is made of.
    #[serde(flatten)]
    pub components: Components,
    /// Speakers of the diarization.
    pub speakers: usize,
}

/// What one stage of the candidate costs.
#[derive(Debug, Clone, Serialize)]
pub struct Splice {
    /// The stage.
    pub stage: PipelineStage,
    /// Its score.
    pub outcome: Outcome,
}

/// What came of a splice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The errors.
    Score(Score),
    /// The output of the candidate does not fit.
    Misfit(Misfit),
    /// The candidate lacks the stage.
    NotCaptured,
}

/// What each stage of a candidate costs.
#[derive(Debug, Clone, Serialize)]
pub struct Attribution {
    /// Speakers of the reference.
    pub speakers: usize,
    /// One for each stage, in order of execution.
    pub splices: Vec<Splice>,
}

/// Puts each stage of `candidate` into `reference`, which must have at least its segmentation and embeddings.
///
/// # Errors
/// Where the reference does not fit together.
pub fn attribute(
    reference: &CapturedRun,
    candidate: &CapturedRun,
    setting: &Setting,
) -> Result<Attribution, Misfit> {
    let own = turns(reference, None, setting)?;
    let splice = |stage: PipelineStage| {
        let outcome = if !candidate.has(stage) {
            Outcome::NotCaptured
        } else {
            match turns(reference, Some((stage, candidate)), setting) {
                Ok(spliced) => Outcome::Score(score(&own, &spliced)),
                Err(misfit) => Outcome::Misfit(misfit),
            }
        };
        Splice { stage, outcome }
    };
    Ok(Attribution {
        speakers: own.labels().len(),
        splices: PipelineStage::SPLICED.map(splice).into(),
    })
}

fn score(reference: &Annotation, hypothesis: &Annotation) -> Score {
    let components = DiarizationErrorRate::default().components(reference, hypothesis, None);
    Score {
        der: components.rate(),
        components,
        speakers: hypothesis.labels().len(),
    }
}

/// The turns of `reference`, with one stage of another run. What follows that stage is computed anew, and so is what was
/// not captured.
fn turns(
    reference: &CapturedRun,
    spliced: Option<(PipelineStage, &CapturedRun)>,
    setting: &Setting,
) -> Result<Annotation, Misfit> {
    let mut outputs = Outputs::default();
    // They have an error rate, and nobody is heard anew.
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
    /// The stages whose captured outputs are others with that of this one. (Embeddings stay as they are: nobody listens
    /// again.)
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
