//! A candidate beside a reference, stage by stage.

use std::{collections::BTreeSet, mem, thread};

use ndarray::ArrayD;
use soundalike_network::{Graph, Operand};

use crate::{
    Candidate, CompareError, Reference, ReferenceStage, Running, Window,
    lockstep::{Run, Side},
};

/// Receives a stage of the reference with the candidate's outputs of it. Returns whether the candidate continues with the
/// golden output of the stage; `None` where no further stage is needed, and an engine stops.
pub(crate) type SeeBoth<'a> =
    dyn FnMut(&ReferenceStage, Outputs) -> Result<Option<bool>, CompareError> + 'a;

/// The candidate's outputs of one stage.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Free-running. None where the candidate does not show the stage.
    pub(crate) free: Option<ArrayD<f64>>,
    /// Teacher-forced, as far as the shapes before allow it. None where the candidate does not show the stage or cannot be
    /// fed.
    pub(crate) forced: Option<ArrayD<f64>>,
    /// The shapes of outputs with another number of values than the reference's, which are not read.
    pub(crate) free_shape: Option<Vec<usize>>,
    pub(crate) forced_shape: Option<Vec<usize>>,
    /// Whether the shapes before allow it.
    pub(crate) fed: bool,
    /// Whether the candidate shows the stage, so that what follows can be fed.
    pub(crate) shown: bool,
}

/// The end of the candidate's runs.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Stages that only the candidate has.
    pub(crate) unexpected: Vec<String>,
    /// The output that the free run returned. None for activations, and where no further stage was needed.
    pub(crate) returned: Option<ArrayD<f64>>,
}

/// Runs `candidate` beside `reference` on `window`, free-running and teacher-forced, and shows both to `see`, stage by
/// stage.
pub(crate) fn observe(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
    see: &mut SeeBoth<'_>,
) -> Result<Ended, CompareError> {
    let graph = reference.graph(window)?;
    let engine = match candidate {
        Candidate::Activations(activations) => {
            reference.run(window, &mut |stage| {
                let name = &stage.stage.name;
                let recorded = |running| {
                    let other =
                        |shape: &Vec<usize>| shape.iter().product::<usize>() != stage.golden.len();
                    match activations.shape(name, running).filter(other) {
                        Some(shape) => Ok((None, Some(shape))),
                        None => activations
                            .output(name, running)
                            .map(|output| (output, None)),
                    }
                };
                let (free, free_shape) = recorded(Running::Free)?;
                let (forced, forced_shape) = recorded(Running::Forced)?;
                let outputs = Outputs {
                    shown: free.is_some() || free_shape.is_some(),
                    fed: true,
                    free,
                    forced,
                    free_shape,
                    forced_shape,
                };
                Ok(see(stage, outputs)?.unwrap_or(true))
            })?;
            let stages = activations.stages().into_iter();
            return Ok(Ended {
                unexpected: stages.filter(|name| graph.get(name).is_none()).collect(),
                returned: None,
            });
        }
        Candidate::Engine(engine) => engine.as_ref(),
    };
    thread::scope(|scope| {
        let start = || Run::start(scope, Side::Candidate, engine, window);
        let mut runs = Some(Runs {
            graph,
            free: start(),
            forced: start(),
            unfed: BTreeSet::new(),
            unexpected: Vec::new(),
        });
        reference.run(window, &mut |stage| {
            // Where no further stage is needed, the reference still runs to its end.
            let Some(running) = &mut runs else {
                return Ok(true);
            };
            let outputs = running.at(&stage.stage.name)?;
            let Some(fed) = see(stage, outputs)? else {
                runs = None;
                return Ok(true);
            };
            running.go_on(stage);
            Ok(fed)
        })?;
        runs.map_or(Ok(Ended::default()), Runs::end)
    })
}

/// The runs of an engine on one window.
struct Runs {
    graph: Graph,
    free: Run,
    forced: Run,
    /// Stages that continued with their own output because its shape is not the reference's, and stages after them that are
    /// not shown.
    unfed: BTreeSet<String>,
    /// Stages that are not in the graph.
    unexpected: Vec<String>,
}

impl Runs {
    /// The outputs of the stage `name`.
    fn at(&mut self, name: &str) -> Result<Outputs, CompareError> {
        let is_unfed = |operand: &Operand| match operand {
            Operand::Stage(index) => self.unfed.contains(&self.graph.stages()[*index].name),
            Operand::Input | Operand::Masks => false,
        };
        let stage = self.graph.get(name);
        let fed = !stage.is_some_and(|stage| stage.operands.iter().any(is_unfed));
        if !fed {
            self.unfed.insert(name.to_owned());
        }
        let mut value = |run| value_at(run, name, &self.graph, &mut self.unexpected);
        let (free, forced) = (value(&mut self.free)?, value(&mut self.forced)?);
        Ok(Outputs {
            shown: forced.is_some(),
            free,
            forced,
            free_shape: None,
            forced_shape: None,
            fed,
        })
    }

    /// Continues from `stage`, where the candidate shows it.
    fn go_on(&mut self, stage: &ReferenceStage) {
        let name = &stage.stage.name;
        // A run that waits at a later stage stays there.
        if is_at(&mut self.free, name) {
            self.free.go_on();
        }
        if is_at(&mut self.forced, name) {
            if stage.stage.is_part() {
                self.forced.go_on();
            } else if self.forced.go_on_with(&stage.fed) {
                self.unfed.remove(name);
            } else {
                self.unfed.insert(name.clone());
            }
        }
    }

    /// Runs the candidate to its end.
    fn end(mut self) -> Result<Ended, CompareError> {
        for run in [&mut self.free, &mut self.forced] {
            while let Some(shown) = run.at()? {
                note(&mut self.unexpected, &shown.name);
                run.go_on();
            }
        }
        Ok(Ended {
            unexpected: self.unexpected,
            returned: self.free.output(),
        })
    }
}

/// The output of the stage `name`, if `run` shows it. Stages come in the order of `graph`. A stage that is not in the graph
/// or comes too late is noted in `unexpected`: it has no counterpart.
fn value_at(
    run: &mut Run,
    name: &str,
    graph: &Graph,
    unexpected: &mut Vec<String>,
) -> Result<Option<ArrayD<f64>>, CompareError> {
    let now = graph.position(name);
    while let Some(shown) = run.at()? {
        if shown.name == name {
            return Ok(Some(mem::take(&mut shown.value)));
        }
        let theirs = graph.position(&shown.name);
        if theirs.is_some() && theirs > now {
            return Ok(None);
        }
        note(unexpected, &shown.name);
        run.go_on();
    }
    Ok(None)
}

fn is_at(run: &mut Run, name: &str) -> bool {
    // Errors were returned where the outputs were taken.
    matches!(run.at(), Ok(Some(shown)) if shown.name == name)
}

fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
