//! Clustering and reconstruction against what pyannote.audio computed with the real community-1 pipeline: its
//! segmentations and embeddings in, every stage after that out.

mod support;

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, s};
use soundalike_convert::{Clustering, Linkage, load};
use soundalike_diarize::{
    SpeakerBounds,
    clustering::{
        Method, Plda,
        linkage::linkage,
        training::{TrainingSet, unit_length},
        vbx::vbx,
    },
    count::speaker_count,
    frames::FrameGrid,
    reconstruction::{reconstruct, speakers_with_phantoms},
    turns::{Numbering, label_turns, speaker_labels},
};
use soundalike_metrics::rttm;
use support::{Capture, assets};

/// The recordings. The last is of 16 minutes and has 1,004 embeddings that found clusters.
const CAPTURES: [&str; 5] = [
    "01_dialogue",
    "02_pyannote_sample",
    "03_dual_speaker",
    "04_three_speaker",
    "06_long_recording",
];
/// Parameters of community-1.
const COMMUNITY_1: Clustering = Clustering::VBx {
    threshold: 0.6,
    fa: 0.07,
    fb: 0.8,
};
/// Frames of segmentation-3.0.
const GRID: FrameGrid = FrameGrid {
    duration: 0.061_937_5,
    step: 0.016_875,
    window_duration: 10.0,
    window_step: 1.0,
};
/// Of PLDA vectors, relative to the largest value: eigenvectors turn by the rounding of the matrix (2^-53 of 128
/// terms of up to 26) over the smallest gap between eigenvalues (1.4e-3), 3e-10.
const MAX_PLDA: f64 = 1e-9;
/// Of responsibilities, and of the bound relative to itself: scores stay below 1e3, times the above.
const MAX_VBX: f64 = 1e-6;

/// Largest absolute value.
fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values
        .into_iter()
        .fold(0.0, |most, value| most.max(value.abs()))
}

/// `ours` with the sign of each column as in `theirs`: that of an eigenvector is anybody's choice.
fn with_signs_of(mut ours: Array2<f64>, theirs: ArrayView2<'_, f64>) -> Array2<f64> {
    for (mut ours, theirs) in ours.columns_mut().into_iter().zip(theirs.columns()) {
        if ours.dot(&theirs) < 0.0 {
            ours *= -1.0;
        }
    }
    ours
}

