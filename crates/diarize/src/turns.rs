//! Speaker turns from frames.

use ndarray::{ArrayView1, ArrayView2};
use soundalike_metrics::{Annotation, Segment, Turn, track_name};

use crate::frames::FrameGrid;

/// Order in which speakers are numbered: SPEAKER_00, SPEAKER_01, ... With pyannote's, turns may end after the recording: in
/// the padding of its last window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbering {
    /// By first appearance; of equals the one whose first turn ends first, then the one with the lower column.
    #[default]
    FirstSeen,
    /// As in pyannote.audio: columns sorted as text, so that 10 is before 2. `Annotation.labels`.
    Pyannote,
}

/// The label of each column of `active` `[frame, speaker]` that has a turn.
#[must_use]
pub fn speaker_labels(active: ArrayView2<'_, bool>, numbering: Numbering) -> Vec<Option<String>> {
    let columns = active.columns().into_iter().enumerate();
    let mut seen: Vec<((usize, usize), usize)> = columns
        .filter_map(|(speaker, column)| Some((*runs(column).first()?, speaker)))
        .collect();
    match numbering {
        Numbering::FirstSeen => seen.sort_unstable(),
        Numbering::Pyannote => seen.sort_by_key(|(_, speaker)| speaker.to_string()),
    }
    let mut labels = vec![None; active.ncols()];
    for (number, (_, speaker)) in seen.into_iter().enumerate() {
        labels[speaker] = Some(format!("SPEAKER_{number:02}"));
    }
    labels
}

/// Speaker turns of the recording `uri` from `active` `[frame, speaker]`. A turn starts in the middle of its first frame
/// and ends in the middle of the frame after its last, or of the last frame of the recording, so that a turn of only that
/// frame vanishes. `labels` names the columns; a column without a label is dropped. Pauses of a speaker shorter than
/// `min_duration_off` seconds are filled.
/// pyannote.audio `utils/signal.py`, `Binarize` with both thresholds 0.5 and no padding.
#[must_use]
pub fn label_turns(
    active: ArrayView2<'_, bool>,
    labels: &[Option<String>],
    min_duration_off: f64,
    grid: &FrameGrid,
    uri: &str,
) -> Annotation {
    let mut columns: Vec<(usize, &String)> = labels
        .iter()
        .enumerate()
        .filter_map(|(column, label)| Some((column, label.as_ref()?)))
        .collect();
    let fill = min_duration_off > 0.0;
    if fill {
        // `Annotation.support` renames tracks, label by label.
        columns.sort_by_key(|(column, _)| column.to_string());
    }
    let mut tracks: Vec<(String, Turn)> = Vec::new();
    for (column, label) in columns {
        let mut turns: Vec<Segment> = Vec::new();
        for (first, end) in runs(active.column(column)) {
            let segment = Segment::new(grid.middle(first), grid.middle(end));
            match turns.last_mut() {
                Some(last) if fill && segment.start - last.end < min_duration_off => {
                    last.end = segment.end;
                }
                _ => turns.push(segment),
            }
        }
        for segment in turns {
            let track = track_name(if fill { tracks.len() } else { column });
            let turn = Turn::new(segment.start, segment.end, label);
            tracks.push((track, turn));
        }
    }
    // Turns with equal times are in the order of their track names. `Annotation.itertracks`.
    tracks.sort_by(|(a, _), (b, _)| a.cmp(b));
    Annotation::from_turns(uri, tracks.into_iter().map(|(_, turn)| turn))
}

/// [`label_turns`] with speakers numbered by first appearance and no pause filled.
#[must_use]
pub fn to_annotation(active: ArrayView2<'_, bool>, grid: &FrameGrid, uri: &str) -> Annotation {
    let labels = speaker_labels(active, Numbering::FirstSeen);
    label_turns(active, &labels, 0.0, grid, uri)
}

/// First frame of each turn, and the frame after its last, or the last frame of the recording.
fn runs(column: ArrayView1<'_, bool>) -> Vec<(usize, usize)> {
    let last = column.len().saturating_sub(1);
    let mut runs = Vec::new();
    let mut start = None;
    for (frame, active) in column.iter().enumerate() {
        match start {
            None if *active => start = Some(frame),
            Some(first) if !active || frame == last => {
                runs.push((first, frame));
                start = None;
            }
            _ => {}
        }
    }
    runs
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
    fn a_turn_of_only_the_last_frame_vanishes_and_a_longer_one_ends_there() {
        assert_eq!(turns(&["____x"]), []);
        assert_eq!(
            turns(&["___xx"]),
            [(GRID.middle(3), GRID.middle(4), "SPEAKER_00".to_owned())]
        );
    }

    /// Frames of a long recording from `(column, first, end)`.
    fn frames(columns: usize, runs: &[(usize, usize, usize)]) -> Array2<bool> {
        let mut active = Array2::from_elem((200, columns), false);
        for (column, first, end) in runs {
            active
                .slice_mut(ndarray::s![*first..*end, *column])
                .fill(true);
        }
        active
    }

    #[test]
    fn pyannote_numbers_columns_as_text_and_skips_those_without_a_turn() {
        let runs: Vec<_> = (0..12).map(|column| (column, 100 - column, 120)).collect();
        let mut active = frames(13, &runs);
        active.column_mut(3).fill(false);
        active[[199, 12]] = true;
        let labels = speaker_labels(active.view(), Numbering::Pyannote);
        let numbers: Vec<_> = labels
            .iter()
            .map(|label| {
                label
                    .as_ref()
                    .map(|label| label["SPEAKER_".len()..].to_owned())
            })
            .collect();
        // As text: 0 1 10 11 2 4 5 6 7 8 9.
        let expected = [0, 1, 4, -1, 5, 6, 7, 8, 9, 10, 2, 3, -1]
            .map(|number| (number >= 0).then(|| format!("{number:02}")));
        assert_eq!(numbers, expected);
        let labels = speaker_labels(active.view(), Numbering::FirstSeen);
        assert_eq!(labels[11].as_deref(), Some("SPEAKER_00"));
    }

    #[test]
    fn only_shorter_pauses_are_filled() {
        let active = frames(1, &[(0, 10, 20), (0, 24, 30), (0, 35, 40)]);
        let labels = speaker_labels(active.view(), Numbering::Pyannote);
        let pause = GRID.middle(35) - GRID.middle(30);
        let filled = label_turns(active.view(), &labels, pause, &GRID, "uri");
        let segments: Vec<_> = filled.turns().iter().map(|turn| turn.segment).collect();
        let expected = [(10, 30), (35, 40)];
        let expected = expected.map(|(a, b)| Segment::new(GRID.middle(a), GRID.middle(b)));
        assert_eq!(segments, expected);
    }

    #[test]
    fn equal_turns_have_the_order_of_pyannotes_tracks() {
        // 27 columns: the last has track AA, which sorts before B.
        let active = frames(27, &[(0, 50, 60), (1, 10, 20), (26, 10, 20)]);
        let labels = speaker_labels(active.view(), Numbering::Pyannote);
        let order = |min_duration_off: f64| {
            let annotation = label_turns(active.view(), &labels, min_duration_off, &GRID, "uri");
            let turns = annotation.turns().iter();
            turns.map(|turn| turn.speaker.clone()).collect::<Vec<_>>()
        };
        assert_eq!(order(0.0), ["SPEAKER_02", "SPEAKER_01", "SPEAKER_00"]);
        // Filling gives the tracks B and C.
        assert_eq!(order(1e-3), ["SPEAKER_01", "SPEAKER_02", "SPEAKER_00"]);
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
