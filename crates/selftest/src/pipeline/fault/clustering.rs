//! Faults of the clustering.

use ndarray::{Array1, Array2, Axis, s};
use soundalike_convert::Linkage;
use soundalike_diarize::{
    clustering::{assignment as assign, linkage::linkage, training::unit_length, vbx::vbx},
    reconstruction::Assignment,
};

use super::{Outputs, PipelineFault, PipelineStage, fault};

pub(super) fn training() -> Vec<PipelineFault> {
    let stage = PipelineStage::Training;
    vec![
        fault("everybody-founds-clusters")
            .text("who talks alone for less than a fifth of a window founds clusters too")
            .seen_in("speakrs 7ea8310: no filter of the clean")
            .at(stage, |outputs, _| trained(outputs, |_, any, _| any > 0.0)),
        fault("overlap-counts-as-clean")
            .text("frames in which others talk as well count")
            .seen_in("speakrs 7ea8310, a variant")
            .at(stage, |outputs, _| {
                trained(outputs, |_, any, frames| any >= 0.2 * frames)
            }),
        fault("clean-by-more-than-a-half")
            .text("who talks alone for less than half of a window founds no cluster")
            .seen_in("constants copied by hand")
            .at(stage, |outputs, _| {
                trained(outputs, |alone, _, frames| alone >= 0.5 * frames)
            }),
    ]
}

/// A training set of the local speakers for which `enough` is true of their frames alone, their active frames and all
/// frames.
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
    outputs.train_on(locals);
}

pub(super) fn clusters() -> Vec<PipelineFault> {
    let (plda, ahc, bayes) = (PipelineStage::Plda, PipelineStage::Ahc, PipelineStage::Vbx);
    vec![
        fault("plda-of-length-1")
            .text("the PLDA is given normalised embeddings")
            .seen_in("an MLX port: an extra normalisation")
            .at(plda, |outputs, setting| {
                let unit = unit_length(outputs.training.embeddings.view());
                outputs.plda = setting.plda.transform(unit.view());
            }),
        fault("plda-ascending")
            .text("the eigenvectors are in ascending order of their values, as eigh gives them")
            .seen_in("ports of vbx_setup")
            .at(plda, |outputs, _| outputs.plda.invert_axis(Axis(1))),
        fault("plda-in-f32")
            .text("PLDA vectors have 24 bits")
            .seen_in("speakrs 7ea8310")
            .at(plda, |outputs, _| {
                outputs.plda.mapv_inplace(|x| f64::from(x as f32))
            }),
        fault("ahc-threshold-as-cosine")
            .text("the threshold, a Euclidean distance, is taken for a cosine distance")
            .seen_in("FluidAudio #802, #735")
            .at(ahc, |outputs, setting| {
                cut(outputs, Linkage::Centroid, (2.0 * setting.threshold).sqrt())
            }),
        fault("ahc-threshold-squared")
            .text("the threshold is compared with squared distances")
            .seen_in("FluidAudio #735, a variant")
            .at(ahc, |outputs, setting| {
                cut(outputs, Linkage::Centroid, setting.threshold.sqrt())
            }),
        fault("ahc-average-linkage")
            .text("average linkage of cosine distances in place of centroids")
            .seen_in("FluidAudio #802, a variant")
            .at(ahc, |outputs, setting| {
                cut(outputs, Linkage::Average, setting.threshold)
            }),
        fault("ahc-not-normalised")
            .text("the embeddings keep their lengths")
            .seen_in("speakrs 7ea8310")
            .at(ahc, |outputs, setting| {
                let vectors = outputs.training.embeddings.view();
                if vectors.nrows() > 0 {
                    outputs.ahc = linkage(vectors, Linkage::Centroid).cut(setting.threshold);
                }
            }),
        fault("vbx-fa-and-fb-swapped")
            .text("the two weights are taken for each other")
            .seen_in("positional arguments")
            .at(bayes, |outputs, setting| {
                let (phi, fa, fb) = (setting.plda.phi(), setting.fa, setting.fb);
                outputs.vbx = vbx(outputs.plda.view(), phi, &outputs.ahc, fb, fa);
            }),
        fault("vbx-without-phi")
            .text("the variances between speakers are left out")
            .seen_in("ports of VBx")
            .at(bayes, |outputs, setting| {
                let ones = Array1::ones(setting.plda.phi().len());
                let (fa, fb) = (setting.fa, setting.fb);
                outputs.vbx = vbx(outputs.plda.view(), ones.view(), &outputs.ahc, fa, fb);
            }),
        fault("vbx-starts-from-nothing")
            .text("everybody starts in one cluster")
            .seen_in("VBx without its AHC")
            .at(bayes, |outputs, setting| {
                let (phi, fa, fb) = (setting.plda.phi(), setting.fa, setting.fb);
                let one = vec![0; outputs.ahc.len()];
                outputs.vbx = vbx(outputs.plda.view(), phi, &one, fa, fb);
            }),
        fault("vbx-in-f32")
            .text("vectors and variances of VBx have 24 bits")
            .seen_in("FluidAudio #735; speakrs 7ea8310")
            .at(bayes, |outputs, setting| {
                let single = |x: f64| f64::from(x as f32);
                let (vectors, phi) = (outputs.plda.mapv(single), setting.plda.phi().mapv(single));
                let (fa, fb) = (setting.fa, setting.fb);
                outputs.vbx = vbx(vectors.view(), phi.view(), &outputs.ahc, fa, fb);
            }),
    ]
}

