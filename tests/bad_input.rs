//! Bad input: one clear line, exit code 1, nothing written, nothing run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use std::{fs, path::Path};

use checkpoint::{Checkpoint, Py, dict, str, with_size};
use soundalike_convert::METADATA_KEY;
use support::{
    Encoding::{F32, I16},
    RATE, Run, all_pass, clip, names, soundalike_in, wav,
};
use zip::CompressionMethod::Deflated;

/// A folder in which `bad` is the input.
fn folder(bad: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(bad), bytes).unwrap();
    folder
}

/// Runs these words in `here`; what is wrong with how they are refused, or with what is left behind.
fn refused(here: &Path, words: &str, parts: &[&str]) -> Option<String> {
    let before = names(here);
    let failure = run(here, words).no_refusal(parts);
    let after = names(here);
    let left = (before != after).then(|| format!("left behind {after:?}, there was {before:?}"));
    failure
        .or(left)
        .map(|failure| format!("{words}: {failure}"))
}

/// Address space of the program, in KiB: it takes 0.3 GB, and a size that a file makes up must not be taken.
#[cfg(target_os = "linux")]
const MEMORY: u32 = 4 << 20;

#[cfg(target_os = "linux")]
fn run(here: &Path, words: &str) -> Run {
    let program = support::command(words.split(' '));
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args())
        .env("RUST_BACKTRACE", "1")
        .current_dir(here);
    shell.output().unwrap().into()
}

#[cfg(not(target_os = "linux"))]
fn run(here: &Path, words: &str) -> Run {
    soundalike_in(here, words)
}

#[test]
fn recordings_that_are_none_are_refused() {
    let good = clip(0.0, 2.0);
    let with = |at: usize, value: f32| {
        let mut samples = support::sample(0.0, 2.0);
        samples[at] = value;
        wav(F32, RATE, 1, &samples)
    };
    let silence = |rate, samples| wav(I16, rate, 1, &vec![0.0; samples]);
    let mut no_rate = good.clone();
    no_rate[24..28].fill(0);
    let mut high_rate = good.clone();
    // A prime, so that nothing can be cancelled against the network's rate.
    high_rate[24..28].copy_from_slice(&4_294_967_291_u32.to_le_bytes());
    let cases: [(&str, Vec<u8>, &[&str]); 13] = [
        ("empty", vec![], &["is empty"]),
        ("text", b"This is a text.\n".repeat(100), &["is not audio"]),
        (
            "rttm",
            fs::read(support::data("sample.rttm")).unwrap(),
            &["is not audio"],
        ),
        ("header only", good[..20].to_vec(), &[]),
        (
            "truncated",
            good[..good.len() / 2].to_vec(),
            &["is truncated", "of the 32000 samples"],
        ),
        (
            "one sample short",
            good[..good.len() - 2].to_vec(),
            &["31999 of the 32000"],
        ),
        ("no samples", silence(RATE, 0), &["has no samples"]),
        (
            "4 GHz",
            high_rate,
            &["no sample rate, or one outside 1000 to"],
        ),
        (
            "1 Hz",
            silence(1, 100),
            &["no sample rate, or one outside 1000 to"],
        ),
        ("no rate", no_rate, &[]),
        ("NaN", with(7, f32::NAN), &["sample 7 is NaN"]),
        (
            "infinite",
            with(31_999, f32::INFINITY),
            &["sample 31999 is inf"],
        ),
        (
            "minus infinite",
            with(0, f32::NEG_INFINITY),
            &["sample 0 is -inf"],
        ),
    ];
    let mut failures = Vec::new();
    for (name, bytes, parts) in cases {
        let folder = folder("bad.wav", &bytes);
        for output in ["", " -o out.rttm"] {
            let failure = refused(
                folder.path(),
                &format!("diarize bad.wav{output}"),
                &[&["bad.wav: "], parts].concat(),
            );
            failures.extend(failure.map(|failure| format!("{name}: {failure}")));
        }
    }
    let folder = folder("good.wav", &good);
    let here = folder.path();
    fs::create_dir(here.join("talks")).unwrap();
    for (words, parts) in [
        (
            "diarize missing.wav",
            &["missing.wav: cannot be read: No such file"][..],
        ),
        ("diarize talks", &["talks: is a directory", "audio"]),
        (
            "diarize good.wav -o missing/out.rttm",
            &[
                "missing/out.rttm: cannot be written",
                "missing is not a directory",
            ],
        ),
        ("diarize good.wav -o good.wav/", &["good.wav/"]),
        (
            "diarize good.wav -o good.wav/out.rttm",
            &["good.wav/out.rttm: cannot be written"],
        ),
        (
            "diarize good.wav --device cuda",
            &["no cuda support", "--features cuda"],
        ),
        (
            "diarize good.wav --device metal",
            &["no metal support", "--features metal"],
        ),
        (
            "diarize good.wav --device cpu --experimental-kernels",
            &["--experimental-kernels is for Metal", "run on cpu"],
        ),
        (
            "compare --experimental-kernels",
            &[
                "--experimental-kernels is for candle-metal",
                "candle-cpu has no such kernels",
            ],
        ),
    ] {
        let built = (cfg!(feature = "cuda") && words.ends_with("cuda"))
            || (cfg!(feature = "metal") && words.ends_with("metal"));
        if !built {
            failures.extend(refused(here, words, parts));
        }
    }
    all_pass(failures);
}

