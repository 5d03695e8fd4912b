//! `soundalike compare`, as a user types it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::{
    fs,
    io::{Cursor, Read, Write},
};

use ndarray::{Array, Array1, ArrayD};
use ndarray_npy::{NpzReader, NpzWriter};
use support::soundalike;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

#[test]
fn without_arguments_the_embedded_network_is_the_original() {
    let table = soundalike(["compare"]).ok();
    assert!(table.contains("33 stages"), "{table}");
    assert!(
        table.contains("exact") && table.contains("gate: passed"),
        "{table}"
    );
    // And `diarize` gets what was compared.
    for line in [
        "returned output: 1 of 1 outputs bit-equal to the compared ones",
        "unobserved batches: 41 of 41 outputs bit-equal to the compared ones (41 windows of sample.wav with a pause in batches of 24 and 17)",
        "diarize: 41 of 41 outputs bit-equal to the compared ones (41 windows of sample.wav with a pause)",
    ] {
        assert!(table.contains(line), "{table}");
    }
}

/// Version 0.1 had to be told so.
#[test]
fn layers_is_what_compare_does_anyway() {
    let of = |arguments: &[&str]| {
        let json = soundalike([arguments, &["--format", "json"]].concat()).ok();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["stages"].clone()
    };
    assert_eq!(of(&["compare", "--layers"]), of(&["compare"]));
}

/// Stages of a network that nobody here knows, with a branch.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("encoder.conv", &["image"]),
    ("encoder.relu", &["encoder.conv"]),
    ("skip", &["image"]),
    ("head", &["encoder.relu", "skip"]),
];

/// Writes a trace of it, with `floor` as that of f32 where it is a reference; the stages `wrong` are negated.
fn write_foreign(path: &str, floor: Option<f64>, wrong: &[&str]) {
    let mut trace = NpzWriter::new(fs::File::create(path).unwrap());
    let stages: Vec<_> = FOREIGN
        .iter()
        .map(|(name, inputs)| {
            let shape = [1, 4, 5];
            serde_json::json!({"name": name, "shape": shape, "inputs": inputs, "channel_axis": 1})
        })
        .collect();
    let manifest = serde_json::json!({"schema": 1, "engine": "somebody's", "stages": stages});
    let manifest = Array1::from(manifest.to_string().into_bytes());
    trace.add_array("manifest", &manifest).unwrap();
    for (index, (name, _)) in FOREIGN.iter().enumerate() {
        let sign = if wrong.contains(name) { -1.0 } else { 1.0 };
        let value = |at: usize| sign * ((20 * index + at) as f64 * 0.7).sin();
        let values = Array::from_shape_fn((1, 4, 5), |(_, row, column)| value(5 * row + column));
        let Some(floor) = floor else {
            trace.add_array(*name, &values.mapv(|x| x as f32)).unwrap();
            continue;
        };
        trace.add_array(*name, &values).unwrap();
        for run in ["free", "forced"] {
            let floors = [1, 4].map(|length| Array1::from_elem(length, floor));
            let [whole, channels] = floors;
            trace
                .add_array(format!("floor.{run}/{name}"), &whole)
                .unwrap();
            let of_channels = format!("floor.{run}.channel/{name}");
            trace.add_array(of_channels, &channels).unwrap();
        }
    }
    let output = Array::<f32, _>::zeros((1, 4, 5));
    trace.add_array("f32/head", &output).unwrap();
    trace.finish().unwrap();
}

#[test]
fn two_traces_of_any_network_are_compared_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let reference = path("reference.npz");
    write_foreign(&reference, Some(2e-8), &[]);
    let compare = |name: &str, wrong: &[&str]| {
        let candidate = path(name);
        write_foreign(&candidate, None, wrong);
        let [reference, candidate] = [&reference, &candidate].map(|path| format!("trace:{path}"));
        soundalike([
            "compare",
            "--reference",
            &reference,
            "--candidate",
            &candidate,
            "--format",
            "json",
        ])
    };
    let right: serde_json::Value = serde_json::from_str(&compare("right.npz", &[]).ok()).unwrap();
    assert_eq!(right["stages"].as_array().unwrap().len(), FOREIGN.len());
    assert_eq!(right["source"], serde_json::json!([]));
    let run = compare("wrong.npz", &["encoder.relu", "head"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let wrong: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(wrong["source"], serde_json::json!(["encoder.relu"]));
    // One of them alone: its network is not here.
    let alone = soundalike(["compare", "--reference", &format!("trace:{reference}")]);
    println!("{}", alone.stderr);
    assert_ne!(alone.code, Some(0));
}

/// The built-in trace as another framework has it: numbers for names, the axes of every stage in another order, in f32.
fn scrambled(path: &std::path::Path, change: impl Fn(&str, ArrayD<f64>) -> ArrayD<f64>) {
    let captured = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../selftest/captured/segmentation-3.0_1s.npz"
    );
    let mut reference = NpzReader::new(fs::File::open(captured).unwrap()).unwrap();
    let names = reference.names().unwrap().into_iter();
    let is_stage = |name: &String| {
        let other = ["manifest", "waveform", "f32/", "floor."];
        !other.iter().any(|start| name.starts_with(start))
    };
    let mut trace = NpzWriter::new(fs::File::create(path).unwrap());
    for (index, name) in names.filter(is_stage).enumerate() {
        let values: ArrayD<f64> = reference.by_name(&name).unwrap();
        let values = change(&name, values).mapv(|x| x as f32);
        let turned = values.reversed_axes().as_standard_layout().into_owned();
        trace
            .add_array(format!("/{}", 400 + index), &turned)
            .unwrap();
    }
    trace.finish().unwrap();
}

