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

    /// Writes copies of a checkpoint, each with one difference.
    const EDIT: &str = r#"
import copy, fractions, sys, torch
source, directory = sys.argv[1:]
checkpoint = torch.load(source, weights_only=False)
state = checkpoint["state_dict"]
def write(name, change):
    copied = copy.deepcopy(checkpoint)
    change(copied, copied["state_dict"], copied["pyannote.audio"]["specifications"])
    torch.save(copied, f"{directory}/{name}.ckpt")
def swap(_, state, __):
    a, b = "lstm.weight_hh_l0", "lstm.weight_hh_l1_reverse"
    state[a], state[b] = state[b], state[a]
def transpose(_, state, __):
    state["linear.1.weight"] = state["linear.1.weight"].T
def half(_, state, __):
    state["linear.1.bias"] = state["linear.1.bias"].half()
def duration(_, __, task):
    task.duration = 5.0
def powerset(_, __, task):
    task.permutation_invariant = False
def defaults(checkpoint, _, __):
    checkpoint["hyper_parameters"] = {}
def foreign(checkpoint, _, __):
    checkpoint["extra"] = fractions.Fraction(1, 2)
changes = (swap, transpose, half, duration, powerset, foreign) if "linear.1.weight" in state else ()
for change in (*changes, defaults):
    write(change.__name__, change)
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
        let mut failures = Vec::new();
        for (name, parts) in [
            (
                "swap",
                &[
                    "lstm.weight_hh_l0 has the values of lstm.weight_hh_l1_reverse; ",
                    "lstm.weight_hh_l1_reverse has the values of lstm.weight_hh_l0",
                ][..],
            ),
            ("transpose", &["linear.1.weight differs by up to"]),
            ("half", &["linear.1.bias is f32, expected f16"]),
            ("duration", &["duration is 10.0, expected 5.0"]),
            (
                "powerset",
                &["permutation_invariant is true, expected false"],
            ),
        ] {
            let other = directory.join(name).with_extension("ckpt");
            let script = format!(
                r#"exec '{}' "$1" "$2" "$3" '{}' "$5""#,
                official.display(),
                other.display()
            );
            let reader = python::shell(directory, name, &script);
            let run = python::compare(&model, &reader, &[]);
            let parts = [&["torch.load reads it otherwise"], parts].concat();
            let failure = run.no_refusal(&parts);
            failures.extend(failure.map(|failure| format!("{name}: {failure}")));
        }
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
