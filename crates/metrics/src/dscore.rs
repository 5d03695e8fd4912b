//! The convention of dscore 1.1: md-eval on cleaned and rounded turns. The Jaccard error rate is counted in frames of 10 ms.
//!
//! Cleaning: equal turns count once; turns are cropped to the UEM, which defaults to the extent of both sides; overlapping
//! turns of one speaker are joined; onset and duration are rounded to milliseconds.

use crate::{
    Annotation, Jaccard, Score, Segment, Timeline, Turn,
    assignment::{Matrix, least},
    md_eval,
};

/// Seconds from one frame to the next. dscore's `--step`.
const STEP: f64 = 0.010;

/// Most frames, some millions of years: below it every frame number is exact in f64.
const MAX_FRAMES: u64 = 1 << 53;

/// Scores one recording; `collar` is on each side. The diarization error rate and the Jaccard error rate of a recording without
/// reference speech are 1 with hypothesis speech, else 0. Jaccard error rates pool as sums over speakers, so such a
/// recording adds nothing.
pub(crate) fn score(
    reference: &Annotation,
    hypothesis: &Annotation,
    collar: f64,
    skip_overlap: bool,
    uem: Option<&Timeline>,
) -> (Score, Option<f64>, (Jaccard, f64)) {
    let whole = uem.cloned();
    let whole = whole.unwrap_or_else(|| reference.timeline().union(&hypothesis.timeline()).hull());
    let reference = cleaned(reference, &whole);
    let hypothesis = cleaned(hypothesis, &whole);
    let jaccard = jaccard(&reference, &hypothesis, &whole);

    let regions = whole.segments().iter();
    let regions = regions.map(|s| Segment::new(milliseconds(s.start), milliseconds(s.end)));
    let score = md_eval::score(
        &rounded(&reference),
        &rounded(&hypothesis),
        collar,
        skip_overlap,
        Some(&regions.collect()),
    );
    let rate = match reference.is_empty() {
        true => Some(f64::from(!hypothesis.is_empty())),
        false => score.components.rate_of_speech(),
    };
    (score, rate, jaccard)
}

/// Equal turns once, cropped to the UEM, and overlapping turns of one speaker joined (not touching ones). If no two
/// overlap, turns that are equal after cropping stay twice: md-eval counts them as overlap.
fn cleaned(annotation: &Annotation, whole: &Timeline) -> Annotation {
    let support = whole.support();
    let mut turns = Vec::new();
    for speaker in annotation.speakers() {
        // A timeline has equal segments once.
        let segments = annotation.label_timeline(&speaker.label);
        let pieces = segments.segments().iter();
        let cut: Vec<Segment> = pieces.flat_map(|s| support.pieces_of(s)).collect();
        let distinct = Timeline::new(cut.iter().copied());
        let mut joined: Vec<Segment> = Vec::new();
        for segment in distinct.segments() {
            match joined.last_mut() {
                Some(last) if segment.start < last.end => last.end = last.end.max(segment.end),
                _ => joined.push(*segment),
            }
        }
        let overlapping = joined.len() < distinct.segments().len();
        let kept = if overlapping { joined } else { cut };
        let turn = |s: &Segment| Turn::new(s.start, s.end, speaker.label.as_str());
        turns.extend(kept.iter().map(turn));
    }
    Annotation::from_turns(annotation.uri.as_str(), turns)
}

/// Onset and duration each rounded to whole milliseconds.
fn rounded(annotation: &Annotation) -> Annotation {
    let turns = annotation.turns().iter().map(|Turn { segment, speaker }| {
        let start = milliseconds(segment.start);
        let end = start + milliseconds(segment.end - segment.start);
        Turn::new(start, end, speaker.as_str())
    });
    Annotation::from_turns(annotation.uri.as_str(), turns)
}

/// The nearest number with three decimals, by way of text.
fn milliseconds(seconds: f64) -> f64 {
    format!("{seconds:.3}").parse().unwrap_or(seconds)
}

/// Runs of frames: the first, and the one after the last.
type Frames = Vec<(u64, u64)>;