#[test]
fn stages_under_other_names_and_in_other_layouts_are_found_by_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port.npz");
    let candidate = format!("trace:{}", path.display());
    let compare = |format| {
        let run = soundalike(["compare", "--candidate", &candidate, "--format", format]);
        (run.code, run.stdout)
    };
    scrambled(&path, |_, values| values);
    let (code, json) = compare("json");
    assert_eq!(code, Some(0), "{json}");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    for stage in report["stages"].as_array().unwrap() {
        assert_eq!(stage["matched"]["by"], "value", "{stage}");
    }
    assert_eq!(report["missing"], serde_json::json!([]));
    let (_, table) = compare("table");
    assert!(
        table.contains("0 by name") && table.contains(", axes in the order "),
        "{table}"
    );

    // What was found is a map, with which nothing has to be looked for.
    let names = folder.path().join("names.toml");
    let names = names.to_str().unwrap();
    let written = soundalike(["compare", "--candidate", &candidate, "--map-out", names]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let mapped = soundalike(["compare", "--candidate", &candidate, "--map", names]);
    let table = mapped.ok();
    assert!(table.contains("33 by name, 0 by their values"), "{table}");

    // Where values are no stage's any more, the order decides.
    scrambled(&path, |name, values| match name.starts_with("lstm.2") {
        true => values * 1.2,
        false => values,
    });
    let (code, json) = compare("json");
    assert_eq!(code, Some(3), "{json}");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let stages = report["stages"].as_array().unwrap();
    let wrong = stages
        .iter()
        .filter(|stage| stage["matched"]["by"] == "order");
    let wrong: Vec<_> = wrong.map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["lstm.2.forward", "lstm.2.reverse", "lstm.2"]);
}

#[test]
fn without_the_rounding_of_the_reference_nothing_is_concluded_unless_a_gate_limits_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, last: f32| {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let mut trace = NpzWriter::new(file);
        let stage = |scale: f32| Array::from_shape_fn((1, 30), |(_, at)| scale * (at as f32).sin());
        trace.add_array("encoder", &stage(1.0)).unwrap();
        trace.add_array("head", &stage(last)).unwrap();
        trace.finish().unwrap();
    };
    let compare = |more: &str| {
        let words = format!("compare --reference trace:a.npz --candidate trace:b.npz{more}");
        support::soundalike_in(folder.path(), &words)
    };
    write("a.npz", 2.0);
    write("b.npz", 2.001);
    let run = compare("");
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    for part in [
        "INCONCLUSIVE: how far the reference's own f32 is from f64 is not known",
        "The relative error grows most at head: 5.0e-4",
    ] {
        assert!(run.stdout.contains(part), "{}", run.stdout);
    }
    let gate = "[[stage]]\npattern = \"*\"\nrel_l2 = 1e-3\nbecause = \"it is enough here\"";
    fs::write(folder.path().join("gate.toml"), gate).unwrap();
    let table = compare(" --gate gate.toml").ok();
    assert!(table.contains("Within the limits of the gate."), "{table}");
    // Equal values need no unit.
    write("b.npz", 2.0);
    assert!(compare("").ok().contains("gate: passed"));
}

