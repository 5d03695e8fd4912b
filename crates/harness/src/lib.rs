//! Traces, the two ways of running, and R: the error in units of the reference's own rounding.
//!
//! [`ReferenceTrace`] is what the official package computed on one window, in f64 and in f32
//! (`reference/capture.py`). [`Recorder`] keeps what a network computes when it feeds itself, [`Teacher`]
//! what each of its stages makes of the reference's own input. [`StageError`] compares either with the reference.

mod audit;
mod budget;
mod compare;
mod decoding;
mod diagnosis;
mod error;
mod fault;
mod figure;
mod floors;
mod gate;
mod kept;
mod layout;
mod live;
mod lockstep;
mod names;
mod network;
mod observed;
mod output;
mod pipeline;
mod probes;
mod provenance;
mod reference;
mod report;
mod self_test;
mod task;
mod toml_file;
mod trace;
mod trace_writer;
mod verdict;
mod window;

pub use audit::{Audit, Differences, HyperparameterDifference, TensorDifference, Weights};
pub use budget::{Budget, BudgetStage, Propagation};
pub use compare::{Candidate, CompareError, compare};
pub use decoding::Decoding;
pub use diagnosis::{Cause, Diagnosis, Diagnostician, RunnerUp, Signature, Undiagnosed};
pub use error::StageError;
pub use fault::{Fault, FaultError, Substitution};
pub use figure::Figure;
pub use floors::Floors;
pub use gate::{Gate, GateCheck, GateError, GateFailure, GateResult, KnownGood, LearnError, learn};
pub use kept::KeptReference;
pub use live::TorchReference;
pub use names::{Names, NamesError};
pub use network::Network;
pub use output::{Decisions, EmbeddingAgreement, Margins, NearTie, OutputAgreement, Share, Sides};
pub use pipeline::{
    Attribution, CaptureError, CapturedRun, Misfit, Outcome, PipelineCleanRun, PipelineFault,
    PipelineSelfTest, PipelineStage, PipelineTrial, Score, Setting, Splice, attribute, try_faults,
};
pub use probes::{Recorder, Teacher};
pub use provenance::{EngineInfo, Provenance};
pub use reference::{NarrowFloors, Reference, ReferenceStage, See};
pub use report::{About, Evidence, Input, Report, StageReport};
pub use self_test::{
    Bench, Blindness, CleanRun, Cleanliness, Naming, OrdinaryGate, OrdinaryGates, SELF_TEST_SCHEMA,
    SelfTest, SelfTestError, Trial, TrialOutcome, blind_inputs, hard_inputs, in_batches,
};
pub use task::Task;
pub use trace::{
    ActivationTrace, Audio, Manifest, MaskFile, Model, ReferenceTrace, Running, Stage, TraceError,
};
pub use trace_writer::{Subject, TraceWriteError, write_activations, write_reference};
pub use verdict::{EXACT_R, STRUCTURAL_R, STRUCTURAL_R_LOCAL, Verdict};
pub use window::{Masks, Window};
