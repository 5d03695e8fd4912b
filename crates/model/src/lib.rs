#![doc = include_str!("../README.md")]
//!
//! [`load`] builds the [`Network`] of a [`Bundle`](soundalike_convert::Bundle). Its forward pass hands the output of every
//! stage to a [`Probe`], under the name and in the order of the network's [`Graph`](soundalike_network::Graph).
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
pub use probe::{NoProbe, Probe, Result};
pub use soundalike_kernels::InstructionSet;
