//! One stage of a candidate, with what it was fed and what it should have given.

use std::{collections::VecDeque, sync::Arc, thread};

use ndarray::ArrayD;

use crate::{
    Candidate, CompareError, Floors, Reference, Stage, Window,
    layout::{MASKS, WAVEFORM, inputs, is_part},
    observed::Observed,
};

/// How far back the operands of a stage lie.
const REACH: usize = 12;

/// What a candidate shows of a stage.
pub(super) enum Observation {
    /// Nothing.
    NotShown,
    /// It, together with stages before it that it does not show: what it was fed is not the stage's input.
    Fused,
    /// It, fed by the reference.
    Fed(Box<Case>),
}

/// One stage of a candidate, fed by the reference.
pub(super) struct Case {
    pub(super) stage: Stage,
    /// What it was fed, before rounding.
    pub(super) inputs: Vec<ArrayD<f64>>,
    /// What it gave.
    pub(super) output: ArrayD<f64>,
    /// What it should have given.
    pub(super) golden: Arc<ArrayD<f64>>,
    /// The rounding of the reference there.
    pub(super) floors: Floors,
}

impl Case {
    /// The stage `name` of `candidate` on `window`.
    pub(super) fn of(
        reference: &mut dyn Reference,
        candidate: &Candidate,
        window: &Window,
        name: &str,
    ) -> Result<Observation, CompareError> {
        let names = reference.names(window)?;
        thread::scope(|scope| {
            let mut observed = Observed::start(scope, candidate, window);
            let mut before: VecDeque<(String, Arc<ArrayD<f64>>)> = VecDeque::new();
            let mut found = Observation::NotShown;
            let mut fused = false;
            reference.run(window, &mut |stage| {
                if !matches!(found, Observation::NotShown) {
                    // What follows does not matter; the reference is led to its end.
                    return Ok(true);
                }
                let outputs = observed.at(&stage.stage.name, &names, &mut Vec::new())?;
                let fed = outputs.forced.is_some();
                if stage.stage.name == name
                    && let Some(output) = outputs.forced
                {
                    found = if fused {
                        Observation::Fused
                    } else {
                        Observation::Fed(Box::new(Self {
                            inputs: operands(name, &before, window),
                            stage: stage.stage.clone(),
                            output,
                            golden: Arc::clone(&stage.golden),
                            floors: stage.forced.clone(),
                        }))
                    };
                    return Ok(fed);
                }
                if !is_part(&stage.stage.name) {
                    fused = !fed;
                }
                if before.len() == REACH {
                    before.pop_front();
                }
                before.push_back((stage.stage.name.clone(), Arc::clone(&stage.golden)));
                observed.go_on(stage);
                Ok(fed)
            })?;
            Ok(found)
        })
    }
}

fn operands(
    name: &str,
    before: &VecDeque<(String, Arc<ArrayD<f64>>)>,
    window: &Window,
) -> Vec<ArrayD<f64>> {
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    let operand = |input: &str| match input {
        WAVEFORM => Some(window.waveform.mapv(f64::from)),
        MASKS => {
            let masks = window.masks.as_ref()?;
            Some(masks.values.mapv(f64::from).into_dyn())
        }
        stage => {
            let found = before.iter().find(|(name, _)| name == stage);
            found.map(|(_, golden)| (**golden).clone())
        }
    };
    inputs(name, &names)
        .into_iter()
        .filter_map(operand)
        .collect()
}
