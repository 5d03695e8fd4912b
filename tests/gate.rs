//! `soundalike gate learn`, as a user types it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use support::{Run, all_pass, soundalike_in};

/// The report of the built-in comparison of every single stage, and what `edit` makes of it.
fn report(folder: &Path, name: &str, edit: impl FnOnce(&mut serde_json::Value)) {
    let run = soundalike_in(
        folder,
        "compare --candidate candle-cpu-portable --format json",
    );
    let mut report = serde_json::from_str(&run.ok()).unwrap();
    edit(&mut report);
    fs::write(folder.join(name), report.to_string()).unwrap();
}

/// The stage `name` of a report.
fn stage<'a>(report: &'a mut serde_json::Value, name: &str) -> &'a mut serde_json::Value {
    let stages = report["stages"].as_array_mut().unwrap();
    stages
        .iter_mut()
        .find(|stage| stage["name"] == name)
        .unwrap()
}

fn compare(folder: &Path, fault: &str) -> Run {
    let words = format!("compare --candidate candle-cpu-portable --gate gate.toml{fault}");
    soundalike_in(folder, &words)
}

#[test]
fn a_learned_gate_passes_its_runs_and_stops_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    report(folder, "clean.json", |_| {});
    // Another input: 1.2 times the error at one stage.
    report(folder, "other.json", |report| {
        let r = &mut stage(report, "classifier")["teacher_forced"]["r"];
        *r = (1.2 * r.as_f64().unwrap()).into();
    });
    soundalike_in(folder, "gate learn clean.json other.json -o gate.toml").ok();
    let gate = fs::read_to_string(folder.join("gate.toml")).unwrap();
    assert!(
        gate.contains("1.5 times the worst of 2 known-good runs") && gate.contains("in other.json"),
        "{gate}"
    );
    assert_eq!(compare(folder, "").code, Some(0), "{gate}");
    let fault = compare(folder, " --inject relu-for-leaky-relu");
    assert_eq!(fault.code, Some(3));
    assert!(
        fault
            .stdout
            .contains("linear.0.leaky_relu: teacher-forced R is"),
        "{}",
        fault.stdout
    );
}

#[test]
fn a_learned_limit_is_neither_below_pytorchs_own_rounding_nor_above_the_bars() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    report(folder, "clean.json", |_| {});
    soundalike_in(folder, "gate learn clean.json --margin 3 -o gate.toml").ok();
    let gate: toml::Table = fs::read_to_string(folder.join("gate.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let limits = gate["stage"].as_array().unwrap();
    let limit = |stage: &str, key: &str| {
        let mut fitting = limits
            .iter()
            .filter(|limit| limit["pattern"].as_str() == Some(stage));
        fitting.next().unwrap()[key].as_float().unwrap()
    };
    assert_eq!(limits.len(), 33);
    // The filters of the embedded model are constants, equal bit by bit; the second convolution has 2.73.
    assert_eq!(limit("sincnet.conv1d.0.filters", "r"), 1.0);
    assert_eq!(limit("sincnet.conv1d.1", "r"), 4.0);
    assert!(
        limits
            .iter()
            .all(|limit| limit["r_local"].as_float().unwrap() <= 32.0)
    );
    assert_eq!(gate["output"]["frame_agreement"].as_float(), Some(1.0));
    assert_eq!(gate["task"]["der"].as_float(), Some(0.0));
}

#[test]
fn nothing_is_learned_from_runs_that_are_not_good_or_not_alike() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    report(folder, "clean.json", |_| {});
    fs::write(folder.join("text.json"), "no report").unwrap();
    report(folder, "schema.json", |report| report["schema"] = 2.into());
    report(folder, "failed.json", |report| {
        report["gate"]["passed"] = false.into()
    });
    report(folder, "inexact.json", |report| {
        stage(report, "lstm.2")["verdict"] = "precision".into();
    });
    report(folder, "model.json", |report| {
        report["model"] = "segmentation-2.0".into()
    });
    report(folder, "fewer.json", |report| {
        stage(report, "lstm.2")["verdict"] = "not_observed".into();
    });
    let refused = [
        ("missing.json", "cannot be read"),
        ("text.json", "is not a report"),
        ("schema.json", "schema 2"),
        ("failed.json", "failed its gate"),
        ("inexact.json", "lstm.2 is precision"),
        ("model.json", "segmentation-2.0"),
        ("fewer.json", "does not show lstm.2"),
    ];
    all_pass(
        refused
            .into_iter()
            .filter_map(|(file, part)| {
                let run = soundalike_in(
                    folder,
                    &format!("gate learn clean.json {file} -o gate.toml"),
                );
                run.no_refusal(&[file, part])
            })
            .collect(),
    );
    assert!(!folder.join("gate.toml").exists());
    let margin = soundalike_in(folder, "gate learn clean.json --margin 1");
    assert_eq!(margin.code, Some(2));
    let itself = soundalike_in(folder, "gate learn clean.json -o clean.json");
    assert_eq!(
        itself.no_refusal(&["clean.json", "give another file"]),
        None
    );
}
