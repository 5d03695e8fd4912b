//! The stages of a trace whose maker uses other names.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::Path,
};

use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;
use soundalike_convert::Npz;

use crate::{
    Match,
    toml_file::{self, TomlError},
    trace::FORCED,
};

/// The stage of each entry of a trace: `"entry" = "stage"`, or for axes in another order,
/// `"entry" = { name = "stage", transpose = [0, 2, 1] }`; `axes` is the same without axes of length 1, and empty where the values
/// lie in the same order in another shape. Entries without a line keep their own names.
#[derive(Debug, Clone, Default)]
pub struct NameMap {
    origin: String,
    targets: BTreeMap<String, Target>,
    aliases: HashMap<String, String>,
    u2_as_bf16: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a stage, or { name = \"stage\", transpose = [0, 2, 1] }; names with dots need quotes"
)]
enum Target {
    /// The values are those of the stage.
    Same(String),
    /// The axes are in another order.
    Transposed(Transposed),
    /// The axes are in another order, without those of length 1.
    Arranged(Arranged),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transposed {
    name: String,
    /// As in `numpy.transpose`: axis `i` of the stage is axis `transpose[i]` of the entry.
    transpose: Vec<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arranged {
    name: String,
    /// Axis `i` of the stage is axis `axes[i]` of the entry.
    axes: Vec<usize>,
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Self::Same(name)
            | Self::Transposed(Transposed { name, .. })
            | Self::Arranged(Arranged { name, .. }) => name,
        }
    }

    /// Its order of axes; none where they are as in the stage.
    fn order(&self) -> Option<&[usize]> {
        match self {
            Self::Same(_) => None,
            Self::Transposed(Transposed { transpose, .. }) => Some(transpose),
            Self::Arranged(Arranged { axes, .. }) => Some(axes),
        }
    }
}

/// Why a map of names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// Not TOML, or not a map of names.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// Two entries for one stage.
    #[error(
        "{origin}: `{first}` and `{second}` are both mapped to `{stage}`; map one entry to each stage"
    )]
    Doubled {
        /// The file.
        origin: String,
        /// The first entry.
        first: String,
        /// The second entry.
        second: String,
        /// Their stage.
        stage: String,
    },
    /// A transpose that lacks or repeats an axis.
    #[error(
        "{origin}: the transpose {found:?} of `{entry}` is not an order of the axes 0 to {last}"
    )]
    NotAPermutation {
        /// The file.
        origin: String,
        /// The entry.
        entry: String,
        /// The transpose.
        found: Vec<usize>,
        /// Number of the last axis.
        last: usize,
    },
    /// An entry with another number of axes than its transpose.
    #[error(
        "{origin}: `{entry}` has shape {shape:?}, and its transpose {transpose:?} has another number of axes"
    )]
    Axes {
        /// The file.
        origin: String,
        /// The entry.
        entry: String,
        /// Shape of the array.
        shape: Vec<usize>,
        /// The transpose.
        transpose: Vec<usize>,
    },
    /// An entry that is not in the trace.
    #[error("{origin}: names `{entry}`, which {trace} does not have; it has {found}")]
    Missing {
        /// The file.
        origin: String,
        /// The entry.
        entry: String,
        /// The trace.
        trace: String,
        /// The first entries of the trace.
        found: String,
    },
    /// A stage that the reference does not have.
    #[error(
        "{origin}: `{entry}` is mapped to `{stage}`, which the reference does not have; `soundalike inspect` lists the stages of its trace"
    )]
    Unknown {
        /// The file.
        origin: String,
        /// The entry.
        entry: String,
        /// The stage.
        stage: String,
    },
}

/// Number of entries that an error lists.
const LISTED: usize = 8;

/// Whether an entry of a trace is no stage by its name: inputs, floors, and stages that were fed.
pub(crate) fn is_reserved(entry: &str) -> bool {
    let starts = ["floor.", "f32/", "input/", FORCED];
    ["manifest", "waveform", "masks"].contains(&entry)
        || starts.iter().any(|start| entry.starts_with(start))
}

