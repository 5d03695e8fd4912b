//! Mistakes in what the networks give, and in what they are told to listen to.

use ndarray::{Array3, Axis, s};
use soundalike_diarize::clustering::assignment;

use super::{PipelineFault, PipelineStage, fault};

pub(super) fn segmentation() -> Vec<PipelineFault> {
    let stage = PipelineStage::Segmentation;
    vec![
        fault(
            "powerset-pairs-swapped",
            "the sets of the first speaker with the second and with the third are taken for each other",
            "FluidAudio #523; eliza #9460",
            stage,
            |outputs, _| {
                for mut frame in outputs.segmentation.lanes_mut(Axis(2)) {
                    if frame.len() == 3 && frame[0] == 1.0 && frame.sum() == 2.0 {
                        frame.swap(1, 2);
                    }
                }
            },
        ),
        fault(
            "powerset-last-pairs-swapped",
            "the sets of the third speaker with the first and with the second are taken for each other",
            "FluidAudio #523; eliza #9460",
            stage,
            |outputs, _| {
                for mut frame in outputs.segmentation.lanes_mut(Axis(2)) {
                    if frame.len() == 3 && frame[2] == 1.0 && frame.sum() == 2.0 {
                        frame.swap(0, 1);
                    }
                }
            },
        ),
        fault(
            "one-speaker-per-frame",
            "the likeliest speaker of each frame in place of the likeliest set",
            "FluidAudio #523: argmax against marginal",
            stage,
            |outputs, _| {
                for mut frame in outputs.segmentation.lanes_mut(Axis(2)) {
                    let mut heard = false;
                    frame.mapv_inplace(|x| {
                        let first = x == 1.0 && !heard;
                        heard |= first;
                        f32::from(first)
                    });
                }
            },
        ),
        fault(
            "frames-lost-at-the-end",
            "560 of 589 frames of each window are known, 10 calls of 56",
            "speech-core #111",
            stage,
            |outputs, _| {
                let lost = outputs.segmentation.len_of(Axis(1)) * 560 / 589;
                outputs.segmentation.slice_mut(s![.., lost.., ..]).fill(0.0);
            },
        ),
        fault(
            "segmentation-one-frame-late",
            "the activity is one frame late",
            "FluidAudio #807 (17 ms a call)",
            stage,
            |outputs, _| {
                let right = outputs.segmentation.clone();
                let frames = right.len_of(Axis(1));
                outputs
                    .segmentation
                    .slice_mut(s![.., 1.., ..])
                    .assign(&right.slice(s![.., ..frames - 1, ..]));
            },
        ),
    ]
}

pub(super) fn masks() -> Vec<PipelineFault> {
    let stage = PipelineStage::Masks;
    vec![
        fault(
            "overlap-not-excluded",
            "local speakers are heard where others talk as well",
            "FluidAudio #523",
            stage,
            |outputs, _| {
                let activity = outputs.segmentation.view().permuted_axes([0, 2, 1]);
                outputs.masks.assign(&activity);
            },
        ),
        fault(
            "masks-read-across",
            "[frame, speaker] is read as [speaker, frame]",
            "FluidAudio #523: transpose swapped",
            stage,
            |outputs, _| {
                let values: Vec<f32> = outputs.segmentation.iter().copied().collect();
                if let Ok(read) = Array3::from_shape_vec(outputs.masks.dim(), values) {
                    outputs.masks = read;
                }
            },
        ),
        fault(
            "no-mask-for-who-never-talks-alone",
            "who talks alone too little is heard by these frames all the same",
            "speakrs 7ea8310, f31f00e: NaN rows",
            stage,
            |outputs, _| {
                for (mut mask, activity) in outputs
                    .masks
                    .outer_iter_mut()
                    .zip(outputs.segmentation.outer_iter())
                {
                    let alone = activity.sum_axis(Axis(1)).mapv(|sum| f32::from(sum < 2.0));
                    mask.assign(&(&activity.t() * &alone));
                }
            },
        ),
    ]
}

pub(super) fn embeddings() -> Vec<PipelineFault> {
    let stage = PipelineStage::Embeddings;
    vec![
        fault(
            "embeddings-in-f16",
            "embeddings have 11 bits",
            "speakrs ADR 001: DER 6.8 to 27.1 % while clean files are equal",
            stage,
            |outputs, _| {
                // Veltkamp's split: adding and taking off 2^13 times itself leaves the upper 11 bits.
                outputs.embeddings.mapv_inplace(|x| {
                    let up = x * 8193.0;
                    up - (up - x)
                });
            },
        ),
        fault(
            "embeddings-of-other-slots",
            "[window, speaker] is read as [speaker, window]",
            "FluidAudio #523: transpose swapped",
            stage,
            |outputs, _| {
                let (windows, speakers, dimension) = outputs.embeddings.dim();
                let across = outputs.embeddings.view().permuted_axes([1, 0, 2]);
                let values: Vec<f32> = across.iter().copied().collect();
                if let Ok(read) = Array3::from_shape_vec((windows, speakers, dimension), values) {
                    outputs.embeddings = read;
                }
            },
        ),
        fault(
            "embeddings-of-length-1",
            "embeddings are normalised",
            "an MLX port: shipped, since the cosine is 1",
            stage,
            |outputs, _| {
                for mut row in outputs.embeddings.lanes_mut(Axis(2)) {
                    let length = row.dot(&row).sqrt();
                    row.mapv_inplace(|x| x / length.max(f32::MIN_POSITIVE));
                }
            },
        ),
        fault(
            "embeddings-of-the-silent",
            "the silent sound like the first local speaker of the window",
            "speakrs f31f00e: NaN rows",
            stage,
            |outputs, _| {
                let speaking = assignment::speaking(outputs.segmentation.view());
                for ((window, speaker), heard) in speaking.indexed_iter() {
                    if !heard {
                        let first = outputs.embeddings.slice(s![window, 0, ..]).to_owned();
                        let other = first.mapv(|x| x + 1.0);
                        outputs
                            .embeddings
                            .slice_mut(s![window, speaker, ..])
                            .assign(&other);
                    }
                }
            },
        )
        .void("who never speaks founds no cluster and is taken out of theirs"),
    ]
}
