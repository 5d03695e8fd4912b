//! The forward passes of the pipeline's networks, each written once, on [candle](candle_core).
//!
//! [`load`] builds the [`Network`] of a [`Bundle`](soundalike_convert::Bundle). Its forward pass hands the output of every
//! stage to a [`Probe`], under the name and in the order of the network's [`Graph`](soundalike_network::Graph). A probe can
//! record the output or replace it.
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
//!
//! # Versions
//!
//! [`Tensor`], [`Device`], [`DType`], [`TensorError`] and [`Result`] are candle's own types and part of this crate's API. A
//! new version of candle is therefore a breaking release of this crate, and of every crate that re-exports from it.

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
