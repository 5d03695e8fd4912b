//! The comparison on trial, and the engines that it compares.
//!
//! [`CandleEngine`] and [`torch_reference`] are the networks as `soundalike-compare` sees them, [`Decoding`] says what their
//! outputs mean. A [`Fault`] is put into a candidate to see that it is detected, at its stage; a [`Diagnostician`] replays
//! known mistakes on the reference to identify it. [`PipelineFault`] does the same behind the networks, and [`attribute`]
//! splices one stage's output into a reference pipeline to measure its cost in DER.

mod decoding;
mod diagnosis;
mod draft;
mod engine;
mod fault;
mod pipeline;
mod self_test;
mod verification;

// The engines under comparison.
pub use decoding::Decoding;
pub use engine::{CandleEngine, low_precision, torch_reference};
pub use verification::verified;

// Faults and their diagnosis.
pub use diagnosis::Diagnostician;
pub use fault::{Fault, FaultError};
pub use self_test::{
    Bench, Blindness, CleanRun, Cleanliness, Naming, OrdinaryGate, OrdinaryGates, SELF_TEST_SCHEMA,
    SelfTest, SelfTestError, Trial, TrialOutcome, blind_inputs, hard_inputs, in_batches,
};

// The pipeline behind the networks.
pub use pipeline::{
    Attribution, CaptureError, CapturedRun, Misfit, Outcome, PipelineCleanRun, PipelineFault,
    PipelineSelfTest, PipelineStage, PipelineTrial, Score, Setting, Splice, attribute, try_faults,
};
