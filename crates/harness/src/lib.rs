//! Traces, the two ways of running, and R: the error in units of the reference's own rounding.
//!
//! [`ReferenceTrace`] is what the official package computed on one window, in f64 and in f32
//! (`reference/capture.py`). [`Recorder`] keeps what a network computes when it feeds itself, [`Teacher`]
//! what each of its stages makes of the reference's own input. [`StageError`] compares either with the reference.

mod compare;
mod error;
mod fault;
mod gate;
mod output;
mod probes;
mod trace;
mod verdict;

pub use compare::{
    CompareError, Decoding, Input, Report, StageReport, Task, compare_activations, compare_network,
};
pub use error::StageError;
pub use fault::Fault;
pub use gate::{Gate, GateError, GateFailure, GateResult};
pub use output::{OutputAgreement, Sides};
pub use probes::{Recorder, Teacher};
pub use trace::{
    Audio, Floors, Manifest, Model, ReferenceTrace, Running, Stage, TraceError, activations,
};
pub use verdict::{EXACT_R, STRUCTURAL_R, STRUCTURAL_R_LOCAL, Verdict};
