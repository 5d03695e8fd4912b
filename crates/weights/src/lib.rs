#![doc = include_str!("../README.md")]
//!
//! `segmentation-3.0.safetensors` is the official ONNX export, converted; `scripts/rebuild_weights.sh` makes it again and
//! compares. Weights: MIT, CNRS. Attribution in the repository's NOTICE.

use soundalike_convert::{Bundle, Error};

/// The bundle, as `convert` writes it: one safetensors file.
/// SHA-256 0f5a4a79bd936ce882af7cc8ff31f671e06e066231528ee51ee942fb06295f29.
pub static SEGMENTATION: &[u8] = include_bytes!("../segmentation-3.0.safetensors");

/// The bundle, opened: PyanNet with baked sinc filters, powerset of 3 speakers, windows of 10 s.
///
/// # Errors
/// None, unless the file was changed after its conversion.
pub fn segmentation() -> Result<Bundle, Error> {
    Bundle::from_bytes(SEGMENTATION, "embedded segmentation-3.0")
}
