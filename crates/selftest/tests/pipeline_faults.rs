//! Mistakes after the networks are found, at their stage and nowhere else.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests panic like the tests, and one that is skipped says so"
)]

mod captured;

use std::path::Path;

use captured::{assets, setting};
use ndarray::{Array1, Array2, Array3, s};
use ndarray_npy::NpzWriter;
use soundalike_convert::load;
use soundalike_diarize::{clustering::Plda, frames::FrameGrid};
use soundalike_selftest::{
    CapturedRun, PipelineCleanRun, PipelineFault, PipelineParameters, PipelineStage, PipelineTrial,
    TrialOutcome, try_faults,
};

/// Tries the whole catalogue.
fn tried(
    runs: &[(String, CapturedRun)],
    setting: &PipelineParameters,
) -> (
    Vec<PipelineTrial>,
    Vec<PipelineCleanRun>,
    Vec<PipelineStage>,
) {
    try_faults(&PipelineFault::catalogue(), runs, setting).expect("the outputs fit together")
}

/// Nothing but what was made wrong is blamed; how many mistakes were noticed.
fn located(trials: &[PipelineTrial], clean: &[PipelineCleanRun]) -> usize {
    for run in clean {
        assert_eq!(run.alarms, [], "{run:?}");
        assert_eq!(run.der, 0.0, "{run:?}");
    }
    for trial in trials {
        let expected = match trial.fault.equivalent {
            Some(_) => &[TrialOutcome::Equivalent][..],
            None => &[TrialOutcome::Located, TrialOutcome::BelowTheFloor],
        };
        assert!(expected.contains(&trial.outcome), "{trial:?}");
    }
    let detected = trials.iter().filter(|trial| trial.outcome.detected());
    detected.count()
}

/// Frames of a window.
const FRAMES: usize = 100;
/// Values of an embedding, and of a PLDA vector.
const DIMENSIONS: (usize, usize) = (12, 6);

/// Three voices that take turns and talk at once, in windows that local speakers share in changing order.
fn conversation(directory: &Path) -> PipelineParameters {
    let grid = FrameGrid {
        duration: 0.7,
        step: 0.17,
        window_duration: 17.3,
        window_step: 1.7 + 0.05,
    };
    let windows = 40;
    let mut activity = Array3::<f32>::zeros((windows, FRAMES, 3));
    let mut embeddings = Array3::<f32>::zeros((windows, 3, DIMENSIONS.0));
    for window in 0..windows {
        for local in 0..3 {
            let voice = (local + window / 7) % 3;
            for frame in 0..FRAMES {
                // Windows do not agree on when it begins.
                let now = grid.first_frame(window) + frame + 3 * (window * local % 3);
                let speaks = (now / 23 + voice).is_multiple_of(3) || (now / 31 + voice) % 5 == 1;
                let heard = speaks && now % 61 > voice && (window + local) % 5 > 0;
                activity[[window, frame, local]] = f32::from(heard);
            }
            for value in 0..DIMENSIONS.0 {
                let own = 1.5 * f32::from(value % 3 == voice);
                let noise = ((window * 31 + local * 17 + value * 7) % 13) as f32 / 13.0;
                embeddings[[window, local, value]] = own + noise;
            }
        }
    }
    let npz = |name: &str| {
        let file = std::fs::File::create(directory.join(name)).expect("a file");
        NpzWriter::new(file)
    };
    let mut file = npz("segmentations.npz");
    file.add_array("segmentations", &activity)
        .expect("an array");
    file.finish().expect("an npz");
    let mut file = npz("raw_embeddings.npz");
    file.add_array("embeddings", &embeddings).expect("an array");
    file.finish().expect("an npz");

    let (outer, inner) = DIMENSIONS;
    let lda = Array2::from_shape_fn((outer, inner), |(row, column)| {
        f64::from(u8::from(row % inner == column)) + 0.1 * ((row * 5 + column * 3) % 7) as f64
    });
    let mut file = npz("xvec_transform.npz");
    file.add_array("mean1", &Array1::from_elem(outer, 0.5))
        .expect("an array");
    file.add_array("lda", &lda).expect("an array");
    file.add_array("mean2", &Array1::from_elem(inner, 0.1))
        .expect("an array");
    file.finish().expect("an npz");
    let tr = Array2::from_shape_fn((inner, inner), |(row, column)| {
        f64::from(u8::from(row == column)) + 0.05 * ((row * 3 + column) % 4) as f64
    });
    let psi = Array1::from_shape_fn(inner, |index| 8.0 / (index + 1) as f64);
    let mut file = npz("plda.npz");
    file.add_array("mu", &Array1::from_elem(inner, 0.05))
        .expect("an array");
    file.add_array("tr", &tr).expect("an array");
    file.add_array("psi", &psi).expect("an array");
    file.finish().expect("an npz");
    PipelineParameters {
        threshold: 0.6,
        fa: 0.3,
        fb: 2.0,
        min_duration_off: 0.0,
        plda: Plda::new(&load(directory).expect("a bundle")).expect("a PLDA"),
        grid,
        frames: FRAMES,
        min_clean_frames: 4,
    }
}

