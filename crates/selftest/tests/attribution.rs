//! DER attribution on what pyannote.audio computed with the real community-1 pipeline.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests panic like the tests, and one that is skipped says so"
)]

mod captured;

use std::path::PathBuf;

use captured::{assets, setting};
use ndarray::{Array2, Array3, s};
use ndarray_npy::{NpzReader, NpzWriter, ReadableElement, WritableElement};
use soundalike_selftest::{CapturedRun, PipelineStage, ShapeMismatch, SpliceOutcome, attribute};

fn read<T: ReadableElement, D: ndarray::Dimension>(
    path: PathBuf,
    name: &str,
) -> ndarray::Array<T, D> {
    let mut npz = NpzReader::new(std::fs::File::open(path).expect("a capture")).expect("an npz");
    npz.by_name(name).expect("an array")
}

fn write<T: WritableElement, D: ndarray::Dimension>(
    path: PathBuf,
    name: &str,
    array: &ndarray::Array<T, D>,
) {
    let mut npz = NpzWriter::new(std::fs::File::create(path).expect("a file"));
    npz.add_array(name, array).expect("an array");
    npz.finish().expect("an npz");
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn the_reference_spliced_into_itself_costs_nothing() {
        let assets = assets();
        for capture in ["01_dialogue", "03_dual_speaker"] {
            let directory = assets.join("pyannote-captures").join(capture);
            let run = CapturedRun::read(&directory).expect("a capture");
            let attribution = attribute(&run, &run, &setting(&assets)).expect("it fits together");
            assert_eq!(attribution.speakers, 2);
            assert_eq!(attribution.splices.len(), PipelineStage::SPLICED.len());
            for splice in &attribution.splices {
                let SpliceOutcome::Score(score) = &splice.outcome else {
                    panic!("{capture}: {splice:?}");
                };
                assert!(score.components.total > 0.0);
                assert_eq!(score.components.error(), 0.0, "{capture}: {splice:?}");
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn a_mistake_costs_at_the_stage_that_makes_it_and_nowhere_else() {
        let assets = assets();
        let reference = assets.join("pyannote-captures/01_dialogue");
        let run = CapturedRun::read(&reference).expect("a capture");
        let candidate = tempfile::tempdir().expect("a directory");
        // Nobody ever overlaps; and in the second half the two speakers are taken for one another.
        let mut counts: Array2<u8> = read(reference.join("reconstruction.npz"), "count");
        counts.mapv_inplace(|count| count.min(1));
        write(
            candidate.path().join("reconstruction.npz"),
            "count",
            &counts,
        );
        let mut clusters: Array2<i8> = read(reference.join("clustering.npz"), "hard_clusters");
        let half = clusters.nrows() / 2;
        clusters
            .slice_mut(s![half.., ..])
            .mapv_inplace(|k| if k < 0 { k } else { 1 - k });
        write(
            candidate.path().join("clustering.npz"),
            "hard_clusters",
            &clusters,
        );
        // As the reference has them, so that they cost nothing.
        let embeddings: Array3<f32> = read(reference.join("raw_embeddings.npz"), "embeddings");
        write(
            candidate.path().join("raw_embeddings.npz"),
            "embeddings",
            &embeddings,
        );
        // One training embedding is missing.
        let vectors: Array2<f64> = read(reference.join("plda_embeddings.npz"), "post_plda");
        let fewer = vectors.slice(s![1.., ..]).to_owned();
        write(
            candidate.path().join("plda_embeddings.npz"),
            "post_plda",
            &fewer,
        );

        let trial = CapturedRun::read(candidate.path()).expect("a capture");
        let attribution = attribute(&run, &trial, &setting(&assets)).expect("it fits together");
        let outcome = |stage: PipelineStage| {
            let splice = attribution
                .splices
                .iter()
                .find(|splice| splice.stage == stage);
            splice.map(|splice| splice.outcome.clone()).expect("a row")
        };
        let score = |stage: PipelineStage| match outcome(stage) {
            SpliceOutcome::Score(score) => score,
            other => panic!("{stage:?}: {other:?}"),
        };
        let counted = score(PipelineStage::Counts);
        assert!(counted.components.missed_detection > 1.0, "{counted:?}");
        assert_eq!(
            (counted.components.false_alarm, counted.components.confusion),
            (0.0, 0.0)
        );
        let assigned = score(PipelineStage::Assignment);
        assert!(assigned.components.confusion > 1.0, "{assigned:?}");
        assert_eq!(score(PipelineStage::Embeddings).components.error(), 0.0);
        let misfit = ShapeMismatch {
            found: fewer.shape().to_vec(),
            expected: vectors.shape().to_vec(),
        };
        assert_eq!(outcome(PipelineStage::Plda), SpliceOutcome::Misfit(misfit));
        assert_eq!(outcome(PipelineStage::Vbx), SpliceOutcome::NotCaptured);
    }
}
