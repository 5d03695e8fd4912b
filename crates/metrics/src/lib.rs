#![doc = include_str!("../README.md")]
//!
//! Times are seconds in f64 and are never rounded to frames. The numbers are those of pyannote.metrics 4.2
//! (with pyannote.core 6.1), which `reference/metrics.py` runs beside this crate. [`Convention`] has the numbers of
//! md-eval 22 and dscore 1.1, and [`compare_conventions`] the reasons of their differences.
//!
//! # Bad input
//!
//! | input | result |
//! |---|---|
//! | a negative duration, NaN, an infinity, missing columns, an unknown type, bytes that are not UTF-8 | [`Error::Syntax`] with file, line and column |
//! | more than 4096 speakers in one recording | [`Error::Syntax`] |
//! | a turn of no duration (up to a microsecond) | skipped, as in pyannote |
//! | a turn with such times made in memory | skipped; [`Annotation::push`] returns false |
//! | a uri twice in one file | one annotation |
//! | a uri twice on one side | [`Error::DuplicateUri`] |
//! | uris that do not match | [`Note`]s: without hypothesis all speech is missed, without reference nothing is scored; one against one is scored |
//! | a reference without speech | [`Components::rate`] is 0 without false alarm and 1 with any; see [`ConventionScore::rate`] for md-eval and dscore |
//! | a collar that is negative or NaN | no collar |

mod annotation;
mod assignment;
mod convention;
mod der;
mod detection;
mod dscore;
mod error;
mod jer;
mod md_eval;
mod purity;
mod reasons;
mod recordings;
mod report;
pub mod rttm;
mod scope;
mod segment;
mod speaker_count;
mod sweep;
mod text;
mod timeline;
mod tracks;
pub mod uem;

pub use annotation::{Annotation, Speaker, Turn, track_name};
pub use assignment::Mapping;
pub use convention::{Convention, ConventionScore, ScoreOptions, UnknownConvention};
pub use der::{Components, DiarizationErrorRate, Region, Score};
pub use detection::{Detection, detection};
pub use error::{Error, Problem};
pub use jer::{Jaccard, jaccard};
pub use purity::{MatchedTime, coverage, f_measure, purity};
pub use reasons::{Comparison, Reason, compare_conventions};
pub use recordings::{Note, Recording, pair};
pub use report::{Figures, RecordingReport, ScoreReport, Spread};
pub use scope::Scope;
pub use segment::Segment;
pub use speaker_count::{SpeakerCount, speaker_count};
pub use timeline::{Support, Timeline};
pub use uem::EvaluationMap;
