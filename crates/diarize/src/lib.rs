#![doc = include_str!("../README.md")]
//!
//! One file per stage, in the order of processing and named as in pyannote.audio, whose
//! `pipelines/speaker_diarization.py` is the original:
//!
//! [`audio`] decodes to mono at the network's sample rate, a [`Recording`] gives the samples in order, [`windows`] cuts
//! them, [`segmentation`] runs the network and [`powerset`] decodes it, [`speaker_embedding`] embeds each local speaker,
//! [`count`] counts active speakers at each frame of the [`frames`] grid, [`clustering`] groups local speakers,
//! [`reconstruction`] combines the windows, [`turns`] makes speaker turns of frames, and [`writers`] formats them.
//! [`Diarizer`] runs them all. An [`Inference`] holds the outputs of the networks, and can be saved. Without a speaker embedding
//! network, `built_in` embeddings replace it.

pub mod audio;
mod built_in;
pub mod clustering;
pub mod count;
mod decoding;
mod diarization;
pub mod frames;
mod inference;
mod parameters;
mod pipeline;
pub mod powerset;
pub mod reconstruction;
mod recording;
mod resampling;
pub mod segmentation;
pub mod speaker_embedding;
pub mod turns;
mod wave;
pub mod windows;
pub mod writers;

pub use clustering::{BoundsError, SpeakerBounds};
pub use diarization::{Diarization, Model, Speaker, Warning};
pub use inference::{DiarizeOptions, Inference, InferenceError};
pub use parameters::{Overrides, ParameterError, Parameters, SpeakerClustering};
pub use pipeline::{BATCH, Diarizer, Error, Progress, SetupError};
pub use recording::Recording;