#[test]
fn a_reference_whose_own_rounding_is_as_large_as_its_output_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let compare = |floor| {
        write_foreign(
            here.join("reference.npz").to_str().unwrap(),
            Some(floor),
            &[],
        );
        write_foreign(here.join("candidate.npz").to_str().unwrap(), None, &[]);
        let words = "compare --reference trace:reference.npz --candidate trace:candidate.npz";
        support::soundalike_in(here, words)
    };
    // Of an output whose root mean square is 0.7.
    let stable = compare(0.005).ok();
    assert!(stable.contains("More exact than f32 can be"), "{stable}");
    let unstable = compare(0.02);
    assert_eq!(unstable.code, Some(3), "{}", unstable.stderr);
    for part in [
        "INCONCLUSIVE: the reference itself is not stable",
        "the error of its own f32 at the output is 0.0",
    ] {
        assert!(unstable.stdout.contains(part), "{}", unstable.stdout);
    }
    assert!(!unstable.stdout.contains("no bug"), "{}", unstable.stdout);
}

#[test]
fn weights_of_the_candidate_are_checked_against_the_models() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../weights/segmentation-3.0.safetensors"
    );
    let run = |words: &str| support::soundalike_in(folder.path(), words);
    fs::copy(embedded, folder.path().join("same.safetensors")).unwrap();
    run("convert same.safetensors --dtype bf16 -o rounded.safetensors").ok();
    let same = run("compare --candidate-model same.safetensors").ok();
    assert!(same.contains("; 51 bit-equal"), "{same}");
    let rounded = run("compare --candidate-model rounded.safetensors");
    assert_eq!(rounded.code, Some(3), "{}", rounded.stderr);
    for part in [
        "bf16, no tensor is all zero; 0 bit-equal, 51 equal after rounding to their dtype",
        "sincnet.wav_norm1d is wrong",
        "Its weights are the reference's in fewer bits (51 of 51 tensors)",
    ] {
        assert!(rounded.stdout.contains(part), "{}", rounded.stdout);
    }
    run("convert same.safetensors --dtype int8 --keep lstm.* -o integers.safetensors").ok();
    let integers = run("compare --candidate-model integers.safetensors");
    assert_eq!(integers.code, Some(3), "{}", integers.stderr);
    for part in [
        "45 f32 and 6 int8, no tensor is all zero; 45 bit-equal, 6 equal after rounding to their dtype",
        "Its weights are the reference's in fewer bits (6 of 51 tensors)",
    ] {
        assert!(integers.stdout.contains(part), "{}", integers.stdout);
    }
    // What is kept is right.
    let lstm = integers
        .stdout
        .lines()
        .filter(|line| line.contains(" lstm."));
    let lstm: Vec<_> = lstm.collect();
    assert!(
        !lstm.is_empty() && lstm.iter().all(|line| !line.contains("structural")),
        "{lstm:?}"
    );
}

#[test]
fn what_metal_is_asked_for_is_the_original_too() {
    let metal = ["compare", "--candidate", "candle-metal-ops"];
    for (arguments, name) in [
        (&metal[..], "candle-metal-ops against"),
        (
            &[&metal[..], &["--experimental-kernels"]].concat(),
            "candle-metal-ops with experimental kernels against",
        ),
    ] {
        let table = soundalike(arguments).ok();
        assert!(table.contains(name), "{table}");
        assert!(table.contains("gate: passed"), "{table}");
    }
}

#[test]
#[cfg(not(feature = "metal"))]
fn a_gpu_that_this_build_has_no_support_for_says_how_to_get_it() {
    let run = soundalike(["compare", "--candidate", "candle-metal"]);
    assert_eq!(run.no_refusal(&["--features metal"]), None);
}

#[test]
fn the_mistake_of_the_88_percent_is_found_where_it_is_and_fails_the_gate() {
    let arguments = [
        "compare",
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
        soundalike(["compare", "--gate", gate.to_str().unwrap()])
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
            "`gru.*` matches no stage",
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
    let trace = include_bytes!("../crates/selftest/captured/segmentation-3.0_1s.npz");
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
        let run = soundalike(["compare", side, &format!("trace:{}", path(file))]);
        problems.extend(run.no_refusal(&[file]));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for side in ["--reference", "--candidate"] {
        let run = soundalike(["compare", side, "mlx"]);
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
        "/../../crates/selftest/captured/segmentation-3.0_1s.npz"
    );
    let table = soundalike(["compare", "--candidate", trace]).ok();
    assert!(table.contains("gate: passed"), "{table}");
}

/// The committed trace, each entry of which `edit` may change, or drop.
fn edited(path: &str, edit: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) {
    let trace = include_bytes!("../crates/selftest/captured/segmentation-3.0_1s.npz");
    let mut source = ZipArchive::new(Cursor::new(&trace[..])).unwrap();
    let mut target = ZipWriter::new(fs::File::create(path).unwrap());
    for index in 0..source.len() {
        let mut entry = source.by_index(index).unwrap();
        let file = entry.name().unwrap().into_owned();
        let name = file.trim_end_matches(".npy");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if let Some(bytes) = edit(name, bytes) {
            let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            target.start_file(&*file, stored).unwrap();
            target.write_all(&bytes).unwrap();
        }
    }
    target.finish().unwrap();
}

/// The same file with `from` replaced by `to`, which is as long.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes());
    let place = place.unwrap_or_else(|| panic!("there is no {from}"));
    [&bytes[..place], to.as_bytes(), &bytes[place + from.len()..]].concat()
}

