//! The numbers that decide how a recording is diarized.

use serde::{Deserialize, Serialize};
use soundalike_convert::{Clustering, PipelineConfig};

use crate::{built_in::clustering::DEFAULT_THRESHOLD, segmentation::STEP_RATIO};

/// The numbers that decide how a recording is diarized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Time between two windows, in multiples of their length: 0.1.
    pub segmentation_step: f64,
    /// Whether embeddings leave out what is spoken while someone else speaks.
    pub embedding_exclude_overlap: bool,
    /// Pauses of one speaker shorter than this are filled, in seconds.
    pub min_duration_off: f64,
    /// How local speakers become speakers.
    pub clustering: SpeakerClustering,
}

/// How local speakers become speakers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SpeakerClustering {
    /// By their speaker embeddings, as in pyannote.
    Pyannote(Clustering),
    /// By the [built-in embeddings](crate::built_in).
    BuiltIn {
        /// Average cosine distance up to which clusters of local speakers are joined, 0 to 2.
        built_in_threshold: f64,
    },
}

/// Values that a caller wants in place of those of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overrides {
    /// Of the clustering: the distance at which it stops.
    pub threshold: Option<f64>,
    /// Of VBx: weight of the acoustic evidence.
    pub fa: Option<f64>,
    /// Of VBx: how much is asked of a speaker to exist.
    pub fb: Option<f64>,
    /// See [`Parameters::min_duration_off`].
    pub min_duration_off: Option<f64>,
    /// See [`Parameters::segmentation_step`].
    pub step: Option<f64>,
}

/// Why a parameter cannot have a value.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// Nothing can be computed with it.
    #[error("{name} is {value}, expected {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it can be.
        expected: &'static str,
    },
    /// The clustering has no such parameter.
    #[error("{name} means nothing to {clustering}")]
    Unused {
        /// The parameter.
        name: &'static str,
        /// The clustering.
        clustering: &'static str,
    },
}

impl Parameters {
    /// Those of the pipeline without a speaker embedding network.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            segmentation_step: STEP_RATIO,
            embedding_exclude_overlap: true,
            min_duration_off: 0.0,
            clustering: SpeakerClustering::BuiltIn {
                built_in_threshold: DEFAULT_THRESHOLD,
            },
        }
    }

    /// The same with other values.
    ///
    /// # Errors
    /// [`ParameterError`] where nothing can be computed with them, or the clustering does not have them.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self, ParameterError> {
        let set =
            |parameter: &mut f64, value: Option<f64>| *parameter = value.unwrap_or(*parameter);
        set(&mut self.segmentation_step, overrides.step);
        set(&mut self.min_duration_off, overrides.min_duration_off);
        let Overrides {
            mut threshold,
            mut fa,
            mut fb,
            ..
        } = *overrides;
        let name = self.clustering.name();
        match &mut self.clustering {
            SpeakerClustering::Pyannote(Clustering::VBx {
                threshold: of_ahc,
                fa: of_vbx,
                fb: of_speakers,
            }) => {
                set(of_ahc, threshold.take());
                set(of_vbx, fa.take());
                set(of_speakers, fb.take());
            }
            SpeakerClustering::Pyannote(Clustering::Agglomerative {
                threshold: stop, ..
            })
            | SpeakerClustering::BuiltIn {
                built_in_threshold: stop,
            } => set(stop, threshold.take()),
            SpeakerClustering::Pyannote(Clustering::KMeans {} | Clustering::Oracle {}) => {}
        }
        for (parameter, unused) in [("threshold", threshold), ("fa", fa), ("fb", fb)] {
            if unused.is_some() {
                return Err(ParameterError::Unused {
                    name: parameter,
                    clustering: name,
                });
            }
        }
        self.check()?;
        Ok(self)
    }

    /// Refuses numbers with which nothing can be computed.
    pub(crate) fn check(&self) -> Result<(), ParameterError> {
        let refuse = |name, value, expected| {
            Err(ParameterError::Value {
                name,
                value,
                expected,
            })
        };
        let (step, pause) = (self.segmentation_step, self.min_duration_off);
        if !(step > 0.0 && step <= 1.0) {
            return refuse("step", step, "a part of a window, above 0 and at most 1");
        }
        if !(pause.is_finite() && pause >= 0.0) {
            return refuse("min-duration-off", pause, "0 seconds or more");
        }
        let (threshold, weights) = match self.clustering {
            SpeakerClustering::Pyannote(Clustering::VBx { threshold, fa, fb }) => {
                (Some(threshold), vec![("fa", fa), ("fb", fb)])
            }
            SpeakerClustering::Pyannote(Clustering::Agglomerative { threshold, .. })
            | SpeakerClustering::BuiltIn {
                built_in_threshold: threshold,
            } => (Some(threshold), Vec::new()),
            SpeakerClustering::Pyannote(Clustering::KMeans {} | Clustering::Oracle {}) => {
                (None, Vec::new())
            }
        };
        if let Some(threshold) = threshold
            && !(0.0..=2.0).contains(&threshold)
        {
            return refuse("threshold", threshold, "a distance from 0 to 2");
        }
        for (name, weight) in weights {
            if !(weight.is_finite() && weight > 0.0) {
                return refuse(name, weight, "a number above 0");
            }
        }
        Ok(())
    }
}