fn trained(capture: &Capture) -> (Array3<f32>, Array3<f32>, TrainingSet) {
    let activity: Array3<f32> = capture.array("segmentations.npz", "segmentations");
    let embeddings: Array3<f32> = capture.array("raw_embeddings.npz", "embeddings");
    let training = TrainingSet::new(embeddings.view(), activity.view());
    (activity, embeddings, training)
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn each_stage_of_vbx_clustering_gives_what_pyannote_gives() {
        let assets = assets();
        let bundle = load(&assets.join("pipelines/community-1-synthetic/plda")).expect("a PLDA");
        let plda = Plda::new(&bundle).expect("a PLDA");
        for name in CAPTURES {
            let capture = Capture::new(&assets, name);
            let (.., training) = trained(&capture);
            let windows: Array1<i64> = capture.array("plda_embeddings.npz", "train_chunk_idx");
            let speakers: Array1<i64> = capture.array("plda_embeddings.npz", "train_speaker_idx");
            let ours = training.locals.iter().map(|(w, s)| (*w as i64, *s as i64));
            let theirs = windows.iter().copied().zip(speakers.iter().copied());
            assert!(ours.eq(theirs), "{name}: training set");

            let expected: Array2<f64> = capture.array("plda_embeddings.npz", "post_plda");
            let phi: Array1<f64> = capture.array("plda_embeddings.npz", "phi");
            let vectors =
                with_signs_of(plda.transform(training.embeddings.view()), expected.view());
            let plda_error = largest(&(&vectors - &expected)) / largest(&expected);
            let phi_error = largest(&(&plda.phi() - &phi)) / largest(&phi);

            let tree = linkage(
                unit_length(training.embeddings.view()).view(),
                Linkage::Centroid,
            );
            let labels = tree.cut(0.6);
            let expected: Array1<i64> = capture.npy("ahc_init_labels.npy");
            let numbers: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
            assert_eq!(
                numbers,
                expected.to_vec(),
                "{name}: labels of the tree's cut"
            );

            let fitted = vbx(vectors.view(), plda.phi(), &labels, 0.07, 0.8);
            let expected: Array2<f64> = capture.array("vbx_state.npz", "q_final");
            let gamma_error = largest(&(&fitted.responsibilities - &expected));
            let expected: Array1<f64> = capture.array("vbx_state.npz", "sp_final");
            let prior_error = largest(&(&fitted.priors - &expected));
            let expected: Array1<f64> = capture.array("vbx_state.npz", "elbo_trajectory");
            assert_eq!(fitted.bounds.len(), expected.len(), "{name}: iterations");
            let bounds = Array1::from(fitted.bounds);
            let bound_error = largest(&((&bounds - &expected) / &expected));
            println!(
                "{name}: errors: PLDA {plda_error:.1e}, phi {phi_error:.1e}, responsibilities {gamma_error:.1e}, priors {prior_error:.1e}, bound {bound_error:.1e}"
            );
            assert!(plda_error < MAX_PLDA && phi_error < MAX_PLDA, "{name}");
            assert!(gamma_error < MAX_VBX && prior_error < MAX_VBX, "{name}");
            assert!(bound_error < MAX_VBX, "{name}");
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn segmentations_and_embeddings_become_pyannotes_turns() {
        let assets = assets();
        let bundle = load(&assets.join("pipelines/community-1-synthetic/plda")).expect("a PLDA");
        let method = Method::new(&COMMUNITY_1, Some(&bundle)).expect("a method");
        for name in CAPTURES {
            let capture = Capture::new(&assets, name);
            let (activity, embeddings, _) = trained(&capture);
            let started = std::time::Instant::now();
            let clusters =
                method.cluster(embeddings.view(), activity.view(), SpeakerBounds::default());
            let took = started.elapsed();
            assert_eq!(clusters.warnings, [], "{name}");
            let expected: Array2<i8> = capture.array("clustering.npz", "hard_clusters");
            for ((place, ours), theirs) in clusters.assignment.indexed_iter().zip(&expected) {
                let silent = activity.slice(s![place.0, .., place.1]).sum() == 0.0;
                // The original drops the silent after its clustering.
                let theirs = (*theirs >= 0 && !silent).then_some(*theirs as usize);
                assert_eq!(*ours, theirs, "{name}: cluster of {place:?}");
            }
            let expected: Array2<f64> = capture.array("clustering.npz", "centroids");
            let centroid_error = largest(&(&clusters.centroids - &expected)) / largest(&expected);
            assert!(centroid_error < MAX_VBX, "{name}: {centroid_error:e}");

            let count = speaker_count(activity.view(), &GRID);
            let expected: Array2<u8> = capture.array("reconstruction.npz", "count");
            assert_eq!(
                count,
                expected.index_axis(Axis(1), 0).mapv(usize::from),
                "{name}: count"
            );
            let speakers = speakers_with_phantoms(&clusters.assignment, count.view());
            let active = reconstruct(
                activity.view(),
                &clusters.assignment,
                speakers,
                count.view(),
                &GRID,
            );
            let expected: Array2<f32> = capture.array("reconstruction.npz", "discrete_diarization");
            assert_eq!(active.dim(), expected.dim(), "{name}");
            let differing: Vec<usize> = (0..active.nrows())
                .filter(|frame| active.row(*frame) != expected.row(*frame).mapv(|x| x > 0.5))
                .collect();

            let labels = speaker_labels(active.view(), Numbering::Pyannote);
            let annotation = label_turns(active.view(), &labels, 0.0, &GRID, "clip_16k");
            let mut ours = Vec::new();
            rttm::write(&annotation, &mut ours).expect("a vector can be written to");
            let ours = String::from_utf8(ours).expect("text");
            let theirs =
                std::fs::read_to_string(capture.path("reference.rttm")).expect("a reference");
            println!(
                "{name}: {} clusters of {} speakers in {took:?}, centroids {centroid_error:.1e}, {} lines, frames that differ: {differing:?}",
                clusters.centroids.nrows(),
                labels.iter().flatten().count(),
                theirs.lines().count()
            );
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let (ours, theirs) = (lines(&ours), lines(&theirs));
            for line in ours.iter().filter(|line| !theirs.contains(line)) {
                println!("{name}: only ours: {line}");
            }
            for line in theirs.iter().filter(|line| !ours.contains(line)) {
                println!("{name}: only pyannote's: {line}");
            }
            assert_eq!(differing, Vec::<usize>::new(), "{name}");
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
