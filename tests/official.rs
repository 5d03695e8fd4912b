//! `soundalike compare --reference official`: the checkpoint is read twice, by us and by the official packages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use support::soundalike;

#[test]
fn only_a_checkpoint_can_be_read_again() {
    let bundle = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../weights/segmentation-3.0.safetensors"
    );
    for (arguments, reason) in [
        (
            &[][..],
            "--reference official reads a PyTorch checkpoint; give",
        ),
        (
            &["--model", bundle],
            "and this is none; give the checkpoint",
        ),
    ] {
        let run = soundalike([&["compare", "--reference", "official"], arguments].concat());
        assert_eq!(run.no_refusal(&[reason]), None, "{arguments:?}");
    }
}

#[cfg(unix)]
#[path = "support/assets.rs"]
mod data;

#[cfg(unix)]
mod python {
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        path::{Path, PathBuf},
        process::Command,
    };

    use super::support::{Run, command};

    /// The Python of scripts/setup_reference.sh.
    pub(super) fn official() -> PathBuf {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let python = Path::new(root).join("reference/.venv/bin/python");
        let found = python.is_file();
        assert!(found, "no official package: scripts/setup_reference.sh");
        python
    }

    /// Compares the network in `model`, which `python` reads as well.
    pub(super) fn compare(model: &Path, python: &Path, more: &[&str]) -> Run {
        let mut command = command(["compare", "--reference", "official", "--unverified"]);
        command.arg("--model").arg(model).args(more);
        command.env("SOUNDALIKE_PYTHON", python);
        command.output().unwrap().into()
    }

    /// Whether both read the same. Only a build with libtorch runs it, too.
    #[track_caller]
    pub(super) fn assert_equal(run: &Run) {
        if cfg!(feature = "torch") {
            assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
            let read = "the reference's weights were read by torch.load (pyannote.audio 4.";
            assert!(run.stdout.contains(read), "{}", run.stdout);
            assert!(!run.stdout.contains("does not store"), "{}", run.stdout);
        } else {
            let parts = ["torch.load reads the same ", "this build has no libtorch"];
            assert_eq!(run.no_refusal(&parts), None);
        }
    }

    /// A program in place of Python: a shell script. `$4` is the checkpoint, `$5` the directory of the results.
    pub(super) fn shell(directory: &Path, name: &str, script: &str) -> PathBuf {
        let program = directory.join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        program
    }

    /// Runs `script` with `arguments`.
    pub(super) fn run(script: &str, arguments: &[&Path]) {
        let mut command = Command::new(official());
        let status = command.args(["-c", script]).args(arguments).status();
        assert!(status.unwrap().success());
    }
}

#[cfg(unix)]
mod captures {
    use super::*;