/// Agglomerative clustering with another linkage or threshold.
fn cut(outputs: &mut Outputs, method: Linkage, threshold: f64) {
    let unit = unit_length(outputs.training.embeddings.view());
    if unit.nrows() > 0 {
        outputs.ahc = linkage(unit.view(), method).cut(threshold);
    }
}

pub(super) fn assignment() -> Vec<PipelineFault> {
    let stage = PipelineStage::Assignment;
    vec![
        fault("assignment-not-constrained")
            .text("two local speakers of one window may be one person")
            .seen_in("FluidAudio #802, #735: no constrained_argmax")
            .at(stage, |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let similarities = outputs.similarities();
                outputs.assignment = assign::most_similar(similarities.view(), speaking.view());
            }),
        fault("slots-not-aligned")
            .text("the first local speaker of each window is the first of the recording, and so on")
            .seen_in("sagascript #80 (DER 56.5 %); CrispASR #107")
            .at(stage, |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                outputs.assignment = Assignment::from_shape_fn(speaking.dim(), |place| {
                    speaking[place].then_some(place.1)
                });
            }),
        fault("the-silent-take-clusters")
            .text("the silent take part as if they spoke")
            .seen_in("FluidAudio #523: minus infinity against the least less 1")
            .at(stage, |outputs, _| {
                let all = Array2::from_elem(outputs.assignment.dim(), true);
                let similarities = outputs.similarities();
                let speaking = assign::speaking(outputs.segmentation.view());
                let given = assign::constrained(similarities.view(), all.view());
                outputs.assignment = Assignment::from_shape_fn(given.dim(), |place| {
                    given[place].filter(|_| speaking[place])
                });
            }),
        fault("assigned-to-the-least-alike")
            .text("distances are taken for similarities")
            .seen_in("FluidAudio #802: thresholds as cosine")
            .at(stage, |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let distances = outputs.similarities().mapv(|x| -x);
                outputs.assignment = assign::constrained(distances.view(), speaking.view());
            }),
        fault("similarities-less-1")
            .text("the cosine in place of 2 less the cosine distance")
            .seen_in("several ports")
            .at(stage, |outputs, _| {
                let speaking = assign::speaking(outputs.segmentation.view());
                let cosines = outputs.similarities().mapv(|x| x - 1.0);
                if outputs.training.locals.len() > 1 {
                    outputs.assignment = assign::constrained(cosines.view(), speaking.view());
                }
            })
            .equivalent("the best of all assignments stays the best where all values have 1 less"),
    ]
}
