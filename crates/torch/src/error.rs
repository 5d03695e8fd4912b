//! What can go wrong in the reference engine.

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
    /// The bundle holds another network than the one asked for.
    #[error("the bundle holds a {found}, expected a {expected}")]
    OtherArchitecture {
        /// The network that was asked for.
        expected: &'static str,
        /// The network that the bundle holds.
        found: String,
    },
    /// The bundle lacks a tensor of floating point numbers.
    #[error("the bundle holds no floating point tensor `{name}`; convert the checkpoint again")]
    MissingTensor {
        /// PyTorch's name of it.
        name: String,
    },
    /// Values and shape do not belong together.
    #[error("{len} values do not fill the shape {shape:?}")]
    Values {
        /// Number of values.
        len: usize,
        /// The shape they were given.
        shape: Vec<usize>,
    },
    /// The network has a hyperparameter that the official package could not run, or not twice the same.
    #[error("the network has {hyperparameter} = {found}, expected {expected}")]
    Unsupported {
        /// Its name.
        hyperparameter: &'static str,
        /// What the bundle says.
        found: String,
        /// What would do, and why.
        expected: &'static str,
    },
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
    #[error("the probe replaced the output of `{stage}`, {expected}, by {found}")]
    Replaced {
        /// The stage.
        stage: String,
        /// Dtype and shape that the probe saw.
        expected: String,
        /// Dtype and shape that it returned.
        found: String,
    },
    /// A probe failed.
    #[error("{0}")]
    Probe(Box<dyn std::error::Error + Send + Sync>),
    /// libtorch refused something.
    #[error("libtorch: {message}")]
    Libtorch {
        /// The first line of what it said; the rest is its C++ stack.
        message: String,
    },
}

impl Error {
    /// What a probe returns when it fails for a reason of its own.
    pub fn probe(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Probe(source.into())
    }
}
