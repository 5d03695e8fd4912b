//! `soundalike compare --self-test`, as a user types it. Against the built-in trace: no libtorch.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

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
    let arguments = ["compare", "--self-test", "--faults", &faults];
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
        table.contains("Located to the stage: 10 of 10 that reach the bars; 1 below the floor."),
        "{table}"
    );
    assert!(
        table.contains(
            "False alarms: 0 in 8 runs without a fault, 0 in 1 with a change that is none."
        ),
        "{table}"
    );
    let markdown = self_test(&["--format", "markdown"]).ok();
    assert!(
        markdown.starts_with("# Would it have noticed?\n"),
        "{markdown}"
    );
    assert!(markdown.contains("\n| relu-for-leaky-relu "), "{markdown}");
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let unknown = soundalike(["compare", "--self-test", "--faults", "typo"]);
    assert_eq!(
        unknown.no_refusal(&["--faults typo", "unknown fault"]),
        None
    );
    let page = self_test(&["--format", "html"]);
    assert_eq!(page.no_refusal(&["--self-test", "--format"]), None);
}