/// The last value of an array of `size` bytes each becomes not a number.
fn with_nan(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    let place = bytes.len() - size;
    bytes[place..].fill(0xff);
    bytes
}

#[test]
fn of_an_engine_that_shows_its_output_alone_that_is_judged_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("output.npz");
    edited(trace.to_str().unwrap(), |name, bytes| {
        matches!(name, "manifest" | "waveform" | "activation").then_some(bytes)
    });
    let gate = folder.path().join("gate.toml");
    fs::write(
        &gate,
        "[[stage]]\npattern = \"lstm.*\"\nr = 4.0\nbecause = \"a test\"",
    )
    .unwrap();
    let candidate = format!("trace:{}", trace.display());
    let run = soundalike(["compare", "--candidate", &candidate]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout
            .contains("not observed in the candidate: sincnet.wav_norm1d"),
        "{}",
        run.stdout
    );
    let asks = ["--gate", gate.to_str().unwrap()];
    let run = soundalike(
        ["compare", "--candidate", &candidate]
            .into_iter()
            .chain(asks),
    );
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout
            .contains("lstm.*: its output in the candidate is not observed"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_reference_that_is_no_truth_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    type Edit = fn(&str, Vec<u8>) -> Option<Vec<u8>>;
    let cases: [(&str, Edit, &[&str]); 5] = [
        (
            "other_model",
            |name, bytes| match name {
                "manifest" => Some(replaced(&bytes, "057ee564", "00000000")),
                _ => Some(bytes),
            },
            &["another model", "00000000"],
        ),
        (
            "missing_stage",
            |name, bytes| (name != "linear.0").then_some(bytes),
            &["missing_stage.npz", "`linear.0`", "capture it again"],
        ),
        (
            "other_shape",
            |name, bytes| match name {
                "manifest" => Some(replaced(&bytes, "[1, 56, 128]", "[1, 57, 128]")),
                _ => Some(bytes),
            },
            &["other_shape.npz", "[1, 56, 128]", "[1, 57, 128]"],
        ),
        (
            "not_a_number",
            |name, bytes| match name {
                "linear.0" => Some(with_nan(bytes, 8)),
                _ => Some(bytes),
            },
            &["not_a_number.npz", "`linear.0`", "not finite"],
        ),
        (
            "lost_floors",
            |name, bytes| (name != "floor.forced/lstm.1").then_some(bytes),
            &["lost_floors.npz", "`floor.forced/lstm.1`"],
        ),
    ];
    let mut problems = Vec::new();
    for (name, edit, parts) in cases {
        let path = folder.path().join(name).with_extension("npz");
        let path = path.to_str().unwrap();
        edited(path, edit);
        let run = soundalike(["compare", "--reference", &format!("trace:{path}")]);
        problems.extend(run.no_refusal(parts));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_candidate_that_is_of_something_else_is_refused_and_one_that_is_wrong_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let compare = |name: &str, edit: fn(&str, Vec<u8>) -> Option<Vec<u8>>| {
        let path = folder.path().join(name).with_extension("npz");
        edited(path.to_str().unwrap(), edit);
        let candidate = format!("trace:{}", path.display());
        soundalike(["compare", "--format", "json", "--candidate", &candidate])
    };
    let refused = [
        compare("model", |name, bytes| match name {
            "manifest" => Some(replaced(&bytes, "057ee564", "00000000")),
            _ => Some(bytes),
        })
        .no_refusal(&["another model", "00000000"]),
        compare("window", |name, mut bytes| {
            if let ("waveform", Some(last)) = (name, bytes.last_mut()) {
                *last ^= 1;
            }
            Some(bytes)
        })
        .no_refusal(&["window.npz", "another waveform", "sample.wav 12.9-13.9 s"]),
    ];
    assert_eq!(refused, [None, None]);

    let report = |run: support::Run| {
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()
    };
    let nan = report(compare("nan", |name, bytes| match name {
        "linear.0" => Some(with_nan(bytes, 8)),
        _ => Some(bytes),
    }));
    assert_eq!(nan["source"], serde_json::json!(["linear.0"]));
    let missing = report(compare("missing", |name, bytes| {
        (name != "activation").then_some(bytes)
    }));
    assert_eq!(missing["missing"], serde_json::json!(["activation"]));
    assert_eq!(missing["output"], serde_json::Value::Null);
    let nothing = report(compare("nothing", |name, bytes| {
        name.contains("manifest").then_some(bytes)
    }));
    assert_eq!(nothing["missing"].as_array().unwrap().len(), 33);
    assert_eq!(nothing["gate"]["passed"], false);
}

#[cfg(not(feature = "torch"))]
#[test]
fn what_needs_libtorch_says_how_to_get_it_where_it_is_not_built_in() {
    let wav = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sample.wav");
    for arguments in [
        &["--reference", "torch"][..],
        &["--audio", wav],
        &["--budget"],
        &["--dtype", "f16"],
    ] {
        let run = soundalike([&["compare"], arguments].concat());
        assert_eq!(
            run.no_refusal(&["scripts/setup_libtorch.sh", "--features torch"]),
            None,
            "{arguments:?}"
        );
    }
}

mod captures {
    use super::*;

    /// Weights in the formats of other projects, made from a checkpoint by `reference/make_exports.py`.
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn weights_of_other_projects_are_compared_with_the_checkpoint() {
        let captures = std::env::var("SOUNDALIKE_CAPTURES").unwrap();
        let verdicts = |network: &str, file: &str| {
            let model = format!("{captures}/pipelines/vbx/{network}/pytorch_model.bin");
            let (trace, file) = (
                format!("trace:{captures}/exports/{network}.npz"),
                format!("{captures}/exports/{file}"),
            );
            let mut words = vec!["compare", "--model", &model, "--reference", &trace];
            words.extend(["--candidate-model", &file, "--format", "json"]);
            words.extend(["--candidate", "candle-cpu-portable"]);
            let run = soundalike(words);
            assert_eq!(run.code, Some(0), "{file}: {}", run.stderr);
            let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
            let stages = report["stages"].as_array().unwrap().iter();
            let stages = stages.map(|stage| [&stage["name"], &stage["verdict"]]);
            let stages = stages.map(|stage| stage.map(|text| text.as_str().unwrap().to_owned()));
            stages.collect::<Vec<_>>()
        };
        let found = verdicts("segmentation", "segmentation-17.onnx");
        let exact = found.iter().filter(|[_, verdict]| verdict == "exact");
        assert_eq!(exact.count(), 33, "{found:?}");
        // Norms are folded into the convolutions before them: only the norm's output is known.
        let found = verdicts("embedding", "wespeaker.onnx");
        let hidden = found
            .iter()
            .filter(|[_, verdict]| verdict == "not_observed");
        let hidden: Vec<_> = hidden.map(|[name, _]| name.as_str()).collect();
        assert_eq!(hidden.len(), 36, "{hidden:?}");
        let convolutions = |name: &&str| name.contains("conv") || name.ends_with("shortcut.0");
        assert!(hidden.iter().all(convolutions), "{hidden:?}");
        let exact = found.iter().filter(|[_, verdict]| verdict == "exact");
        assert_eq!(exact.count(), 126 - 36, "{found:?}");
    }

    #[cfg(feature = "torch")]
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES"]
    fn the_embedding_of_a_pipeline_is_compared_on_the_masks_asked_for() {
        let captures = std::env::var("SOUNDALIKE_CAPTURES").unwrap();
        let pipeline = format!("{captures}/pipelines/vbx");
        let wav = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sample.wav");
        let compare = |more: &[&str]| {
            let mut words = vec!["compare", "--reference", "torch", "--model", &pipeline];
            words.extend(["--audio", wav, "--format", "json"]);
            words.extend(more);
            let run = soundalike(words);
            let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!(report["gate"]["passed"], true, "{}", run.stdout);
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            report
        };
        let inputs = |report: &serde_json::Value| report["inputs"].as_array().unwrap().len();
        let embedding = ["--network", "embedding"];
        let all = compare(&embedding);
        assert_eq!(
            (inputs(&all), &all["stages"][0]["name"]),
            (3, &"fbank".into())
        );
        let one = compare(&[&embedding[..], &["--masks", "one-frame"]].concat());
        assert_eq!(inputs(&one), 1);
        // Its re-fitted filters were never compared with the official package.
        let segmentation = compare(&["--unverified"]);
        assert_eq!(segmentation["stages"][0]["name"], "sincnet.wav_norm1d");
    }
}
