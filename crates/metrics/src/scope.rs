//! What is scored at all: pyannote's `uemify`.

use crate::tracks::Tracks;
use crate::{Annotation, PRECISION, Segment, Support, Timeline};

/// Which part of a recording is scored, in pyannote's terms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scope {
    /// Seconds that are not scored around each boundary of a reference turn, in all: half before, half after.
    /// Not above 0 (or NaN): no collar.
    pub collar: f64,
    /// Regions with two or more reference turns are not scored (two turns of one speaker suffice).
    pub skip_overlap: bool,
}

/// Both sides, cut to what is scored.
pub(crate) struct Scoped<'a> {
    pub(crate) reference: Tracks<'a>,
    pub(crate) hypothesis: Tracks<'a>,
    pub(crate) scored: Support,
}

impl Scope {
    /// Cuts both sides to `uem`, or to the extent of both together where there is none, less collars and
    /// overlapped regions. pyannote.metrics `UEMSupportMixin.uemify`.
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

    /// The regions that are scored.
    pub fn scored(
        &self,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Support {
        let whole = match uem {
            Some(uem) => uem.support(),
            None => extent(reference, hypothesis).support(),
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

/// From the first start to the last end of both.
fn extent(reference: &Annotation, hypothesis: &Annotation) -> Timeline {
    let both = reference.timeline().union(&hypothesis.timeline());
    both.extent().into_iter().collect()
}

/// The regions with two or more turns. Every turn overlaps most with the one before it that ends last.
pub(crate) fn overlaps(annotation: &Annotation) -> Vec<Segment> {
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
