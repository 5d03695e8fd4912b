//! Whole reports, as `tests/golden/` has them. `SOUNDALIKE_GOLDEN=write` writes them anew: read the difference before you commit.
//!
//! What depends on the machine is replaced: numbers that were measured on it by `#`, its processor by `CPU`. The style and
//! the script of a page are replaced where they are those of the sources.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic like the tests themselves"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use support::{all_pass, command};

/// Formats of a report that people read, and the ends of the golden files.
const FORMATS: [(&str, &str); 3] = [("table", "txt"), ("markdown", "md"), ("html", "html")];

/// In every page, and each a file of its own already.
const STYLE: &str = include_str!("../crates/report/src/document/html.css");
const SCRIPT: &str = include_str!("../crates/report/src/document/picture/timeline.js");

/// What is left of a report when its numbers may differ.
#[derive(Clone, Copy)]
enum Numbers {
    /// Computed alike everywhere.
    Exact,
    /// Measured: each becomes `#`, and so does a bar; columns lose their width.
    Measured,
}

/// `soundalike WORDS --format FORMAT` in `folder`, and why that is not the golden file `NAME.END`.
fn differs(
    folder: &Path,
    name: &str,
    words: &str,
    (format, end): (&str, &str),
    numbers: Numbers,
) -> Option<String> {
    let words = words.split(' ').chain(["--format", format]);
    let output = command(words).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = match numbers {
        Numbers::Exact => without_machine(&text),
        Numbers::Measured => measured(&without_machine(&text)),
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(format!("{name}.{end}"));
    if std::env::var("SOUNDALIKE_GOLDEN").is_ok_and(|value| value == "write") {
        fs::write(golden, text).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    let mut lines = text.lines().zip(expected.lines());
    (text != expected).then(|| {
        let difference = match lines.find(|(ours, theirs)| ours != theirs) {
            Some((ours, theirs)) => format!("    now {ours}\n    was {theirs}"),
            None => format!(
                "{} lines, expected {}",
                text.lines().count(),
                expected.lines().count()
            ),
        };
        format!("{name}.{end}:\n{difference}")
    })
}

/// Without the name of the processor, the number of threads and the version.
fn without_machine(text: &str) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // One for each set of vector instructions that the processor has.
    let text: String = text
        .split_inclusive('\n')
        .filter(|line| !line.trim_start_matches("| ").starts_with("by "))
        .collect();
    text.replace(STYLE, "STYLE")
        .replace(SCRIPT, "SCRIPT")
        .replace(cpu, "CPU")
        // The machine of the built-in trace, which may be this one.
        .replace("AMD EPYC", "CPU")
        .replace(&format!("{threads} threads"), "# threads")
        .replacen(&format!("\"threads\": {threads},"), "\"threads\": #,", 1)
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// Each number, and each run of bars, as `#`; spaces and lines of a table as one. Lines that are then equal are one.
fn measured(text: &str) -> String {
    let is_bar = |c: char| ('\u{2580}'..='\u{259f}').contains(&c);
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let kind: fn(char) -> bool = match c {
            '0'..='9' => |c| c.is_ascii_digit() || c == '.',
            ' ' => |c| c == ' ',
            '-' => |c| c == '-',
            '─' => |c| c == '─',
            c if is_bar(c) => |c| ('\u{2580}'..='\u{259f}').contains(&c),
            c => {
                out.push(c);
                continue;
            }
        };
        while characters.next_if(|next| kind(*next)).is_some() {}
        // `1.3e-6` and `1e6` are one number.
        if c.is_ascii_digit() && characters.peek() == Some(&'e') {
            let mut rest = characters.clone();
            rest.next();
            rest.next_if(|next| *next == '-');
            if rest.next_if(char::is_ascii_digit).is_some() {
                while rest.next_if(char::is_ascii_digit).is_some() {}
                characters = rest;
            }
        }
        let known = if c.is_ascii_digit() || is_bar(c) {
            '#'
        } else {
            c
        };
        out.push(known);
    }
    let mut lines: Vec<_> = out.lines().collect();
    lines.dedup();
    lines.join("\n") + "\n"
}

fn built_in_trace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/selftest/captured/segmentation-3.0_1s.npz")
}

