//! Faults to inject into a candidate: a catalogue of mistakes that real ports made.

mod call;
mod edit;
mod embedding;
mod inject;
mod lstm;
mod mel;
mod parameter;
mod segmentation;

use std::sync::Arc;

use globset::Glob;
use serde::Serialize;
use soundalike_compare::Candidate;
use soundalike_convert::Bundle;
use soundalike_model::{DType, Engine, Result, Tensor};
use soundalike_network::{Cause, Graph, Stage};

pub(crate) use self::inject::Inject;
use self::{call::Call, edit::Edit};
use crate::{
    draft::{Draft, fault},
    engine::CandleEngine,
};

/// Patterns of the names of stages.
type Patterns = &'static [&'static str];

/// A mistake that a real port made, or a variant of one.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// Its id on the command line.
    pub id: &'static str,
    /// What is wrong, in words.
    pub text: &'static str,
    /// The real port that had it or a similar fault.
    pub seen_in: &'static str,
    /// Patterns of the stages whose own output changes.
    pub stages: Patterns,
    /// The cause that a diagnosis has to report; `None` if no known mistake matches.
    pub cause: Option<Cause>,
    /// Why the output of the network does not change although a stage does, if so.
    pub void: Option<&'static str>,
    /// Why no stage changes by more than rounding, if it is an equivalent mutant.
    pub equivalent: Option<&'static str>,
    #[serde(skip)]
    change: Change,
}

/// The change of a network.
#[derive(Clone)]
enum Change {
    /// Other weights.
    Weights(Arc<dyn Fn(&mut Edit<'_>) + Send + Sync>),
    /// Another function instead of each stage.
    Stages(Substitute),
}

/// Computes the replacement of the output of a stage.
type Substitute = Arc<dyn Fn(&Call<'_>) -> Result<Tensor> + Send + Sync>;

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Weights(_) => "other weights",
            Self::Stages(_) => "other stages",
        })
    }
}

/// Another function instead of stages of a network.
pub(crate) struct Substitution {
    /// Patterns of the stages.
    stages: Patterns,
    substitute: Substitute,
    /// The weights of the network.
    bundle: Bundle,
}

impl Substitution {
    /// Whether the output of `stage` is replaced. A stage with replaced parts is not: it is computed from them, like an
    /// LSTM layer from its directions.
    fn replaces(&self, stage: &Stage, graph: &Graph) -> bool {
        let whole = graph.position(&stage.name).into_iter();
        let mut parts = whole.flat_map(|whole| graph.parts(whole));
        let matched = |stage: &Stage| matches(self.stages, &stage.name);
        matched(stage) && !parts.any(matched)
    }
}

/// Why a fault could not be injected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The changed weights are not a valid bundle.
    #[error("the fault {id} cannot be injected into this model")]
    Weights {
        /// The fault.
        id: &'static str,
        /// The error of the bundle.
        source: soundalike_convert::Error,
    },
    /// The network cannot be built.
    #[error(transparent)]
    Load(#[from] soundalike_model::LoadError),
}

impl Fault {
    /// All faults of the kind of network that `graph` describes, in the order of the stages.
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

    /// The network of `bundle` in `dtype` with this fault, with every stage exposed.
    ///
    /// # Errors
    /// [`FaultError`] if it cannot be built.
    pub fn candidate(
        &self,
        bundle: &Bundle,
        dtype: DType,
    ) -> std::result::Result<Candidate, FaultError> {
        let engine = match &self.change {
            Change::Weights(edit) => {
                CandleEngine::portable(&self.edited(bundle, edit.as_ref())?, dtype)?
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

    /// The network of `bundle` in f32 with this fault on the kernels of this machine, which expose fewer stages. `None` for
    /// a fault that is not one of weights.
    ///
    /// # Errors
    /// [`FaultError`] if it cannot be built.
    pub fn native_candidate(
        &self,
        bundle: &Bundle,
    ) -> std::result::Result<Option<Candidate>, FaultError> {
        let Change::Weights(edit) = &self.change else {
            return Ok(None);
        };
        let edited = self.edited(bundle, edit.as_ref())?;
        let engine = CandleEngine::load(&edited, &Engine::default())?;
        Ok(Some(Candidate::Engine(Box::new(engine))))
    }

    fn edited(
        &self,
        bundle: &Bundle,
        edit: &dyn Fn(&mut Edit<'_>),
    ) -> std::result::Result<Bundle, FaultError> {
        let id = self.id;
        edit::apply(bundle, edit).map_err(|source| FaultError::Weights { id, source })
    }

    /// The stages among `names` whose own output changes, in their order.
    #[must_use]
    pub fn stages_among<'a>(&self, names: &'a [String]) -> Vec<&'a String> {
        let belongs = |name: &&String| matches(self.stages, name);
        names.iter().filter(belongs).collect()
    }
}

/// Whether one of `patterns` matches `name`. An invalid pattern matches nothing.
fn matches(patterns: &[&str], name: &str) -> bool {
    let fits = |pattern: &&str| {
        Glob::new(pattern).is_ok_and(|pattern| pattern.compile_matcher().is_match(name))
    };
    patterns.iter().any(fits)
}

impl Draft {
    /// Builds the network from other weights, those of `stages`.
    fn weights(
        self,
        stages: Patterns,
        edit: impl Fn(&mut Edit<'_>) + Send + Sync + 'static,
    ) -> Fault {
        self.changing(stages, Change::Weights(Arc::new(edit)))
    }

    /// Replaces `stages` by another function.
    fn stage(
        self,
        stages: Patterns,
        substitute: impl Fn(&Call<'_>) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Fault {
        self.changing(stages, Change::Stages(Arc::new(substitute)))
    }

    /// Removes `stages`: each returns its first operand.
    fn left_out(self, stages: Patterns) -> Fault {
        self.stage(stages, |call| Ok(call.input()?.clone()))
    }

    fn changing(self, stages: Patterns, change: Change) -> Fault {
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
