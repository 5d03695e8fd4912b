#![doc = include_str!("../README.md")]
//!
//! A [`Reference`] shows every stage in f64, with the rounding error of its own f32: a [`ReferenceTrace`] of the original
//! implementation, or a [`LiveReference`] of engines. A [`Candidate`] is an [`Engine`] or the activations of one. [`compare`]
//! measures each stage of the candidate free-running and teacher-forced, and returns a [`Report`] as data.
//!
//! Nothing here is particular to a network: stages, operands and axes come from the [`Graph`](soundalike_network::Graph) of an
//! engine or of a trace. To compare your own network, write its trace (`reference/README.md`) or implement [`Engine`]; to
//! compare the meaning of its output, implement [`Decode`].

mod activations;
mod aligned;
mod alignment;
mod audit;
mod budget;
mod compare;
mod decode;
mod diagnosis;
mod engine;
mod error;
mod figure;
mod floors;
mod gate;
mod kept;
mod live;
mod lockstep;
mod manifest;
mod name_map;
mod observed;
mod observed_stage;
mod operands;
mod output;
mod production;
mod provenance;
mod redraw;
mod reference;
mod report;
mod sensitivity;
mod signature;
mod task;
mod toml_file;
mod trace;
mod trace_writer;
mod verdict;
mod window;

// The two sides.
pub use activations::Activations;
pub use compare::{Candidate, CompareError, compare, compare_each};
pub use engine::{Engine, EngineError, Probe};
pub use kept::KeptReference;
pub use live::{Engines, LiveReference, Runners};
pub use redraw::REDRAWS;
pub use reference::{Reference, ReferenceStage};
pub use window::{Masks, Window};

// Files.
pub use alignment::{Match, MatchedBy};
pub use manifest::Manifest;
pub use name_map::{NameMap, NamesError};
pub use trace::{ActivationTrace, ReferenceTrace, Running, TraceError};
pub use trace_writer::{TraceSubject, TraceWriteError, write_activations, write_reference};

// One stage.
pub use diagnosis::{Diagnosis, Estimate, Explanation, Named, RunnerUp, Undiagnosed};
pub use error::{StageError, nan_max};
pub use floors::{Floors, rms};
pub use observed_stage::{Observation, ObservedStage};
pub use operands::Operands;
pub use signature::Signature;
pub use verdict::{EXACT_R, LEAST_FLOOR, STRUCTURAL_R, STRUCTURAL_R_LOCAL, UNSTEADY_R, Verdict};

// What would have been noticed.
pub use sensitivity::{RecordedFault, RecordedTrial, sensitivity};

// The output.
pub use decode::{Decode, Meaning, frames};
pub use output::{EmbeddingAgreement, FrameCount, OutputAgreement, Sides};
pub use task::Task;

// The report.
pub use audit::{Audit, Differences, Reading, TensorDifference, Weights, hyperparameters};
pub use budget::{Budget, Propagation};
pub use figure::Figure;
pub use production::{Path, PathCheck};
pub use provenance::{EngineInfo, Provenance, Verification};
pub use report::{About, Coverage, Evidence, Input, Report, StageReport, UNSTABLE};

// Limits.
pub use gate::{
    BuiltInGate, Gate, GateCheck, GateError, GateFailure, GateResult, KnownGood, LearnError, learn,
};
