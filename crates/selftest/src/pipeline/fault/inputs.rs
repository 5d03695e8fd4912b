//! Faults in the outputs of the networks and in the masks of the embeddings.

use ndarray::{Array3, Axis, s};
use soundalike_diarize::clustering::assignment;

use super::{Outputs, PipelineFault, PipelineStage, fault};

pub(super) fn segmentation() -> Vec<PipelineFault> {
    let stage = PipelineStage::Segmentation;
    vec![
        fault("powerset-pairs-swapped")
            .text(
                "the sets of the first speaker with the second and with the third \
                 are taken for each other",
            )
            .seen_in("FluidAudio #523; eliza #9460")
            .at(stage, |outputs, _| swap_pairs(outputs, 0, [1, 2])),
        fault("powerset-last-pairs-swapped")
            .text(
                "the sets of the third speaker with the first and with the second \
                 are taken for each other",
            )
            .seen_in("FluidAudio #523; eliza #9460")
            .at(stage, |outputs, _| swap_pairs(outputs, 2, [0, 1])),
        fault("one-speaker-per-frame")
            .text("the likeliest speaker of each frame in place of the likeliest set")
            .seen_in("FluidAudio #523: argmax against marginal")
            .at(stage, |outputs, _| {
                for mut frame in outputs.segmentation.lanes_mut(Axis(2)) {
                    let mut found = false;
                    frame.mapv_inplace(|x| {
                        let first = x == 1.0 && !found;
                        found |= first;
                        f32::from(first)
                    });
                }
            }),
        fault("frames-lost-at-the-end")
            .text("560 of 589 frames of each window are known, 10 calls of 56")
            .seen_in("speech-core #111")
            .at(stage, |outputs, _| {
                let lost = outputs.segmentation.len_of(Axis(1)) * 560 / 589;
                outputs.segmentation.slice_mut(s![.., lost.., ..]).fill(0.0);
            }),
        fault("segmentation-one-frame-late")
            .text("the activity is one frame late")
            .seen_in("FluidAudio #807 (17 ms a call)")
            .at(stage, |outputs, _| {
                let right = outputs.segmentation.clone();
                let frames = right.len_of(Axis(1));
                let mut late = outputs.segmentation.slice_mut(s![.., 1.., ..]);
                late.assign(&right.slice(s![.., ..frames - 1, ..]));
            }),
    ]
}

/// Swaps the two sets of two speakers that contain the speaker `common`, of three.
fn swap_pairs(outputs: &mut Outputs, common: usize, [a, b]: [usize; 2]) {
    for mut frame in outputs.segmentation.lanes_mut(Axis(2)) {
        if frame.len() == 3 && frame[common] == 1.0 && frame.sum() == 2.0 {
            frame.swap(a, b);
        }
    }
}

pub(super) fn masks() -> Vec<PipelineFault> {
    let stage = PipelineStage::Masks;
    vec![
        fault("overlap-not-excluded")
            .text("local speakers are heard where others talk as well")
            .seen_in("FluidAudio #523")
            .at(stage, |outputs, _| {
                let activity = outputs.segmentation.view().permuted_axes([0, 2, 1]);
                outputs.masks.assign(&activity);
            }),
        fault("masks-read-across")
            .text("[frame, speaker] is read as [speaker, frame]")
            .seen_in("FluidAudio #523: transpose swapped")
            .at(stage, |outputs, _| {
                let values: Vec<f32> = outputs.segmentation.iter().copied().collect();
                if let Ok(read) = Array3::from_shape_vec(outputs.masks.dim(), values) {
                    outputs.masks = read;
                }
            }),
        fault("no-mask-for-who-never-talks-alone")
            .text("who talks alone too little is heard by these frames all the same")
            .seen_in("speakrs 7ea8310, f31f00e: NaN rows")
            .at(stage, |outputs, _| {
                let windows = outputs.segmentation.outer_iter();
                for (mut mask, activity) in outputs.masks.outer_iter_mut().zip(windows) {
                    let alone = activity.sum_axis(Axis(1)).mapv(|sum| f32::from(sum < 2.0));
                    mask.assign(&(&activity.t() * &alone));
                }
            }),
    ]
}

pub(super) fn embeddings() -> Vec<PipelineFault> {
    let stage = PipelineStage::Embeddings;
    vec![
        fault("embeddings-in-f16")
            .text("embeddings have 11 bits")
            .seen_in("speakrs ADR 001: DER 6.8 to 27.1 % while clean files are equal")
            .at(stage, |outputs, _| {
                // Veltkamp's split: adding and subtracting 2^13 times the value leaves the upper 11 bits.
                outputs.embeddings.mapv_inplace(|x| {
                    let up = x * 8193.0;
                    up - (up - x)
                });
            }),
        fault("embeddings-of-other-slots")
            .text("[window, speaker] is read as [speaker, window]")
            .seen_in("FluidAudio #523: transpose swapped")
            .at(stage, |outputs, _| {
                let across = outputs.embeddings.view().permuted_axes([1, 0, 2]);
                let values: Vec<f32> = across.iter().copied().collect();
                if let Ok(read) = Array3::from_shape_vec(outputs.embeddings.dim(), values) {
                    outputs.embeddings = read;
                }
            }),
        fault("embeddings-of-length-1")
            .text("embeddings are normalised")
            .seen_in("an MLX port: shipped, since the cosine is 1")
            .at(stage, |outputs, _| {
                for mut row in outputs.embeddings.lanes_mut(Axis(2)) {
                    let length = row.dot(&row).sqrt();
                    row.mapv_inplace(|x| x / length.max(f32::MIN_POSITIVE));
                }
            }),
        fault("embeddings-of-the-silent")
            .text("the silent sound like the first local speaker of the window")
            .seen_in("speakrs f31f00e: NaN rows")
            .at(stage, |outputs, _| {
                let speaking = assignment::speaking(outputs.segmentation.view());
                for ((window, speaker), speaks) in speaking.indexed_iter() {
                    if !speaks {
                        let first = outputs.embeddings.slice(s![window, 0, ..]).to_owned();
                        let other = first.mapv(|x| x + 1.0);
                        let mut silent = outputs.embeddings.slice_mut(s![window, speaker, ..]);
                        silent.assign(&other);
                    }
                }
            })
            .void("who never speaks founds no cluster and is taken out of theirs"),
    ]
}
