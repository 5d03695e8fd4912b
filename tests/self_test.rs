//! `soundalike self-test`, as a user types it. Against the built-in trace: no libtorch.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed, and one that is skipped says so"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use checkpoint::{assets, captures};
use serde_json::Value;
use support::soundalike;

/// One of each kind: of every part of the network, by weights and by functions, visible and void at the output, below the
/// floor and none at all.
const FAULTS: [&str; 12] = [
    "wav-norm-unbiased",
    "sine-filters-negated",
    "pool-one-off",
    "norm1-eps-1e-6",
    "conv-bias-missing",
    "lstm-gates-iofg",
    "lstm-bias-hh-missing-once",
    "lstm-halves-swapped",
    "relu-for-leaky-relu",
    "log-in-base-10",
    "output-one-frame-short",
    "leaky-relu-as-maximum",
];

fn self_test(more: &[&str]) -> support::Run {
    let faults = FAULTS.join(",");
    let arguments = ["self-test", "--faults", &faults];
    soundalike(arguments.iter().chain(more))
}

#[test]
fn every_fault_that_reaches_the_bars_is_located_and_nothing_else_is_blamed() {
    let run = self_test(&["--format", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    let trials = found["trials"].as_array().unwrap();
    assert_eq!(trials.len(), FAULTS.len());
    for trial in trials {
        let expected = match trial["id"].as_str().unwrap() {
            "norm1-eps-1e-6" => "below_the_floor",
            "leaky-relu-as-maximum" => "equivalent",
            _ => "located",
        };
        assert_eq!(trial["outcome"], expected, "{trial}");
    }
    let of = |id: &str| trials.iter().find(|trial| trial["id"] == id).unwrap();
    assert_eq!(
        of("lstm-bias-hh-missing-once")["source"],
        serde_json::json!(["lstm.3.reverse", "lstm.3"])
    );
    // What other tools would have said: nothing.
    for id in ["wav-norm-unbiased", "log-in-base-10"] {
        let ordinary = &of(id)["ordinary"];
        assert_eq!(ordinary["frame_agreement"], 1.0, "{id}");
        assert!(ordinary["cosine"].as_f64().unwrap() > 0.999, "{id}");
    }
    let clean = found["clean"].as_array().unwrap();
    assert!(clean.len() >= 8, "{clean:?}");
    for run in clean {
        assert_eq!(run["alarms"], serde_json::json!([]), "{run}");
    }
}

#[test]
fn it_reads_as_a_table_and_as_markdown() {
    let table = self_test(&[]).ok();
    assert!(
        table.contains(
            "Located at their stage: 10 of 10 that exceed the limits; 1 below the rounding floor."
        ),
        "{table}"
    );
    assert!(
        table.contains("False alarms: 0 in ")
            && table.contains(" clean runs, 0 in 1 runs with an equivalent change."),
        "{table}"
    );
    // As `diarize` runs it, with every kernel that this machine has.
    for run in [
        "1 thread(s): 41 windows of sample.wav with a pause in batches of 24 and 17",
        "2 thread(s): 33 windows of sample.wav with a pause in batches of 32 and 1",
        "6 windows of silence",
        "6 windows of one voice",
        "6 windows of six voices",
    ] {
        assert!(table.contains(run), "{run}: {table}");
    }
    let markdown = self_test(&["--format", "markdown"]).ok();
    assert!(
        markdown.starts_with("# Self-test: are faults detected, located and identified?\n"),
        "{markdown}"
    );
    assert!(markdown.contains("\n| relu-for-leaky-relu "), "{markdown}");
}

/// One of each kind of a speaker embedding: in the filter bank, the trunk, the pooling and the last layer, by weights and by
/// functions, of another shape, and none at all.
const OF_EMBEDDINGS: [&str; 8] = [
    "fbank-hann",
    "fbank-one-frame-short",
    "centring-missing",
    "conv2d-kernel-flipped",
    "bn-eps-1e-3",
    "relu-missing",
    "pool-biased",
    "sum-the-other-way",
];
/// Of pooling by the frames of speakers.
const OF_MASKS: [&str; 2] = ["masks-late", "last-bias-missing"];

/// Faults that only batches, long windows or the end of a run have.
const OF_PATHS: [(&str, &str); 11] = [
    ("last-of-a-tile", "unobserved"),
    ("second-is-first", "unobserved"),
    ("tail-of-a-batch", "unobserved"),
    ("batches-in-reverse", "unobserved"),
    ("second-batch-late", "unobserved"),
    ("behind-silence-shifted", "unobserved"),
    ("frames-in-8-bits", "unobserved"),
    ("last-frame-missing", "unobserved"),
    ("state-carried-over", "unobserved"),
    ("batches-rounded", "unobserved"),
    ("returned-is-not-observed", "returned"),
];

#[test]
fn faults_of_the_path_that_users_take_are_noticed() {
    let faults: Vec<&str> = OF_PATHS.iter().map(|(fault, _)| *fault).collect();
    let run = soundalike([
        "self-test",
        "--faults",
        &faults.join(","),
        "--format",
        "json",
    ]);
    let found: Value = serde_json::from_str(&run.ok()).unwrap();
    let trials = found["paths"].as_array().unwrap();
    assert_eq!(trials.len(), OF_PATHS.len());
    for (trial, (fault, path)) in trials.iter().zip(OF_PATHS) {
        assert_eq!(trial["id"], fault);
        let mut checks = trial["checks"].as_array().unwrap().iter();
        let noticed = checks.any(|check| check["path"] == path && check["wrong"] != 0);
        assert!(noticed, "{trial}");
    }
}

#[test]
fn faults_in_recorded_outputs_are_noticed_without_a_model() {
    let trace = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../selftest/captured/segmentation-3.0_1s.npz"
    );
    let json = soundalike(["self-test", "--trace", trace, "--format", "json"]).ok();
    let found: Value = serde_json::from_str(&json).unwrap();
    let trials = found["trials"].as_array().unwrap();
    assert!(trials.len() > 150 && trials.iter().all(|trial| trial["noticed"] == true));
    // What a gain of 1 % does to no correlation.
    let scaled = trials.iter().filter(|trial| trial["fault"] == "scaled");
    let blind = |trial: &Value| trial["correlation"].as_f64().unwrap() > 0.999;
    assert!(scaled.clone().count() == 33 && scaled.clone().all(blind));
    let table = soundalike(["self-test", "--trace", trace]).ok();
    assert!(table.contains("late by one frame"), "{table}");
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let unknown = soundalike(["self-test", "--faults", "typo"]);
    assert_eq!(
        unknown.no_refusal(&["--faults typo", "unknown fault"]),
        None
    );
    let page = self_test(&["--format", "html"]);
    assert_eq!(page.code, Some(2), "{}", page.stderr);
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn mistakes_after_the_networks_are_located_in_what_pyannote_computed() {
        let assets = assets();
        let run = assets.join("pyannote-captures/03_dual_speaker");
        let pipeline = assets.join("pipelines/community-1-synthetic");
        let [run, pipeline] = [run, pipeline].map(|path| path.display().to_string());
        let arguments = ["self-test", "--run", &run, "--model", &pipeline];
        let table = soundalike(arguments).ok();
        assert!(table.contains("False alarms: 0 in 1 clean runs"), "{table}");
        assert!(
            table.contains("\nslots-not-aligned                  assignment      assignment "),
            "{table}"
        );
        let faults = ["--faults", "counts-half-up,score-without-mapping"];
        let markdown = soundalike(
            arguments
                .iter()
                .chain(&faults)
                .chain(&["--format", "markdown"]),
        );
        let markdown = markdown.ok();
        assert!(
            markdown.starts_with(
                "# Self-test of the pipeline: are faults after the networks located?\n"
            ),
            "{markdown}"
        );
        assert!(
            markdown.contains("Located at their stage: 2 of 2"),
            "{markdown}"
        );
        let unknown = soundalike(arguments.iter().chain(&["--faults", "typo"]));
        assert_eq!(unknown.no_refusal(&["--faults typo", "unknown"]), None);
    }
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn faults_of_a_speaker_embedding_are_located_in_what_the_official_package_computed() {
        let captures = captures();
        let directory = std::path::Path::new(&captures).join("wespeaker");
        for (trace, faults) in [("whole", &OF_EMBEDDINGS[..]), ("speakers", &OF_MASKS)] {
            let reference = directory.join(format!("traced-34/{trace}.npz"));
            let run = soundalike([
                "self-test",
                "--reference",
                &format!("trace:{}", reference.display()),
                "--model",
                &directory.join("traced-34.ckpt").display().to_string(),
                "--faults",
                &faults.join(","),
                "--format",
                "json",
            ]);
            let found: Value = serde_json::from_str(&run.ok()).unwrap();
            let trials = found["trials"].as_array().unwrap();
            assert_eq!(trials.len(), faults.len());
            for trial in trials {
                let expected = match trial["id"].as_str().unwrap() {
                    "sum-the-other-way" => "equivalent",
                    _ => "located",
                };
                assert_eq!(trial["outcome"], expected, "{trial}");
            }
            for run in found["clean"].as_array().unwrap() {
                assert_eq!(run["alarms"], serde_json::json!([]), "{run}");
            }
        }
    }
}
