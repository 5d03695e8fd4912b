//! The turns of one recording.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{Segment, Timeline};

/// Most seconds by which a file's milliseconds make turns overlap that touch.
const MOST_ROUNDING: f64 = 0.0015;

/// A turn of one speaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its time.
    pub segment: Segment,
    /// The label of the speaker, any Unicode text.
    pub speaker: String,
}

impl Turn {
    /// A turn from `start` to `end`, in seconds.
    pub fn new(start: f64, end: f64, speaker: impl Into<String>) -> Self {
        Self {
            segment: Segment::new(start, end),
            speaker: speaker.into(),
        }
    }
}

/// The turns of one recording. Turns may overlap, also those of one speaker, and may be equal.
///
/// Turns with empty segments (see [`Segment::is_empty`]) are skipped, as in pyannote.core, and so are turns whose
/// times are not finite.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Annotation {
    /// Name of the recording, as in the second column of RTTM.
    pub uri: String,
    turns: Vec<Turn>,
}

impl Annotation {
    /// An annotation without turns.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            turns: Vec::new(),
        }
    }

    /// An annotation of `turns` in any order. Faster than to push them one by one.
    pub fn from_turns(uri: impl Into<String>, turns: impl IntoIterator<Item = Turn>) -> Self {
        let mut turns: Vec<Turn> = turns.into_iter().filter_map(accepted).collect();
        turns.sort_by(|a, b| a.segment.order(&b.segment));
        Self {
            uri: uri.into(),
            turns,
        }
    }

    /// Adds a turn after all turns with an equal or earlier segment. Returns false, and adds nothing, where the
    /// segment is empty or not finite.
    pub fn push(&mut self, turn: Turn) -> bool {
        let Some(turn) = accepted(turn) else {
            return false;
        };
        let at = self
            .turns
            .partition_point(|t| t.segment.order(&turn.segment).is_le());
        self.turns.insert(at, turn);
        true
    }

    /// The turns by start, then by end, then in the order in which they were added. pyannote.core `itertracks`.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Whether there is no turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Seconds in which turns of one speaker overlap each other, without what the rounding of a file does to turns that touch.
    #[must_use]
    pub fn self_overlap(&self) -> f64 {
        let mut ends: HashMap<&str, f64> = HashMap::new();
        let overlaps = self.turns.iter().map(|turn| {
            let Segment { start, end } = turn.segment;
            let last = ends.entry(&turn.speaker).or_insert(start);
            let overlap = last.min(end) - start;
            *last = last.max(end);
            overlap
        });
        overlaps.filter(|overlap| *overlap > MOST_ROUNDING).sum()
    }

    /// The labels of the speakers, each once, sorted by code point.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = self.turns.iter().map(|t| t.speaker.as_str()).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The segments of all turns.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.turns.iter().map(|t| t.segment).collect()
    }

    /// The segments of the turns of `speaker`.
    #[must_use]
    pub fn label_timeline(&self, speaker: &str) -> Timeline {
        self.turns
            .iter()
            .filter(|t| t.speaker == speaker)
            .map(|t| t.segment)
            .collect()
    }

    /// Turns and speaking time of each speaker, by label.
    #[must_use]
    pub fn speakers(&self) -> Vec<Speaker> {
        let mut speakers: BTreeMap<&str, Vec<Segment>> = BTreeMap::new();
        for Turn { segment, speaker } in &self.turns {
            speakers.entry(speaker).or_default().push(*segment);
        }
        let speaker = |(label, segments): (&str, Vec<Segment>)| Speaker {
            label: label.to_owned(),
            turns: segments.len(),
            speaking_time: Timeline::new(segments).duration(),
        };
        speakers.into_iter().map(speaker).collect()
    }
}

/// The name that pyannote gives track `index`: A, B, ..., Z, AA, AB, ... pyannote.core `string_generator`.
#[must_use]
pub fn track_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.into_iter().rev().collect()
}

/// Turns and speaking time of one speaker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speaker {
    /// The label.
    pub label: String,
    /// Number of turns; touching ones are not joined.
    pub turns: usize,
    /// Seconds, overlapping turns counted once.
    pub speaking_time: f64,
}

fn accepted(turn: Turn) -> Option<Turn> {
    let segment = turn.segment;
    (segment.is_finite() && !segment.is_empty()).then(|| Turn {
        segment: segment.normalised(),
        speaker: turn.speaker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_and_equal_times_as_added() {
        let mut a = Annotation::new("x");
        assert!(a.push(Turn::new(2.0, 3.0, "late")));
        assert!(a.push(Turn::new(0.0, 2.0, "long")));
        assert!(a.push(Turn::new(0.0, 1.0, "first of two")));
        assert!(a.push(Turn::new(0.0, 1.0, "another")));
        let order: Vec<&str> = a.turns().iter().map(|t| t.speaker.as_str()).collect();
        assert_eq!(order, ["first of two", "another", "long", "late"]);
        assert_eq!(Annotation::from_turns("x", a.turns().to_vec()), a);
    }

    #[test]
    fn turns_without_time_are_left_out() {
        let mut a = Annotation::new("x");
        for (start, end) in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (0.0, f64::INFINITY),
            (0.0, 1e-7),
        ] {
            assert!(!a.push(Turn::new(start, end, "s")), "{start} to {end}");
        }
        assert!(a.is_empty());
        assert!(a.labels().is_empty());
    }

    #[test]
    fn speaking_time_counts_overlap_of_one_speaker_once() {
        let a = Annotation::from_turns(
            "x",
            [
                Turn::new(0.0, 2.0, "b"),
                Turn::new(1.0, 3.0, "b"),
                Turn::new(0.0, 5.0, "a"),
                Turn::new(9.0, 10.0, "trñ00"),
            ],
        );
        assert_eq!(a.labels(), ["a", "b", "trñ00"]);
        assert_eq!(
            a.speakers()[1],
            Speaker {
                label: "b".into(),
                turns: 2,
                speaking_time: 3.0
            }
        );
    }
}
