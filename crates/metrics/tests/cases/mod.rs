//! Random pairs of annotations, and the file in which they travel to the official scorers and back.

#![allow(dead_code, reason = "each test uses its part of it")]

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use soundalike_metrics::{Annotation, Segment, Timeline, Turn};

/// Start, end, label.
pub(crate) type Row = (f64, f64, String);

/// One pair, with what the scorer is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) reference: Vec<Row>,
    pub(crate) hypothesis: Vec<Row>,
    pub(crate) uem: Option<Vec<(f64, f64)>>,
    pub(crate) collar: f64,
    pub(crate) skip_overlap: bool,
}

impl Case {
    pub(crate) fn reference(&self) -> Annotation {
        annotation(&self.reference)
    }

    pub(crate) fn hypothesis(&self) -> Annotation {
        annotation(&self.hypothesis)
    }

    pub(crate) fn uem(&self) -> Option<Timeline> {
        self.uem.as_ref().map(|uem| {
            uem.iter()
                .map(|&(start, end)| Segment::new(start, end))
                .collect()
        })
    }
}

fn annotation(rows: &[Row]) -> Annotation {
    Annotation::from_turns(
        "case",
        rows.iter()
            .map(|(start, end, label)| Turn::new(*start, *end, label)),
    )
}

/// How the times of a case are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    /// Half seconds: much touches, coincides and ties.
    Coarse,
    /// Whole milliseconds as RTTM has them, the end as start + duration: touching turns miss by one ulp.
    Rttm,
    /// Any f64.
    Any,
    /// Half seconds moved by up to two microseconds: around the length below which a segment is empty.
    Tiny,
}

/// A start and an end by `clock`, from numbers between 0 and 1.
fn times(clock: Clock, from: f64, length: f64) -> (f64, f64) {
    let milliseconds = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let halves = |x: f64| (x * 2.0).round() / 2.0;
    let (from, length) = (from * 30.0, length * length * 10.0);
    match clock {
        Clock::Coarse => (halves(from), halves(from) + halves(length)),
        Clock::Rttm => (
            milliseconds(from),
            milliseconds(from) + milliseconds(length),
        ),
        Clock::Any => (from, from + length),
        Clock::Tiny => {
            let wiggle = |x: f64| (x * 1e6).fract() * 4e-6 - 2e-6;
            (
                halves(from) + wiggle(from),
                halves(from) + halves(length) + wiggle(length),
            )
        }
    }
}

/// Labels that have caught scorers out: sorted differently as text and as numbers, not ASCII, with spaces.
const LABELS: [&str; 8] = [
    "A",
    "trñ00",
    "SPEAKER_10",
    "SPEAKER_2",
    "李",
    "b",
    "😀",
    "speaker with spaces",
];

fn label(i: usize) -> String {
    LABELS
        .get(i)
        .map_or_else(|| format!("speaker{i}"), |label| (*label).to_owned())
}

fn side(clock: Clock, speakers: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, 0..speakers), 0..=16).prop_map(
        move |turns| {
            turns
                .into_iter()
                .map(|(from, length, who)| {
                    let (start, end) = times(clock, from, length);
                    (start, end, label(who))
                })
                .collect()
        },
    )
}

/// The reference heard badly: boundaries moved, turns lost, speakers exchanged.
fn heard_badly(clock: Clock, reference: Vec<Row>) -> impl Strategy<Value = Vec<Row>> {
    let n = reference.len();
    prop::collection::vec((0.0..1.0_f64, -0.5..0.5_f64, -0.5..0.5_f64, 0..8_usize), n).prop_map(
        move |changes| {
            let moved = |x: f64, by: f64| match clock {
                Clock::Coarse | Clock::Tiny => x + (by * 2.0).round() / 2.0,
                Clock::Rttm => x + (by * 1000.0).round() / 1000.0,
                Clock::Any => x + by,
            };
            reference
                .iter()
                .zip(changes)
                .filter(|(_, (lost, ..))| *lost > 0.1)
                .map(|((start, end, who), (lost, a, b, other))| {
                    let who = if lost > 0.9 {
                        label(other)
                    } else {
                        format!("{who}'")
                    };
                    (moved(*start, a), moved(*end, b), who)
                })
                .collect()
        },
    )
}

fn pair(clock: Clock) -> impl Strategy<Value = (Vec<Row>, Vec<Row>)> {
    let speakers = prop_oneof![6 => 1..5_usize, 1 => 12..40_usize];
    (speakers.clone(), speakers).prop_flat_map(move |(r, h)| {
        side(clock, r).prop_flat_map(move |reference| {
            let hypothesis = prop_oneof![heard_badly(clock, reference.clone()), side(clock, h),];
            (Just(reference), hypothesis)
        })
    })
}

fn clock() -> impl Strategy<Value = Clock> {
    prop_oneof![
        Just(Clock::Coarse),
        Just(Clock::Rttm),
        Just(Clock::Any),
        Just(Clock::Tiny)
    ]
}

/// Any case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    clock().prop_flat_map(case_of)
}

/// A case with times of one kind.
pub(crate) fn case_of(clock: Clock) -> impl Strategy<Value = Case> {
    let region =
        (0.0..1.0_f64, 0.0..1.5_f64).prop_map(move |(from, length)| times(clock, from, length));
    let uem = prop::option::weighted(0.4, prop::collection::vec(region, 1..=3));
    let collar = prop_oneof![3 => Just(0.0), 2 => Just(0.25), 2 => Just(0.5), 1 => 0.0..1.0_f64];
    (pair(clock), uem, collar, any::<bool>()).prop_map(
        |((reference, hypothesis), uem, collar, skip_overlap)| Case {
            reference,
            hypothesis,
            uem,
            collar,
            skip_overlap,
        },
    )
}

/// The same `n` cases every time.
pub(crate) fn cases(n: usize) -> Vec<Case> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..n)
        .map(|_| case().new_tree(&mut runner).unwrap().current())
        .collect()
}
