//! From frames to speaker turns.

use ndarray::ArrayView2;
use soundalike_metrics::{Annotation, Turn};

use crate::frames::FrameGrid;

/// Speaker turns of the recording `uri` from `active` `[frame, speaker]`: each lasts from the middle of its
/// first frame to the middle of the frame after its last (or of the last frame of all, so that a turn of
/// that frame alone vanishes). Speakers are numbered in order of first appearance: SPEAKER_00, SPEAKER_01,
/// ...; of those who begin together the one whose turn ends first, then the one with the lower column.
/// pyannote.audio `utils/signal.py`, `Binarize` with both thresholds 0.5 and no padding.
#[must_use]
pub fn to_annotation(active: ArrayView2<'_, bool>, grid: &FrameGrid, uri: &str) -> Annotation {
    let mut turns = Vec::new();
    for (speaker, column) in active.columns().into_iter().enumerate() {
        let last = column.len().saturating_sub(1);
        let mut start = None;
        for (frame, active) in column.iter().enumerate() {
            match start {
                None if *active => start = Some(frame),
                Some(first) if !active || frame == last => {
                    turns.push((first, frame, speaker));
                    start = None;
                }
                _ => {}
            }
        }
    }
    turns.sort_unstable();
    let mut labels = vec![None; active.ncols()];
    let mut seen = 0;
    let turns = turns.into_iter().map(|(first, end, speaker)| {
        let number = *labels[speaker].get_or_insert_with(|| {
            seen += 1;
            seen - 1
        });
        Turn::new(
            grid.middle(first),
            grid.middle(end),
            format!("SPEAKER_{number:02}"),
        )
    });
    Annotation::from_turns(uri, turns)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    const GRID: FrameGrid = FrameGrid {
        duration: 0.061_937_5,
        step: 0.016_875,
        window_duration: 10.0,
        window_step: 1.0,
    };

    fn turns(columns: &[&str]) -> Vec<(f64, f64, String)> {
        let active = Array2::from_shape_fn((columns[0].len(), columns.len()), |(f, s)| {
            &columns[s][f..=f] == "x"
        });
        to_annotation(active.view(), &GRID, "uri")
            .turns()
            .iter()
            .map(|turn| (turn.segment.start, turn.segment.end, turn.speaker.clone()))
            .collect()
    }

    #[test]
    fn turns_run_from_middle_to_middle() {
        let (start, end) = (GRID.middle(1), GRID.middle(3));
        assert_eq!(turns(&["_xx__"]), [(start, end, "SPEAKER_00".to_owned())]);
        assert_eq!(GRID.middle(0), 0.030_968_75);
    }

    #[test]
    fn a_turn_of_the_very_last_frame_vanishes_and_a_longer_one_ends_there() {
        assert_eq!(turns(&["____x"]), []);
        assert_eq!(
            turns(&["___xx"]),
            [(GRID.middle(3), GRID.middle(4), "SPEAKER_00".to_owned())]
        );
    }

    #[test]
    fn speakers_are_numbered_by_first_appearance() {
        let labels: Vec<_> = turns(&["__xx___x_", "xx_______", "_____x___"])
            .into_iter()
            .map(|t| t.2)
            .collect();
        assert_eq!(
            labels,
            ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02", "SPEAKER_01"]
        );
    }
}
