//! A sweep over the boundaries of both sides.

use crate::{Segment, tracks::Tracks};

/// The numbers of active tracks in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Active {
    /// Reference tracks.
    pub(crate) reference: usize,
    /// Hypothesis tracks.
    pub(crate) hypothesis: usize,
    /// Reference tracks with a hypothesis track of the speaker that is mapped to theirs.
    pub(crate) correct: usize,
}

impl Active {
    /// Reference tracks without a hypothesis track.
    pub(crate) fn missed(&self) -> usize {
        self.reference.saturating_sub(self.hypothesis)
    }

    /// Hypothesis tracks without a reference track.
    pub(crate) fn false_alarm(&self) -> usize {
        self.hypothesis.saturating_sub(self.reference)
    }

    /// Tracks of both sides, but of the wrong speaker.
    pub(crate) fn confused(&self) -> usize {
        self.reference.min(self.hypothesis) - self.correct
    }
}

/// Calls `see` for every non-empty region with speech on either side, in order; no track starts or ends within a
/// region. `mapping` has the reference label of each hypothesis label. O(n log n), also with much overlap.
pub(crate) fn sweep(
    reference: &Tracks,
    hypothesis: &Tracks,
    mapping: &[Option<usize>],
    mut see: impl FnMut(Segment, Active),
) {
    #[derive(Clone, Copy)]
    enum Side {
        Reference,
        Hypothesis,
    }

    let mut events = Vec::with_capacity(2 * (reference.tracks.len() + hypothesis.tracks.len()));
    for (side, tracks) in [(Side::Reference, reference), (Side::Hypothesis, hypothesis)] {
        for track in &tracks.tracks {
            events.push((track.segment.start, true, side, track.label));
            events.push((track.segment.end, false, side, track.label));
        }
    }
    // Starts before ends, so that no count falls below zero.
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));

    let mut inverse = vec![None; reference.labels.len()];
    for (hypothesis, reference) in mapping.iter().enumerate() {
        if let Some(reference) = reference {
            inverse[*reference] = Some(hypothesis);
        }
    }
    let mut speaking = (
        vec![0_usize; reference.labels.len()],
        vec![0_usize; hypothesis.labels.len()],
    );
    let mut active = Active::default();
    let mut since = f64::NEG_INFINITY;
    for (time, starts, side, label) in events {
        if time > since {
            let region = Segment::new(since, time);
            if active.reference + active.hypothesis > 0 && !region.is_empty() {
                see(region, active);
            }
            since = time;
        }
        let pair = match side {
            Side::Reference => inverse[label].map(|h| (label, h)),
            Side::Hypothesis => mapping[label].map(|r| (r, label)),
        };
        let agreed = |speaking: &(Vec<usize>, Vec<usize>)| {
            pair.map_or(0, |(r, h)| speaking.0[r].min(speaking.1[h]))
        };
        active.correct -= agreed(&speaking);
        let (count, all) = match side {
            Side::Reference => (&mut speaking.0[label], &mut active.reference),
            Side::Hypothesis => (&mut speaking.1[label], &mut active.hypothesis),
        };
        if starts {
            *count += 1;
            *all += 1;
        } else {
            *count -= 1;
            *all -= 1;
        }
        active.correct += agreed(&speaking);
    }
}
