//! The task that a network was trained for: `pyannote.audio.core.task.Specifications`.

use serde::{Deserialize, Serialize};

/// The kind of task. Values as in `pyannote.audio.core.task.Problem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Yes or no for each frame (0).
    BinaryClassification,
    /// Exactly one of several classes for each frame (1): powerset segmentation.
    MonoLabelClassification,
    /// Any number of classes for each frame (2): the older segmentation.
    MultiLabelClassification,
    /// A vector (3): speaker embedding.
    Representation,
    /// A number (4).
    Regression,
}

impl Problem {
    /// Value and name of each member of pyannote's enum.
    const MEMBERS: [(i64, &str, Self); 5] = [
        (0, "BINARY_CLASSIFICATION", Self::BinaryClassification),
        (
            1,
            "MONO_LABEL_CLASSIFICATION",
            Self::MonoLabelClassification,
        ),
        (
            2,
            "MULTI_LABEL_CLASSIFICATION",
            Self::MultiLabelClassification,
        ),
        (3, "REPRESENTATION", Self::Representation),
        (4, "REGRESSION", Self::Regression),
    ];

    /// The member of pyannote's enum with this value.
    #[must_use]
    pub fn from_value(value: i64) -> Option<Self> {
        let mut members = Self::MEMBERS.into_iter();
        members.find_map(|(number, _, member)| (number == value).then_some(member))
    }

    /// The member of pyannote's enum with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut members = Self::MEMBERS.into_iter();
        members.find_map(|(_, known, member)| (known == name).then_some(member))
    }
}

/// How often a network has an output. Values as in `pyannote.audio.core.task.Resolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// Once per frame (1).
    Frame,
    /// Once per chunk (2).
    Chunk,
}

impl Resolution {
    /// The member of pyannote's enum with this value.
    #[must_use]
    pub fn from_value(value: i64) -> Option<Self> {
        match value {
            1 => Some(Self::Frame),
            2 => Some(Self::Chunk),
            _ => None,
        }
    }

    /// The member of pyannote's enum with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "FRAME" => Some(Self::Frame),
            "CHUNK" => Some(Self::Chunk),
            _ => None,
        }
    }
}

/// The task that a network was trained for. `pyannote.audio.core.task.Specifications`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Specifications {
    /// The kind of task.
    pub problem: Problem,
    /// How often there is an output.
    pub resolution: Resolution,
    /// Length of a chunk, in seconds.
    pub duration: f64,
    /// Shortest chunk of a variable-duration task, in seconds.
    pub min_duration: Option<f64>,
    /// Parts of a chunk that only warm up the network, left and right, in seconds.
    pub warm_up: (f64, f64),
    /// Names of the classes: `speaker#1`, ... for a segmentation, none for an embedding.
    pub classes: Vec<String>,
    /// Most classes that are active at once in a powerset; `None`: not a powerset.
    pub powerset_max_classes: Option<usize>,
    /// Whether the order of the classes has no meaning, as for the speakers of a diarization.
    pub permutation_invariant: bool,
}

impl Specifications {
    /// Number of subsets of the classes with at most `powerset_max_classes` members: 7 for 3 classes and at most 2. `None`
    /// if the model is not a powerset or the number overflows. pyannote `Specifications.num_powerset_classes`.
    fn num_powerset_classes(&self) -> Option<usize> {
        let most = self.powerset_max_classes?;
        let classes = self.classes.len();
        let mut binomial: usize = 1;
        let mut total: usize = 1;
        for i in 1..=most.min(classes) {
            binomial = binomial.checked_mul(classes - i + 1)? / i;
            total = total.checked_add(binomial)?;
        }
        Some(total)
    }

    /// Number of outputs of the classifier: subsets of the classes for a powerset, else classes. `None` if the number
    /// overflows. pyannote `PyanNet.dimension`.
    #[must_use]
    pub fn num_outputs(&self) -> Option<usize> {
        match self.powerset_max_classes {
            Some(_) => self.num_powerset_classes(),
            None => Some(self.classes.len()),
        }
    }

    /// The first invalid value: field, found, expected.
    #[must_use]
    pub fn problem_with_values(&self) -> Option<(&'static str, String, &'static str)> {
        let seconds = |x: f64| x.is_finite() && (0.0..=MAX_SECONDS).contains(&x);
        if !(seconds(self.duration) && self.duration > 0.0) {
            return Some(("duration", self.duration.to_string(), "seconds above 0"));
        }
        if let Some(min) = self.min_duration.filter(|&x| !seconds(x)) {
            return Some(("min_duration", min.to_string(), "seconds"));
        }
        if !(seconds(self.warm_up.0) && seconds(self.warm_up.1)) {
            let found = format!("({}, {})", self.warm_up.0, self.warm_up.1);
            return Some(("warm_up", found, "two times in seconds"));
        }
        if self.powerset_max_classes.is_some() {
            if self.problem != Problem::MonoLabelClassification {
                let found = format!("set, with problem {:?}", self.problem);
                return Some(("powerset_max_classes", found, "mono-label classification"));
            }
            if self.num_powerset_classes().is_none() {
                let found = format!("{} classes", self.classes.len());
                return Some(("classes", found, "a countable powerset"));
            }
        }
        None
    }
}

/// Longest plausible chunk, in seconds: one day. segmentation-3.0 has 10 s.
const MAX_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powersets_are_counted_as_pyannote_counts_them() {
        // scipy.special.binom(n, 0..=k).sum()
        for (classes, most, expected) in [(3, 2, 7), (3, 3, 8), (4, 2, 11), (7, 1, 8), (2, 5, 4)] {
            let specifications = Specifications {
                problem: Problem::MonoLabelClassification,
                resolution: Resolution::Frame,
                duration: 10.0,
                min_duration: None,
                warm_up: (0.0, 0.0),
                classes: (0..classes).map(|i| format!("speaker#{i}")).collect(),
                powerset_max_classes: Some(most),
                permutation_invariant: true,
            };
            assert_eq!(
                specifications.num_outputs(),
                Some(expected),
                "{classes} over {most}"
            );
        }
    }
}
