//! Putting the windows back together.

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3};

use crate::frames::FrameGrid;

/// Which speaker of the recording each local speaker is, `[window, local speaker]`; `None` for a silent or
/// dropped one.
pub type Assignment = Array2<Option<usize>>;

/// Who speaks at each frame, `[frame, speaker]`: of the `speakers` speakers the `count` most active at that
/// frame, by the sum over windows of their local speakers' `activity` (`[window, frame, local speaker]`);
/// of equals the lowest index. Where `count` exceeds `speakers`, all of them speak.
/// pyannote.audio `SpeakerDiarization.reconstruct` and `to_diarization`.
#[must_use]
pub fn reconstruct(
    activity: ArrayView3<'_, f32>,
    assignment: &Assignment,
    speakers: usize,
    count: ArrayView1<'_, usize>,
    grid: &FrameGrid,
) -> Array2<bool> {
    let activations = grid.sum(clustered(activity, assignment, speakers).view());
    choose(activations.view(), count)
}

/// Activity of each speaker of the recording in each window, `[window, frame, speaker]`: the largest of
/// that of the local speakers assigned to them.
fn clustered(
    activity: ArrayView3<'_, f32>,
    assignment: &Assignment,
    speakers: usize,
) -> Array3<f32> {
    let (windows, frames, _) = activity.dim();
    let mut clustered = Array3::<f32>::zeros((windows, frames, speakers));
    for ((window, local), speaker) in assignment.indexed_iter() {
        if let Some(speaker) = speaker {
            for frame in 0..frames {
                let value = &mut clustered[[window, frame, *speaker]];
                *value = value.max(activity[[window, frame, local]]);
            }
        }
    }
    clustered
}

/// The `count` largest of each row.
fn choose(activations: ArrayView2<'_, f32>, count: ArrayView1<'_, usize>) -> Array2<bool> {
    let mut active = Array2::from_elem(activations.dim(), false);
    let mut order: Vec<usize> = (0..activations.ncols()).collect();
    for ((row, mut active), count) in activations
        .outer_iter()
        .zip(active.outer_iter_mut())
        .zip(count)
    {
        order.sort_unstable_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        for speaker in order.iter().take(*count) {
            active[*speaker] = true;
        }
    }
    active
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_most_active_speak_and_ties_go_to_the_lowest_index() {
        let activations = array![
            [1.0, 2.0, 2.0],
            [0.0, 0.0, 0.0],
            [3.0, 1.0, 1.0],
            [5.0, 0.0, 1.0]
        ];
        let active = choose(activations.view(), array![1, 2, 2, 0].view());
        let expected = array![
            [false, true, false],
            [true, true, false],
            [true, true, false],
            [false, false, false]
        ];
        assert_eq!(active, expected);
    }

    #[test]
    fn local_speakers_of_one_person_are_joined_and_dropped_ones_left_out() {
        let activity = array![[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]];
        let assignment = array![[Some(1), Some(1), None]];
        assert_eq!(
            clustered(activity.view(), &assignment, 2),
            array![[[0.0, 1.0], [0.0, 1.0]]]
        );
    }
}
