//! SubRip subtitles: who speaks, as text. Numbered from 1; a comma before the milliseconds.

use std::fmt::Write;

use super::{Document, clock};

/// A cue for each turn.
pub(super) fn render(document: &Document<'_>) -> String {
    let mut text = String::new();
    for (number, turn) in document.rows().iter().enumerate() {
        let [start, end] = [turn.segment.start, turn.segment.end].map(|time| clock(time, ','));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}\n{start} --> {end}\n{}\n",
            number + 1,
            turn.speaker
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::dialogue;

    #[test]
    fn cues_are_numbered_and_end_with_an_empty_line() {
        let document = Document {
            diarization: &dialogue(),
            exclusive: false,
            tracks: false,
        };
        let expected = "\
1
00:00:00,031 --> 00:00:02,500
SPEAKER_00

2
00:00:02,000 --> 00:00:04,000
SPEAKER_01

3
01:01:01,250 --> 01:01:03,000
SPEAKER_00

";
        assert_eq!(render(&document), expected);
    }
}
