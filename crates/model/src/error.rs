//! Why a network could not be built from a bundle.

use soundalike_network::Hyperparameter;

/// Why a network could not be built from a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bundle holds no network.
    #[error("a {found} is no network; give the directory of its pipeline")]
    NoNetwork {
        /// What the bundle holds.
        found: String,
    },
    /// The bundle holds another network than a speaker embedding.
    #[error("the bundle holds a {found}, expected a speaker embedding (WeSpeakerResNet)")]
    NotEmbedding {
        /// What the bundle holds.
        found: String,
    },
    /// The bundle is of a network that pyannote.audio's own code cannot run, or not twice alike.
    #[error(transparent)]
    Unsupported(#[from] Hyperparameter),
    /// A tensor could not be placed on the device.
    #[error("the weights could not be loaded")]
    Tensor(#[from] candle_core::Error),
}