/// The frames of each speaker in scored regions.
fn frames(annotation: &Annotation, whole: &Timeline) -> Vec<Frames> {
    let end = whole.extent().map_or(0.0, |extent| extent.end);
    let all = ((end / STEP).max(0.0) as u64).min(MAX_FRAMES);
    let range = |segment: &Segment| (frame(segment.start, all), frame(segment.end, all));
    let scored: Frames = joined(whole.support().segments().iter().map(range));
    let labels = annotation.labels().into_iter();
    let frames = labels.map(|label| {
        let timeline = annotation.label_timeline(label);
        common(&joined(timeline.segments().iter().map(range)), &scored)
    });
    frames.collect()
}

/// The first of `all` frames whose time, `STEP` times its number, is at least `seconds`. numpy `searchsorted`.
fn frame(seconds: f64, all: u64) -> u64 {
    let mut frame = ((seconds / STEP).ceil().max(0.0) as u64).min(all);
    while frame > 0 && STEP * (frame - 1) as f64 >= seconds {
        frame -= 1;
    }
    while frame < all && STEP * (frame as f64) < seconds {
        frame += 1;
    }
    frame.min(all)
}

/// The runs sorted and without overlap.
fn joined(runs: impl Iterator<Item = (u64, u64)>) -> Frames {
    let mut runs: Frames = runs.filter(|(from, to)| from < to).collect();
    runs.sort_unstable();
    let mut joined: Frames = Vec::new();
    for (from, to) in runs {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The frames in both, which are sorted and without overlap.
fn common(one: &Frames, other: &Frames) -> Frames {
    let (mut i, mut j) = (0, 0);
    let mut common = Frames::new();
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        let (from, to) = (a.0.max(b.0), a.1.min(b.1));
        if from < to {
            common.push((from, to));
        }
        if a.1 < b.1 { i += 1 } else { j += 1 }
    }
    common
}

fn length(frames: &Frames) -> u64 {
    frames.iter().map(|(from, to)| to - from).sum()
}

/// The Jaccard error rate in frames with the mapping of the least error: its sum over speakers, and its value.
fn jaccard(reference: &Annotation, hypothesis: &Annotation, whole: &Timeline) -> (Jaccard, f64) {
    let (references, hypotheses) = (frames(reference, whole), frames(hypothesis, whole));
    let speaker_count = references.len() as f64;
    let silent = references.is_empty() && hypotheses.is_empty();
    let mut speaker_error = speaker_count;
    let mut errors = Matrix::zeros(references.len(), hypotheses.len());
    for (r, reference) in references.iter().enumerate() {
        for (h, hypothesis) in hypotheses.iter().enumerate() {
            let both = length(&common(reference, hypothesis));
            let either = length(reference) + length(hypothesis) - both;
            // Two speakers without a frame have nothing in common (dscore fails here).
            *errors.at_mut(r, h) = if either == 0 {
                1.0
            } else {
                1.0 - both as f64 / either as f64
            };
        }
    }
    for (r, h) in least(errors.rows, errors.columns, &errors.values) {
        speaker_error += errors.at(r, h) - 1.0;
    }
    let sum = Jaccard {
        speaker_error,
        speaker_count,
    };
    (sum, if silent { 0.0 } else { sum.rate() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_begin_where_numpy_puts_them() {
        // numpy: np.searchsorted(0.010 * np.arange(1000), x)
        for (seconds, expected) in [
            (0.0, 0),
            (0.005, 1),
            (0.01, 1),
            (0.29, 29),
            (0.57, 57),
            (5.0, 500),
            (-1.0, 0),
            (99.0, 1000),
        ] {
            assert_eq!(frame(seconds, 1000), expected, "{seconds}");
        }
        assert_eq!(frame(1e300, MAX_FRAMES), MAX_FRAMES);
    }

    #[test]
    fn turns_are_cut_and_joined_but_not_where_they_touch() {
        let turns = [(0.0, 2.0), (1.0, 3.0), (3.0, 4.0), (3.0, 4.0), (9.0, 12.0)];
        let annotation =
            Annotation::from_turns("x", turns.map(|(start, end)| Turn::new(start, end, "A")));
        let cleaned = cleaned(&annotation, &Timeline::new([Segment::new(0.5, 10.0)]));
        let times: Vec<_> = cleaned
            .turns()
            .iter()
            .map(|t| (t.segment.start, t.segment.end))
            .collect();
        assert_eq!(times, [(0.5, 3.0), (3.0, 4.0), (9.0, 10.0)]);
    }
}
