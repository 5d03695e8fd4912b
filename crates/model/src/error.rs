//! Errors of loading.

use soundalike_network::HyperparameterError;

/// Why a network could not be built from a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bundle holds a PLDA, which is not a network.
    #[error("a {found} is not a network; pass the pipeline directory")]
    NoNetwork {
        /// What the bundle holds.
        found: String,
    },
    /// The bundle holds a network other than a speaker embedding.
    #[error("the bundle holds a {found}, expected a speaker embedding (WeSpeakerResNet)")]
    NotEmbedding {
        /// What the bundle holds.
        found: String,
    },
    /// pyannote.audio cannot run this network, or not deterministically.
    #[error(transparent)]
    Unsupported(#[from] HyperparameterError),
    /// candle could not read a tensor, or not copy it to the device.
    #[error("the weights could not be loaded")]
    Tensor(#[from] candle_core::Error),
}
