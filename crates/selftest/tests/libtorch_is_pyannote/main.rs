//! Every stage of the reference engine against the official pyannote.audio, in f32 and in f64.
//!
//! The window in `reference/segmentation-3.0/` is always compared, on the embedded weights; more windows
//! (silence, padding, offset, clipping, a low level), networks of other hyperparameters and embeddings where
//! `SOUNDALIKE_CAPTURES` names the directory that `scripts/capture_suite.sh` filled, on this machine. Models that
//! people use are captured here and now, where there are some and `scripts/setup_reference.sh` was run.
//!
//! What is seen must be what `crates/selftest/captured/verified.json` says, which [`soundalike_selftest::verified`] reads.
//! After a change that is right, write it anew:
//!
//! ```sh
//! eval "$(scripts/setup_libtorch.sh)"
//! SOUNDALIKE_VERIFIED=write SOUNDALIKE_CAPTURES=DIRECTORY cargo test --release -p soundalike-selftest \
//!     --features torch --test libtorch_is_pyannote
//! ```

#![expect(
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

mod comparison;
#[path = "../../../../tests/support/assets.rs"]
mod data;
mod record;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use comparison::{OTHER_MACHINE, SAME_MACHINE, assert_is_pyannote, entry};
use ndarray::{Array3, Axis, s};
use ndarray_npy::NpzWriter;
use soundalike_convert::Bundle;
use soundalike_diarize::powerset::Powerset;

/// From the root of the repository.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(relative)
}

fn load(checkpoint: &Path) -> Bundle {
    soundalike_convert::load(checkpoint).unwrap_or_else(|error| panic!("{error}"))
}

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

/// The files in `directory` with this extension, by name. There must be some.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = directory
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    let directory = directory.display();
    assert!(!files.is_empty(), "{directory} holds no .{extension}");
    files
}

#[test]
fn one_second_of_the_sample_is_pyannote_at_every_stage() {
    let trace = path("crates/selftest/captured/segmentation-3.0_1s.npz");
    assert_is_pyannote(&embedded(), &trace, OTHER_MACHINE);
}

/// A folder of models that people use, with recordings, and the official package to capture them.
struct Assets {
    folder: PathBuf,
    python: PathBuf,
    /// One capture takes 1.1 GB.
    work: tempfile::TempDir,
}

impl Assets {
    fn new() -> Self {
        let folder = data::assets();
        let python = path("reference/.venv/bin/python");
        assert!(
            python.is_file(),
            "no official package: scripts/setup_reference.sh"
        );
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self {
            folder,
            python,
            work,
        }
    }

    /// Captures the first `seconds` of the sample, and has `then` look at the trace before it is deleted.
    fn capture<T>(
        &self,
        model: &str,
        name: &str,
        seconds: &str,
        masks: Option<&Path>,
        then: impl FnOnce(&Bundle, &Path) -> T,
    ) -> T {
        let model = self.folder.join(model);
        let trace = self.work.path().join("trace.npz");
        let mut command = Command::new(&self.python);
        command.arg(path("reference/capture.py")).arg(&model);
        command.arg(self.folder.join("audio/sample.wav"));
        command.args(["--duration", seconds, "--stored", "--name", name, "-o"]);
        command.arg(&trace);
        if let Some(masks) = masks {
            command.arg("--masks").arg(masks);
        }
        let status = command.status().expect("Python runs");
        assert!(status.success(), "{command:?}: {status}");
        let result = then(&load(&model), &trace);
        std::fs::remove_file(&trace).expect("the trace");
        result
    }
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn hard_input_is_pyannote_at_every_stage() {
        let directory = data::captures();
        let cases = ["speech", "silence", "padded", "offset", "clipped", "scaled"];
        let traces = cases.map(|case| directory.join(case).with_extension("npz"));
        let seen = traces.map(|trace| assert_is_pyannote(&embedded(), &trace, SAME_MACHINE));
        record::check(seen.into(), false);
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn networks_of_all_hyperparameters_are_pyannote_at_every_stage() {
        let directory = data::captures();
        for checkpoint in files(&directory.join("variants"), "ckpt") {
            let trace = checkpoint.with_extension("npz");
            let seen = assert_is_pyannote(&load(&checkpoint), &trace, SAME_MACHINE);
            record::check(vec![seen], true);
        }
    }

    /// Three speakers, a silent one and one of a single frame, the whole window.
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn embeddings_of_all_depths_are_pyannote_at_every_stage() {
        let directory = data::captures();
        for checkpoint in files(&directory.join("wespeaker"), "ckpt") {
            let bundle = load(&checkpoint);
            let traces = files(&checkpoint.with_extension(""), "npz");
            let seen = traces.iter();
            let seen = seen.map(|trace| assert_is_pyannote(&bundle, trace, SAME_MACHINE));
            record::check(seen.collect(), true);
        }
    }
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn models_that_people_use_are_pyannote_at_every_stage() {
        let assets = Assets::new();
        let pipeline = "pipelines/community-1-synthetic";
        let compare =
            |bundle: &Bundle, trace: &Path| assert_is_pyannote(bundle, trace, SAME_MACHINE);

        let older = "models/segmentation-2022.07/pytorch_model.bin";
        let seen = assets.capture(older, "segmentation-2022.07", "5", None, compare);
        record::check(vec![seen], false);

        // Who speaks when according to the official package, in hard decisions.
        let segmentation = format!("{pipeline}/segmentation/pytorch_model.bin");
        let (seen, speakers) = assets.capture(
            &segmentation,
            "segmentation-3.0, filters fitted to its export",
            "10",
            None,
            |bundle, trace| {
                let scores = entry::<f32>(trace, "f32/activation").expect("an output");
                let scores = scores.index_axis_move(Axis(0), 0);
                let scores = scores.into_dimensionality().expect("[frame, class]");
                (
                    compare(bundle, trace),
                    Powerset::new(3, 2).decode(scores.view()),
                )
            },
        );
        record::check(vec![seen], false);

        let mut with_silence = Array3::zeros((1, 4, speakers.nrows()));
        with_silence
            .slice_mut(s![0, ..3, ..])
            .assign(&speakers.reversed_axes());
        // Its deviation is 0 in f32 and is not in f64, which is the floor of all masks of its trace.
        let frames = with_silence.dim().2;
        let mut one_frame = Array3::zeros((1, 1, frames));
        // One of those that are left of it for the 125 frames of the trunk.
        one_frame[[0, 0, 53 * frames / 125]] = 1.0;

        let embedding = format!("{pipeline}/embedding/pytorch_model.bin");
        for weights in [Some(with_silence), Some(one_frame), None] {
            let masks = weights.map(|weights: Array3<f32>| {
                let masks = assets.work.path().join("masks.npz");
                let mut npz = NpzWriter::new(std::fs::File::create(&masks).expect("a file"));
                npz.add_array("weights", &weights).expect("an entry");
                npz.finish().expect("an .npz");
                masks
            });
            // Nobody uses the weights of this one: not in the record.
            let name = "synthetic";
            assets.capture(&embedding, name, "10", masks.as_deref(), |bundle, trace| {
                if let Some(weights) = entry::<f64>(trace, "weights") {
                    let spoken = weights.sum_axis(Axis(2));
                    println!("frames of each speaker: {spoken}");
                    assert!(spoken.sum() >= 1.0, "the resampling left no frame");
                }
                compare(bundle, trace)
            });
        }
    }
}
