//! Descriptions of neural networks: hyperparameters, and the graph of stages. No arithmetic.
//!
//! * [`Architecture`]: which network a file holds, with its hyperparameters. [`Specifications`]: the task that the network
//!   was trained for.
//! * [`Graph`]: the stages of a network in order of execution. A [`Stage`] has a name, an operation ([`Op`]), its weights
//!   ([`Expected`]), what it reads ([`Operand`]) and the axes of its output ([`Axes`]).
//! * [`Cause`]: a mistake that a port can make at a stage.
//!
//! [`Architecture::graph`] is the only description of a network's stages. Checking a file, running, comparing, injecting
//! faults and counting operations all read it.
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
//!
//! # Describe a network of your own
//!
//! List its stages in order of execution. [`Stage::new`] takes a name, an operation, the axes of the output, and what the
//! stage reads: the input of the network, or earlier stages by index.
//!
//! ```
//! use soundalike_network::{Axis, FrameGeometry, Graph, InputShapes, Op, Operand, Stage};
//!
//! let signal = [Axis::Batch, Axis::Channel, Axis::Time];
//! let conv = Op::Conv1d { inputs: 1, outputs: 8, kernel: 5, stride: 2 };
//! let pool = Op::MaxPool { size: 3 };
//! let graph = Graph::new(vec![
//!     Stage::new("conv", conv, &signal, &[Operand::Input]),
//!     Stage::new("conv.relu", Op::Relu, &signal, &[Operand::Stage(0)]),
//!     Stage::new("pool", pool, &signal, &[Operand::Stage(1)]),
//! ])?;
//!
//! // The weights that a file must have, and the shape of each output for one window of 100 samples.
//! let weights: Vec<String> = graph.tensors().into_iter().map(|tensor| tensor.name).collect();
//! assert_eq!(weights, ["conv.weight", "conv.bias"]);
//! let inputs = InputShapes { batch: 1, samples: 100, masks: None };
//! assert_eq!(graph.shapes(inputs).unwrap()[2], [1, 8, 16]);
//! let geometry = FrameGeometry { receptive_field: 9, step: 6 };
//! assert_eq!(graph.frame_geometry(), Some(geometry));
//! # Ok::<(), soundalike_network::GraphError>(())
//! ```
//!
//! * **Names.** Use PyTorch's module path, and a suffix for a function without a module (`conv.relu`). The name is also the
//!   prefix of the weights, the probe point, the entry of a trace and the row of a report.
//! * **Axes.** A comparison measures errors per channel and per frame, so it needs to find both. [`Axes::new`] finds them
//!   from the names of the axes; [`Axes::with`] takes their positions.
//! * **Constants.** A stage without operands is made of weights alone, such as filters built from frequencies.
//! * **Parts.** Stages that are computed side by side inside a larger stage set [`Stage::part_of`]: the two directions of
//!   an LSTM layer.
//! * **Other operations.** Use [`Op::Other`] for an operation that [`Op`] lacks. Comparing works as before; the graph's
//!   shapes, costs and frame geometry are `None`.
//!
//! # Add an architecture to this project
//!
//! A network that is loaded and run here also needs a variant of [`Architecture`], a file in `architecture/` with its
//! hyperparameters and its graph, and a forward pass in `soundalike-model`. A new operation is a variant of [`Op`]. The
//! compiler lists every `match` that needs an arm.

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

// Mistakes in a port of it.
pub use cause::{Cause, Gate};
