//! Speaker diarization without Python: pyannote.audio's pipeline in Rust, proven stage by stage to be the original.
//!
//! ```no_run
//! use soundalike::{DiarizeOptions, Diarizer, Engine, Overrides, Recording};
//!
//! let model = soundalike::segmentation()?;
//! let diarizer = Diarizer::built_in(&model, &Overrides::default(), &Engine::default())?;
//! let mut recording = Recording::open("meeting.wav".as_ref(), diarizer.sample_rate())?;
//! let result = diarizer.diarize("meeting", &mut recording, &DiarizeOptions::default(), &mut |_| {})?;
//! for turn in result.turns.turns() {
//!     println!("{:.2} {:.2} {}", turn.segment.start, turn.segment.end, turn.speaker);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With a pipeline directory of pyannote, such as speaker-diarization-community-1, the diarizer is
//! [`Diarizer::from_pipeline`] of [`PipelineDirectory::read`].
//!
//! This crate is a facade: each module below is a crate of its own, and the names at the root are those that most
//! programs need. `examples/` has four short programs. The feature `compare` (on by default) adds [`compare`] and
//! [`engines`]; `models` (on by default) adds [`models`]; `cli` (on by default) the program's dependencies. A library that only diarizes takes
//! `default-features = false`.

// What a diarization needs.
pub use soundalike_convert::{Bundle, PipelineDirectory, load};
pub use soundalike_diarize::{
    Diarization, DiarizeOptions, Diarizer, Inference, Overrides, Recording, SpeakerBounds, writers,
};
pub use soundalike_metrics::{Annotation, rttm};
pub use soundalike_model::Engine;
pub use soundalike_weights::segmentation;

/// Checkpoints and bundles: `soundalike-convert`.
pub use soundalike_convert as convert;
/// The pipeline, stage by stage: `soundalike-diarize`.
pub use soundalike_diarize as diarize;
/// Annotations and the metrics of diarization: `soundalike-metrics`.
pub use soundalike_metrics as score;
/// The networks on candle: `soundalike-model`.
pub use soundalike_model as model;
/// What a network is, as data: `soundalike-network`.
pub use soundalike_network as network;

/// Models by name, downloaded and verified: `soundalike-models`.
#[cfg(feature = "models")]
pub use soundalike_models as models;

/// Two runs of any network, compared stage by stage: `soundalike-compare`.
#[cfg(feature = "compare")]
pub use soundalike_compare as compare;
/// Our engines as [`compare`] sees them, and faults to try a comparison with: `soundalike-selftest`.
#[cfg(feature = "compare")]
pub use soundalike_selftest as engines;
