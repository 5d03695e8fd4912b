//! Another engine's names for our stages.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;

use crate::toml_file;

/// Which entry of somebody else's trace is which stage: `"their name" = "ours"`, or where their axes are in
/// another order, `"their name" = { name = "ours", transpose = [0, 2, 1] }`. Entries that it does not name are
/// taken under their own name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    origin: String,
    targets: BTreeMap<String, Target>,
}

/// A stage, and how to get there.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a stage, or { name = \"stage\", transpose = [0, 2, 1] }; names with dots need quotes"
)]
enum Target {
    /// Its values are the stage's.
    Same(String),
    /// Its axes are in another order.
    Turned(Turned),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turned {
    name: String,
    /// As in `numpy.transpose`: axis `i` of ours is axis `transpose[i]` of theirs.
    transpose: Vec<usize>,
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Self::Same(name) | Self::Turned(Turned { name, .. }) => name,
        }
    }

    fn transpose(&self) -> Option<&[usize]> {
        match self {
            Self::Same(_) => None,
            Self::Turned(turned) => Some(&turned.transpose),
        }
    }
}

/// What is wrong with a map of names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// Not TOML, or not such a map.
    #[error("{origin}: line {line}: is not a map of names: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// Two entries for one stage.
    #[error("{origin}: `{first}` and `{second}` are both to be `{stage}`; one stage has one entry")]
    Doubled {
        /// The file.
        origin: String,
        /// Their first name.
        first: String,
        /// Their second name.
        second: String,
        /// Ours.
        stage: String,
    },
    /// A transpose that loses or doubles an axis.
    #[error(
        "{origin}: the transpose {found:?} of `{entry}` is not an order of the axes 0 to {last}"
    )]
    NotAPermutation {
        /// The file.
        origin: String,
        /// Their name.
        entry: String,
        /// What the file says.
        found: Vec<usize>,
        /// Number of the last axis.
        last: usize,
    },
    /// An entry of another number of axes than its transpose.
    #[error("{origin}: `{entry}` has shape {shape:?}, and its transpose {transpose:?} other axes")]
    Axes {
        /// The file.
        origin: String,
        /// Their name.
        entry: String,
        /// Shape of the array.
        shape: Vec<usize>,
        /// What the file says.
        transpose: Vec<usize>,
    },
    /// An entry that is not in the trace.
    #[error("{origin}: names `{entry}`, which {trace} does not have; it has {found}")]
    Missing {
        /// The file.
        origin: String,
        /// Their name.
        entry: String,
        /// The trace.
        trace: String,
        /// The names in the trace, as many as a line holds.
        found: String,
    },
    /// A stage that the reference does not have.
    #[error(
        "{origin}: `{entry}` is to be `{stage}`, which the reference does not have; `soundalike inspect` lists the stages of its trace"
    )]
    Unknown {
        /// The file.
        origin: String,
        /// Their name.
        entry: String,
        /// Ours.
        stage: String,
    },
}

/// Names of a trace that an error shows.
const SHOWN: usize = 8;

impl Names {
    /// Reads the text of a map; `origin` names it in errors.
    ///
    /// # Errors
    /// [`NamesError`] where it is no map, names a stage twice, or has a transpose that is none.
    pub fn parse(text: &str, origin: &str) -> Result<Self, NamesError> {
        let targets: BTreeMap<String, Target> =
            toml_file::parse(text).map_err(|(line, message)| NamesError::Syntax {
                origin: origin.to_owned(),
                line,
                message,
            })?;
        let mut entries = BTreeMap::new();
        for (entry, target) in &targets {
            if let Some(first) = entries.insert(target.name(), entry) {
                return Err(NamesError::Doubled {
                    origin: origin.to_owned(),
                    first: first.clone(),
                    second: entry.clone(),
                    stage: target.name().to_owned(),
                });
            }
            let Some(axes) = target.transpose() else {
                continue;
            };
            let mut sorted = axes.to_vec();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..axes.len()) {
                return Err(NamesError::NotAPermutation {
                    origin: origin.to_owned(),
                    entry: entry.clone(),
                    found: axes.to_vec(),
                    last: axes.len().saturating_sub(1),
                });
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            targets,
        })
    }

    /// Which stage each of the entries `found` in `trace` is; the rest is left out.
    ///
    /// # Errors
    /// [`NamesError`] where an entry that the map names is not there, or one that it does not name has the name
    /// of a stage that another entry is to be.
    pub(crate) fn stages(
        &self,
        found: &[String],
        trace: &str,
    ) -> Result<Vec<(String, String)>, NamesError> {
        if let Some(entry) = self.targets.keys().find(|entry| !found.contains(entry)) {
            let mut names: Vec<_> = found
                .iter()
                .take(SHOWN)
                .map(|name| format!("`{name}`"))
                .collect();
            if found.len() > SHOWN {
                names.push(format!("{} more", found.len() - SHOWN));
            }
            return Err(NamesError::Missing {
                origin: self.origin.clone(),
                entry: entry.clone(),
                trace: trace.to_owned(),
                found: names.join(", "),
            });
        }
        let mut stages = Vec::new();
        for entry in found {
            let Some(target) = self.targets.get(entry) else {
                // Floors and what else is no stage has a slash in its name.
                if entry.contains('/') || NOT_STAGES.contains(&entry.as_str()) {
                    continue;
                }
                if let Some((other, _)) = self.targets.iter().find(|(_, t)| t.name() == entry) {
                    return Err(NamesError::Doubled {
                        origin: self.origin.clone(),
                        first: other.clone(),
                        second: entry.clone(),
                        stage: entry.clone(),
                    });
                }
                stages.push((entry.clone(), entry.clone()));
                continue;
            };
            stages.push((entry.clone(), target.name().to_owned()));
        }
        Ok(stages)
    }

    /// `values` of `entry` with the axes in our order.
    ///
    /// # Errors
    /// [`NamesError::Axes`] where it has another number of axes.
    pub(crate) fn turned(
        &self,
        entry: &str,
        values: ArrayD<f64>,
    ) -> Result<ArrayD<f64>, NamesError> {
        let Some(axes) = self.targets.get(entry).and_then(Target::transpose) else {
            return Ok(values);
        };
        if axes.len() != values.ndim() {
            return Err(NamesError::Axes {
                origin: self.origin.clone(),
                entry: entry.to_owned(),
                shape: values.shape().to_vec(),
                transpose: axes.to_vec(),
            });
        }
        Ok(values
            .permuted_axes(IxDyn(axes))
            .as_standard_layout()
            .into_owned())
    }

    /// Checks that every stage of the map is one of `stages`, those of the reference.
    ///
    /// # Errors
    /// [`NamesError::Unknown`] where one is not.
    pub fn check(&self, stages: &[String]) -> Result<(), NamesError> {
        let unknown = self
            .targets
            .iter()
            .find(|(_, target)| !stages.iter().any(|stage| stage == target.name()));
        match unknown {
            None => Ok(()),
            Some((entry, target)) => Err(NamesError::Unknown {
                origin: self.origin.clone(),
                entry: entry.clone(),
                stage: target.name().to_owned(),
            }),
        }
    }
}

