//! One stage of a candidate, with what it was fed and what it should have given.

use std::sync::Arc;

use ndarray::ArrayD;
use soundalike_network::{Operand, Stage};

use crate::{
    Candidate, CompareError, Floors, Operands, Reference, ReferenceStage, Window, observe::observe,
};

/// What a candidate shows of a stage.
#[derive(Debug)]
pub enum Observation {
    /// Nothing.
    NotShown,
    /// It, together with stages before it that it does not show: what it was fed is not the stage's input.
    Fused,
    /// It, fed by the reference.
    Fed(Box<Case>),
}

/// One stage of a candidate, fed by the reference.
#[derive(Debug)]
pub struct Case {
    /// The stage.
    pub stage: Stage,
    /// What it was fed, before rounding.
    pub operands: Vec<ArrayD<f64>>,
    /// Its output.
    pub output: ArrayD<f64>,
    /// The output it should have.
    pub golden: Arc<ArrayD<f64>>,
    /// The rounding of the reference there.
    pub floors: Floors,
}

impl Case {
    /// The stage `name` of `candidate` on `window`.
    ///
    /// # Errors
    /// [`CompareError`] where either side fails.
    pub fn of(
        reference: &mut dyn Reference,
        candidate: &Candidate,
        window: &Window,
        name: &str,
    ) -> Result<Observation, CompareError> {
        let mut before = Operands::new(reference.graph(window)?);
        let mut found = Observation::NotShown;
        let mut fused = false;
        observe(reference, candidate, window, &mut |stage, outputs| {
            let fed = outputs.forced.is_some();
            if stage.stage.name == name
                && let Some(output) = outputs.forced
            {
                found = match fused {
                    true => Observation::Fused,
                    false => Observation::Fed(Box::new(Self::new(stage, output, &before, window))),
                };
                return Ok(None);
            }
            if !stage.stage.is_part() {
                fused = !fed;
            }
            before.keep(&stage.stage.name, Arc::clone(&stage.golden));
            Ok(Some(fed))
        })?;
        Ok(found)
    }

    fn new(
        stage: &ReferenceStage,
        output: ArrayD<f64>,
        before: &Operands<Arc<ArrayD<f64>>>,
        window: &Window,
    ) -> Self {
        let operands = before.of(&stage.stage.name).into_iter();
        let operands = operands.filter_map(|(operand, value)| match operand {
            Operand::Input => Some(window.waveform.mapv(f64::from)),
            Operand::Masks => {
                let masks = window.masks.as_ref()?;
                Some(masks.values.mapv(f64::from).into_dyn())
            }
            Operand::Stage(_) => value.map(|golden| (**golden).clone()),
        });
        Self {
            operands: operands.collect(),
            stage: stage.stage.clone(),
            output,
            golden: Arc::clone(&stage.golden),
            floors: stage.forced.clone(),
        }
    }
}
