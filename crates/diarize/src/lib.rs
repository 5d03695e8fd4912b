//! The diarization pipeline: audio in, speaker turns out.
//!
//! One file per stage, in the order in which a recording passes through them and named as in
//! pyannote.audio, whose `pipelines/speaker_diarization.py` is the original:
//!
//! [`audio`] decodes to mono at the network's rate, [`windows`] cuts it, [`segmentation`] runs the network
//! and [`powerset`] decodes it, [`count`] says how many speak at each frame of the [`frames`] grid,
//! [`embedding`] describes each local speaker and [`clustering`] says which of them are one person,
//! [`reconstruction`] puts the windows back together, and [`turns`] reads off who spoke when.
//! [`Diarizer`] runs them all.

pub mod audio;
pub mod clustering;
pub mod count;
pub mod embedding;
pub mod frames;
mod pipeline;
pub mod powerset;
pub mod reconstruction;
pub mod segmentation;
pub mod turns;
pub mod windows;

pub use clustering::{BoundsError, SpeakerBounds};
pub use pipeline::{Diarization, Diarizer, Error, Options, Warning};
pub use segmentation::SetupError;
