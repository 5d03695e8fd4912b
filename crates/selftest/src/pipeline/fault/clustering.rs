//! Mistakes in telling who is who.

use ndarray::{Array1, Array2, Axis, s};
use soundalike_convert::Linkage;
use soundalike_diarize::{
    clustering::{
        assignment as assign,
        linkage::linkage,
        training::{TrainingSet, unit_length},
        vbx::vbx,
    },
    reconstruction::Assignment,
};

use super::{Outputs, PipelineFault, PipelineStage, fault};

pub(super) fn training() -> Vec<PipelineFault> {
    let stage = PipelineStage::Training;
    vec![
        fault(
            "everybody-founds-clusters",
            "who talks alone for less than a fifth of a window founds clusters too",
            "speakrs 7ea8310: no filter of the clean",
            stage,
            |outputs, _| trained(outputs, |_, any, _| any > 0.0),
        ),
        fault(
            "overlap-counts-as-clean",
            "frames in which others talk as well count",
            "speakrs 7ea8310, a variant",
            stage,
            |outputs, _| trained(outputs, |_, any, frames| any >= 0.2 * frames),
        ),
        fault(
            "clean-by-more-than-a-half",
            "who talks alone for less than half of a window founds no cluster",
            "constants copied by hand",
            stage,
            |outputs, _| trained(outputs, |alone, _, frames| alone >= 0.5 * frames),
        ),
    ]
}

/// The training set of those of whom `enough` is true, by the frames in which they talk alone, or at all, of all frames.
fn trained(outputs: &mut Outputs, enough: fn(alone: f32, any: f32, frames: f32) -> bool) {
    let activity = &outputs.segmentation;
    let frames = activity.len_of(Axis(1)) as f32;
    let mut locals = Vec::new();
    for (window, active) in activity.outer_iter().enumerate() {
        let single = active.sum_axis(Axis(1)).mapv(|sum| f32::from(sum == 1.0));
        for (speaker, column) in active.columns().into_iter().enumerate() {
            let vector = outputs.embeddings.slice(s![window, speaker, ..]);
            if enough(column.dot(&single), column.sum(), frames)
                && vector.iter().all(|x| x.is_finite())
                && vector.iter().any(|x| *x != 0.0)
            {
                locals.push((window, speaker));
            }
        }
    }
    let dimension = outputs.embeddings.len_of(Axis(2));
    let embeddings = Array2::from_shape_fn((locals.len(), dimension), |(row, value)| {
        let (window, speaker) = locals[row];
        outputs.embeddings[[window, speaker, value]]
    });
    outputs.training = TrainingSet { locals, embeddings };
}

