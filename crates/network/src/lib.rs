#![doc = include_str!("../README.md")]
//!
//! * [`Architecture`]: which network a file holds, with its hyperparameters. [`Specifications`]: the task that the network
//!   was trained for.
//! * [`Graph`]: the stages of a network in order of execution. A [`Stage`] has a name, an operation ([`Op`]), its weights
//!   ([`TensorSpec`]), what it reads ([`Operand`]) and the axes of its output ([`Axes`]).
//! * [`Cause`]: a mistake that a port can make at a stage.
//!
//! [`Architecture::graph`] is the only description of a network's stages. Checking a file, running, comparing, injecting
//! faults and counting operations all read it.
//!
//! # Describe a network of your own
//!
//! List its stages in order of execution, as in the example. [`Stage::new`] takes a name, an operation, the axes of the
//! output, and what the stage reads: the input of the network, or earlier stages by index.
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
    Activation, Architecture, BlockKind, ElementType, HyperparameterError, LinearOptions,
    LstmOptions, Output, Plda, PyanNet, Role, SincFilters, SincNet, TensorSpec, WeSpeakerResNet,
};
pub use fbank::FbankOptions;
pub use specifications::{Problem, Resolution, Specifications};

// Its stages.
pub use graph::{Axes, Axis, FrameGeometry, Graph, GraphError, InputShapes, Op, Operand, Stage};

// Mistakes in a port of it.
pub use cause::{Cause, LstmGate};
