//! The three scorers people trust, and what each would say.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{
    Annotation, DiarizationErrorRate, Jaccard, Mapping, Scope, Score, Timeline, dscore, jaccard,
    md_eval,
};

/// Whose definition of the diarization error rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// pyannote.metrics 4: a collar is the whole width; speakers are mapped on what is scored; the UEM
    /// defaults to the extent of both sides; overlapping turns of one speaker count several times.
    #[default]
    Pyannote,
    /// NIST md-eval 22: a collar is on each side; speakers are mapped before collars and overlap are taken
    /// out; the UEM defaults to the extent of the reference; a speaker speaks once.
    MdEval,
    /// dscore 1.1: md-eval on turns that were cut to the UEM (the extent of both sides by default), joined per
    /// speaker and rounded to milliseconds.
    Dscore,
}

impl Convention {
    /// All of them, the default first.
    pub const ALL: [Convention; 3] = [Convention::Pyannote, Convention::MdEval, Convention::Dscore];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pyannote => "pyannote",
            Self::MdEval => "md-eval",
            Self::Dscore => "dscore",
        }
    }

    /// Seconds on each side of a boundary that a collar of `collar` seconds means.
    pub fn collar_per_side(self, collar: f64) -> f64 {
        match self {
            Self::Pyannote => 0.5 * collar,
            Self::MdEval | Self::Dscore => collar,
        }
    }

    /// Scores one recording as the original would.
    pub fn score(
        self,
        options: Options,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Verdict {
        let Options {
            collar,
            skip_overlap,
            mapping,
        } = options;
        let collar = if collar > 0.0 { collar } else { 0.0 };
        match self {
            Self::Pyannote => {
                let score = DiarizationErrorRate {
                    collar,
                    skip_overlap,
                    mapping,
                }
                .score(reference, hypothesis, uem);
                let jaccard = jaccard(
                    Scope {
                        collar,
                        skip_overlap,
                    },
                    reference,
                    hypothesis,
                    uem,
                );
                let rate = Some(score.components.rate());
                Verdict {
                    convention: self,
                    score,
                    rate,
                    jaccard: Some(jaccard),
                    jaccard_rate: Some(jaccard.rate()),
                }
            }
            Self::MdEval => {
                let score = md_eval::score(reference, hypothesis, collar, skip_overlap, uem);
                let rate = (score.components.total > 0.0).then(|| score.components.rate());
                Verdict {
                    convention: self,
                    score,
                    rate,
                    jaccard: None,
                    jaccard_rate: None,
                }
            }
            Self::Dscore => {
                let dscore = dscore::score(reference, hypothesis, collar, skip_overlap, uem);
                Verdict {
                    convention: self,
                    score: dscore.score,
                    rate: dscore.rate,
                    jaccard: Some(dscore.jaccard),
                    jaccard_rate: Some(dscore.jaccard_rate),
                }
            }
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

/// What a scorer is told besides the files.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Options {
    /// Seconds, in the unit of the convention: see [`Convention::collar_per_side`].
    pub collar: f64,
    /// Regions with two or more reference turns are not scored.
    pub skip_overlap: bool,
    /// How speakers are mapped; only pyannote's has a choice.
    pub mapping: Mapping,
}

/// What one scorer says about one recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Who says it.
    pub convention: Convention,
    /// Seconds and mapping.
    pub score: Score,
    /// Diarization error rate. None where the original prints none: md-eval leaves out a recording without
    /// reference speech, and stops (dscore with it) where collars and overlap leave no speech to score.
    pub rate: Option<f64>,
    /// Sum and number of the speakers' Jaccard error rates; md-eval has none.
    pub jaccard: Option<Jaccard>,
    /// Jaccard error rate of this recording.
    pub jaccard_rate: Option<f64>,
}
