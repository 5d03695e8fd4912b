//! The frames over which embeddings are pooled.

use ndarray::{Array2, Axis};

/// The frames over which the embedding of each speaker is pooled, `[speaker, frame]`: those without another speaker if they
/// are more than `least`, else all active ones. By the definition, and not by our own code: pyannote.audio
/// `SpeakerDiarization.get_embeddings(exclude_overlap=True)`.
pub(super) fn masks(activity: &Array2<f32>, least: f32) -> Array2<f32> {
    let speakers = activity.sum_axis(Axis(1));
    let mut masks = activity.t().to_owned();
    for mut mask in masks.rows_mut() {
        let mut clean = mask.to_owned();
        clean.zip_mut_with(&speakers, |active, speakers| {
            if *speakers > 1.0 {
                *active = 0.0;
            }
        });
        if clean.sum() > least {
            mask.assign(&clean);
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use soundalike_diarize::speaker_embedding;

    use super::*;
    use crate::captured::DECISIONS;

    /// One speaker a line as `[speaker, frame]`.
    fn read(lines: &[String]) -> Array2<f32> {
        let values = lines.iter().flat_map(|line| line.bytes());
        let values = values.map(|x| f32::from(x - b'0')).collect();
        Array2::from_shape_vec((lines.len(), lines[0].len()), values).unwrap()
    }

    #[test]
    fn masks_are_those_of_the_official_package() {
        assert_eq!(DECISIONS.masks.len(), 24);
        for case in &DECISIONS.masks {
            let (activity, expected) = (read(&case.activity), read(&case.masks));
            let frames = activity.ncols();
            let activity = activity.t().to_owned();
            let least = match case.exclude_overlap {
                true => (frames * case.min_num_samples) as f64 / case.samples as f64,
                false => frames as f64,
            };
            assert_eq!(masks(&activity, least.ceil() as f32), expected, "{case:?}");
            if case.exclude_overlap {
                let least =
                    speaker_embedding::min_clean_frames(frames, case.min_num_samples, case.samples);
                let product = speaker_embedding::alone(activity.view(), least);
                assert_eq!(product, expected, "{case:?}");
            }
        }
    }
}
