//! Diarization with the segmentation network alone, for where there is no speaker embedding network.
//!
//! [`embedding`] describes each local speaker by what that network itself knows of a voice, and
//! [`clustering`] says which of them are one person.

pub mod clustering;
pub mod embedding;
