//! The conventions of three scorers.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{
    Annotation, DiarizationErrorRate, Jaccard, Mapping, Scope, Score, Timeline, dscore, jaccard,
    md_eval,
};

/// The scorer whose definition of the diarization error rate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// pyannote.metrics 4: a collar is the whole width; speakers are mapped on the scored regions; the UEM defaults to the
    /// extent of both sides; overlapping turns of one speaker count several times.
    #[default]
    Pyannote,
    /// NIST md-eval 22: a collar is on each side; speakers are mapped before collars and overlap are removed; the UEM
    /// defaults to the extent of the reference; overlapping turns of one speaker count once.
    MdEval,
    /// dscore 1.1: md-eval on turns that are cropped to the UEM (by default the extent of both sides), joined per speaker
    /// and rounded to milliseconds.
    Dscore,
}

impl Convention {
    /// All conventions, the default first.
    pub const ALL: [Convention; 3] = [Convention::Pyannote, Convention::MdEval, Convention::Dscore];

    /// The name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pyannote => "pyannote",
            Self::MdEval => "md-eval",
            Self::Dscore => "dscore",
        }
    }

    /// Seconds on each side of a boundary under a collar of `collar` seconds.
    #[must_use]
    pub fn collar_per_side(self, collar: f64) -> f64 {
        match self {
            Self::Pyannote => 0.5 * collar,
            Self::MdEval | Self::Dscore => collar,
        }
    }

    /// Scores one recording as the original does.
    #[must_use]
    pub fn score(
        self,
        options: ScoreOptions,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> ConventionScore {
        let ScoreOptions {
            collar,
            skip_overlap,
            mapping,
        } = options;
        let collar = if collar > 0.0 { collar } else { 0.0 };
        let (score, rate, jaccard) = match self {
            Self::Pyannote => {
                let der = DiarizationErrorRate {
                    collar,
                    skip_overlap,
                    mapping,
                };
                let scope = Scope {
                    collar,
                    skip_overlap,
                };
                let score = der.score(reference, hypothesis, uem);
                let rate = Some(score.components.rate());
                let jaccard = jaccard(scope, reference, hypothesis, uem);
                (score, rate, Some((jaccard, jaccard.rate())))
            }
            Self::MdEval => {
                let score = md_eval::score(reference, hypothesis, collar, skip_overlap, uem);
                let rate = score.components.rate_of_speech();
                (score, rate, None)
            }
            Self::Dscore => {
                let (score, rate, jaccard) =
                    dscore::score(reference, hypothesis, collar, skip_overlap, uem);
                (score, rate, Some(jaccard))
            }
        };
        ConventionScore {
            convention: self,
            score,
            rate,
            jaccard: jaccard.map(|(sum, _)| sum),
            jaccard_rate: jaccard.map(|(_, rate)| rate),
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Convention {
    type Err = UnknownConvention;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|c| c.name() == name)
            .ok_or_else(|| UnknownConvention(name.to_owned()))
    }
}

/// A name that is none of [`Convention::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown convention `{0}`, expected pyannote, md-eval or dscore")]
pub struct UnknownConvention(pub String);

/// Scoring options.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ScoreOptions {
    /// Seconds, in the unit of the convention: see [`Convention::collar_per_side`].
    pub collar: f64,
    /// Regions with two or more reference turns are not scored.
    pub skip_overlap: bool,
    /// How speakers are mapped; only pyannote's convention has a choice.
    pub mapping: Mapping,
}

/// The score of one recording under one convention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConventionScore {
    /// The convention.
    pub convention: Convention,
    /// Seconds and mapping.
    pub score: Score,
    /// Diarization error rate. None where the original prints none: md-eval skips a recording without reference speech, and
    /// fails (dscore with it) where collars and overlap leave no speech to score.
    pub rate: Option<f64>,
    /// Sum and number of the speakers' Jaccard error rates; md-eval has none.
    pub jaccard: Option<Jaccard>,
    /// Jaccard error rate of this recording.
    pub jaccard_rate: Option<f64>,
}
