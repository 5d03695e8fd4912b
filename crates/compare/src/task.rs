//! Agreement of what outputs are decoded to.

use serde::Serialize;
use soundalike_metrics::{Annotation, Components, DiarizationErrorRate};

use crate::Sides;

/// Diarization error rate between the two decoded outputs, and who speaks how long in each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// All of it.
    pub der: f64,
    /// Seconds that the wrong speaker got, over the seconds of speech.
    pub confusion: f64,
    /// Seconds of speech that were missed, over the seconds of speech.
    pub missed_detection: f64,
    /// Seconds of speech that is not there, over the seconds of speech.
    pub false_alarm: f64,
    /// Speakers within a window, added up over the windows.
    pub num_speakers: Sides<usize>,
    /// Seconds for which each speaker talks, in order of first appearance, one window after the other.
    pub speaking_time: Sides<Vec<f64>>,
    /// What the rates are made of.
    #[serde(skip)]
    components: Components,
}

impl Task {
    /// Scores the turns of the candidate by those of the reference.
    #[must_use]
    pub fn new(turns: &Sides<Annotation>) -> Self {
        let components =
            DiarizationErrorRate::default().components(&turns.reference, &turns.candidate, None);
        // Their labels are numbered by first appearance.
        let times = |turns: &Annotation| {
            let speakers = turns.speakers();
            speakers
                .iter()
                .map(|speaker| speaker.speaking_time)
                .collect()
        };
        Self::of(components, turns.as_ref().map(times))
    }

    /// Over several windows. None of none.
    #[must_use]
    pub fn pool<'a>(tasks: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let tasks: Vec<_> = tasks.collect();
        let times = |side: &dyn Fn(&Sides<Vec<f64>>) -> Vec<f64>| -> Vec<f64> {
            tasks
                .iter()
                .flat_map(|task| side(&task.speaking_time))
                .collect()
        };
        let pooled = Self::of(
            tasks.iter().map(|task| task.components).sum(),
            Sides {
                candidate: times(&|sides| sides.candidate.clone()),
                reference: times(&|sides| sides.reference.clone()),
            },
        );
        (!tasks.is_empty()).then_some(pooled)
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
