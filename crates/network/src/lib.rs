//! What a network is: its hyperparameters, and the graph of its stages. No arithmetic.
//!
//! An [`Architecture`] names a network and its hyperparameters, [`Specifications`] the task it was trained for.
//! [`Architecture::graph`] is the one description of its stages: what each is called, what it computes, what it
//! reads, which tensors it uses and what the axes of its output are. Loading, running, comparing, injecting faults
//! and counting operations all read that graph, so a stage is described once.
//!
//! ```
//! # let json = r#"{"architecture": "PyanNet", "hyperparameters": {"sample_rate": 16000, "num_channels": 1,
//! #   "sincnet": {"stride": 10, "filters": "baked"},
//! #   "lstm": {"hidden_size": 128, "num_layers": 4, "bidirectional": true, "monolithic": true},
//! #   "linear": {"hidden_size": 128, "num_layers": 2}, "num_outputs": 7, "activation": "log-softmax"}}"#;
//! # let architecture: soundalike_network::Architecture = serde_json::from_str(json).unwrap();
//! let graph = architecture.graph(false).expect("a network");
//! let stage = graph.get("linear.0.leaky_relu").expect("a stage");
//! assert_eq!(stage.op, soundalike_network::Op::LeakyRelu { slope: 0.01 });
//! ```

mod architecture;
mod cause;
mod fbank;
mod graph;
mod specifications;

// The network and its hyperparameters.
pub use architecture::{
    Activation, Architecture, Block, Expected, Hyperparameter, Kind, Linear, Lstm, Output, Plda,
    PyanNet, Role, SincFilters, SincNet, WeSpeakerResNet,
};
pub use fbank::FbankOptions;
pub use specifications::{Problem, Resolution, Specifications};

// Its stages.
pub use graph::{Axes, Axis, FrameGeometry, Graph, GraphError, InputShapes, Op, Operand, Stage};

// What can be wrong with one.
pub use cause::{Cause, Gate};
