//! Faults that an input hides.

use serde::Serialize;

use super::{BaselineGate, Trial, TrialOutcome};

/// The faults that an input hides.
#[derive(Debug, Clone, Serialize)]
pub struct InsensitiveInput {
    /// The input.
    pub input: String,
    /// Number of faults that were tried on it.
    pub faults: usize,
    /// Faults that change the decision of no frame.
    pub same_decisions: Vec<&'static str>,
    /// Faults with every stage below the thresholds.
    pub hidden: Vec<Hidden>,
}

/// A fault that an input hides.
#[derive(Debug, Clone, Serialize)]
pub struct Hidden {
    /// The fault.
    pub fault: &'static str,
    /// The largest R of its stages.
    pub r: f64,
    /// Inputs on which it is detected.
    pub shown_by: Vec<String>,
}

impl InsensitiveInput {
    /// From the trials on each input, with the names of the inputs.
    #[must_use]
    pub fn of(inputs: &[(String, Vec<Trial>)]) -> Vec<Self> {
        let shown_by = |id: &str| {
            let shows = |(_, trials): &&(String, Vec<Trial>)| {
                let found = trials.iter().find(|trial| trial.fault.id == id);
                found.is_some_and(|trial| trial.outcome.detected())
            };
            let names = inputs.iter().filter(shows).map(|(name, _)| name.clone());
            names.collect::<Vec<_>>()
        };
        let of_one = |(input, trials): &(String, Vec<Trial>)| {
            let trials = trials.iter();
            let faults = trials.filter(|trial| trial.fault.equivalent.is_none());
            let same =
                |trial: &&Trial| trial.ordinary.passes(BaselineGate::AllFrames) == Some(true);
            let same = faults.clone().filter(same);
            let hidden = |trial: &&Trial| trial.outcome == TrialOutcome::BelowTheFloor;
            let hidden = faults.clone().filter(hidden).map(|trial| Hidden {
                fault: trial.fault.id,
                r: trial.r,
                shown_by: shown_by(trial.fault.id),
            });
            Self {
                input: input.clone(),
                same_decisions: same.map(|trial| trial.fault.id).collect(),
                hidden: hidden.collect(),
                faults: faults.count(),
            }
        };
        inputs.iter().map(of_one).collect()
    }
}