/// The last stages of the built-in trace as a port computes them whose last activation is a ReLU in place of a leaky one.
fn write_port(path: &Path) {
    let mut trace = NpzReader::new(File::open(built_in_trace()).unwrap()).unwrap();
    let mut golden = |stage: &str| -> ArrayD<f64> { trace.by_name(stage).unwrap() };
    let mut port = NpzWriter::new(File::create(path).unwrap());
    for stage in ["linear.0", "linear.0.leaky_relu", "linear.1"] {
        port.add_array(stage, &golden(stage).mapv(|x| x as f32))
            .unwrap();
    }
    let relu = golden("linear.1").mapv(|x| x.max(0.0) as f32);
    port.add_array("linear.1.leaky_relu", &relu).unwrap();
    let mut activation = golden("activation").mapv(|x| x as f32);
    activation[IxDyn(&[0, 7, 1])] += 0.5;
    port.add_array("activation", &activation).unwrap();
    port.finish().unwrap();
}

#[test]
fn the_score_of_two_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let turn = |uri: &str, start: f64, end: f64, speaker: &str| {
        format!(
            "SPEAKER {uri} 1 {start} {} <NA> <NA> {speaker} <NA> <NA>\n",
            end - start
        )
    };
    let reference = [
        turn("x", 0.0, 8.0, "A"),
        turn("x", 8.0, 10.0, "B"),
        turn("y", 1.0, 3.0, "C"),
    ];
    let hypothesis = [
        turn("x", 0.0, 9.0, "1"),
        turn("x", 9.0, 10.5, "2"),
        turn("y", 1.5, 3.0, "1"),
    ];
    fs::write(here.join("reference.rttm"), reference.concat()).unwrap();
    fs::write(here.join("hypothesis.rttm"), hypothesis.concat()).unwrap();
    let mut formats = FORMATS.to_vec();
    formats.extend([("csv", "csv"), ("json", "json")]);
    let words = "score reference.rttm hypothesis.rttm --all";
    let failures = formats.into_iter();
    all_pass(
        failures
            .filter_map(|format| differs(here, "score", words, format, Numbers::Exact))
            .collect(),
    );
}

#[test]
fn a_port_with_two_faults_compared_with_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::copy(built_in_trace(), here.join("reference.npz")).unwrap();
    write_port(&here.join("port.npz"));
    let words = "compare --reference trace:reference.npz --candidate trace:port.npz";
    let mut formats = FORMATS.to_vec();
    formats.extend([("json", "json"), ("junit", "xml")]);
    let failures = formats.into_iter();
    all_pass(
        failures
            .filter_map(|format| differs(here, "compare", words, format, Numbers::Exact))
            .collect(),
    );
}

#[test]
fn three_faults_of_a_self_test() {
    let folder = tempfile::tempdir().unwrap();
    let words =
        "self-test --faults lstm-bias-hh-missing-once,relu-for-leaky-relu,leaky-relu-as-maximum";
    all_pass(
        FORMATS[..2]
            .iter()
            .filter_map(|format| {
                differs(
                    folder.path(),
                    "self-test",
                    words,
                    *format,
                    Numbers::Measured,
                )
            })
            .collect(),
    );
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn the_cost_of_one_cluster_too_many() {
        let assets = checkpoint::assets();
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let captured = assets.join("pyannote-captures/03_dual_speaker");
        let read = |file: &str| NpzReader::new(File::open(captured.join(file)).unwrap()).unwrap();
        let mut clusters: ArrayD<i8> = read("clustering.npz").by_name("hard_clusters").unwrap();
        fs::create_dir(here.join("port")).unwrap();
        let port = File::create(here.join("port/clustering.npz")).unwrap();
        let mut port = NpzWriter::new(port);
        // The one speaker of the recording gets another cluster in the second half.
        for (place, cluster) in clusters.indexed_iter_mut() {
            *cluster += i8::from(place[0] >= 25 && *cluster >= 0);
        }
        port.add_array("hard_clusters", &clusters).unwrap();
        port.finish().unwrap();
        for (name, target) in [
            ("pyannote", captured),
            ("pipeline", assets.join("pipelines/community-1-synthetic")),
        ] {
            let target = fs::canonicalize(target).unwrap();
            std::os::unix::fs::symlink(target, here.join(name)).unwrap();
        }
        let words = "attribute pyannote port --model pipeline";
        let failures = FORMATS[..2].iter();
        let failures = failures
            .filter_map(|format| differs(here, "attribute", words, *format, Numbers::Exact));
        all_pass(failures.collect());
    }
}
