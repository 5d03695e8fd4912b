//! Sets of segments: [`Timeline`] (they may overlap) and [`Support`] (they are disjoint and do not touch).
//!
//! The operations are those of pyannote.core's `Timeline`, with the same comparisons of the same numbers, so that
//! boundaries fall on the same side.

use crate::Segment;
use serde::Serialize;

/// Distinct, non-empty segments in chronological order. They may overlap.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    segments: Vec<Segment>,
}

impl Timeline {
    /// Sorts the segments and drops empty, repeated and non-finite ones.
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut segments: Vec<Segment> = segments
            .into_iter()
            .filter(|s| s.is_finite() && !s.is_empty())
            .map(|s| s.normalised())
            .collect();
        segments.sort_by(Segment::order);
        segments.dedup();
        Self { segments }
    }

    /// The segments in chronological order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether there is no segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// From the first start to the last end; none for an empty timeline.
    pub fn extent(&self) -> Option<Segment> {
        let start = self.segments.first()?.start;
        let ends = self.segments.iter().map(|segment| segment.end);
        Some(Segment::new(start, ends.fold(f64::NEG_INFINITY, f64::max)))
    }

    /// The extent as a timeline.
    pub(crate) fn hull(&self) -> Timeline {
        self.extent().into_iter().collect()
    }

    /// The same time with as few segments as possible. pyannote.core `Timeline.support`.
    #[must_use]
    pub fn support(&self) -> Support {
        let mut merged: Vec<Segment> = Vec::new();
        for &segment in &self.segments {
            match merged.last_mut() {
                // A gap of at most PRECISION is empty.
                Some(last) if gap(last, &segment).is_empty() => {
                    last.end = last.end.max(segment.end)
                }
                _ => merged.push(segment),
            }
        }
        Support { segments: merged }
    }

    /// Seconds covered, overlaps counted once.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.support().duration()
    }

    /// The parts within `support`. pyannote.core `Timeline.crop(mode="intersection")`.
    #[must_use]
    pub fn crop(&self, support: &Support) -> Timeline {
        let segments = self.segments.iter();
        Timeline::new(segments.flat_map(|segment| support.pieces_of(segment)))
    }

    /// The segments of both.
    #[must_use]
    pub fn union(&self, other: &Timeline) -> Timeline {
        Timeline::new(self.segments.iter().chain(&other.segments).copied())
    }
}

impl FromIterator<Segment> for Timeline {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Timeline::new(segments)
    }
}

/// Non-empty segments in chronological order, each more than a microsecond after the one before.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Support {
    segments: Vec<Segment>,
}

impl Support {
    /// The segments in chronological order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Seconds covered.
    pub fn duration(&self) -> f64 {
        // The sum of no segments is -0.0, which prints a sign.
        0.0 + self.segments.iter().map(Segment::duration).sum::<f64>()
    }

    /// The parts of `within` that are not covered. pyannote.core `Timeline.gaps(support=within)`.
    #[must_use]
    pub fn gaps_in(&self, within: &Support) -> Support {
        let mut gaps = Vec::new();
        for whole in &within.segments {
            let mut end = whole.start;
            for covered in self.pieces_of(whole) {
                gaps.push(Segment::new(end, covered.start));
                end = covered.end;
            }
            gaps.push(Segment::new(end, whole.end));
        }
        gaps.retain(|gap| !gap.is_empty());
        Support { segments: gaps }
    }

    /// Seconds that both cover.
    #[must_use]
    pub fn overlap(&self, other: &Support) -> f64 {
        let pieces = self
            .segments
            .iter()
            .flat_map(|segment| other.pieces_of(segment));
        // As in `duration`.
        0.0 + pieces.map(|piece| piece.duration()).sum::<f64>()
    }

    /// The non-empty intersections of `segment` with each part of the support, in order.
    pub(crate) fn pieces_of(&self, segment: &Segment) -> impl Iterator<Item = Segment> + use<'_> {
        let segment = *segment;
        let first = self
            .segments
            .partition_point(|part| part.end <= segment.start);
        self.segments[first..]
            .iter()
            .take_while(move |part| part.start <= segment.end)
            .filter(move |part| segment.intersects(part))
            .map(move |part| segment.intersection(part))
            .filter(|piece| !piece.is_empty())
    }
}

/// The time between two segments. pyannote.core `Segment.__xor__`.
fn gap(one: &Segment, other: &Segment) -> Segment {
    Segment::new(one.end.min(other.end), one.start.max(other.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(segments: &[(f64, f64)]) -> Timeline {
        segments
            .iter()
            .map(|&(start, end)| Segment::new(start, end))
            .collect()
    }

    fn pairs(segments: &[Segment]) -> Vec<(f64, f64)> {
        segments.iter().map(|s| (s.start, s.end)).collect()
    }

    #[test]
    fn support_joins_what_overlaps_or_touches() {
        let t = timeline(&[
            (0.0, 1.0),
            (1.0, 2.0),
            (0.5, 0.7),
            (3.0, 4.0),
            (4.0 + 5e-7, 5.0),
        ]);
        assert_eq!(pairs(t.support().segments()), [(0.0, 2.0), (3.0, 5.0)]);
        assert_eq!(t.duration(), 4.0);
        assert_eq!(t.extent(), Some(Segment::new(0.0, 5.0)));
    }

    #[test]
    fn gaps_are_what_is_left() {
        let speech = timeline(&[(1.0, 2.0), (4.0, 9.0)]).support();
        let whole = timeline(&[(0.0, 5.0), (6.0, 10.0)]).support();
        assert_eq!(
            pairs(speech.gaps_in(&whole).segments()),
            [(0.0, 1.0), (2.0, 4.0), (9.0, 10.0)]
        );
        assert_eq!(
            pairs(Support::default().gaps_in(&whole).segments()),
            [(0.0, 5.0), (6.0, 10.0)]
        );
    }

    #[test]
    fn crop_keeps_overlapping_segments_apart() {
        let t = timeline(&[(0.0, 2.0), (1.0, 2.0), (3.0, 4.0)]);
        let cropped = t.crop(&timeline(&[(1.5, 3.5)]).support());
        assert_eq!(pairs(cropped.segments()), [(1.5, 2.0), (3.0, 3.5)]);
    }

    #[test]
    fn nothing_that_is_no_time_is_stored() {
        let t = timeline(&[
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (0.0, f64::INFINITY),
        ]);
        assert!(t.is_empty());
        assert_eq!(t.extent(), None);
        assert_eq!(t.duration(), 0.0);
    }
}
