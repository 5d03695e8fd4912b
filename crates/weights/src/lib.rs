//! The embedded default model: `pyannote/segmentation-3.0` as a bundle.
//!
//! Weights: MIT, CNRS. Attribution in the repository's NOTICE.

use soundalike_convert::{Bundle, Error};

/// The bundle, as `convert` writes it: one safetensors file.
pub static SEGMENTATION: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/segmentation-3.0.safetensors"));

/// The bundle, opened: PyanNet with baked sinc filters, powerset of 3 speakers, windows of 10 s.
///
/// # Errors
/// None, unless the build that embedded it was tampered with.
pub fn segmentation() -> Result<Bundle, Error> {
    Bundle::from_bytes(SEGMENTATION, "embedded segmentation-3.0")
}
