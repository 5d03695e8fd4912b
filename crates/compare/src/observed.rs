//! The candidate on one window, stage by stage.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    thread::Scope,
};

use ndarray::ArrayD;
use soundalike_network::{Graph, Operand};

use crate::{Candidate, CompareError, ReferenceStage, Window, compare::Side, lockstep::Run};

/// The candidate on one window.
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub(crate) enum Observed<'a> {
    Activations(&'a BTreeMap<String, ArrayD<f64>>),
    Live {
        free: Run,
        forced: Run,
        /// Stages whose output has another shape than the reference's, so that it went on with its own, and those that
        /// are not shown behind them.
        unfed: BTreeSet<String>,
    },
}

/// What a candidate makes of one stage.
#[derive(Debug)]
pub struct Outputs {
    /// Feeding itself. None where it does not show the stage.
    pub free: Option<ArrayD<f64>>,
    /// Fed by the reference, as far as the shapes before allow it. None where it does not show the stage, or cannot be fed.
    pub forced: Option<ArrayD<f64>>,
    /// Whether they do.
    pub fed: bool,
}

impl<'a> Observed<'a> {
    /// Starts `candidate` on `window`.
    pub(crate) fn start(
        scope: &'a Scope<'a, '_>,
        candidate: &'a Candidate,
        window: &'a Window,
    ) -> Self {
        match candidate {
            Candidate::Activations(activations) => Self::Activations(activations),
            Candidate::Engine(engine) => Self::Live {
                free: Run::start(scope, engine.as_ref(), window),
                forced: Run::start(scope, engine.as_ref(), window),
                unfed: BTreeSet::new(),
            },
        }
    }

    /// What it makes of the stage `name`; nothing where it does not show the stage. Whatever it shows that is not a stage of
    /// `graph` is noted in `unexpected`.
    pub(crate) fn at(
        &mut self,
        name: &str,
        graph: &Graph,
        unexpected: &mut Vec<String>,
    ) -> Result<Outputs, CompareError> {
        match self {
            Self::Activations(activations) => Ok(Outputs {
                free: activations.get(name).cloned(),
                forced: None,
                fed: true,
            }),
            Self::Live {
                free,
                forced,
                unfed,
            } => {
                let is_unfed = |operand: &Operand| match operand {
                    Operand::Stage(index) => unfed.contains(&graph.stages()[*index].name),
                    Operand::Input | Operand::Masks => false,
                };
                let stage = graph.get(name);
                let fed = !stage.is_some_and(|stage| stage.operands.iter().any(is_unfed));
                if !fed {
                    unfed.insert(name.to_owned());
                }
                Ok(Outputs {
                    free: value_at(free, name, graph, unexpected)?,
                    forced: value_at(forced, name, graph, unexpected)?,
                    fed,
                })
            }
        }
    }

    /// Lets it go on from `stage`, if it is there.
    pub(crate) fn go_on(&mut self, stage: &ReferenceStage) {
        let Self::Live {
            free,
            forced,
            unfed,
        } = self
        else {
            return;
        };
        let name = &stage.stage.name;
        // A stage at which they wait and that is still to come stays as it is.
        if is_at(free, name) {
            free.go_on();
        }
        if is_at(forced, name) {
            if stage.stage.is_part() {
                forced.go_on();
            } else if forced.go_on_with(&stage.fed) {
                unfed.remove(name);
            } else {
                unfed.insert(name.clone());
            }
        }
    }

    /// Lets it finish, and notes in `unexpected` what else it shows that is not a stage of `graph`.
    pub(crate) fn end(
        &mut self,
        graph: &Graph,
        unexpected: &mut Vec<String>,
    ) -> Result<(), CompareError> {
        match self {
            Self::Activations(activations) => {
                let unknown = activations.keys().filter(|name| graph.get(name).is_none());
                unknown.for_each(|name| note(unexpected, name));
                Ok(())
            }
            Self::Live { free, forced, .. } => {
                for run in [free, forced] {
                    while let Some(shown) = run.at().map_err(|error| error.of(Side::Candidate))? {
                        note(unexpected, &shown.name);
                        run.go_on();
                    }
                }
                Ok(())
            }
        }
    }
}

/// The output of the stage `name`, if `run` shows it. Stages come in the order of `graph`; one that is
/// not among them, or comes too late, has nothing to be compared with.
fn value_at(
    run: &mut Run,
    name: &str,
    graph: &Graph,
    unexpected: &mut Vec<String>,
) -> Result<Option<ArrayD<f64>>, CompareError> {
    let now = graph.position(name);
    while let Some(shown) = run.at().map_err(|error| error.of(Side::Candidate))? {
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
    // An error is told by the next question, which is not about the past.
    matches!(run.at(), Ok(Some(shown)) if shown.name == name)
}

fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
