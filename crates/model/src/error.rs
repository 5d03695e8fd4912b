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
    /// A tensor could not be placed on the device.
    #[error("the weights could not be loaded: {0}")]
    Tensor(#[from] candle_core::Error),
}
