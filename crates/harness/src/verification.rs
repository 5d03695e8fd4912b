//! What this engine was last seen to be equal to.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use soundalike_convert::{Activation, Architecture, SincFilters};

/// Written by `crates/torch/tests/libtorch_is_pyannote.rs`, which says how.
static RECORD: LazyLock<Vec<Verification>> = LazyLock::new(|| {
    // A file that no test has written vouches for nothing.
    serde_json::from_str(include_str!("../../../reference/verified.json")).unwrap_or_default()
});

/// A model whose every stage this engine was seen to compute as the official package does. In the record a model
/// that people use comes before one of random weights.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Verification {
    /// [`variant`] of the model.
    pub architecture: String,
    /// Whether it is a network of random weights that was made to be captured. Its bytes may depend on
    /// the processor that made it.
    pub random_weights: bool,
    /// Name of the model that was captured.
    pub model: String,
    /// SHA-256 of its checkpoint or export.
    pub sha256: String,
    /// Version of pyannote.audio that was captured.
    pub pyannote_audio: String,
    /// Version of torch that it ran on.
    pub torch: String,
    /// Windows (or windows with other masks) that were compared.
    pub windows: usize,
    /// Stages that were compared in each; pooling by masks has one more than pooling without.
    pub stages: usize,
    /// Whether every stage had the bits of the package in f32.
    pub bit_equal: bool,
    /// The largest R of any stage in f32, in both ways of running, to three digits after the point.
    pub r: f64,
}

/// What this engine was last verified against, of the same architecture; a model that people use before one
/// of random weights. None where it never was, or where the architecture is no network.
#[must_use]
pub fn verified(architecture: &Architecture) -> Option<&'static Verification> {
    let variant = variant(architecture)?;
    RECORD.iter().find(|entry| entry.architecture == variant)
}

/// The architecture with the hyperparameters that choose between calls of libtorch; numbers of layers and
/// units do not. None for what is no network.
#[must_use]
pub fn variant(architecture: &Architecture) -> Option<String> {
    match architecture {
        Architecture::PyanNet(config) => {
            let filters = match config.sincnet.filters {
                SincFilters::Baked => "baked filters",
                SincFilters::Parametrised => "parametrised filters",
            };
            let activation = match config.activation {
                Activation::LogSoftmax => "log-softmax",
                Activation::Sigmoid => "sigmoid",
            };
            Some(format!("PyanNet, {filters}, {activation}"))
        }
        Architecture::WeSpeakerResNet(config) => {
            let edges = if config.snip_edges {
                "snipped edges"
            } else {
                "mirrored edges"
            };
            let centre = match config.fbank_centering_span {
                None => "window",
                Some(_) => "running average",
            };
            Some(format!(
                "{}, {} frames, {edges}, centred on the {centre}",
                architecture.name(),
                config.window_type
            ))
        }
        Architecture::Plda(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_can_be_read_and_is_in_order() {
        let record: Vec<Verification> =
            serde_json::from_str(include_str!("../../../reference/verified.json")).unwrap();
        assert!(!record.is_empty() && record.is_sorted());
    }

    #[test]
    fn what_was_never_captured_is_not_verified() {
        let bundle = soundalike_weights::segmentation().unwrap();
        let mut architecture = bundle.architecture().clone();
        let found = verified(&architecture).unwrap();
        assert_eq!(found.model, "segmentation-3.0");
        assert_eq!(found.sha256, bundle.source().sha256);
        let Architecture::PyanNet(config) = &mut architecture else {
            panic!("{architecture:?}");
        };
        config.activation = Activation::Sigmoid;
        assert_eq!(verified(&architecture), None);
    }
}
