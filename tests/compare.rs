//! `soundalike compare --layers`, as a user types it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;

use support::soundalike;

#[test]
fn without_arguments_the_embedded_network_is_the_original() {
    let table = soundalike(["compare", "--layers"]).ok();
    assert!(table.contains("33 stages"), "{table}");
    assert!(
        table.contains("exact") && table.contains("gate: passed"),
        "{table}"
    );
}

#[test]
fn the_mistake_of_the_88_percent_is_found_where_it_is_and_fails_the_gate() {
    let arguments = [
        "compare",
        "--layers",
        "--inject",
        "relu-for-leaky-relu",
        "--format",
        "json",
    ];
    let run = soundalike(arguments);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    assert_eq!(
        report["source"],
        serde_json::json!(["linear.0.leaky_relu", "linear.1.leaky_relu"])
    );
    assert_eq!(report["gate"]["passed"], false);
    assert!(!report["gate"]["failures"].as_array().unwrap().is_empty());
    let stage = report["stages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|stage| stage["name"] == "linear.1")
        .unwrap();
    assert_eq!(stage["verdict"], "exact");
    for key in [
        "r",
        "r_local",
        "max_abs",
        "mean_abs",
        "rel_l2",
        "snr_db",
        "correlation",
        "rms_ratio",
    ] {
        assert!(
            stage["teacher_forced"][key].is_number() && stage["free_running"][key].is_number(),
            "{key}"
        );
    }
    for key in ["correlation", "frame_agreement", "max_abs", "mean_l2"] {
        assert!(report["output"][key].is_number(), "{key}");
    }
    assert!(report["task"]["der"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_gate_of_the_users_own_decides() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate.toml");
    let with = |text: &str| {
        fs::write(&gate, text).unwrap();
        soundalike(["compare", "--layers", "--gate", gate.to_str().unwrap()])
    };
    assert_eq!(
        with("[[stage]]\npattern = \"lstm.*\"\nr = 100.0\nbecause = \"a test\"").code,
        Some(0)
    );
    assert_eq!(
        with("[[stage]]\npattern = \"lstm.*\"\nr = 1e-3\nbecause = \"a test\"").code,
        Some(3)
    );
    let refused = [
        (
            "[[stage]]\npattern = \"gru.*\"\nr = 4.0\nbecause = \"a test\"",
            "`gru.*` fits no stage",
        ),
        (
            "[[stage]]\npattern = \"*\"\nr = 4.0\nbecause = \"\"",
            "because",
        ),
        (
            "[[stage]]\npattern = \"*\"\nradius = 4.0\nbecause = \"a test\"",
            "radius",
        ),
    ];
    for (text, part) in refused {
        assert_eq!(with(text).no_refusal(&["gate.toml", part]), None);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("text.npz"), "no zip").unwrap();
    let trace = include_bytes!("../reference/segmentation-3.0/sample_1s.npz");
    fs::write(path("cut.npz"), &trace[..trace.len() / 2]).unwrap();
    let mut problems = Vec::new();
    for (side, file) in [
        ("--reference", "missing.npz"),
        ("--reference", "text.npz"),
        ("--reference", "cut.npz"),
        ("--candidate", "missing.npz"),
        ("--candidate", "text.npz"),
        ("--candidate", "cut.npz"),
    ] {
        let run = soundalike([
            "compare",
            "--layers",
            side,
            &format!("trace:{}", path(file)),
        ]);
        problems.extend(run.no_refusal(&[file]));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for side in ["--reference", "--candidate"] {
        let run = soundalike(["compare", "--layers", side, "mlx"]);
        assert_eq!(
            run.no_refusal(&["mlx", "unknown engine", "trace:FILE.npz"]),
            None
        );
    }
}

#[test]
fn a_trace_of_the_reference_itself_is_exact() {
    let trace = concat!(
        "trace:",
        env!("CARGO_MANIFEST_DIR"),
        "/../../reference/segmentation-3.0/sample_1s.npz"
    );
    let table = soundalike(["compare", "--layers", "--candidate", trace]).ok();
    assert!(table.contains("gate: passed"), "{table}");
}