/// A safetensors file with this header.
fn safetensors(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A bundle that is good but for what `change` does to the header.
fn bundle(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let bytes = soundalike_weights::SEGMENTATION;
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let mut header = serde_json::from_slice(header).unwrap();
    change(&mut header);
    safetensors(&header, data)
}

fn damaged_bundles() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    const BIAS: &str = "classifier.bias";
    let offsets =
        |from: u64, to: u64| bundle(|header| header[BIAS]["data_offsets"] = [from, to].into());
    let length = |length: u64| {
        let mut bytes = soundalike_weights::SEGMENTATION.to_vec();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let foreign = serde_json::json!({
        "weight": { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] },
    });
    let half = soundalike_weights::SEGMENTATION.len() / 2;
    vec![
        (
            "overlapping offsets",
            offsets(4, 32),
            &["not a valid safetensors"],
        ),
        (
            "offsets beyond the end",
            offsets(1 << 40, (1 << 40) + 28),
            &["not a valid safetensors"],
        ),
        (
            "offsets that overflow",
            offsets(u64::MAX - 27, u64::MAX),
            &["not a valid safetensors"],
        ),
        ("header of 2^64 bytes", length(u64::MAX), &["safetensors"]),
        ("header of 80 MB", length(80_000_000), &["safetensors"]),
        (
            "cut off",
            soundalike_weights::SEGMENTATION[..half].to_vec(),
            &["not a valid safetensors"],
        ),
        (
            "not ours",
            safetensors(&foreign, &[0; 4]),
            &["without the metadata key `soundalike`"],
        ),
        (
            "huge shape",
            bundle(|header| header[BIAS]["shape"] = [u64::MAX, u64::MAX].into()),
            &["not a valid safetensors"],
        ),
        (
            "tensor missing",
            bundle(|header| {
                let bias = header.as_object_mut().unwrap().remove(BIAS).unwrap();
                header["other.bias"] = bias;
            }),
            &[
                "missing `classifier.bias` [7]",
                "unexpected `other.bias` [7]",
            ],
        ),
        (
            "format of the future",
            bundle(|header| {
                let json = header["__metadata__"][METADATA_KEY].as_str().unwrap();
                let json = json.replacen("\"format\":1", "\"format\":3", 1);
                header["__metadata__"][METADATA_KEY] = json.into();
            }),
            &["bundle has format 3, this program reads 1 and 2"],
        ),
    ]
}

fn changed(change: impl FnOnce(&mut Checkpoint)) -> Vec<u8> {
    let mut checkpoint = Checkpoint::small();
    change(&mut checkpoint);
    checkpoint.zip()
}

fn damaged_checkpoints() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let good = Checkpoint::small().zip();
    let deflated = changed(|c| c.compression = Deflated);
    // What torch.save wrote before version 1.6: a magic number, the protocol version 1001, and so on.
    let legacy = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."[..],
        &[0; 64],
    ];
    let big = changed(|c| c.byteorder = "big");
    vec![
        (
            "text",
            b"These are no weights.".to_vec(),
            &["not a model", "These are no weights."],
        ),
        ("empty", vec![], &["is empty"]),
        (
            "truncated zip",
            good[..good.len() / 2].to_vec(),
            &["zip archive is damaged or cut off"],
        ),
        (
            "legacy format",
            legacy.concat(),
            &["pickle has instruction 0x00"],
        ),
        ("big-endian", big, &["big"]),
        (
            "pickle bomb",
            with_size(deflated.clone(), "archive/data.pkl", u32::MAX - 15),
            &["archive/data.pkl"],
        ),
        (
            "tensor bomb",
            with_size(deflated, "archive/data/0", u32::MAX - 15),
            &["archive/data/0"],
        ),
        (
            "stored bomb",
            with_size(good, "archive/data/0", u32::MAX - 15),
            &["archive"],
        ),
        (
            "another network",
            changed(|c| {
                c.class = "Transformer".into();
                c.module = "my_project.models".into();
                c.hyperparameters = dict([("width", Py::Int(8))]);
                c.state_dict.truncate(1);
            }),
            &["Transformer", "my_project.models", "PyanNet"],
        ),
    ]
}

