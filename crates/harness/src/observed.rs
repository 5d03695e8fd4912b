//! The candidate on one window, stage by stage.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    thread::Scope,
};

use ndarray::ArrayD;
use soundalike_model::TensorError;

use crate::{
    Candidate, CompareError, ReferenceStage, Window,
    fault::Inject,
    layout::{inputs, is_part},
    lockstep::Run,
};

/// The candidate on one window.
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub(crate) enum Observed<'a> {
    Activations(&'a BTreeMap<String, ArrayD<f64>>),
    Live {
        free: Run<TensorError>,
        forced: Run<TensorError>,
        /// Stages whose output has another shape than the reference's, so that it went on with its own, and those that
        /// are not shown behind them.
        unfed: BTreeSet<String>,
    },
}

/// What it makes of one stage.
pub(crate) struct Outputs {
    /// Feeding itself.
    pub(crate) free: Option<ArrayD<f64>>,
    /// Fed by the reference, as far as the shapes before allow it.
    pub(crate) forced: Option<ArrayD<f64>>,
    /// Whether they do.
    pub(crate) fed: bool,
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
            Candidate::Network { network, fault } => {
                let start = || {
                    Run::start(scope, |probe| {
                        let mut probe = Inject::new(fault.as_ref(), window, probe);
                        network.forward(window, &mut probe).map(drop)
                    })
                };
                Self::Live {
                    free: start(),
                    forced: start(),
                    unfed: BTreeSet::new(),
                }
            }
        }
    }

    /// What it makes of the stage `name`; nothing where it does not show the stage. Whatever it shows that is not one of `names` is noted in `unexpected`.
    pub(crate) fn at(
        &mut self,
        name: &str,
        names: &[String],
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
                let before: Vec<&str> = names.iter().map(String::as_str).collect();
                let place = before.iter().position(|known| *known == name);
                let operands = inputs(name, &before[..place.unwrap_or_default()]);
                let fed = !operands.iter().any(|operand| unfed.contains(*operand));
                if !fed {
                    unfed.insert(name.to_owned());
                }
                Ok(Outputs {
                    free: value_at(free, name, names, unexpected)?,
                    forced: value_at(forced, name, names, unexpected)?,
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
            if is_part(name) {
                forced.go_on();
            } else if forced.go_on_with(&stage.fed) {
                unfed.remove(name);
            } else {
                unfed.insert(name.clone());
            }
        }
    }

    /// Lets it finish, and notes in `unexpected` what else it shows that is not one of `names`.
    pub(crate) fn end(
        &mut self,
        names: &[String],
        unexpected: &mut Vec<String>,
    ) -> Result<(), CompareError> {
        match self {
            Self::Activations(activations) => {
                let unknown = activations.keys().filter(|name| !names.contains(name));
                unknown.for_each(|name| note(unexpected, name));
                Ok(())
            }
            Self::Live { free, forced, .. } => {
                for run in [free, forced] {
                    while let Some(shown) = run.at()? {
                        note(unexpected, &shown.name);
                        run.go_on();
                    }
                }
                Ok(())
            }
        }
    }
}

/// The output of the stage `name`, if `run` shows it. Stages come in the order of `names`; one that is
/// not among them, or comes too late, has nothing to be compared with.
fn value_at(
    run: &mut Run<TensorError>,
    name: &str,
    names: &[String],
    unexpected: &mut Vec<String>,
) -> Result<Option<ArrayD<f64>>, CompareError> {
    let place = |name: &str| names.iter().position(|known| known == name);
    let now = place(name);
    while let Some(shown) = run.at()? {
        if shown.name == name {
            return Ok(Some(mem::take(&mut shown.value)));
        }
        let theirs = place(&shown.name);
        if theirs.is_some() && theirs > now {
            return Ok(None);
        }
        note(unexpected, &shown.name);
        run.go_on();
    }
    Ok(None)
}

fn is_at(run: &mut Run<TensorError>, name: &str) -> bool {
    // An error is told by the next question, which is not about the past.
    matches!(run.at(), Ok(Some(shown)) if shown.name == name)
}

fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
