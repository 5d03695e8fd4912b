//! The embedded default model: segmentation-3.0 as a bundle
