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

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may panic and print like the tests themselves"
)]

mod cases;
#[path = "../../../tests/support/assets.rs"]
mod data;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use cases::Case;
use data::assets;
use serde::Deserialize;
use soundalike_metrics as metrics;
use soundalike_metrics::{Annotation, DiarizationErrorRate, Mapping, Scope, Timeline};

/// Seconds and rates may differ by this. The sums have at most some hundred terms below 100 s, so their
/// rounding error stays below 100 * 100 * 2^-53 = 1.2e-12; a boundary on the wrong side costs 1e-6 or more.
const MAX_DIFFERENCE: f64 = 1e-9;

/// Cases in a fresh file.
const FRESH: usize = 2500;

/// Name and value.
type Numbers = BTreeMap<String, f64>;

#[derive(Deserialize)]
struct Answered {
    #[serde(flatten)]
    case: Case,
    /// The official numbers.
    answers: Numbers,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Answered>,
}

/// All our numbers, by the names of `reference/metrics.py`.
fn ours(
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
    scope: Scope,
) -> Numbers {
    let mut numbers = Numbers::new();
    let mut put = |name: &str, value: f64| {
        numbers.insert(name.to_owned(), value);
    };
    for (name, mapping) in [("der", Mapping::Optimal), ("greedy", Mapping::Greedy)] {
        let der = DiarizationErrorRate {
            collar: scope.collar,
            skip_overlap: scope.skip_overlap,
            mapping,
        };
        let components = der.components(reference, hypothesis, uem);
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
    let jer = metrics::jaccard(scope, reference, hypothesis, uem);
    put("jer.rate", jer.rate());
    put("jer.speaker error", jer.speaker_error);
    put("jer.speaker count", jer.speaker_count);
    let (purity, coverage) = (
        metrics::purity(reference, hypothesis),
        metrics::coverage(reference, hypothesis),
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
    let detection = metrics::detection(scope, reference, hypothesis, uem);
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
        metrics::speaker_count(reference, hypothesis, uem).error() as f64,
    );
    numbers
}

/// How far ours and the official numbers are apart, over many cases.
#[derive(Default)]
struct Comparison {
    cases: usize,
    worst: Numbers,
    wrong: Vec<String>,
}

impl Comparison {
    fn see(&mut self, name: &str, ours: &Numbers, official: &Numbers) {
        let names: Vec<_> = ours.keys().collect();
        assert_eq!(
            names,
            official.keys().collect::<Vec<_>>(),
            "the same numbers on both sides"
        );
        self.cases += 1;
        for (number, value) in ours {
            let difference = (value - official[number]).abs();
            let worst = self.worst.entry(number.clone()).or_default();
            *worst = worst.max(difference);
            let close = difference <= MAX_DIFFERENCE;
            // NaN is not close.
            if !close {
                self.wrong.push(format!(
                    "{name}: {number} is {value}, official {}",
                    official[number]
                ));
            }
        }
    }

    /// Prints the largest differences; fails with the first numbers that disagree.
    fn close(mut self) -> usize {
        println!("{} cases; largest difference by number:", self.cases);
        for (name, difference) in &self.worst {
            println!("  {difference:9.2e} {name}");
        }
        let all = self.wrong.len();
        self.wrong.truncate(20);
        assert!(
            self.wrong.is_empty(),
            "{all} numbers:\n{}",
            self.wrong.join("\n")
        );
        self.cases
    }
}

fn load<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn check(path: &Path) -> usize {
    let mut comparison = Comparison::default();
    for (index, Answered { case, answers }) in load::<File>(path).cases.iter().enumerate() {
        let scope = Scope {
            collar: case.collar,
            skip_overlap: case.skip_overlap,
        };
        let numbers = ours(
            &case.reference(),
            &case.hypothesis(),
            case.uem().as_ref(),
            scope,
        );
        comparison.see(&format!("case {index}"), &numbers, answers);
    }
    comparison.close()
}

/// File and uri.
type Place = (String, String);

#[derive(Deserialize)]
struct Pair {
    reference: Place,
    hypothesis: Place,
    collar: f64,
    skip_overlap: bool,
    answers: Numbers,
}

#[derive(Deserialize)]
struct Pairs {
    cases: Vec<Pair>,
}

/// All RTTM files in a folder, by their path within it, sorted.
fn rttm_files(folder: &Path) -> Vec<String> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rttm") {
                files.push(
                    path.strip_prefix(folder)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    files.sort();
    files
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

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn every_rttm_of_the_assets_is_scored_like_the_official_scorer_does() {
        let folder = assets();
        let pairs: Pairs = load(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference/metrics_assets.json"),
        );
        let mut read: BTreeMap<String, Vec<Annotation>> = BTreeMap::new();
        let mut comparison = Comparison::default();
        for pair in &pairs.cases {
            for (file, _) in [&pair.reference, &pair.hypothesis] {
                read.entry(file.clone())
                    .or_insert_with(|| metrics::rttm::read(folder.join(file)).unwrap());
            }
            let find = |(file, uri): &Place| read[file].iter().find(|a| a.uri == *uri).unwrap();
            let scope = Scope {
                collar: pair.collar,
                skip_overlap: pair.skip_overlap,
            };
            let numbers = ours(find(&pair.reference), find(&pair.hypothesis), None, scope);
            comparison.see(
                &format!("{:?} {:?}", pair.reference, pair.hypothesis),
                &numbers,
                &pair.answers,
            );
        }
        comparison.close();
        assert_eq!(
            read.keys().cloned().collect::<Vec<_>>(),
            rttm_files(&folder),
            "every file was scored"
        );
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn what_the_official_pipeline_wrote_is_written_byte_for_byte_again() {
        let folder = assets();
        let written = rttm_files(&folder)
            .into_iter()
            .filter(|f| f.starts_with("pipelines") || f.starts_with("pyannote"));
        let mut files = 0;
        for file in written {
            let official = std::fs::read_to_string(folder.join(&file)).unwrap();
            let mut ours = Vec::new();
            for annotation in metrics::rttm::parse(&official, &file).unwrap() {
                metrics::rttm::write(&annotation, &mut ours).unwrap();
            }
            assert_eq!(String::from_utf8(ours).unwrap(), official, "{file}");
            files += 1;
        }
        assert!(files > 30, "only {files} files");
    }
}
