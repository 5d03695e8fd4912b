//! SubRip subtitles with speakers as text. Numbered from 1; a comma before the milliseconds.

use super::{Document, clock};

/// A cue for each turn.
pub(super) fn render(document: &Document<'_>) -> String {
    let cues = (1..).zip(document.rows()).map(|(number, turn)| {
        let [start, end] = [turn.segment.start, turn.segment.end].map(|time| clock(time, ','));
        format!("{number}\n{start} --> {end}\n{}\n\n", turn.speaker)
    });
    cues.collect()
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
