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
use soundalike_convert::{Architecture, Bundle};
use soundalike_model::{DType, Device, Kernels, Result, Tensor};

pub(crate) use self::inject::Inject;
use self::{call::Call, edit::Edit};
use crate::{Candidate, Network};

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
    /// What a diagnosis has to call it; none where no known mistake is this one.
    pub cause: Option<&'static str>,
    /// Why the output of the network stays as it is, where it does although a stage changes.
    pub void: Option<&'static str>,
    /// Why no stage changes by more than rounding, where it is no fault at all.
    pub equivalent: Option<&'static str>,
    #[serde(skip)]
    change: Change,
}

/// How a fault gets into a network.
#[derive(Clone, Copy)]
enum Change {
    /// Other weights are given to the builder.
    Weights(fn(&mut Edit<'_>)),
    /// Another function takes the place of the stages that these patterns name.
    Stages(&'static [&'static str], Substitute),
}

/// The output of a stage that takes the place of another.
type Substitute = fn(&Call<'_>) -> Result<Tensor>;

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Weights(_) => "other weights",
            Self::Stages(..) => "other stages",
        })
    }
}

/// Other functions in place of stages of a network.
#[derive(Debug, Clone)]
pub struct Substitution {
    change: Change,
    /// The weights of the network.
    bundle: Arc<Bundle>,
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
    /// All faults of networks like that of `bundle`, by the order of the stages that they belong to.
    #[must_use]
    pub fn catalogue(architecture: &Architecture) -> Vec<Self> {
        match architecture {
            Architecture::PyanNet(_) => segmentation::catalogue(),
            Architecture::WeSpeakerResNet(_) => embedding::catalogue(),
            Architecture::Plda(_) => Vec::new(),
        }
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
        let edited = match self.change {
            Change::Stages(..) => bundle.clone(),
            Change::Weights(edit) => {
                edit::apply(bundle, edit).map_err(|source| FaultError::Weights {
                    id: self.id,
                    source,
                })?
            }
        };
        let network = Network::load(&edited, dtype, &Device::Cpu, Kernels::Portable)?;
        let fault = Substitution {
            change: self.change,
            bundle: Arc::new(edited),
        };
        Ok(Candidate::Network {
            network,
            fault: Some(fault),
        })
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

/// A fault by other weights.
const fn weights(
    id: &'static str,
    text: &'static str,
    seen_in: &'static str,
    stages: &'static [&'static str],
    edit: fn(&mut Edit<'_>),
) -> Fault {
    fault(id, text, seen_in, stages, Change::Weights(edit))
}

/// A fault by another function in place of `stages`.
const fn stage(
    id: &'static str,
    text: &'static str,
    seen_in: &'static str,
    stages: &'static [&'static str],
    substitute: Substitute,
) -> Fault {
    fault(
        id,
        text,
        seen_in,
        stages,
        Change::Stages(stages, substitute),
    )
}

const fn fault(
    id: &'static str,
    text: &'static str,
    seen_in: &'static str,
    stages: &'static [&'static str],
    change: Change,
) -> Fault {
    Fault {
        id,
        text,
        seen_in,
        stages,
        cause: None,
        void: None,
        equivalent: None,
        change,
    }
}

impl Fault {
    const fn named(self, cause: &'static str) -> Self {
        Self {
            cause: Some(cause),
            ..self
        }
    }

    const fn void(self, proof: &'static str) -> Self {
        Self {
            void: Some(proof),
            ..self
        }
    }

    const fn equivalent(self, proof: &'static str) -> Self {
        Self {
            equivalent: Some(proof),
            ..self
        }
    }

    /// Substitutes only the stages that `patterns` name; others change with them.
    const fn substituting(self, patterns: &'static [&'static str]) -> Self {
        let change = match self.change {
            Change::Stages(_, substitute) => Change::Stages(patterns, substitute),
            weights @ Change::Weights(_) => weights,
        };
        Self { change, ..self }
    }
}