#[test]
fn models_that_are_none_are_refused() {
    let recording = clip(0.0, 2.0);
    let mut failures = Vec::new();
    for (name, bytes, parts) in [damaged_bundles(), damaged_checkpoints()].concat() {
        let folder = folder("bad.bin", &bytes);
        fs::write(folder.path().join("a.wav"), &recording).unwrap();
        for words in [
            "convert bad.bin -o out.safetensors",
            "diarize a.wav --model bad.bin -o out.rttm",
        ] {
            let failure = refused(folder.path(), words, &[&["bad.bin: "], parts].concat());
            failures.extend(failure.map(|failure| format!("{name}: {failure}")));
        }
    }
    let folder = folder("a.wav", &recording);
    let here = folder.path();
    fs::write(here.join("small.bin"), Checkpoint::small().zip()).unwrap();
    #[cfg(unix)]
    support::make_pipe(&here.join("pipe"));
    for (words, parts) in [
        (
            "convert missing.bin",
            &["missing.bin: opening failed: No such file"][..],
        ),
        (
            "inspect missing.bin",
            &["missing.bin: opening failed: No such file"],
        ),
        (
            "diarize a.wav --model missing.bin",
            &[
                "missing.bin: is not a file, a directory, or the name of a model",
                "community-1",
            ],
        ),
        ("convert . -o out", &["is a directory without config.yaml"]),
        (
            "diarize a.wav --model .",
            &["is a directory without config.yaml"],
        ),
        ("convert a.wav", &["a.wav: is not a model"]),
        (
            "convert small.bin -o missing/out.safetensors",
            &["missing/out.safetensors: cannot be written"],
        ),
        (
            "convert small.bin -o a.wav/out.safetensors",
            &["a.wav/out.safetensors: cannot be written"],
        ),
        (
            "convert small.bin -o small.bin",
            &["small.bin: is an input (checkpoint)", "-o"],
        ),
        (
            "convert small.bin -o ./small.bin",
            &["small.bin: is an input (checkpoint)", "-o"],
        ),
        #[cfg(unix)]
        (
            "convert small.bin -o pipe",
            &["pipe: is a device or a pipe"],
        ),
    ] {
        failures.extend(refused(here, words, parts));
    }
    all_pass(failures);
}

#[test]
fn a_hostile_pickle_is_refused_by_name_and_nothing_is_run() {
    let folder = folder("a.wav", &clip(0.0, 2.0));
    let here = folder.path();
    let witness = here.join("witness");
    let call = Py::Call(
        Box::new(Py::Global("os", "system")),
        vec![str(format!("touch {}", witness.display()))],
    );
    let inside = changed(|c| c.extra.push(("callbacks".into(), call.clone())));
    let bare = checkpoint::zip_of(
        &[("archive/data.pkl".into(), checkpoint::pickle(&call))],
        Deflated,
    );
    let mut failures = Vec::new();
    for bytes in [inside, bare] {
        fs::write(here.join("bad.bin"), bytes).unwrap();
        for words in [
            "convert bad.bin -o out.safetensors",
            "diarize a.wav --model bad.bin -o out.rttm",
        ] {
            failures.extend(refused(
                here,
                words,
                &["bad.bin: ", "os.system", "nothing was run"],
            ));
        }
        let run = soundalike_in(here, "inspect bad.bin");
        if !(run.stdout.contains("os.system") || run.stderr.contains("os.system")) {
            failures.push(format!("inspect does not name it: {run:?}"));
        }
    }
    all_pass(failures);
    assert!(!witness.exists());
}

#[test]
fn an_unknown_class_stays_a_name_and_is_told() {
    let class = Py::Global("my_project.callbacks", "Custom");
    let bytes = changed(|c| {
        let call = Py::Call(Box::new(class), vec![str("x")]);
        c.extra.push(("callbacks".into(), call));
    });
    let folder = folder("foreign.bin", &bytes);
    let run = soundalike_in(folder.path(), "convert foreign.bin");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let warning = "warning: foreign.bin names my_project.callbacks.Custom; none of it was run\n";
    assert_eq!(run.stderr, warning);
    assert_eq!(names(folder.path()), ["foreign.bin", "foreign.safetensors"]);
    let text = soundalike_in(folder.path(), "inspect foreign.bin").ok();
    assert!(
        text.contains("names my_project.callbacks.Custom; none of it was run"),
        "{text}"
    );
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn networks_that_cannot_diarize_are_refused() {
        let assets = checkpoint::assets();
        let folder = folder("a.wav", &clip(0.0, 2.0));
        let here = folder.path();
        let pipeline = assets.join("pipelines/community-1-synthetic");
        let embedding = pipeline.join("embedding/pytorch_model.bin");
        let convert = format!(
            "convert -q {} -o embedding.safetensors",
            embedding.display()
        );
        soundalike_in(here, &convert).ok();
        let old = assets.join("models/segmentation-2022.07/pytorch_model.bin");
        let mut failures = Vec::new();
        for (model, parts) in [
            (
                Path::new("embedding.safetensors"),
                &["WeSpeakerResNet34", "expected", "PyanNet"][..],
            ),
            (&embedding, &["WeSpeakerResNet34", "PyanNet"]),
            (&old, &["not a powerset"]),
            (&pipeline.join("plda"), &["PyanNet"]),
        ] {
            let name = model.display().to_string();
            let words = format!("diarize a.wav --model {name} -o out.rttm");
            failures.extend(refused(here, &words, &[&[name.as_str()], parts].concat()));
        }
        all_pass(failures);
    }
}
