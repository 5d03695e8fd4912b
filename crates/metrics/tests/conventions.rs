//! The conventions of md-eval 22 and dscore 1.1 against the numbers that the originals printed.
//!
//! `reference/metrics_conventions.json` holds random cases in whole milliseconds and what `md-eval.pl` (with
//! `-c`, `-1`, `-u`) and dscore's `score` printed for them, null where they stopped or printed nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may panic and print like the tests themselves"
)]

mod cases;

use std::path::{Path, PathBuf};

use cases::{Clock, Row};
use proptest::{prelude::*, strategy::ValueTree};
use serde::{Deserialize, Serialize};
use soundalike_metrics::{Annotation, Convention, ScoreOptions, Segment, Timeline, Turn};

/// md-eval prints seconds with six decimals.
const HALF_A_DIGIT: f64 = 0.5e-6;

/// Beside half a digit: six decimals of four numbers are summed and divided by one of them, dscore's rate is
/// printed with six decimals of a percent.
const RATE: f64 = 1e-8;

/// Start, duration, label: the columns of RTTM.
#[derive(Debug, Serialize, Deserialize)]
struct Case {
    reference: Vec<Row>,
    hypothesis: Vec<Row>,
    uem: Option<Vec<(f64, f64)>>,
    /// On each side.
    collar: f64,
    skip_overlap: bool,
    #[serde(default)]
    md_eval: Option<MdEval>,
    #[serde(default)]
    dscore: Option<Dscore>,
}

/// Seconds, as printed.
#[derive(Debug, Serialize, Deserialize)]
struct MdEval {
    scored: f64,
    missed: f64,
    false_alarm: f64,
    error: f64,
}

/// Percent, as printed.
#[derive(Debug, Serialize, Deserialize)]
struct Dscore {
    der: f64,
    jer: f64,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

fn annotation(rows: &[Row]) -> Annotation {
    Annotation::from_turns(
        "case",
        rows.iter()
            .map(|(start, length, who)| Turn::new(*start, start + length, who)),
    )
}

/// How many cases md-eval and dscore have printed numbers for; all of them agree.
fn check(path: &Path) -> (usize, usize) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: File = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    let (mut md_evals, mut dscores) = (0, 0);
    for (index, case) in file.cases.iter().enumerate() {
        let (reference, hypothesis) = (annotation(&case.reference), annotation(&case.hypothesis));
        let uem: Option<Timeline> = case.uem.as_ref().map(|uem| {
            uem.iter()
                .map(|&(start, end)| Segment::new(start, end))
                .collect()
        });
        let options = ScoreOptions {
            collar: case.collar,
            skip_overlap: case.skip_overlap,
            ..Default::default()
        };

        let ours = Convention::MdEval.score(options, &reference, &hypothesis, uem.as_ref());
        assert_eq!(
            ours.rate.is_some(),
            case.md_eval.is_some(),
            "case {index}: who prints a rate"
        );
        if let Some(official) = &case.md_eval {
            md_evals += 1;
            let c = ours.score.components;
            for (name, ours, official) in [
                ("scored", c.total, official.scored),
                ("missed", c.missed_detection, official.missed),
                ("false alarm", c.false_alarm, official.false_alarm),
                ("error", c.confusion, official.error),
            ] {
                if (ours - official).abs() > HALF_A_DIGIT + 1e-9 {
                    wrong.push(format!(
                        "case {index}: md-eval {name} is {ours}, official {official}"
                    ));
                }
            }
        }

        let ours = Convention::Dscore.score(options, &reference, &hypothesis, uem.as_ref());
        if let Some(official) = &case.dscore {
            dscores += 1;
            let c = ours.score.components;
            let printed = if c.total > 0.0 {
                4.0 * HALF_A_DIGIT * (1.0 + c.rate()) / c.total
            } else {
                0.0
            };
            let rates = [
                ("DER", ours.rate, official.der, printed + RATE),
                ("JER", ours.jaccard_rate, official.jer, RATE),
            ];
            for (name, ours, official, tolerance) in rates {
                let ours = ours.unwrap_or(f64::NAN);
                let close = (ours - official / 100.0).abs() <= tolerance;
                // NaN is not close.
                if !close {
                    wrong.push(format!(
                        "case {index}: dscore {name} is {ours}, official {official} %"
                    ));
                }
            }
        }
    }
    println!(
        "{} cases, of which md-eval printed {md_evals} and dscore {dscores}",
        file.cases.len()
    );
    let all = wrong.len();
    wrong.truncate(40);
    assert!(wrong.is_empty(), "{all} numbers:\n{}", wrong.join("\n"));
    (md_evals, dscores)
}

#[test]
fn frozen_cases_are_equal_to_what_the_originals_printed() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference/metrics_conventions.json");
    let (md_evals, dscores) = check(&path);
    assert!(md_evals >= 200 && dscores >= 200, "{md_evals}, {dscores}");
}

#[test]
#[ignore = "reads the file in SOUNDALIKE_ANSWERS"]
fn fresh_cases_are_equal_to_what_the_originals_printed() {
    let path =
        std::env::var("SOUNDALIKE_ANSWERS").expect("SOUNDALIKE_ANSWERS names the answered cases");
    check(Path::new(&path));
}

#[test]
#[ignore = "writes cases without answers to SOUNDALIKE_CASES"]
fn writes_cases() {
    let path = PathBuf::from(
        std::env::var("SOUNDALIKE_CASES").expect("SOUNDALIKE_CASES names the file to write"),
    );
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let any = prop_oneof![1 => cases::case_of(Clock::Coarse), 3 => cases::case_of(Clock::Rttm)];
    let milliseconds = |x: f64| (x * 1000.0).round() / 1000.0;
    let rows = |rows: Vec<Row>| -> Vec<Row> {
        rows.into_iter()
            .map(|(start, end, who)| {
                (
                    milliseconds(start),
                    milliseconds(end - start),
                    who.replace(' ', "_"),
                )
            })
            .filter(|(start, length, _)| *start >= 0.0 && *length > 0.0)
            .collect()
    };
    let cases: Vec<Case> = (0..1000)
        .map(|_| {
            let case = any.new_tree(&mut runner).unwrap().current();
            // The originals refuse a UEM whose regions overlap.
            let uem = case.uem().map(|uem| {
                uem.support()
                    .segments()
                    .iter()
                    .map(|s| (milliseconds(s.start), milliseconds(s.end)))
                    .collect::<Vec<_>>()
            });
            Case {
                reference: rows(case.reference),
                hypothesis: rows(case.hypothesis),
                uem: uem.filter(|uem| !uem.is_empty()),
                collar: milliseconds(case.collar),
                skip_overlap: case.skip_overlap,
                md_eval: None,
                dscore: None,
            }
        })
        .collect();
    std::fs::write(path, serde_json::to_string(&cases).unwrap()).unwrap();
}