impl From<&PipelineConfig> for Parameters {
    fn from(config: &PipelineConfig) -> Self {
        Self {
            segmentation_step: config.segmentation_step,
            embedding_exclude_overlap: config.embedding_exclude_overlap,
            min_duration_off: config.min_duration_off,
            clustering: SpeakerClustering::Pyannote(config.clustering.clone()),
        }
    }
}

impl SpeakerClustering {
    /// As pyannote calls it.
    fn name(&self) -> &'static str {
        match self {
            Self::Pyannote(Clustering::VBx { .. }) => "VBxClustering",
            Self::Pyannote(Clustering::Agglomerative { .. }) => "AgglomerativeClustering",
            Self::Pyannote(Clustering::KMeans {}) => "KMeansClustering",
            Self::Pyannote(Clustering::Oracle {}) => "OracleClustering",
            Self::BuiltIn { .. } => "the built-in clustering",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vbx() -> Parameters {
        Parameters {
            clustering: SpeakerClustering::Pyannote(Clustering::VBx {
                threshold: 0.6,
                fa: 0.07,
                fb: 0.8,
            }),
            ..Parameters::built_in()
        }
    }

    #[test]
    fn overrides_change_what_they_name_and_nothing_else() {
        let overrides = Overrides {
            fa: Some(0.1),
            step: Some(0.25),
            ..Overrides::default()
        };
        let expected = Parameters {
            segmentation_step: 0.25,
            clustering: SpeakerClustering::Pyannote(Clustering::VBx {
                threshold: 0.6,
                fa: 0.1,
                fb: 0.8,
            }),
            ..vbx()
        };
        assert_eq!(vbx().with(&overrides), Ok(expected));
        assert_eq!(vbx().with(&Overrides::default()), Ok(vbx()));
    }

    #[test]
    fn what_the_clustering_does_not_have_is_refused() {
        let overrides = Overrides {
            fb: Some(0.5),
            ..Overrides::default()
        };
        let error = Parameters::built_in().with(&overrides).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fb means nothing to the built-in clustering"
        );
    }

    #[test]
    fn numbers_with_which_nothing_can_be_computed_are_refused() {
        let none = Overrides::default();
        for (name, overrides) in [
            (
                "threshold",
                Overrides {
                    threshold: Some(2.5),
                    ..none
                },
            ),
            (
                "threshold",
                Overrides {
                    threshold: Some(f64::NAN),
                    ..none
                },
            ),
            (
                "fa",
                Overrides {
                    fa: Some(0.0),
                    ..none
                },
            ),
            (
                "fb",
                Overrides {
                    fb: Some(f64::INFINITY),
                    ..none
                },
            ),
            (
                "min-duration-off",
                Overrides {
                    min_duration_off: Some(-1.0),
                    ..none
                },
            ),
            (
                "step",
                Overrides {
                    step: Some(0.0),
                    ..none
                },
            ),
            (
                "step",
                Overrides {
                    step: Some(1.5),
                    ..none
                },
            ),
        ] {
            let error = vbx().with(&overrides).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is ")), "{error}");
        }
    }

    #[test]
    fn parameters_survive_json() {
        for parameters in [vbx(), Parameters::built_in()] {
            let json = serde_json::to_string(&parameters).unwrap();
            assert_eq!(
                serde_json::from_str::<Parameters>(&json).unwrap(),
                parameters,
                "{json}"
            );
        }
    }
}
