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

mod support;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::ArrayD;
use soundalike_compare::{EXACT_R, Meaning, OutputAgreement, ReferenceTrace};
use soundalike_convert::Bundle;
use soundalike_model::{Engine, InstructionSet, Kernels, Network, Probe, Tensor, load};
use support::{captures, files};

fn network(bundle: &Bundle, kernels: Kernels) -> Box<dyn Network> {
    let engine = Engine {
        kernels,
        ..Engine::default()
    };
    load(bundle, &engine).expect("a network")
}

/// Compares all stages of one window both ways, and the output, by the portable expression and by the kernels for
/// every instruction set.
fn assert_exact(bundle: &Bundle, path: &Path) {
    let portable = network(bundle, Kernels::Portable);
    let expression =
        |waveform: &Tensor, probe: &mut dyn Probe| portable.forward(waveform.into(), probe);
    support::assert_exact(path, expression, assert_agreement);
    for instructions in InstructionSet::all() {
        println!("{instructions:?}");
        let native = network(bundle, Kernels::Native(instructions));
        support::assert_fused(
            path,
            |waveform, probe| native.forward(waveform.into(), probe),
            expression,
            assert_agreement,
        );
    }
}

/// Compares the network's decisions.
fn assert_agreement(case: &str, ours: &ArrayD<f64>, reference: &mut ReferenceTrace<File>) {
    let golden = reference.golden("activation").expect("a golden output");
    let rounded = reference.output().expect("an f32 output").mapv(f64::from);
    let agree = |ours| OutputAgreement::new(ours, &golden, &rounded, 1.0, &Meaning::Likeliest);
    let agreement = agree(ours);
    println!("{case}: {agreement:?}");
    // 1 - correlation goes with the square of the error, so this much is allowed by R where
    // PyTorch's own f32 is already further from the golden than 1e-9.
    let theirs = agree(&rounded).correlation;
    let allowed = (EXACT_R.powi(2) * (1.0 - theirs)).max(1e-9);
    assert!(
        agreement.correlation > 1.0 - allowed,
        "{case}: {agreement:?}, PyTorch's f32 {theirs}"
    );
    let decisions = agreement.decisions.expect("scores are decided");
    assert_eq!(
        (decisions.frame_agreement, decisions.near_ties),
        (1.0, 0),
        "{case}"
    );
}

/// As [`assert_exact`] for what Metal is asked for: operations alone, and with the experimental kernels.
fn assert_metal_exact(bundle: &Bundle, path: &Path) {
    for kernels in [Kernels::MetalOps, Kernels::Experimental] {
        println!("{kernels}");
        let network = network(bundle, kernels);
        let forward =
            |waveform: &Tensor, probe: &mut dyn Probe| network.forward(waveform.into(), probe);
        support::assert_exact(path, forward, assert_agreement);
    }
}

/// The window that is part of the project.
fn one_second() -> PathBuf {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selftest/captured");
    reference.join("segmentation-3.0_1s.npz")
}

/// The embedded network on hard input.
const HARD: [&str; 6] = ["speech", "silence", "padded", "offset", "clipped", "scaled"];

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

#[test]
fn one_second_of_the_sample_is_exact_at_every_stage() {
    assert_exact(&embedded(), &one_second());
}

#[test]
fn a_window_is_the_same_looked_at_and_among_others() {
    let path = one_second();
    for instructions in InstructionSet::all() {
        let network = network(&embedded(), Kernels::Native(instructions));
        // The batch of `diarize`: two tiles of sequences in the LSTM.
        support::assert_same_bits(&path, 24, |waveform, probe| {
            network.forward(waveform.into(), probe)
        });
    }
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn hard_input_is_exact_at_every_stage() {
        let directory = captures();
        for case in HARD {
            assert_exact(&embedded(), &directory.join(case).with_extension("npz"));
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn what_metal_is_asked_for_is_exact_at_every_stage() {
        assert_metal_exact(&embedded(), &one_second());
        let directory = captures();
        for case in HARD {
            assert_metal_exact(&embedded(), &directory.join(case).with_extension("npz"));
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn networks_of_all_hyperparameters_are_exact_at_every_stage() {
        let directory = captures();
        for checkpoint in files(&directory.join("variants"), "ckpt") {
            let bundle =
                soundalike_convert::load(&checkpoint).unwrap_or_else(|error| panic!("{error}"));
            assert_exact(&bundle, &checkpoint.with_extension("npz"));
            assert_metal_exact(&bundle, &checkpoint.with_extension("npz"));
        }
    }
}
