#![doc = include_str!("../README.md")]
//!
//! [`CandleEngine`] and [`torch_reference`] implement the engines of `soundalike-compare`; [`Decoding`] interprets
//! their outputs. A [`Fault`] is injected into a candidate to test that it is detected and located; a [`Diagnostician`]
//! replays known mistakes on the reference to identify it. A [`PipelineFault`] is injected into a stage after the
//! networks. [`attribute`] splices one stage's output into a reference pipeline to measure its cost in DER.

mod captured;
mod decoding;
mod diagnosis;
mod draft;
mod engine;
mod fault;
mod pipeline;
mod production;
mod self_test;

// What the official package computed.
pub use captured::{built_in_trace, verified};

// The engines under comparison.
pub use decoding::Decoding;
pub use engine::{CandleEngine, low_precision, torch_reference};

// The path that `diarize` takes.
pub use production::{PathFault, PathTrial, Production, recordings, sample};

// Faults and their diagnosis.
pub use diagnosis::Diagnostician;
pub use fault::{Fault, FaultError};
pub use self_test::{
    BaselineGate, BaselineMetrics, CleanRun, CleanRunner, Identification, Injector,
    InsensitiveInput, SELF_TEST_SCHEMA, SelfTest, SelfTestError, Trial, TrialOutcome, hard_inputs,
    in_batches, insensitive_inputs,
};

// The pipeline behind the networks.
pub use pipeline::{
    Attribution, CaptureError, CapturedRun, PipelineCleanRun, PipelineFault, PipelineParameters,
    PipelineSelfTest, PipelineStage, PipelineTrial, ShapeMismatch, Splice, SpliceOutcome,
    SpliceScore, attribute, try_faults,
};
