//! A segment of time, empty under pyannote's conditions.

use std::cmp::Ordering;

use serde::Serialize;

/// Seconds. A segment of at most this duration is empty: it is neither stored nor scored. Segments at most this far
/// apart touch. pyannote.core's `SEGMENT_PRECISION` (1 µs).
pub(crate) const PRECISION: f64 = 1e-6;

/// From `start` to `end`, in seconds, as f64 and never rounded to frames.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Segment {
    /// Seconds from the start of the recording.
    pub start: f64,
    /// Seconds from the start of the recording.
    pub end: f64,
}

impl Segment {
    /// From `start` to `end`, which can be any two numbers: see [`Segment::is_empty`].
    #[must_use]
    pub fn new(start: f64, end: f64) -> Self {
        Self { start, end }
    }

    /// Whether it is at most a microsecond long, reversed, or has a NaN. pyannote.core `Segment.__bool__`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let duration = self.end - self.start;
        duration.is_nan() || duration <= PRECISION
    }

    /// Seconds from start to end; 0 for an empty segment.
    #[must_use]
    pub fn duration(&self) -> f64 {
        if self.is_empty() {
            0.0
        } else {
            self.end - self.start
        }
    }

    /// The part in common, which may be empty.
    #[must_use]
    pub fn intersection(&self, other: &Segment) -> Segment {
        Segment::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Whether more than [`PRECISION`] is in common. pyannote.core `Segment.intersects`, comparison by comparison.
    pub(crate) fn intersects(&self, other: &Segment) -> bool {
        (self.start < other.start && other.start < self.end - PRECISION)
            || (self.start > other.start && self.start < other.end - PRECISION)
            || self.start == other.start
    }

    /// Whether both bounds are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.start.is_finite() && self.end.is_finite()
    }

    /// Chronological order: by start, then by end. Stored segments have no NaN.
    pub(crate) fn order(&self, other: &Segment) -> Ordering {
        self.start
            .total_cmp(&other.start)
            .then(self.end.total_cmp(&other.end))
    }

    /// With 0 for -0, so that equal times are also equal in [`Segment::order`].
    pub(crate) fn normalised(&self) -> Segment {
        Segment::new(self.start + 0.0, self.end + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty() {
        let cases = [
            ("one second", 0.0, 1.0, false),
            ("nothing", 1.0, 1.0, true),
            ("reversed", 2.0, 1.0, true),
            ("a microsecond", 0.0, 1e-6, true),
            ("more than a microsecond", 0.0, 1.1e-6, false),
            ("no number", f64::NAN, 1.0, true),
            ("no number at the end", 0.0, f64::NAN, true),
        ];
        for (name, start, end, empty) in cases {
            assert_eq!(Segment::new(start, end).is_empty(), empty, "{name}");
        }
    }

    #[test]
    fn touching_segments_do_not_intersect() {
        let left = Segment::new(0.0, 1.0);
        assert!(!left.intersects(&Segment::new(1.0, 2.0)));
        assert!(!left.intersects(&Segment::new(1.0 - 5e-7, 2.0)));
        assert!(left.intersects(&Segment::new(1.0 - 5e-6, 2.0)));
        assert!(left.intersects(&left));
    }
}