    /// Writes copies of a checkpoint: one without hyperparameters, one with a name that no network needs, and one that
    /// differs in tensors and specifications.
    const EDIT: &str = r#"
import fractions, sys, torch
source, directory = sys.argv[1:]
checkpoint = torch.load(source, weights_only=False)
stored, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
checkpoint["hyper_parameters"] = {}
torch.save(checkpoint, f"{directory}/defaults.ckpt")
checkpoint["hyper_parameters"] = stored
torch.save({**checkpoint, "extra": fractions.Fraction(1, 2)}, f"{directory}/foreign.ckpt")
if "classifier.weight" in state:
    a, b = "lstm.weight_hh_l0", "lstm.weight_hh_l1_reverse"
    state[a], state[b] = state[b], state[a]
    state["linear.1.weight"] = state["linear.1.weight"].T
    state["linear.1.bias"] = state["linear.1.bias"].half()
    task = checkpoint["pyannote.audio"]["specifications"]
    task.duration, task.permutation_invariant = 5.0, False
    torch.save(checkpoint, f"{directory}/other.ckpt")
"#;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES"]
    fn a_checkpoint_is_read_as_the_official_package_reads_it() {
        let model = data::captures().join("variants/default.ckpt");
        python::assert_equal(&python::compare(&model, &python::official(), &[]));
        let pipeline = data::captures().join("pipelines/vbx");
        let embedding = ["--network", "embedding", "--masks", "none"];
        python::assert_equal(&python::compare(&pipeline, &python::official(), &embedding));
    }

    /// A checkpoint of an older pyannote.audio lacks the hyperparameters that were added later.
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES"]
    fn hyperparameters_that_are_not_stored_have_the_official_defaults() {
        for (model, more) in [
            ("variants/default.ckpt", &[][..]),
            ("wespeaker/traced-34.ckpt", &["--masks", "none"]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            python::run(EDIT, &[&data::captures().join(model), directory.path()]);
            let edited = directory.path().join("defaults.ckpt");
            python::assert_equal(&python::compare(&edited, &python::official(), more));
        }
    }

    /// Python reads another file than we do: what it would find if our converter erred.
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES"]
    fn every_difference_between_the_readings_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let model = data::captures().join("variants/default.ckpt");
        python::run(EDIT, &[&model, directory]);
        let official = python::official();
        let other = directory.join("other.ckpt");
        let [program, file] = [&official, &other].map(|path| path.display());
        let eps = r#"s/"sincnet.wav_norm1d.eps": 1e-05/"sincnet.wav_norm1d.eps": 1e-06/"#;
        let script = format!(
            r#"'{program}' "$1" "$2" "$3" '{file}' "$5" && sed -i '{eps}' "$5/reading.json""#
        );
        let reader = python::shell(directory, "reader", &script);
        let mut failures = Vec::new();
        let differences = [
            "torch.load reads it otherwise",
            "lstm.weight_hh_l0 has the values of lstm.weight_hh_l1_reverse; ",
            "lstm.weight_hh_l1_reverse has the values of lstm.weight_hh_l0",
            "linear.1.weight differs by up to",
            "linear.1.bias is f32, expected f16",
            "duration is 10.0, expected 5.0",
            "permutation_invariant is true, expected false",
            "sincnet.wav_norm1d.eps is 0.00001, expected 1e-6",
        ];
        let run = python::compare(&model, &reader, &[]);
        failures.extend(run.no_refusal(&differences));
        let foreign = directory.join("foreign.ckpt");
        let run = python::compare(&foreign, &official, &[]);
        let refusal = "torch.load refuses fractions.Fraction: not in the list";
        failures.extend(run.no_refusal(&[refusal]));
        support::all_pass(failures);
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES"]
    fn a_python_that_is_none_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let model = data::captures().join("variants/default.ckpt");
        let mut failures = Vec::new();
        for (name, script, parts) in [
            (
                "silent",
                "true",
                &["without a reading of it; does SOUNDALIKE_PYTHON"][..],
            ),
            (
                "rubbish",
                "echo rubbish; echo rubbish > \"$5/reading.json\"",
                &["reading of it is unreadable", "expected value"],
            ),
            (
                "tensors",
                "echo '{\"values\": {}, \"layers\": {}, \"versions\": {}}' > \"$5/reading.json\"; echo rubbish > \"$5/tensors.safetensors\"",
                &["read by torch.load: "],
            ),
            (
                "no-torch",
                "echo \"No module named 'torch'; install\" >&2; exit 1",
                &["No module named 'torch'; install"],
            ),
        ] {
            let reader = python::shell(directory, name, script);
            let run = python::compare(&model, &reader, &[]);
            let failure = run.no_refusal(parts);
            failures.extend(failure.map(|failure| format!("{name}: {failure}")));
        }
        let run = python::compare(&model, &directory.join("none"), &[]);
        failures.extend(run.no_refusal(&["install Python with torch", "SOUNDALIKE_PYTHON"]));
        support::all_pass(failures);
    }
}

#[cfg(unix)]
mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn published_checkpoints_are_read_as_the_official_package_reads_them() {
        let official = python::official();
        let assets = data::assets();
        for (model, more) in [
            ("models/segmentation-2022.07", &[][..]),
            ("pipelines/community-1-synthetic", &[]),
            (
                "pipelines/3.1-synthetic",
                &["--network", "embedding", "--masks", "none"],
            ),
        ] {
            let run = python::compare(&assets.join(model), &official, more);
            python::assert_equal(&run);
        }
    }
}
