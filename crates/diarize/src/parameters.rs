//! The parameters of a pipeline.

use serde::{Deserialize, Serialize};
use soundalike_convert::{Clustering, PipelineConfig};

use crate::{built_in::clustering::DEFAULT_THRESHOLD, segmentation::STEP_RATIO};

/// The parameters of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Step from one window to the next, as a fraction of the window: 0.1.
    pub segmentation_step: f64,
    /// Whether frames with overlapping speakers are excluded from the embeddings.
    pub embedding_exclude_overlap: bool,
    /// Shorter pauses of a speaker are filled, in seconds.
    pub min_duration_off: f64,
    /// How local speakers are clustered.
    pub clustering: SpeakerClustering,
}

/// How local speakers are clustered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SpeakerClustering {
    /// By their speaker embeddings, as in pyannote.
    Pyannote(Clustering),
    /// By the built-in embeddings.
    BuiltIn {
        /// Average cosine distance up to which clusters are merged, 0 to 2.
        built_in_threshold: f64,
    },
}

/// Values that replace those of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overrides {
    /// Distance at which the clustering stops.
    pub threshold: Option<f64>,
    /// VBx Fa: scale of the acoustic evidence.
    pub fa: Option<f64>,
    /// VBx Fb: speaker regularisation; a higher value finds fewer speakers.
    pub fb: Option<f64>,
    /// See [`Parameters::min_duration_off`].
    pub min_duration_off: Option<f64>,
    /// See [`Parameters::segmentation_step`].
    pub step: Option<f64>,
}

/// Why a parameter has an invalid value.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The value is out of range.
    #[error("{name} is {value}, expected {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The valid range.
        expected: &'static str,
    },
    /// The clustering has no such parameter.
    #[error("{name} is not a parameter of {clustering}")]
    Unused {
        /// The parameter.
        name: &'static str,
        /// The clustering.
        clustering: &'static str,
    },
}

impl Parameters {
    /// The defaults without a speaker embedding network.
    pub(crate) fn built_in() -> Self {
        Self {
            segmentation_step: STEP_RATIO,
            embedding_exclude_overlap: true,
            min_duration_off: 0.0,
            clustering: SpeakerClustering::BuiltIn {
                built_in_threshold: DEFAULT_THRESHOLD,
            },
        }
    }

    /// The same with `overrides` in place of their values.
    ///
    /// # Errors
    /// [`ParameterError`] if a value is out of range, or the clustering has no such parameter.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self, ParameterError> {
        let with = overrides;
        self.segmentation_step = with.step.unwrap_or(self.segmentation_step);
        self.min_duration_off = with.min_duration_off.unwrap_or(self.min_duration_off);
        let clustering = self.clustering.name();
        let mut own = self.clustering.values();
        let named = [
            ("threshold", with.threshold),
            ("fa", with.fa),
            ("fb", with.fb),
        ];
        for (name, value) in named {
            let Some(value) = value else { continue };
            let found = own.iter_mut().find(|(own, _)| *own == name);
            let (_, own) = found.ok_or(ParameterError::Unused { name, clustering })?;
            **own = value;
        }
        self.check()?;
        Ok(self)
    }

    /// Refuses values out of range.
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
            return refuse(
                "step",
                step,
                "a fraction of the window, above 0 and at most 1",
            );
        }
        if !(pause.is_finite() && pause >= 0.0) {
            return refuse("min-duration-off", pause, "0 seconds or more");
        }
        for (name, value) in self.clustering.clone().values() {
            let value = *value;
            if name == "threshold" && !(0.0..=2.0).contains(&value) {
                return refuse(name, value, "a distance from 0 to 2");
            }
            if name != "threshold" && !(value.is_finite() && value > 0.0) {
                return refuse(name, value, "a number above 0");
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
    /// pyannote's name of the class.
    fn name(&self) -> &'static str {
        match self {
            Self::Pyannote(Clustering::VBx { .. }) => "VBxClustering",
            Self::Pyannote(Clustering::Agglomerative { .. }) => "AgglomerativeClustering",
            Self::Pyannote(Clustering::KMeans {}) => "KMeansClustering",
            Self::Pyannote(Clustering::Oracle {}) => "OracleClustering",
            Self::BuiltIn { .. } => "the built-in clustering",
        }
    }

    /// The values that can be overridden, by name.
    fn values(&mut self) -> Vec<(&'static str, &mut f64)> {
        match self {
            Self::Pyannote(Clustering::VBx { threshold, fa, fb }) => {
                vec![("threshold", threshold), ("fa", fa), ("fb", fb)]
            }
            Self::Pyannote(Clustering::Agglomerative { threshold, .. })
            | Self::BuiltIn {
                built_in_threshold: threshold,
            } => vec![("threshold", threshold)],
            Self::Pyannote(Clustering::KMeans {} | Clustering::Oracle {}) => Vec::new(),
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
    fn overrides_change_only_their_own_values() {
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
    fn parameters_of_another_clustering_are_refused() {
        let overrides = Overrides {
            fb: Some(0.5),
            ..Overrides::default()
        };
        let error = Parameters::built_in().with(&overrides).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fb is not a parameter of the built-in clustering"
        );
    }

    #[test]
    fn values_out_of_range_are_refused() {
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
