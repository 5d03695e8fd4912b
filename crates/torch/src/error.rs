//! Errors of the reference engine.

use soundalike_network::HyperparameterError;

/// The `Result` of the reference engine.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the reference engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This program was built without libtorch.
    #[error(
        "this build has no libtorch: run `eval \"$(scripts/setup_libtorch.sh)\"`, then build with `--features torch`"
    )]
    NotBuilt,
    /// The bundle holds no network.
    #[error("a {found} is not a network")]
    NoNetwork {
        /// What the bundle holds.
        found: String,
    },
    /// The network has no such stage.
    #[error("the network has no stage `{name}`")]
    NoStage {
        /// The name.
        name: String,
    },
    /// The bundle lacks a tensor of floating point numbers.
    #[error("the bundle holds no floating point tensor `{name}`; convert the checkpoint again")]
    MissingTensor {
        /// Its name in PyTorch.
        name: String,
    },
    /// The official package cannot run this hyperparameter, or not reproducibly.
    #[error(transparent)]
    Unsupported(#[from] HyperparameterError),
    /// An input has a shape that the network does not accept.
    #[error("{what} have shape {found:?}, expected {expected}")]
    Shape {
        /// The input: waveforms, weights, frames.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The expected dimensions.
        expected: String,
    },
    /// A probe returned an array of another shape.
    #[error(
        "the probe replaced the output of `{stage}`, of shape {expected:?}, by one of shape {found:?}"
    )]
    Replaced {
        /// The stage.
        stage: String,
        /// Shape of the output.
        expected: Vec<usize>,
        /// Shape that the probe returned.
        found: Vec<usize>,
    },
    /// A probe failed.
    #[error(transparent)]
    Probe(Box<dyn std::error::Error + Send + Sync>),
    /// An error of libtorch.
    #[error("libtorch: {message}")]
    Libtorch {
        /// The first line of its message, without the C++ stack trace.
        message: String,
    },
}

impl Error {
    /// Wraps an error of the probe's own.
    pub fn probe(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Probe(source.into())
    }
}
