//! Traces, the two ways of running, and R: the error in units of the reference's own rounding.
//!
//! [`ReferenceTrace`] is what the official package computed on one window, in f64 and in f32
//! (`reference/capture.py`). [`Recorder`] keeps what a network computes when it feeds itself, [`Teacher`]
//! what each of its stages makes of the reference's own input. [`StageError`] compares either with the reference.

mod error;
mod output;
mod probes;
mod trace;

pub use error::StageError;
pub use output::OutputAgreement;
pub use probes::{Recorder, Teacher};
pub use trace::{Floors, Manifest, ReferenceTrace, Running, Stage, TraceError};
