//! The scored regions: pyannote's `uemify`.

use crate::{Annotation, Segment, Support, Timeline, segment::PRECISION, tracks::Tracks};

/// The scored regions of a recording, in pyannote's convention.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scope {
    /// Seconds around each boundary of a reference turn that are not scored: half before, half after. No collar if
    /// negative or NaN.
    pub collar: f64,
    /// Regions with two or more reference turns are not scored (two turns of one speaker suffice).
    pub skip_overlap: bool,
}

/// Both sides, cropped to the scored regions.
pub(crate) struct Scoped<'a> {
    pub(crate) reference: Tracks<'a>,
    pub(crate) hypothesis: Tracks<'a>,
    pub(crate) scored: Support,
}

impl Scope {
    /// Crops both sides to `uem`, by default the extent of both together, without collars and overlap. pyannote.metrics `UEMSupportMixin.uemify`.
    pub(crate) fn apply<'a>(
        &self,
        reference: &'a Annotation,
        hypothesis: &'a Annotation,
        uem: Option<&Timeline>,
    ) -> Scoped<'a> {
        let scored = self.scored(reference, hypothesis, uem);
        Scoped {
            reference: Tracks::of(reference).crop(&scored),
            hypothesis: Tracks::of(hypothesis).crop(&scored),
            scored,
        }
    }

    /// The scored regions.
    #[must_use]
    pub fn scored(
        &self,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Support {
        let whole = match uem {
            Some(uem) => uem.support(),
            None => reference
                .timeline()
                .union(&hypothesis.timeline())
                .hull()
                .support(),
        };
        self.within(reference, &whole)
    }

    /// `whole` without the collars and the overlap of the reference.
    pub(crate) fn within(&self, reference: &Annotation, whole: &Support) -> Support {
        let mut removed = Vec::new();
        if self.collar > 0.0 {
            let half = 0.5 * self.collar;
            for segment in reference.timeline().segments() {
                removed.push(Segment::new(segment.start - half, segment.start + half));
                removed.push(Segment::new(segment.end - half, segment.end + half));
            }
        }
        if self.skip_overlap {
            removed.extend(overlaps(reference));
        }
        if removed.is_empty() {
            whole.clone()
        } else {
            Timeline::new(removed).support().gaps_in(whole)
        }
    }
}

/// The regions with two or more turns. The largest overlap of a turn is with the turn before it that ends last.
fn overlaps(annotation: &Annotation) -> Vec<Segment> {
    let mut overlaps = Vec::new();
    let mut last_end = f64::NEG_INFINITY;
    for turn in annotation.turns() {
        let overlap = Segment::new(turn.segment.start, turn.segment.end.min(last_end));
        if overlap.end - overlap.start > PRECISION {
            overlaps.push(overlap);
        }
        last_end = last_end.max(turn.segment.end);
    }
    overlaps
}
