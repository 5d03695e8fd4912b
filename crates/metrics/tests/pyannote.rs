//! Every number against official pyannote.metrics 4.2.
//!
//! `reference/metrics_cases.json` holds random cases with the official answers. To make fresh ones and check
//! them (2,500 here), in an environment with `reference/requirements.txt` installed:
//!
//! ```text
//! SOUNDALIKE_CASES=/tmp/cases.json cargo test -p soundalike-metrics --test pyannote -- --ignored writes_cases
//! python reference/metrics.py /tmp/cases.json -o /tmp/answers.json
//! SOUNDALIKE_ANSWERS=/tmp/answers.json cargo test -p soundalike-metrics --test pyannote -- --ignored fresh --nocapture
//! ```

mod cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cases::Case;
use serde::Deserialize;
use soundalike_metrics as metrics;
use soundalike_metrics::{DiarizationErrorRate, Mapping, Scope};

/// Seconds and rates may differ by this. The sums have at most some hundred terms below 100 s, so their
/// rounding error stays below 100 * 100 * 2^-53 = 1.2e-12; a boundary on the wrong side costs 1e-6 or more.
const MAX_DIFFERENCE: f64 = 1e-9;

/// Cases in a fresh file.
const FRESH: usize = 2500;

#[derive(Deserialize)]
struct Answered {
    #[serde(flatten)]
    case: Case,
    /// Name of the number, and its official value.
    answers: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Answered>,
}

fn ours(case: &Case) -> BTreeMap<String, f64> {
    let (reference, hypothesis, uem) = (case.reference(), case.hypothesis(), case.uem());
    let uem = uem.as_ref();
    let mut numbers = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        numbers.insert(name.to_owned(), value);
    };
    for (name, mapping) in [("der", Mapping::Optimal), ("greedy", Mapping::Greedy)] {
        let der = DiarizationErrorRate {
            collar: case.collar,
            skip_overlap: case.skip_overlap,
            mapping,
        };
        let components = der.components(&reference, &hypothesis, uem);
        put(&format!("{name}.rate"), components.rate());
        put(&format!("{name}.total"), components.total);
        put(&format!("{name}.correct"), components.correct);
        put(&format!("{name}.confusion"), components.confusion);
        put(
            &format!("{name}.missed detection"),
            components.missed_detection,
        );
        put(&format!("{name}.false alarm"), components.false_alarm);
    }
    let scope = Scope {
        collar: case.collar,
        skip_overlap: case.skip_overlap,
    };
    let jer = metrics::jaccard(scope, &reference, &hypothesis, uem);
    put("jer.rate", jer.rate());
    put("jer.speaker error", jer.speaker_error);
    put("jer.speaker count", jer.speaker_count);
    let (purity, coverage) = (
        metrics::purity(&reference, &hypothesis),
        metrics::coverage(&reference, &hypothesis),
    );
    put("purity.rate", purity.rate());
    put("purity.correct", purity.correct);
    put("purity.total", purity.total);
    put("coverage.rate", coverage.rate());
    put("coverage.correct", coverage.correct);
    put("coverage.total", coverage.total);
    put(
        "purity-coverage.f",
        metrics::f_measure(purity.rate(), coverage.rate()),
    );
    let detection = metrics::detection(scope, &reference, &hypothesis, uem);
    put("detection.error rate", detection.error_rate());
    put("detection.total", detection.total);
    put("detection.true positive", detection.true_positive);
    put("detection.true negative", detection.true_negative);
    put("detection.false positive", detection.false_positive);
    put("detection.false negative", detection.false_negative);
    put("detection.accuracy", detection.accuracy());
    put("detection.precision", detection.precision());
    put("detection.recall", detection.recall());
    put("detection.f", detection.f1());
    put(
        "speaker count.error",
        metrics::speaker_count(&reference, &hypothesis, uem).error() as f64,
    );
    numbers
}

/// Compares all numbers of all cases, says how far they are apart, and fails with all that disagree.
fn check(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: File = serde_json::from_str(&text).unwrap();
    let mut worst: BTreeMap<String, f64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (index, Answered { case, answers }) in file.cases.iter().enumerate() {
        let ours = ours(case);
        let names: Vec<_> = ours.keys().collect();
        assert_eq!(
            names,
            answers.keys().collect::<Vec<_>>(),
            "the same numbers on both sides"
        );
        for (name, value) in &ours {
            let difference = (value - answers[name]).abs();
            let entry = worst.entry(name.clone()).or_default();
            *entry = entry.max(difference);
            // Not `>`: NaN is wrong too.
            if !(difference <= MAX_DIFFERENCE) {
                wrong.push(format!(
                    "case {index}: {name} is {value}, official {}",
                    answers[name]
                ));
            }
        }
    }
    println!("{} cases; largest difference by number:", file.cases.len());
    for (name, difference) in &worst {
        println!("  {difference:9.2e} {name}");
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    file.cases.len()
}

#[test]
fn frozen_cases_are_equal_to_the_official_scorer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference/metrics_cases.json");
    assert_eq!(check(&path), 200);
}

#[test]
#[ignore = "needs the official scorer, see above"]
fn fresh_cases_are_equal_to_the_official_scorer() {
    let path =
        std::env::var("SOUNDALIKE_ANSWERS").expect("SOUNDALIKE_ANSWERS names the answered cases");
    assert!(check(Path::new(&path)) >= 2000);
}

#[test]
#[ignore = "writes the cases for the official scorer, see above"]
fn writes_cases() {
    let path = PathBuf::from(
        std::env::var("SOUNDALIKE_CASES").expect("SOUNDALIKE_CASES names the file to write"),
    );
    std::fs::write(path, serde_json::to_string(&cases::cases(FRESH)).unwrap()).unwrap();
}