/// Entries of a trace that are no stages.
const NOT_STAGES: [&str; 3] = ["manifest", "waveform", "masks"];

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn refusal(text: &str) -> String {
        Names::parse(text, "names.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_map_names_each_stage_once_and_keeps_every_axis() {
        for (text, part) in [
            (
                "\"a\" = \"lstm.0\"\n\"b\" = \"lstm.0\"",
                "`a` and `b` are both to be `lstm.0`",
            ),
            (
                "a = { name = \"lstm.0\", transpose = [0, 2, 2] }",
                "[0, 2, 2] of `a` is not an order of the axes 0 to 2",
            ),
            ("a = { name = \"lstm.0\", transpose = [1, 2] }", "[1, 2]"),
            ("ok = \"lstm.1\"\na = 3", "line 2: is not a map of names"),
            ("a.b = \"lstm.0\"", "quotes"),
            ("a = { name = \"lstm.0\", transpos = [0] }", "line 1"),
            ("a", "line 1"),
        ] {
            let found = refusal(text);
            assert!(found.contains(part), "{text}: {found}");
        }
    }

    #[test]
    fn entries_are_found_under_their_names_and_turned_as_numpy_does() {
        let text = "\"net/lstm\" = \"lstm.0\"\nx = { name = \"lstm.1\", transpose = [2, 0, 1] }";
        let names = Names::parse(text, "names.toml").unwrap();
        let found = [
            "manifest",
            "net/lstm",
            "x",
            "linear.0",
            "floor.free/linear.0",
        ];
        let found = found.map(str::to_owned);
        let stages = names.stages(&found, "t.npz").unwrap();
        let pairs: Vec<_> = stages
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("net/lstm", "lstm.0"),
                ("x", "lstm.1"),
                ("linear.0", "linear.0")
            ]
        );

        // numpy.arange(6.).reshape(1, 2, 3).transpose(2, 0, 1)
        let theirs = array![[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]].into_dyn();
        let ours = names.turned("x", theirs.clone()).unwrap();
        assert_eq!(
            ours,
            array![[[0.0, 3.0]], [[1.0, 4.0]], [[2.0, 5.0]]].into_dyn()
        );
        assert_eq!(names.turned("net/lstm", theirs.clone()).unwrap(), theirs);
        let flat = names
            .turned("x", array![[0.0, 1.0]].into_dyn())
            .unwrap_err();
        assert!(flat.to_string().contains("`x` has shape [1, 2]"), "{flat}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let names = Names::parse("x = \"lstm.0\"", "names.toml").unwrap();
        let missing = names
            .stages(&["y".to_owned()], "t.npz")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("`x`, which t.npz does not have; it has `y`"),
            "{missing}"
        );
        let doubled = names.stages(&["x".to_owned(), "lstm.0".to_owned()], "t.npz");
        assert!(
            doubled
                .unwrap_err()
                .to_string()
                .contains("both to be `lstm.0`")
        );
        let unknown = names.check(&["lstm.1".to_owned()]).unwrap_err().to_string();
        assert!(unknown.contains("`x` is to be `lstm.0`"), "{unknown}");
        assert!(names.check(&["lstm.0".to_owned()]).is_ok());
    }
}
