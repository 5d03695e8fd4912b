//! TextGrid of Praat, in its long text format: a tier for each speaker, filled with intervals from 0 to the end.
//! Praat's manual, "TextGrid file formats".

use std::fmt::Write;

use soundalike_metrics::Segment;

use super::{Document, SPEECH};

/// The tiers of the speakers, then the tracks.
pub(super) fn render(document: &Document<'_>) -> String {
    let diarization = document.diarization;
    let mut tiers: Vec<(&str, Vec<Segment>)> = Vec::new();
    for speaker in &diarization.speakers {
        let turns = document.turns().iter();
        let own = turns.filter(|turn| turn.speaker == speaker.label);
        tiers.push((&speaker.label, own.map(|turn| turn.segment).collect()));
    }
    tiers.extend(document.tracks());
    if tiers.is_empty() {
        // Praat shows no TextGrid without a tier.
        tiers.push((SPEECH, Vec::new()));
    }
    // The last window, and so a turn, may end after the recording.
    let ends = document.turns().iter().map(|turn| turn.segment.end);
    let last = ends.fold(diarization.duration, f64::max);
    let end = time(last);
    let mut text = format!(
        "File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n\nxmin = 0\nxmax = {end}\ntiers? <exists>\nsize = {}\nitem []:\n",
        tiers.len()
    );
    for (number, (name, segments)) in (1..).zip(&tiers) {
        let intervals = filled(segments, last);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    item [{number}]:\n        class = \"IntervalTier\"\n        name = \"{name}\"\n        xmin = 0\n        xmax = {end}\n        intervals: size = {}\n",
            intervals.len()
        );
        for (number, (start, end, speaks)) in (1..).zip(intervals) {
            let (start, end) = (time(start), time(end));
            let label = if speaks { name } else { "" };
            let _ = write!(
                text,
                "        intervals [{number}]:\n            xmin = {start}\n            xmax = {end}\n            text = \"{label}\"\n"
            );
        }
    }
    text
}

/// Intervals from 0 to `end` without gaps: start, end, and whether it is one of `segments`, which are in order and do not
/// overlap.
fn filled(segments: &[Segment], end: f64) -> Vec<(f64, f64, bool)> {
    let mut intervals = Vec::with_capacity(2 * segments.len() + 1);
    let mut last = 0.0;
    for segment in segments {
        if segment.start > last {
            intervals.push((last, segment.start, false));
        }
        intervals.push((segment.start, segment.end, true));
        last = segment.end;
    }
    if end > last {
        intervals.push((last, end, false));
    }
    intervals
}

/// Seconds with six decimals, and 0 as `0`.
fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0".into(),
        _ => format!("{seconds:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::{dialogue, silence};

    #[test]
    fn intervals_fill_the_tier_and_touch() {
        let segments = [
            Segment::new(0.0, 1.0),
            Segment::new(1.0, 2.0),
            Segment::new(3.0, 4.0),
        ];
        let expected = [
            (0.0, 1.0, true),
            (1.0, 2.0, true),
            (2.0, 3.0, false),
            (3.0, 4.0, true),
        ];
        assert_eq!(filled(&segments, 4.0), expected);
        assert_eq!(filled(&[], 4.0), [(0.0, 4.0, false)]);
    }

    #[test]
    fn a_turn_after_the_end_makes_the_tier_longer() {
        let mut dialogue = dialogue();
        dialogue.duration = 3662.0;
        let document = Document {
            diarization: &dialogue,
            exclusive: false,
            tracks: false,
        };
        let text = render(&document);
        assert_eq!(text.matches("xmax = 3662.999600").count(), 5, "{text}");
        assert!(!text.contains("3662.000000"));
    }

    #[test]
    fn silence_is_one_empty_tier() {
        let document = Document {
            diarization: &silence(),
            exclusive: false,
            tracks: false,
        };
        let expected = r#"File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.000000
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "SPEECH"
        xmin = 0
        xmax = 2.000000
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.000000
            text = ""
"#;
        assert_eq!(render(&document), expected);
    }
}
