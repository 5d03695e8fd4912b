//! WebVTT subtitles with speakers as voices and as text. W3C WebVTT, "WebVTT cue voice span".

use super::{Document, clock};

/// A cue for each turn. Labels have no character that needs escaping.
pub(super) fn render(document: &Document<'_>) -> String {
    let cues = document.rows().into_iter().map(|turn| {
        let [start, end] = [turn.segment.start, turn.segment.end].map(|time| clock(time, '.'));
        let speaker = turn.speaker;
        format!("{start} --> {end}\n<v {speaker}>{speaker}\n\n")
    });
    format!("WEBVTT\n\n{}", cues.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::dialogue;

    #[test]
    fn cues_have_voices() {
        let document = Document {
            diarization: &dialogue(),
            exclusive: false,
            tracks: false,
        };
        let expected = "\
WEBVTT

00:00:00.031 --> 00:00:02.500
<v SPEAKER_00>SPEAKER_00

00:00:02.000 --> 00:00:04.000
<v SPEAKER_01>SPEAKER_01

01:01:01.250 --> 01:01:03.000
<v SPEAKER_00>SPEAKER_00

";
        assert_eq!(render(&document), expected);
    }
}
