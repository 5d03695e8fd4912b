//! `soundalike trace`, as a user types it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use support::{Run, all_pass, data, names, soundalike_in};

/// `trace --audio tests/data/sample.wav` with `words`, in `folder`.
fn trace(folder: &Path, words: &str) -> Run {
    let audio = data("sample.wav");
    soundalike_in(
        folder,
        &format!("trace --audio {} {words}", audio.display()),
    )
}

#[test]
fn our_trace_of_the_built_in_window_is_an_exact_candidate() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["a.npz", "b.npz"] {
        trace(
            folder,
            &format!("--engine candle-cpu-portable --start 12.9 --duration 1 -o {name}"),
        )
        .ok();
    }
    assert_eq!(names(folder), ["a.npz", "b.npz"], "nothing else is left");
    let bytes = |name| fs::read(folder.join(name)).unwrap();
    assert!(
        bytes("a.npz") == bytes("b.npz"),
        "the same command gives the same bytes"
    );
    let compared = soundalike_in(folder, "compare --candidate trace:a.npz --format json");
    let report: serde_json::Value = serde_json::from_str(&compared.ok()).unwrap();
    let stages = report["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 33);
    assert!(
        stages.iter().all(|stage| stage["verdict"] == "exact"),
        "{report}"
    );
    let other = trace(
        folder,
        "--engine candle-cpu --start 5 --duration 1 -o c.npz",
    );
    assert_eq!(other.code, Some(0));
    let other = soundalike_in(folder, "compare --candidate trace:c.npz");
    assert_eq!(other.no_refusal(&["c.npz"]), None);
    // Of ours there is no golden.
    let reference = soundalike_in(folder, "compare --reference trace:a.npz");
    assert_eq!(reference.no_refusal(&["a.npz"]), None);
}

#[test]
fn what_cannot_be_traced_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("text.wav"), "no audio").unwrap();
    fs::write(folder.join("text.bin"), "no model").unwrap();
    let cases = [
        (
            "--engine candle-cpu --start 1000 -o x.npz",
            "--start is 1000",
        ),
        (
            "--engine candle-cpu --start 12.9 --duration 1000 -o x.npz",
            "has no 1000 s from 12.9 s on",
        ),
        ("--engine candle-cpu --duration 0 -o x.npz", "has no 0 s"),
        ("--engine candle-cpu --duration 0.01 -o x.npz", "160"),
        ("--engine candle-cpu --model text.bin -o x.npz", "text.bin"),
        ("--engine candle-cpu -o missing/x.npz", "missing"),
    ];
    let failures = cases
        .into_iter()
        .filter_map(|(words, part)| trace(folder, words).no_refusal(&[part]));
    all_pass(failures.collect());
    let text = soundalike_in(
        folder,
        "trace --engine candle-cpu --audio text.wav -o x.npz",
    );
    assert_eq!(text.no_refusal(&["text.wav"]), None);
    let itself = soundalike_in(
        folder,
        "trace --engine candle-cpu --audio text.wav -o text.wav",
    );
    assert_eq!(itself.no_refusal(&["text.wav", "give another file"]), None);
    assert_eq!(trace(folder, "--engine mlx -o x.npz").code, Some(2));
    assert_eq!(names(folder), ["text.bin", "text.wav"]);
}

#[cfg(not(feature = "torch"))]
#[test]
fn without_libtorch_the_reference_engine_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = trace(folder.path(), "--engine torch -o x.npz");
    assert_eq!(
        run.no_refusal(&["scripts/setup_libtorch.sh", "--features torch"]),
        None
    );
    assert!(names(folder.path()).is_empty());
}

#[cfg(feature = "torch")]
#[test]
fn a_trace_of_libtorch_is_a_reference() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trace(folder, "--engine torch --start 5 --duration 2 -o t.npz").ok();
    let table = soundalike_in(folder, "compare --reference trace:t.npz").ok();
    assert!(table.contains("gate: passed"), "{table}");
    soundalike_in(
        folder,
        "compare --reference trace:t.npz --candidate trace:t.npz",
    )
    .ok();
    let wrong = soundalike_in(
        folder,
        "compare --reference trace:t.npz --inject relu-for-leaky-relu",
    );
    assert_eq!(wrong.code, Some(3));
}
