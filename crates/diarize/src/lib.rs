//! The diarization pipeline: audio in, speaker turns out.
//!
//! One file per stage, in the order in which a recording passes through them and named as in
//! pyannote.audio, whose `pipelines/speaker_diarization.py` is the original:
//!
//! [`audio`] decodes to mono at the network's rate, [`windows`] cuts it, [`segmentation`] runs the network
//! and [`powerset`] decodes it, [`count`] says how many speak at each frame of the [`frames`] grid,
//! [`clustering`] says which local speakers are one person, by their speaker embeddings,
//! [`reconstruction`] puts the windows back together, and [`turns`] reads off who spoke when.
//! [`Diarizer`] runs them all. [`built_in`] stands in where there is no speaker embedding network.

pub mod audio;
pub mod built_in;
pub mod clustering;
pub mod count;
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
