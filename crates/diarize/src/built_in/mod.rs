//! Diarization without a speaker embedding network: [`embedding`] takes embeddings from the segmentation network, and
//! [`clustering`] clusters them.

pub(crate) mod clustering;
pub(crate) mod embedding;
