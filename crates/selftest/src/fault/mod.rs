//! Faults put into a candidate on purpose, to see that they are found: a catalogue of mistakes that real ports made.

mod call;
mod edit;
mod embedding;
mod inject;
mod lstm;
mod mel;
mod segmentation;

use std::sync::Arc;

use globset::Glob;
use serde::Serialize;
use soundalike_compare::Candidate;
use soundalike_convert::Bundle;
use soundalike_model::{DType, Result, Tensor};
use soundalike_network::{Cause, Graph, Stage};

pub(crate) use self::inject::Inject;
use self::{call::Call, edit::Edit};
use crate::{
    draft::{Draft, fault},
    engine::CandleEngine,
};

/// A mistake that a real port made, or a variant of one.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// Its name on the command line.
    pub id: &'static str,
    /// What is wrong, in words.
    pub text: &'static str,
    /// Which real port had it, or one like it.
    pub seen_in: &'static str,
    /// Patterns of the stages whose own output it changes.
    pub stages: &'static [&'static str],
    /// The cause that a diagnosis has to find; none where no known mistake is this one.
    pub cause: Option<Cause>,
    /// Why the output of the network stays as it is, where it does although a stage changes.
    pub void: Option<&'static str>,
    /// Why no stage changes by more than rounding, where it is no fault at all.
    pub equivalent: Option<&'static str>,
    #[serde(skip)]
    change: Change,
}

/// How a fault gets into a network.
#[derive(Clone)]
enum Change {
    /// The network is built from other weights.
    Weights(Arc<dyn Fn(&mut Edit<'_>) + Send + Sync>),
    /// Another function takes the place of the stages.
    Stages(Substitute),
}

/// The output of a stage that takes the place of another.
type Substitute = Arc<dyn Fn(&Call<'_>) -> Result<Tensor> + Send + Sync>;

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Weights(_) => "other weights",
            Self::Stages(_) => "other stages",
        })
    }
}

/// Another function in place of stages of a network.
pub(crate) struct Substitution {
    /// Patterns of the stages.
    stages: &'static [&'static str],
    substitute: Substitute,
    /// The weights of the network.
    bundle: Bundle,
}

impl Substitution {
    /// Whether the output of `stage` is replaced. A stage whose parts are replaced is joined from those, like the layer of an
    /// LSTM from its directions.
    fn replaces(&self, stage: &Stage, graph: &Graph) -> bool {
        let whole = graph.position(&stage.name).into_iter();
        let mut parts = whole.flat_map(|whole| graph.parts(whole));
        let matched = |stage: &Stage| matches(self.stages, &stage.name);
        matched(stage) && !parts.any(matched)
    }
}

/// Why a fault could not be put into a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The changed weights are no bundle any more.
    #[error("the fault {id} cannot be put into this model")]
    Weights {
        /// The fault.
        id: &'static str,
        /// What is wrong with them.
        source: soundalike_convert::Error,
    },
    /// The network cannot be built.
    #[error(transparent)]
    Load(#[from] soundalike_model::LoadError),
}

impl Fault {
    /// All faults of networks like that of `graph`, by the order of the stages that they belong to.
    #[must_use]
    pub fn catalogue(graph: &Graph) -> Vec<Self> {
        let families = [segmentation::catalogue(), embedding::catalogue()].into_iter();
        let occurs = |fault: &Self| {
            let mut stages = graph.stages().iter();
            stages.any(|stage| matches(fault.stages, &stage.name))
        };
        let fits = |family: &Vec<Self>| family.iter().any(occurs);
        families.filter(fits).flatten().collect()
    }

    /// The network of `bundle` in `dtype` with this fault, each stage by itself.
    ///
    /// # Errors
    /// [`FaultError`] where there is no such network.
    pub fn candidate(
        &self,
        bundle: &Bundle,
        dtype: DType,
    ) -> std::result::Result<Candidate, FaultError> {
        let engine = match &self.change {
            Change::Weights(edit) => {
                let edited = edit::apply(bundle, edit.as_ref());
                let edited = edited.map_err(|source| FaultError::Weights {
                    id: self.id,
                    source,
                })?;
                CandleEngine::portable(&edited, dtype)?
            }
            Change::Stages(substitute) => {
                CandleEngine::portable(bundle, dtype)?.with_fault(Substitution {
                    stages: self.stages,
                    substitute: Arc::clone(substitute),
                    bundle: bundle.clone(),
                })
            }
        };
        Ok(Candidate::Engine(Box::new(engine)))
    }

    /// Those of `names` whose own output it changes, in their order. None where the network has no such stage.
    #[must_use]
    pub fn stages_among<'a>(&self, names: &'a [String]) -> Vec<&'a String> {
        let belongs = |name: &&String| matches(self.stages, name);
        names.iter().filter(belongs).collect()
    }
}

/// Whether one of `patterns` fits `name`. A pattern that cannot be read fits nothing.
fn matches(patterns: &[&str], name: &str) -> bool {
    let fits = |pattern: &&str| {
        Glob::new(pattern).is_ok_and(|pattern| pattern.compile_matcher().is_match(name))
    };
    patterns.iter().any(fits)
}

impl Draft {
    /// Builds the network from other weights, which changes `stages`.
    fn weights(
        self,
        stages: &'static [&'static str],
        edit: impl Fn(&mut Edit<'_>) + Send + Sync + 'static,
    ) -> Fault {
        self.changing(stages, Change::Weights(Arc::new(edit)))
    }

    /// Puts another function in the place of `stages`.
    fn stage(
        self,
        stages: &'static [&'static str],
        substitute: impl Fn(&Call<'_>) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Fault {
        self.changing(stages, Change::Stages(Arc::new(substitute)))
    }

    /// Leaves out `stages`: each returns its first operand.
    fn left_out(self, stages: &'static [&'static str]) -> Fault {
        self.stage(stages, |call| Ok(call.input()?.clone()))
    }

    fn changing(self, stages: &'static [&'static str], change: Change) -> Fault {
        Fault {
            id: self.id,
            text: self.text,
            seen_in: self.seen_in,
            stages,
            cause: None,
            void: None,
            equivalent: None,
            change,
        }
    }
}

impl Fault {
    fn named(self, cause: Cause) -> Self {
        let cause = Some(cause);
        Self { cause, ..self }
    }

    fn void(self, proof: &'static str) -> Self {
        let void = Some(proof);
        Self { void, ..self }
    }

    fn equivalent(self, proof: &'static str) -> Self {
        let equivalent = Some(proof);
        Self { equivalent, ..self }
    }
}
