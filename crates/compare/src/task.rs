//! Agreement of the decoded outputs.

use serde::Serialize;
use soundalike_metrics::{Annotation, Components, DiarizationErrorRate};

use crate::Sides;

/// Diarization error rate between the two decoded outputs, and the speaking times in each. Rates are fractions of the speech.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Sum of the three rates.
    pub der: f64,
    /// Speech of the wrong speaker.
    pub confusion: f64,
    /// Speech that is missed.
    pub missed_detection: f64,
    /// Speech that is not in the reference.
    pub false_alarm: f64,
    /// Speakers within a window, summed over the windows.
    pub num_speakers: Sides<usize>,
    /// Seconds of each speaker, in order of first appearance, one window after the other.
    pub speaking_time: Sides<Vec<f64>>,
    /// The seconds that the rates come from.
    #[serde(skip)]
    components: Components,
}

impl Task {
    /// Scores the turns of the candidate against those of the reference.
    #[must_use]
    pub fn new(turns: &Sides<Annotation>) -> Self {
        let components =
            DiarizationErrorRate::default().components(&turns.reference, &turns.candidate, None);
        // The labels are numbered by first appearance.
        let times = |turns: &Annotation| {
            let speakers = turns.speakers().into_iter();
            speakers.map(|speaker| speaker.speaking_time).collect()
        };
        Self::of(components, turns.as_ref().map(times))
    }

    /// Over several windows. None of none.
    #[must_use]
    pub fn pool<'a>(tasks: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut components = Components::default();
        let mut times = Sides::new(Vec::new(), Vec::new());
        let mut any = false;
        for task in tasks {
            components += task.components;
            times.candidate.extend(&task.speaking_time.candidate);
            times.reference.extend(&task.speaking_time.reference);
            any = true;
        }
        any.then(|| Self::of(components, times))
    }

    fn of(components: Components, speaking_time: Sides<Vec<f64>>) -> Self {
        let rate = |seconds: f64| {
            if seconds == 0.0 {
                0.0
            } else {
                seconds / components.total
            }
        };
        Self {
            der: components.rate(),
            confusion: rate(components.confusion),
            missed_detection: rate(components.missed_detection),
            false_alarm: rate(components.false_alarm),
            num_speakers: speaking_time.as_ref().map(Vec::len),
            speaking_time,
            components,
        }
    }
}