impl NameMap {
    /// Parses the text of a map; `origin` names it in errors.
    ///
    /// # Errors
    /// [`NamesError`] where it is no map, has two entries for one stage, or a transpose that is no permutation.
    pub fn parse(text: &str, origin: &str) -> Result<Self, NamesError> {
        let targets: BTreeMap<String, Target> = toml_file::parse(text, "a map of names", origin)?;
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
            let Some(order) = target.order() else {
                continue;
            };
            if !is_permutation(order) {
                return Err(NamesError::NotAPermutation {
                    origin: origin.to_owned(),
                    entry: entry.clone(),
                    found: order.to_vec(),
                    last: order.len().saturating_sub(1),
                });
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            targets,
            ..Self::default()
        })
    }

    /// With what else entries are called: the path of the module that computes them, say. An alias helps to find a stage as a
    /// name does, and says nothing for certain.
    #[must_use]
    pub fn with_aliases(self, aliases: HashMap<String, String>) -> Self {
        Self { aliases, ..self }
    }

    /// Whether entries of unsigned integers of 16 bits are bf16, a type that numpy lacks.
    #[must_use]
    pub fn with_u2_as_bf16(self, u2_as_bf16: bool) -> Self {
        Self { u2_as_bf16, ..self }
    }

    /// The arrays of a trace whose entries these are.
    pub(crate) fn open(&self, path: &Path) -> Result<Npz<File>, soundalike_convert::Error> {
        let npz = Npz::open(path)?;
        match self.u2_as_bf16 {
            true => npz.with_u2_as_bf16(),
            false => Ok(npz),
        }
    }

    /// What else `entry` is called.
    pub(crate) fn alias(&self, entry: &str) -> Option<&str> {
        self.aliases.get(entry).map(String::as_str)
    }

    /// The entries of `trace` that are stages, of all its entries `found`, each with its stage.
    ///
    /// # Errors
    /// [`NamesError`] where an entry of the map is not in the trace, or an entry without a line has the name of a stage that
    /// another entry is mapped to.
    pub(crate) fn stages(
        &self,
        found: &[String],
        trace: &str,
    ) -> Result<Vec<(String, String)>, NamesError> {
        if let Some(entry) = self.targets.keys().find(|entry| !found.contains(entry)) {
            let listed = found.iter().take(LISTED).map(|name| format!("`{name}`"));
            let mut listed: Vec<_> = listed.collect();
            if found.len() > LISTED {
                listed.push(format!("{} more", found.len() - LISTED));
            }
            return Err(NamesError::Missing {
                origin: self.origin.clone(),
                entry: entry.clone(),
                trace: trace.to_owned(),
                found: listed.join(", "),
            });
        }
        let mut stages = Vec::new();
        for entry in found {
            if let Some(target) = self.targets.get(entry) {
                stages.push((entry.clone(), target.name().to_owned()));
                continue;
            }
            if is_reserved(entry) {
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
        }
        Ok(stages)
    }

    /// Whether the map has a line for `entry`.
    pub(crate) fn maps(&self, entry: &str) -> bool {
        self.targets.contains_key(entry)
    }

    /// The entries with their stage and their order of axes without those of length 1.
    pub(crate) fn arranged(&self) -> impl Iterator<Item = (&str, &str, &[usize])> {
        let targets = self.targets.iter();
        targets.filter_map(|(entry, target)| match target {
            Target::Arranged(Arranged { name, axes }) => Some((&**entry, &**name, &**axes)),
            Target::Same(_) | Target::Transposed(_) => None,
        })
    }

    /// The text of a map that says what was found.
    #[must_use]
    pub fn text(matches: &[Match]) -> String {
        let quoted = |name: &str| toml::Value::String(name.to_owned()).to_string();
        let line = |found: &Match| {
            let (entry, stage) = (quoted(&found.name), quoted(&found.stage));
            let axes = found.axes.as_deref().unwrap_or_default();
            format!("{entry} = {{ name = {stage}, axes = {axes:?} }}\n")
        };
        matches.iter().map(line).collect()
    }

    /// The stage that `entry` is mapped to.
    pub(crate) fn stage_of(&self, entry: &str) -> Option<&str> {
        Some(self.targets.get(entry)?.name())
    }

    /// `values` of `entry` with the axes in the order of the stage.
    pub(crate) fn transposed(
        &self,
        entry: &str,
        values: ArrayD<f64>,
    ) -> Result<ArrayD<f64>, NamesError> {
        let Some(Target::Transposed(Transposed { transpose, .. })) = self.targets.get(entry) else {
            return Ok(values);
        };
        if transpose.len() != values.ndim() {
            return Err(NamesError::Axes {
                origin: self.origin.clone(),
                entry: entry.to_owned(),
                shape: values.shape().to_vec(),
                transpose: transpose.clone(),
            });
        }
        Ok(values
            .permuted_axes(IxDyn(transpose))
            .as_standard_layout()
            .into_owned())
    }

    /// Checks that every stage of the map is one of `stages`, those of the reference.
    ///
    /// # Errors
    /// [`NamesError::Unknown`] with the first other name.
    pub fn check(&self, stages: &[String]) -> Result<(), NamesError> {
        let known = |target: &Target| stages.iter().any(|stage| stage == target.name());
        match self.targets.iter().find(|(_, target)| !known(target)) {
            None => Ok(()),
            Some((entry, target)) => Err(NamesError::Unknown {
                origin: self.origin.clone(),
                entry: entry.clone(),
                stage: target.name().to_owned(),
            }),
        }
    }
}

/// Whether `order` holds each of its indices once.
pub(crate) fn is_permutation(order: &[usize]) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..order.len())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn refusal(text: &str) -> String {
        NameMap::parse(text, "names.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_map_names_each_stage_once_and_keeps_every_axis() {
        for (text, part) in [
            (
                "\"a\" = \"lstm.0\"\n\"b\" = \"lstm.0\"",
                "`a` and `b` are both mapped to `lstm.0`",
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
    fn entries_are_found_under_their_names_and_transposed_as_in_numpy() {
        let text = "\"net/lstm\" = \"lstm.0\"\nx = { name = \"lstm.1\", transpose = [2, 0, 1] }";
        let names = NameMap::parse(text, "names.toml").unwrap();
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
        let ours = names.transposed("x", theirs.clone()).unwrap();
        assert_eq!(
            ours,
            array![[[0.0, 3.0]], [[1.0, 4.0]], [[2.0, 5.0]]].into_dyn()
        );
        assert_eq!(
            names.transposed("net/lstm", theirs.clone()).unwrap(),
            theirs
        );
        let flat = names
            .transposed("x", array![[0.0, 1.0]].into_dyn())
            .unwrap_err();
        assert!(flat.to_string().contains("`x` has shape [1, 2]"), "{flat}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let names = NameMap::parse("x = \"lstm.0\"", "names.toml").unwrap();
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
                .contains("both mapped to `lstm.0`")
        );
        let unknown = names.check(&["lstm.1".to_owned()]).unwrap_err().to_string();
        assert!(unknown.contains("`x` is mapped to `lstm.0`"), "{unknown}");
        assert!(names.check(&["lstm.0".to_owned()]).is_ok());
    }
}
