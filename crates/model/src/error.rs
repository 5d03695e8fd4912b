//! Why a network could not be built from a bundle.

/// Why a network could not be built from a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bundle holds another network than the one asked for.
    #[error("the bundle holds a {found}, expected a {expected}")]
    OtherArchitecture {
        /// The network that was asked for.
        expected: &'static str,
        /// The network that the bundle holds.
        found: String,
    },
    /// The bundle is of a network that pyannote.audio's own code cannot run, or not twice alike.
    #[error("{hyperparameter} is {found}, expected {expected}")]
    Unsupported {
        /// The hyperparameter, as the bundle spells it.
        hyperparameter: &'static str,
        /// Its value.
        found: String,
        /// What this crate can compute, and why no more.
        expected: &'static str,
    },
    /// A tensor could not be placed on the device.
    #[error("the weights could not be loaded")]
    Tensor(#[from] candle_core::Error),
}
