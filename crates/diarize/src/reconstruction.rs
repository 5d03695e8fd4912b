//! Reconstruction of the recording from its windows.

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3};

use crate::{clustering::cluster_count, frames::FrameGrid};

/// The speaker of the recording that each local speaker is, `[window, local speaker]`; `None` for a silent or dropped
/// one.
pub type Assignment = Array2<Option<usize>>;

/// Activity of each speaker, `[frame, speaker]`: at each frame the `count` most active of the `speakers` speakers, by the
/// sum over windows of their local speakers' `activity` (`[window, frame, local speaker]`); of equals the lowest index.
/// Where `count` exceeds `speakers`, all are active; [`speakers_with_phantoms`] gives the number with which pyannote.audio
/// adds phantoms there. pyannote.audio `SpeakerDiarization.reconstruct` and `to_diarization`.
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

/// Number of speakers in pyannote.audio's diarization: the clusters of `assignment`, or the largest `count` if that is
/// more. The extra speakers, *phantoms*, have no cluster. `SpeakerDiarization.to_diarization`.
#[must_use]
pub fn speakers_with_phantoms(assignment: &Assignment, count: ArrayView1<'_, usize>) -> usize {
    clusters(assignment).max(count.iter().copied().max().unwrap_or(0))
}

/// Number of clusters: one more than the largest assigned.
pub(crate) fn clusters(assignment: &Assignment) -> usize {
    cluster_count(assignment.iter().flatten())
}

/// The `count` of speakers at each frame, limited to `most`: the maximum requested, or 1 for the exclusive diarization, in
/// which at most one speaker is active at a time.
pub(crate) fn at_most(count: ArrayView1<'_, usize>, most: usize) -> Array1<usize> {
    count.mapv(|count| count.min(most))
}

/// Activity of each speaker of the recording in each window, `[window, frame, speaker]`: the maximum over the local
/// speakers assigned to it.
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

/// Selects the `count` largest values of each row.
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
    fn the_most_active_are_selected_and_ties_go_to_the_lowest_index() {
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
    fn phantoms_are_active_where_the_count_exceeds_the_clusters() {
        let grid = FrameGrid {
            duration: 1.0,
            step: 1.0,
            window_duration: 2.0,
            window_step: 1.0,
        };
        let activity = array![[[0.0, 1.0], [1.0, 1.0]]];
        let assignment = array![[Some(0), Some(0)]];
        let count = array![1, 2, 0];
        let speakers = speakers_with_phantoms(&assignment, count.view());
        let active = reconstruct(activity.view(), &assignment, speakers, count.view(), &grid);
        let expected = array![[true, false], [true, true], [false, false]];
        assert_eq!(active, expected);
        let one = at_most(count.view(), 1);
        let exclusive = reconstruct(activity.view(), &assignment, speakers, one.view(), &grid);
        assert_eq!(exclusive.column(1).to_vec(), [false, false, false]);
    }

    #[test]
    fn local_speakers_of_one_speaker_are_joined_and_dropped_ones_left_out() {
        let activity = array![[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]];
        let assignment = array![[Some(1), Some(1), None]];
        assert_eq!(
            clustered(activity.view(), &assignment, 2),
            array![[[0.0, 1.0], [0.0, 1.0]]]
        );
    }
}
