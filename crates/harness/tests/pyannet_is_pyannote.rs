//! Every stage of the network against the official pyannote.audio.
//!
//! The window in `reference/segmentation-3.0/` is always compared, on the embedded weights; more windows
//! (silence, padding, offset, clipping, a low level) and networks of other hyperparameters where
//! `SOUNDALIKE_CAPTURES` names the directory that `scripts/capture_suite.sh` filled.

#![expect(
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::ArrayD;
use soundalike_convert::Bundle;
use soundalike_harness::{OutputAgreement, Recorder, ReferenceTrace, Running, StageError, Teacher};
use soundalike_model::{DType, Device, PyanNet, Tensor};

/// Another order of a few hundred f32 sums stays below this many times PyTorch's own rounding.
const EXACT_R: f64 = 4.0;
/// The same in single channels and frames, where clean runs reach 10.
const EXACT_R_LOCAL: f64 = 32.0;

fn trace(path: &Path) -> ReferenceTrace<File> {
    ReferenceTrace::open(path).unwrap_or_else(|error| panic!("{error}"))
}

/// The outputs of all stages of the network of `bundle` on the window of `reference`.
fn stages(
    bundle: &Bundle,
    reference: &mut ReferenceTrace<File>,
    running: Running,
) -> Vec<(String, ArrayD<f64>)> {
    let network = PyanNet::load(bundle, DType::F32, &Device::Cpu).expect("a network");
    let waveform = reference.waveform().expect("a trace has its waveform");
    let shape = waveform.shape().to_vec();
    let waveform = Tensor::from_vec(waveform.into_raw_vec_and_offset().0, shape, &Device::Cpu);
    let waveform = waveform.expect("a tensor of it");
    match running {
        Running::Free => {
            let mut recorder = Recorder::default();
            network
                .forward(&waveform, &mut recorder)
                .expect("the forward pass");
            recorder.into_stages()
        }
        Running::Forced => {
            let mut teacher = Teacher::new(reference);
            network
                .forward(&waveform, &mut teacher)
                .expect("the forward pass");
            teacher.into_stages()
        }
    }
    .expect("stages on the CPU")
}

/// Compares all stages of one window both ways, and the output.
fn assert_exact(bundle: &Bundle, path: &Path) {
    let case = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut reference = trace(path);
    let expected = reference.manifest().stages.clone();
    let mut inexact = Vec::new();
    for running in [Running::Free, Running::Forced] {
        let ours = stages(bundle, &mut reference, running);
        let names: Vec<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
        let wanted: Vec<_> = expected.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(
            names, wanted,
            "{case}: the stages of the reference, in its order"
        );
        for (stage, (name, ours)) in expected.iter().zip(&ours) {
            let floors = reference.floors(stage, running).expect("floors");
            let golden = reference.golden(name).expect("a golden output");
            let error = StageError::new(ours, &golden, &floors, stage);
            println!(
                "{case} {running:?} {name}: R {:.2}, R_local {:.2}",
                error.r, error.r_local
            );
            // What must hold is asked for, not what must not: every comparison with NaN is false.
            if !(error.r < EXACT_R && error.r_local < EXACT_R_LOCAL && error.non_finite == 0) {
                inexact.push(format!("{case} {running:?} {name}: {error:?}"));
            }
        }
        if running == Running::Free {
            let (_, ours) = ours.last().expect("there are stages");
            let golden = reference.golden("activation").expect("a golden output");
            let rounded = reference.output().expect("an f32 output");
            let agreement = OutputAgreement::new(ours, &golden, &rounded);
            println!("{case}: {agreement:?}");
            // 1 - correlation goes with the square of the error, so this much is allowed by R where
            // PyTorch's own f32 is already further from the golden than 1e-9.
            let theirs =
                OutputAgreement::new(&rounded.mapv(f64::from), &golden, &rounded).correlation;
            let allowed = (EXACT_R.powi(2) * (1.0 - theirs)).max(1e-9);
            assert!(
                agreement.correlation > 1.0 - allowed,
                "{case}: {agreement:?}, PyTorch's f32 {theirs}"
            );
            assert_eq!(
                (agreement.frame_agreement, agreement.near_ties),
                (1.0, 0),
                "{case}"
            );
        }
    }
    assert!(inexact.is_empty(), "not exact:\n{}", inexact.join("\n"));
}

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

/// Where `scripts/capture_suite.sh` left its captures.
fn captures() -> Option<PathBuf> {
    let directory = std::env::var_os("SOUNDALIKE_CAPTURES").map(PathBuf::from);
    if directory.is_none() {
        println!("skipped: no captures (SOUNDALIKE_CAPTURES names no directory)");
    }
    directory
}

#[test]
fn one_second_of_the_sample_is_exact_at_every_stage() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference");
    assert_exact(
        &embedded(),
        &reference.join("segmentation-3.0/sample_1s.npz"),
    );
}

#[test]
fn hard_input_is_exact_at_every_stage() {
    let Some(directory) = captures() else { return };
    for case in ["speech", "silence", "padded", "offset", "clipped", "scaled"] {
        assert_exact(&embedded(), &directory.join(case).with_extension("npz"));
    }
}

#[test]
fn networks_of_all_hyperparameters_are_exact_at_every_stage() {
    let Some(directory) = captures() else { return };
    let mut compared = 0;
    for entry in directory.join("variants").read_dir().expect("variants") {
        let checkpoint = entry.expect("an entry").path();
        if checkpoint
            .extension()
            .is_some_and(|extension| extension == "ckpt")
        {
            let bundle =
                soundalike_convert::load(&checkpoint).unwrap_or_else(|error| panic!("{error}"));
            assert_exact(&bundle, &checkpoint.with_extension("npz"));
            compared += 1;
        }
    }
    assert!(compared > 0, "{} holds no variants", directory.display());
}
