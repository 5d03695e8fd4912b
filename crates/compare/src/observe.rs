//! A candidate beside a reference, stage by stage.

use std::thread;

use crate::{Candidate, CompareError, Reference, ReferenceStage, Window, observed::Observed};

pub use crate::observed::Outputs;

/// Receives a stage of the reference with what the candidate makes of it. Returns whether the candidate goes on with the
/// golden output of the stage; `None` where no further stage is wanted.
pub type SeeBoth<'a> =
    dyn FnMut(&ReferenceStage, Outputs) -> Result<Option<bool>, CompareError> + 'a;

/// Runs `candidate` beside `reference` on `window`, each feeding itself and fed by the reference, and shows both to `see`,
/// stage by stage. Returns the names of stages that only the candidate has.
///
/// # Errors
/// [`CompareError`] where either side fails, and what `see` fails with.
pub fn observe(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
    see: &mut SeeBoth<'_>,
) -> Result<Vec<String>, CompareError> {
    let graph = reference.graph(window)?;
    let mut unexpected = Vec::new();
    thread::scope(|scope| {
        let mut observed = Some(Observed::start(scope, candidate, window));
        reference.run(window, &mut |stage| {
            let Some(candidate) = &mut observed else {
                // What follows does not matter; the reference is led to its end.
                return Ok(true);
            };
            let outputs = candidate.at(&stage.stage.name, &graph, &mut unexpected)?;
            let Some(fed) = see(stage, outputs)? else {
                observed = None;
                return Ok(true);
            };
            candidate.go_on(stage);
            Ok(fed)
        })?;
        match observed {
            Some(mut observed) => observed.end(&graph, &mut unexpected),
            None => Ok(()),
        }
    })?;
    Ok(unexpected)
}
