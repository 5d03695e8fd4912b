//! The networks of the pipeline, each written once, on [candle](candle_core).
//!
//! [`load`] builds the [`Network`] of a [`Bundle`](soundalike_convert::Bundle), whose tensors carry PyTorch's own
//! names. Every stage of its forward pass goes through a [`Probe`], under the name and in the order of its
//! [`Graph`](soundalike_network::Graph). The same string therefore names the weight, the probe point, the entry of a
//! trace and the row of a report.
//!
//! ```no_run
//! use soundalike_model::{DType, Device, Engine, Silent, Tensor};
//!
//! let bundle = soundalike_convert::Bundle::open("segmentation.safetensors".as_ref())?;
//! let network = soundalike_model::load(&bundle, &Engine::default())?;
//! let waveform = Tensor::zeros((1, 1, 160_000), DType::F32, &Device::Cpu)?;
//! let scores = network.forward((&waveform).into(), &mut Silent)?; // [1, 589, 7] log-probabilities
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod device;
mod engine;
mod error;
mod kernels;
mod layers;
mod network;
mod probe;

pub use candle_core::{DType, Device, Error as TensorError, Tensor};
pub use device::{DeviceChoice, DeviceError};
pub use engine::Engine;
pub use error::LoadError;
pub use kernels::Kernels;
pub use network::{Input, Network, load};
pub use probe::{Probe, Result, Silent};
pub use soundalike_kernels::InstructionSet;
