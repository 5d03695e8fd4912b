//! Pairs hypotheses with references.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::Serialize;

use crate::{Annotation, Error, EvaluationMap, Timeline};

/// One recording with both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The reference; its uri names the recording.
    pub reference: Annotation,
    /// The hypothesis; without turns where there is none.
    pub hypothesis: Annotation,
    /// The scored regions; None for the default of the convention.
    pub uem: Option<Timeline>,
}

/// A note on the files, for the reader of the scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Note {
    /// A reference without hypothesis: all its speech is missed.
    NoHypothesis {
        /// The recording.
        uri: String,
    },
    /// A hypothesis without reference: it is not scored.
    NoReference {
        /// The recording.
        uri: String,
    },
    /// One reference and one hypothesis with different names, scored as one recording.
    OtherName {
        /// Name of the reference.
        reference: String,
        /// Name of the hypothesis.
        hypothesis: String,
    },
    /// A speaker who talks twice at once. As in pyannote, that time counts twice.
    SelfOverlap {
        /// "reference" or "hypothesis".
        side: &'static str,
        /// The recording.
        uri: String,
        /// Seconds, rounded to hundredths.
        seconds: String,
    },
    /// A recording that is not in the UEM: the default of the convention holds.
    NotInUem {
        /// The recording.
        uri: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHypothesis { uri } => {
                write!(f, "`{uri}` has no hypothesis: all its speech is missed")
            }
            Self::NoReference { uri } => write!(f, "`{uri}` has no reference: it is not scored"),
            Self::OtherName {
                reference,
                hypothesis,
            } => write!(
                f,
                "the hypothesis is named `{hypothesis}` and the reference `{reference}`; scored as one recording"
            ),
            Self::SelfOverlap { side, uri, seconds } => write!(
                f,
                "in the {side} of `{uri}`, turns of one speaker overlap each other for {seconds} s"
            ),
            Self::NotInUem { uri } => {
                write!(f, "`{uri}` is not in the UEM: scored without a UEM")
            }
        }
    }
}

/// Pairs both sides by uri, in the order of the references.
///
/// A reference without hypothesis is scored against an empty one, and a hypothesis without reference is not scored. A
/// single reference and a single hypothesis are paired whatever their names. Each of these gives a [`Note`]. Two
/// annotations of one uri on one side are an error.
///
/// # Errors
/// [`Error::DuplicateUri`] for two annotations of one uri on one side.
pub fn pair(
    references: Vec<Annotation>,
    hypotheses: Vec<Annotation>,
    uem: Option<&[EvaluationMap]>,
) -> Result<(Vec<Recording>, Vec<Note>), Error> {
    distinct("reference", &references)?;
    distinct("hypothesis", &hypotheses)?;
    let mut notes = Vec::new();
    let single = references.len() == 1 && hypotheses.len() == 1;
    let order: Vec<String> = hypotheses.iter().map(|h| h.uri.clone()).collect();
    let only = order.first().filter(|_| single);
    let mut by_uri: HashMap<String, Annotation> =
        hypotheses.into_iter().map(|h| (h.uri.clone(), h)).collect();
    let mut recordings = Vec::new();
    for reference in references {
        let uri = reference.uri.clone();
        let hypothesis = if let Some(hypothesis) = by_uri.remove(&uri) {
            hypothesis
        } else if let Some(hypothesis) = only.and_then(|only| by_uri.remove(only)) {
            notes.push(Note::OtherName {
                reference: uri.clone(),
                hypothesis: hypothesis.uri.clone(),
            });
            hypothesis
        } else {
            notes.push(Note::NoHypothesis { uri: uri.clone() });
            Annotation::new(uri.as_str())
        };
        let map = uem.and_then(|maps| maps.iter().find(|map| map.uri == uri));
        if uem.is_some() && map.is_none() {
            notes.push(Note::NotInUem { uri });
        }
        for (side, turns) in [("reference", &reference), ("hypothesis", &hypothesis)] {
            let seconds = turns.self_overlap();
            if seconds > 0.0 {
                notes.push(Note::SelfOverlap {
                    side,
                    uri: reference.uri.clone(),
                    seconds: format!("{seconds:.2}"),
                });
            }
        }
        recordings.push(Recording {
            reference,
            hypothesis,
            uem: map.map(|map| map.regions.clone()),
        });
    }
    let unpaired = order.into_iter().filter(|uri| by_uri.contains_key(uri));
    notes.extend(unpaired.map(|uri| Note::NoReference { uri }));
    Ok((recordings, notes))
}

fn distinct(side: &'static str, annotations: &[Annotation]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let twice = annotations.iter().find(|a| !seen.insert(a.uri.as_str()));
    twice.map_or(Ok(()), |twice| {
        let uri = twice.uri.clone();
        Err(Error::DuplicateUri { side, uri })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(uris: &[&str]) -> Vec<Annotation> {
        uris.iter().map(|&uri| Annotation::new(uri)).collect()
    }

    #[test]
    fn what_is_missing_is_noted() {
        let (recordings, notes) = pair(named(&["a", "b"]), named(&["c", "b", "d"]), None).unwrap();
        let pairs: Vec<_> = recordings
            .iter()
            .map(|r| (r.reference.uri.as_str(), r.hypothesis.uri.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "a"), ("b", "b")]);
        let expected = [
            Note::NoHypothesis { uri: "a".into() },
            Note::NoReference { uri: "c".into() },
            Note::NoReference { uri: "d".into() },
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn one_against_one_belongs_together() {
        let (recordings, notes) = pair(named(&["a"]), named(&["b"]), Some(&[])).unwrap();
        assert_eq!(recordings[0].hypothesis.uri, "b");
        let expected = [
            Note::OtherName {
                reference: "a".into(),
                hypothesis: "b".into(),
            },
            Note::NotInUem { uri: "a".into() },
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn a_speaker_who_talks_twice_at_once_is_noted() {
        let turns = |ends: [f64; 2]| {
            let [end, start] = ends;
            let turns = [(0.0, end, "A"), (1.0, 9.0, "B"), (start, 9.0, "A")];
            let turns = turns.map(|(start, end, speaker)| crate::Turn::new(start, end, speaker));
            vec![Annotation::from_turns("a", turns)]
        };
        let notes = |ends| pair(turns([5.0, 5.0]), turns(ends), None).unwrap().1;
        // Turns that touch, rounded to milliseconds.
        assert_eq!(notes([5.001, 5.0]), []);
        let found = notes([5.0, 3.5]);
        let text = "in the hypothesis of `a`, turns of one speaker overlap each other for 1.50 s";
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), text);
    }

    #[test]
    fn a_uri_that_occurs_twice_is_rejected() {
        let error = pair(named(&["a"]), named(&["b", "b"]), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hypothesis has `b` twice; remove or rename one"
        );
    }
}
