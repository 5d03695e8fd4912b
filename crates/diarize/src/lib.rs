//! The diarization pipeline: audio in, speaker turns out.
//!
//! One file per stage, in the order in which a recording passes through them and named as in
//! pyannote.audio, whose `pipelines/speaker_diarization.py` is the original:
//!
//! [`audio`] decodes to mono at the network's rate, a [`Recording`] is listened to from its beginning to its end,
//! [`windows`] cuts it, [`segmentation`] runs the network
//! and [`powerset`] decodes it, [`speaker_embedding`] says what each local speaker sounds like,
//! [`count`] how many speak at each frame of the [`frames`] grid, [`clustering`] which local speakers are one
//! person; [`reconstruction`] puts the windows back together, [`turns`] reads off who spoke when, and
//! [`writers`] write it down. [`Diarizer`] runs them all; a [`Run`] is what is known before the clustering, and
//! can be saved. [`built_in`] stands in where there is no speaker embedding network.

pub mod audio;
pub mod built_in;
pub mod clustering;
pub mod count;
mod decoding;
mod diarization;
pub mod frames;
mod parameters;
mod pipeline;
pub mod powerset;
pub mod reconstruction;
mod recording;
mod resampling;
mod run;
mod run_file;
pub mod segmentation;
pub mod speaker_embedding;
pub mod turns;
pub mod windows;
pub mod writers;

pub use clustering::{BoundsError, SpeakerBounds};
pub use diarization::{Diarization, Model, Speaker, Warning};
pub use parameters::{Overrides, ParameterError, Parameters, SpeakerClustering};
pub use pipeline::{Diarizer, Error, Progress, SetupError};
pub use recording::Recording;
pub use run::{Options, Run};
pub use run_file::RunError;
