//! What can go wrong in the reference engine.

use soundalike_network::Hyperparameter;

/// What the reference engine returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the reference engine cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This program was built without libtorch.
    #[error(
        "this build has no libtorch: run `eval \"$(scripts/setup_libtorch.sh)\"`, then build with `--features torch`"
    )]
    NotBuilt,
    /// The bundle holds no network.
    #[error("a {found} is no network")]
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
        /// PyTorch's name of it.
        name: String,
    },
    /// The network has a hyperparameter that the official package could not run, or not twice the same.
    #[error(transparent)]
    Unsupported(#[from] Hyperparameter),
    /// An input is not what the network takes.
    #[error("{what} have shape {found:?}, expected {expected}")]
    Shape {
        /// The input: waveforms, weights, frames.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What its dimensions are.
        expected: String,
    },
    /// A probe gave back something else than it saw.
    #[error(
        "the probe replaced the output of `{stage}`, of shape {expected:?}, by one of shape {found:?}"
    )]
    Replaced {
        /// The stage.
        stage: String,
        /// Shape that the probe saw.
        expected: Vec<usize>,
        /// Shape that it returned.
        found: Vec<usize>,
    },
    /// A probe failed.
    #[error(transparent)]
    Probe(Box<dyn std::error::Error + Send + Sync>),
    /// libtorch refused something.
    #[error("libtorch: {message}")]
    Libtorch {
        /// The first line of its message; the rest is its C++ stack.
        message: String,
    },
}

impl Error {
    /// What a probe returns when it fails for a reason of its own.
    pub fn probe(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Probe(source.into())
    }
}
