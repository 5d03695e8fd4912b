//! One stage of a candidate, with its operands and the golden output.

use std::sync::Arc;

use ndarray::ArrayD;
use soundalike_network::{Operand, Stage};

use crate::{Candidate, CompareError, Floors, Operands, Reference, Window, observed::observe};

/// How a candidate shows a stage.
#[derive(Debug)]
pub enum Observation {
    /// It does not.
    NotShown,
    /// Fused with stages before it, which it does not show: its operands are not known.
    Fused,
    /// Teacher-forced.
    Fed(Box<ObservedStage>),
}

/// One stage of a candidate, fed by the reference.
#[derive(Debug)]
pub struct ObservedStage {
    /// The stage.
    pub stage: Stage,
    /// Its golden operands, before they are rounded to the candidate's dtype.
    pub operands: Vec<ArrayD<f64>>,
    /// The candidate's output.
    pub output: ArrayD<f64>,
    /// The golden output.
    pub golden: Arc<ArrayD<f64>>,
    /// The rounding error of the reference's own f32.
    pub floors: Floors,
}

impl ObservedStage {
    /// The stage `name` of `candidate` on `window`.
    ///
    /// # Errors
    /// [`CompareError`] if a side fails.
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
                    false => Observation::Fed(Box::new(Self {
                        stage: stage.stage.clone(),
                        operands: operands(&before, name, window),
                        output,
                        golden: Arc::clone(&stage.golden),
                        floors: stage.forced.clone(),
                    })),
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
}

/// The operands of the stage `name`.
fn operands(before: &Operands<Arc<ArrayD<f64>>>, name: &str, window: &Window) -> Vec<ArrayD<f64>> {
    let operand = |(operand, value): (Operand, Option<&Arc<ArrayD<f64>>>)| match operand {
        Operand::Input => Some(window.waveform.mapv(f64::from)),
        Operand::Masks => {
            let masks = window.masks.as_ref()?;
            Some(masks.values.mapv(f64::from).into_dyn())
        }
        Operand::Stage(_) => value.map(|golden| (**golden).clone()),
    };
    before.of(name).into_iter().filter_map(operand).collect()
}
