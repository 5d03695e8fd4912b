//! The convention of dscore 1.1: the turns are cleaned and rounded, then md-eval scores them; the Jaccard
//! error rate is counted in frames of 10 ms.
//!
//! Cleaning: equal turns count once; turns are cut to the UEM, which defaults to the extent of both sides;
//! turns of one speaker that overlap are joined; onset and duration are rounded to milliseconds.

use crate::assignment::{Matrix, least};
use crate::{Annotation, Jaccard, Score, Segment, Timeline, Turn, md_eval};

/// Seconds from one frame to the next. dscore's `--step`.
const STEP: f64 = 0.010;

/// Frames that are told apart, some millions of years: below this every number is exact in f64.
const MAX_FRAMES: u64 = 1 << 53;

/// What dscore prints for one recording.
pub(crate) struct Dscore {
    pub(crate) score: Score,
    /// Diarization error rate; without reference speech 1 if the hypothesis speaks, else 0.
    pub(crate) rate: Option<f64>,
    /// Pools as a sum of speakers; a recording without reference speech adds nothing.
    pub(crate) jaccard: Jaccard,
    /// Jaccard error rate; without reference speech 1 if the hypothesis speaks, else 0.
    pub(crate) jaccard_rate: f64,
}

/// Scores one recording. `collar` is on each side.
pub(crate) fn score(
    reference: &Annotation,
    hypothesis: &Annotation,
    collar: f64,
    skip_overlap: bool,
    uem: Option<&Timeline>,
) -> Dscore {
    let whole = match uem {
        Some(uem) => uem.clone(),
        None => reference
            .timeline()
            .union(&hypothesis.timeline())
            .extent()
            .into_iter()
            .collect(),
    };
    let reference = cleaned(reference, &whole);
    let hypothesis = cleaned(hypothesis, &whole);

    let (jaccard, jaccard_rate) = jaccard(&reference, &hypothesis, &whole);

    let rounded_whole: Timeline = whole
        .segments()
        .iter()
        .map(|s| Segment::new(milliseconds(s.start), milliseconds(s.end)))
        .collect();
    let (rounded_reference, rounded_hypothesis) = (rounded(&reference), rounded(&hypothesis));
    let score = md_eval::score(
        &rounded_reference,
        &rounded_hypothesis,
        collar,
        skip_overlap,
        Some(&rounded_whole),
    );
    let rate = if reference.is_empty() {
        Some(if hypothesis.is_empty() { 0.0 } else { 1.0 })
    } else {
        (score.components.total > 0.0).then(|| score.components.rate())
    };
    Dscore {
        score,
        rate,
        jaccard,
        jaccard_rate,
    }
}

/// Equal turns once, cut to the UEM, and turns of one speaker joined where they overlap (not where they only
/// touch). If no two overlap, turns that have become equal by cutting stay twice: md-eval takes them for overlap.
fn cleaned(annotation: &Annotation, whole: &Timeline) -> Annotation {
    let support = whole.support();
    let mut turns = Vec::new();
    for speaker in annotation.speakers() {
        // A timeline holds equal segments once.
        let segments = annotation.label_timeline(&speaker.label);
        let cut: Vec<Segment> = segments
            .segments()
            .iter()
            .flat_map(|segment| support.pieces_of(segment))
            .collect();
        let distinct = Timeline::new(cut.iter().copied());
        let mut joined: Vec<Segment> = Vec::new();
        for segment in distinct.segments() {
            match joined.last_mut() {
                Some(last) if segment.start < last.end => last.end = last.end.max(segment.end),
                _ => joined.push(*segment),
            }
        }
        let kept = if joined.len() < distinct.segments().len() {
            joined
        } else {
            cut
        };
        turns.extend(
            kept.iter()
                .map(|s| Turn::new(s.start, s.end, speaker.label.as_str())),
        );
    }
    Annotation::from_turns(annotation.uri.as_str(), turns)
}

/// Onset and duration in whole milliseconds, each rounded on its own.
fn rounded(annotation: &Annotation) -> Annotation {
    let turns = annotation.turns().iter().map(|Turn { segment, speaker }| {
        let start = milliseconds(segment.start);
        Turn::new(
            start,
            start + milliseconds(segment.end - segment.start),
            speaker.as_str(),
        )
    });
    Annotation::from_turns(annotation.uri.as_str(), turns)
}

/// The nearest number with three decimals, as printing and reading it gives.
fn milliseconds(seconds: f64) -> f64 {
    format!("{seconds:.3}").parse().unwrap_or(seconds)
}

/// Runs of frames, from the first to before the last.
type Frames = Vec<(u64, u64)>;

/// The frames of each speaker that lie in scored regions.
fn frames(annotation: &Annotation, whole: &Timeline) -> Vec<Frames> {
    let end = whole.extent().map_or(0.0, |extent| extent.end);
    let all = ((end / STEP).max(0.0) as u64).min(MAX_FRAMES);
    let range = |segment: &Segment| (frame(segment.start, all), frame(segment.end, all));
    let scored: Frames = joined(whole.support().segments().iter().map(range));
    annotation
        .labels()
        .iter()
        .map(|label| {
            common(
                &joined(
                    annotation
                        .label_timeline(label)
                        .segments()
                        .iter()
                        .map(range),
                ),
                &scored,
            )
        })
        .collect()
}

/// The first of `all` frames whose time, `STEP` times its number, is not before `seconds`. numpy `searchsorted`.
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

/// The runs without overlap, sorted.
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

/// The frames in both; both sorted and without overlap.
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

/// The Jaccard error rate by frames: the mapping makes it smallest. Its sum over speakers, and its value.
fn jaccard(reference: &Annotation, hypothesis: &Annotation, whole: &Timeline) -> (Jaccard, f64) {
    let (references, hypotheses) = (frames(reference, whole), frames(hypothesis, whole));
    let speaker_count = references.len() as f64;
    if references.is_empty() || hypotheses.is_empty() {
        let wrong = if references.is_empty() && hypotheses.is_empty() {
            0.0
        } else {
            1.0
        };
        return (
            Jaccard {
                speaker_error: speaker_count,
                speaker_count,
            },
            wrong,
        );
    }
    let mut errors = Matrix::zeros(references.len(), hypotheses.len());
    for (r, reference) in references.iter().enumerate() {
        for (h, hypothesis) in hypotheses.iter().enumerate() {
            let both = length(&common(reference, hypothesis));
            let either = length(reference) + length(hypothesis) - both;
            // Two speakers without a single frame have nothing in common (dscore stops with an error here).
            *errors.at_mut(r, h) = if either == 0 {
                1.0
            } else {
                1.0 - both as f64 / either as f64
            };
        }
    }
    let mut speaker_error = speaker_count;
    for (r, h) in least(errors.rows, errors.columns, &errors.values) {
        speaker_error += errors.at(r, h) - 1.0;
    }
    let sum = Jaccard {
        speaker_error,
        speaker_count,
    };
    (sum, sum.rate())
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