#[test]
fn without_a_capture_our_own_stages_are_the_truth() {
    let directory = tempfile::tempdir().expect("a directory");
    let setting = conversation(directory.path());
    let run = CapturedRun::read_all(directory.path()).expect("a run");
    let (trials, clean, own) = tried(&[("made".to_owned(), run)], &setting);
    let detected = located(&trials, &clean);
    let below = trials
        .iter()
        .filter(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    println!("{detected} noticed; below the floor:");
    below.for_each(|trial| println!("{} {}", trial.fault.id, trial.difference));
    assert!(detected >= 40, "{detected}");
    assert_eq!(own.len(), PipelineStage::ALL.len() - 2);
}

#[test]
fn outputs_that_do_not_fit_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let setting = conversation(directory.path());
    let file = std::fs::File::create(directory.path().join("raw_embeddings.npz")).expect("a file");
    let mut npz = NpzWriter::new(file);
    let fewer = Array3::<f32>::zeros((3, 3, DIMENSIONS.0));
    npz.add_array("embeddings", &fewer.slice(s![.., .., ..]))
        .expect("an array");
    npz.finish().expect("an npz");
    let run = CapturedRun::read_all(directory.path()).expect("a run");
    let refused = try_faults(&[], &[("made".to_owned(), run)], &setting);
    let misfit = refused.map(|_| ()).expect_err("a misfit");
    assert_eq!((misfit.found[0], misfit.expected[0]), (3, 40));
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn in_what_pyannote_computed_each_is_found_at_its_stage() {
        let assets = assets();
        let names = ["01_dialogue", "03_dual_speaker", "04_three_speaker"];
        let runs = names.map(|name| {
            let run = CapturedRun::read_all(&assets.join("pyannote-captures").join(name));
            (name.to_owned(), run.expect("a capture"))
        });
        let (trials, clean, own) = tried(&runs, &setting(&assets));
        assert_eq!(located(&trials, &clean), 42);
        // What pyannote wrote down is not ours.
        assert_eq!(own, [PipelineStage::Masks, PipelineStage::Score]);
        let of = |id: &str| trials.iter().find(|trial| trial.fault.id == id);
        let f32 = of("plda-in-f32").expect("a trial");
        // Which no error rate shows.
        assert_eq!(f32.der, Some(0.0));
        assert!((1e-9..1e-6).contains(&f32.difference), "{f32:?}");
        let below: Vec<_> = trials
            .iter()
            .filter(|trial| trial.outcome == TrialOutcome::BelowTheFloor)
            .map(|trial| trial.fault.id)
            .collect();
        assert_eq!(below, ["powerset-pairs-swapped", "vbx-in-f32"]);
        let unmapped = of("score-without-mapping").expect("a trial");
        assert!(unmapped.der.is_some_and(|der| der > 0.5));
    }
}
