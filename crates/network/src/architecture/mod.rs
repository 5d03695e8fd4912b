//! What a network is: its architecture, with hyperparameters.

mod plda;
mod pyannet;
mod wespeaker;

pub use plda::Plda;
pub use pyannet::{Activation, Linear, Lstm, PyanNet, SincFilters, SincNet};
pub use wespeaker::{Block, WeSpeakerResNet};

use serde::{Deserialize, Serialize};

use crate::Graph;

/// What network a file holds, with its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", content = "hyperparameters")]
pub enum Architecture {
    /// Speaker segmentation: SincNet, LSTM, linear layers, classifier.
    PyanNet(PyanNet),
    /// Speaker embedding: a two-dimensional residual network on mel filter banks.
    WeSpeakerResNet(WeSpeakerResNet),
    /// The probabilistic linear discriminant analysis that compares embeddings.
    Plda(Plda),
}

/// What a network answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Scores of each frame, `[batch, frame, scores]`.
    Scores {
        /// Scores of a frame.
        scores: usize,
        /// What the scores are.
        activation: Activation,
    },
    /// A vector for each window or mask.
    Embedding {
        /// Values of it.
        dimension: usize,
    },
    /// No network: statistics by which embeddings are compared.
    Comparison {
        /// Values of an embedding.
        dimension: usize,
    },
}

/// What each architecture knows of itself.
trait Description {
    /// Its name, with the depth where the name has one.
    fn name(&self) -> String;
    /// Every tensor it needs, in PyTorch's order of modules.
    fn tensors(&self) -> Vec<Expected>;
    /// Refuses hyperparameters that no network can have.
    fn check(&self) -> Result<(), Hyperparameter>;
    /// Its stages; none of what is no network.
    fn graph(&self, masked: bool) -> Option<Graph>;
    /// Samples per second of its input; none of what takes no audio.
    fn sample_rate(&self) -> Option<u32>;
    /// What it answers.
    fn output(&self) -> Output;
    /// The hyperparameters that choose between operations; none of what is no network.
    fn variant(&self) -> Option<String>;
}

impl Architecture {
    fn description(&self) -> &dyn Description {
        match self {
            Self::PyanNet(pyannet) => pyannet,
            Self::WeSpeakerResNet(resnet) => resnet,
            Self::Plda(plda) => plda,
        }
    }

    /// The name, with the depth where the name has one: `PyanNet`, `WeSpeakerResNet34`, `Plda`.
    #[must_use]
    pub fn name(&self) -> String {
        self.description().name()
    }

    /// Every tensor the network needs, in the order in which its stages use them.
    #[must_use]
    pub fn tensors(&self) -> Vec<Expected> {
        self.description().tensors()
    }

    /// Refuses hyperparameters that no network can have, before anything is computed from them.
    ///
    /// # Errors
    /// The first [`Hyperparameter`] that is refused.
    pub fn check(&self) -> Result<(), Hyperparameter> {
        self.description().check()
    }

    /// Its stages; of an embedding with the stages of pooling by masks, or without. `None` for a PLDA, which is no network.
    #[must_use]
    pub fn graph(&self, masked: bool) -> Option<Graph> {
        self.description().graph(masked)
    }

    /// Samples per second of its input. `None` for a PLDA, which takes no audio.
    #[must_use]
    pub fn sample_rate(&self) -> Option<u32> {
        self.description().sample_rate()
    }

    /// What it answers.
    #[must_use]
    pub fn output(&self) -> Output {
        self.description().output()
    }

    /// The architecture with the hyperparameters that choose between operations; numbers of layers and units do not.
    /// `None` for a PLDA, which is no network.
    #[must_use]
    pub fn variant(&self) -> Option<String> {
        self.description().variant()
    }
}

/// A hyperparameter that is missing, of another type or out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hyperparameter `{name}` is {found}, expected {expected}")]
pub struct Hyperparameter {
    /// Its name, with the dictionary it is in: `lstm.hidden_size`.
    pub name: String,
    /// The value in the file.
    pub found: String,
    /// What it has to be.
    pub expected: String,
}

/// One tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// PyTorch's name of it in the state dict.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Which element types will do.
    pub kind: Kind,
    /// Whether training changes it.
    pub role: Role,
    /// Whether a file may lack it: `num_batches_tracked`, which evaluation does not read.
    pub optional: bool,
}

/// What element types will do for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any floating point type.
    Float,
    /// `i64`.
    Counter,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// A constant or a statistic: `register_buffer` (`window_`, `n_`, `running_mean`,
    /// `running_var`, `num_batches_tracked`), and sinc filters that an export has already built.
    Buffer,
}

/// Refuses a number outside `range`. The ranges are far beyond any real network; they keep what is
/// computed from the numbers small.
fn within(
    name: &'static str,
    found: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), Hyperparameter> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(Hyperparameter {
        name: name.into(),
        found: found.to_string(),
        expected: format!("{} to {}", range.start(), range.end()),
    })
}
