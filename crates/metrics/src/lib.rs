//! Annotations, RTTM and UEM files, and the metrics of diarization.
//!
//! Times are seconds in f64 and are never rounded to frames. The numbers are those of pyannote.metrics 4.2
//! (with pyannote.core 6.1), which `reference/metrics.py` runs beside this crate.

mod annotation;
mod assignment;
mod convention;
mod der;
mod detection;
mod dscore;
mod error;
mod jer;
mod md_eval;
mod picture;
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

pub use annotation::{Annotation, Speaker, Turn};
pub use assignment::Mapping;
pub use convention::{Convention, Options, UnknownConvention, Verdict};
pub use der::{Components, DiarizationErrorRate, Region, Score};
pub use detection::{Detection, detection};
pub use error::{Error, Problem};
pub use jer::{Jaccard, jaccard};
pub use picture::{Lane, Picture};
pub use purity::{Share, coverage, f_measure, purity};
pub use reasons::{Comparison, Reason, compare};
pub use recordings::{Note, Recording, pair};
pub use report::{DetectionFigures, Figures, RecordingReport, Report, Spread};
pub use scope::Scope;
pub use segment::{PRECISION, Segment};
pub use speaker_count::{SpeakerCount, speaker_count};
pub use timeline::{Support, Timeline};
pub use uem::EvaluationMap;