pub(super) fn clusters() -> Vec<PipelineFault> {
    let (plda, ahc, bayes) = (PipelineStage::Plda, PipelineStage::Ahc, PipelineStage::Vbx);
    vec![
        fault(
            "plda-of-length-1",
            "the PLDA is given normalised embeddings",
            "an MLX port: an extra normalisation",
            plda,
            |outputs, setting| {
                let unit = unit_length(outputs.training.embeddings.view());
                outputs.plda = setting.plda.transform(unit.view());
            },
        ),
        fault(
            "plda-ascending",
            "the eigenvectors are in ascending order of their values, as eigh gives them",
            "ports of vbx_setup",
            plda,
            |outputs, _| outputs.plda.invert_axis(Axis(1)),
        ),
        fault(
            "plda-in-f32",
            "PLDA vectors have 24 bits",
            "speakrs 7ea8310",
            plda,
            |outputs, _| outputs.plda.mapv_inplace(|x| f64::from(x as f32)),
        ),
        fault(
            "ahc-threshold-as-cosine",
            "the threshold, a Euclidean distance, is taken for a cosine distance",
            "FluidAudio #802, #735",
            ahc,
            |outputs, setting| cut(outputs, Linkage::Centroid, (2.0 * setting.threshold).sqrt()),
        ),
        fault(
            "ahc-threshold-squared",
            "the threshold is compared with squared distances",
            "FluidAudio #735, a variant",
            ahc,
            |outputs, setting| cut(outputs, Linkage::Centroid, setting.threshold.sqrt()),
        ),
        fault(
            "ahc-average-linkage",
            "average linkage of cosine distances in place of centroids",
            "FluidAudio #802, a variant",
            ahc,
            |outputs, setting| cut(outputs, Linkage::Average, setting.threshold),
        ),
        fault(
            "ahc-not-normalised",
            "the embeddings keep their lengths",
            "speakrs 7ea8310",
            ahc,
            |outputs, setting| {
                let vectors = outputs.training.embeddings.view();
                if vectors.nrows() > 0 {
                    outputs.ahc = linkage(vectors, Linkage::Centroid).cut(setting.threshold);
                }
            },
        ),
        fault(
            "vbx-fa-and-fb-swapped",
            "the two weights are taken for each other",
            "positional arguments",
            bayes,
            |outputs, setting| {
                let (phi, fa, fb) = (setting.plda.phi(), setting.fa, setting.fb);
                outputs.vbx = vbx(outputs.plda.view(), phi, &outputs.ahc, fb, fa);
            },
        ),
        fault(
            "vbx-without-phi",
            "the variances between speakers are left out",
            "ports of VBx",
            bayes,
            |outputs, setting| {
                let ones = Array1::ones(setting.plda.phi().len());
                let (fa, fb) = (setting.fa, setting.fb);
                outputs.vbx = vbx(outputs.plda.view(), ones.view(), &outputs.ahc, fa, fb);
            },
        ),
        fault(
            "vbx-starts-from-nothing",
            "everybody starts in one cluster",
            "VBx without its AHC",
            bayes,
            |outputs, setting| {
                let (phi, fa, fb) = (setting.plda.phi(), setting.fa, setting.fb);
                let one = vec![0; outputs.ahc.len()];
                outputs.vbx = vbx(outputs.plda.view(), phi, &one, fa, fb);
            },
        ),
        fault(
            "vbx-in-f32",
            "vectors and variances of VBx have 24 bits",
            "FluidAudio #735; speakrs 7ea8310",
            bayes,
            |outputs, setting| {
                let single = |x: f64| f64::from(x as f32);
                let (vectors, phi) = (outputs.plda.mapv(single), setting.plda.phi().mapv(single));
                let (fa, fb) = (setting.fa, setting.fb);
                outputs.vbx = vbx(vectors.view(), phi.view(), &outputs.ahc, fa, fb);
            },
        ),
    ]
}

/// Other starting clusters.
fn cut(outputs: &mut Outputs, method: Linkage, threshold: f64) {
    let unit = unit_length(outputs.training.embeddings.view());
    if unit.nrows() > 0 {
        outputs.ahc = linkage(unit.view(), method).cut(threshold);
    }
}

pub(super) fn assignment() -> Vec<PipelineFault> {
    let stage = PipelineStage::Assignment;
    vec![
        fault(
            "assignment-not-constrained",
            "two local speakers of one window may be one person",
            "FluidAudio #802, #735: no constrained_argmax",
            stage,
            |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let similarities = outputs.similarities();
                outputs.assignment = assign::most_similar(similarities.view(), speaking.view());
            },
        ),
        fault(
            "slots-not-aligned",
            "the first local speaker of each window is the first of the recording, and so on",
            "sagascript #80 (DER 56.5 %); CrispASR #107",
            stage,
            |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                outputs.assignment = Assignment::from_shape_fn(speaking.dim(), |place| {
                    speaking[place].then_some(place.1)
                });
            },
        ),
        fault(
            "the-silent-take-clusters",
            "the silent take part as if they spoke",
            "FluidAudio #523: minus infinity against the least less 1",
            stage,
            |outputs, _| {
                let all = Array2::from_elem(outputs.assignment.dim(), true);
                let similarities = outputs.similarities();
                let speaking = assign::speaking(outputs.segmentation.view());
                let given = assign::constrained(similarities.view(), all.view());
                outputs.assignment = Assignment::from_shape_fn(given.dim(), |place| {
                    given[place].filter(|_| speaking[place])
                });
            },
        ),
        fault(
            "assigned-to-the-least-alike",
            "distances are taken for similarities",
            "FluidAudio #802: thresholds as cosine",
            stage,
            |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let distances = outputs.similarities().mapv(|x| -x);
                outputs.assignment = assign::constrained(distances.view(), speaking.view());
            },
        ),
        fault(
            "similarities-less-1",
            "the cosine in place of 2 less the cosine distance",
            "several ports",
            stage,
            |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let cosines = outputs.similarities().mapv(|x| x - 1.0);
                if outputs.training.locals.len() > 1 {
                    outputs.assignment = assign::constrained(cosines.view(), speaking.view());
                }
            },
        )
        .equivalent("the best of all assignments stays the best where all values have 1 less"),
    ]
}
