//! Architectures, with their hyperparameters.

mod plda;
mod pyannet;
mod wespeaker;

use std::{fmt, ops::RangeInclusive};

pub use plda::Plda;
pub use pyannet::{Activation, LinearOptions, LstmOptions, PyanNet, SincFilters, SincNet};
pub use wespeaker::{BlockKind, WeSpeakerResNet};

use serde::{Deserialize, Serialize};

use crate::Graph;

/// Which network a file holds, with its hyperparameters.
///
/// In JSON: `{"architecture": "PyanNet", "hyperparameters": {...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", content = "hyperparameters")]
pub enum Architecture {
    /// Speaker segmentation: SincNet, LSTM, linear layers and a classifier.
    PyanNet(PyanNet),
    /// Speaker embedding: a two-dimensional residual network on mel filter banks.
    WeSpeakerResNet(WeSpeakerResNet),
    /// Probabilistic linear discriminant analysis of embeddings. Not a network: it has tensors, but no graph.
    Plda(Plda),
}

/// The output of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Scores of each frame, `[batch, frame, scores]`.
    Scores {
        /// Scores of a frame.
        scores: usize,
        /// Whether the scores are log-probabilities or probabilities.
        activation: Activation,
    },
    /// A vector for each window, `[batch, dimension]`, or for each mask, `[batch, mask, dimension]`.
    Embedding {
        /// Values of a vector.
        dimension: usize,
    },
    /// None: a PLDA is not a network. Its statistics are used to compare embeddings.
    Comparison {
        /// Values of an embedding.
        dimension: usize,
    },
}

impl Architecture {
    /// The name, with the depth where the name has one: `PyanNet`, `WeSpeakerResNet34`, `Plda`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::PyanNet(_) => "PyanNet".into(),
            Self::WeSpeakerResNet(resnet) => resnet.name(),
            Self::Plda(_) => "Plda".into(),
        }
    }

    /// The tensors of the network, in the order in which the stages use them.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        match self {
            Self::PyanNet(pyannet) => pyannet.graph().tensors(),
            Self::WeSpeakerResNet(resnet) => resnet.graph(false).tensors(),
            Self::Plda(plda) => plda.tensors(),
        }
    }

    /// Refuses impossible hyperparameters, before anything is computed from them.
    ///
    /// # Errors
    /// The first [`HyperparameterError`] that is refused.
    pub fn check(&self) -> Result<(), HyperparameterError> {
        match self {
            Self::PyanNet(pyannet) => pyannet.check(),
            Self::WeSpeakerResNet(resnet) => resnet.check(),
            Self::Plda(plda) => plda.check(),
        }
    }

    /// The stages. `masked`: an embedding is pooled over masks; other networks do not depend on it. `None` for a PLDA, which
    /// is not a network.
    #[must_use]
    pub fn graph(&self, masked: bool) -> Option<Graph> {
        match self {
            Self::PyanNet(pyannet) => Some(pyannet.graph()),
            Self::WeSpeakerResNet(resnet) => Some(resnet.graph(masked)),
            Self::Plda(_) => None,
        }
    }

    /// Samples per second of the input. `None` for a PLDA, which takes no audio.
    #[must_use]
    pub fn sample_rate(&self) -> Option<u32> {
        match self {
            Self::PyanNet(pyannet) => Some(pyannet.sample_rate),
            Self::WeSpeakerResNet(resnet) => Some(resnet.sample_rate),
            Self::Plda(_) => None,
        }
    }

    /// The output.
    #[must_use]
    pub fn output(&self) -> Output {
        match self {
            Self::PyanNet(pyannet) => Output::Scores {
                scores: pyannet.num_outputs,
                activation: pyannet.activation,
            },
            Self::WeSpeakerResNet(resnet) => Output::Embedding {
                dimension: resnet.embed_dim,
            },
            Self::Plda(plda) => Output::Comparison {
                dimension: plda.embedding_dim,
            },
        }
    }

    /// The architecture with the hyperparameters that choose between operations, but not the numbers of layers and units:
    /// `PyanNet, baked filters, log-softmax`. Networks of one variant run the same code. `None` for a PLDA.
    #[must_use]
    pub fn variant(&self) -> Option<String> {
        match self {
            Self::PyanNet(pyannet) => Some(pyannet.variant()),
            Self::WeSpeakerResNet(resnet) => Some(resnet.variant()),
            Self::Plda(_) => None,
        }
    }
}

/// A hyperparameter that is missing, of another type or out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hyperparameter `{name}` is {found}, expected {expected}")]
pub struct HyperparameterError {
    /// The name, with that of its dictionary: `lstm.hidden_size`.
    pub name: String,
    /// The value that was found.
    pub found: String,
    /// The values that are allowed.
    pub expected: String,
}

impl HyperparameterError {
    pub(crate) fn new(name: &str, found: impl ToString, expected: &str) -> Self {
        Self {
            name: name.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

/// Refuses the value `found` of the hyperparameter `name`, unless `holds` is true.
pub(crate) fn require(
    holds: bool,
    name: &str,
    found: impl ToString,
    expected: &str,
) -> Result<(), HyperparameterError> {
    match holds {
        true => Ok(()),
        false => Err(HyperparameterError::new(name, found, expected)),
    }
}

/// Refuses a number outside `range`. The ranges are far beyond any real network; they bound the shapes that are computed
/// from the numbers.
fn within(
    name: &str,
    found: usize,
    range: RangeInclusive<usize>,
) -> Result<(), HyperparameterError> {
    let expected = format!("{} to {}", range.start(), range.end());
    require(range.contains(&found), name, found, &expected)
}

/// One tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// PyTorch's name in the state dict: `classifier.weight`.
    pub name: String,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The element types that are allowed.
    pub kind: ElementType,
    /// Whether training changes it.
    pub role: Role,
    /// Whether a file may leave it out: `num_batches_tracked`, which evaluation does not use.
    pub optional: bool,
}

impl TensorSpec {
    /// A tensor of floating point numbers that every file must have.
    pub(crate) fn floats(name: String, shape: &[usize], role: Role) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            kind: ElementType::Float,
            role,
            optional: false,
        }
    }
}

/// The element types that are allowed for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// Any floating point type.
    Float,
    /// `i64`.
    Counter,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Counter => "i64",
        })
    }
}

/// Whether training changes a tensor: PyTorch's parameters and buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A weight: `nn.Parameter`.
    Parameter,
    /// A constant or a statistic, `register_buffer`: `window_`, `n_`, `running_mean`, `running_var`,
    /// `num_batches_tracked`, and the sinc filters of an export.
    Buffer,
}
