//! The networks of the pipeline, each written once, on [candle](candle_core).
//!
//! A network is built from a [`Bundle`](soundalike_convert::Bundle), whose tensors carry PyTorch's own
//! names, and every stage of its forward pass goes through a [`Probe`]. The same string therefore names
//! the weight, the probe point, the entry of a trace and the row of a report.
//!
//! ```no_run
//! use soundalike_model::{DType, Device, PyanNet, Silent, Tensor};
//!
//! let bundle = soundalike_convert::Bundle::open("segmentation.safetensors".as_ref())?;
//! let network = PyanNet::load(&bundle, DType::F32, &Device::Cpu)?;
//! let waveform = Tensor::zeros((1, 1, 160_000), DType::F32, &Device::Cpu)?;
//! let scores = network.forward(&waveform, &mut Silent)?; // [1, 589, 7] log-probabilities
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod device;
mod engine;
mod error;
mod kernels;
mod layers;
mod probe;
mod pyannet;
mod wespeaker;

pub use candle_core::{DType, Device, Error as TensorError, Tensor};
pub use device::{DeviceChoice, DeviceError};
pub use engine::Engine;
pub use error::LoadError;
pub use kernels::Kernels;
pub use probe::{Probe, Result, Silent};
pub use pyannet::{FrameGeometry, PyanNet};
pub use soundalike_kernels::InstructionSet;
pub use wespeaker::WeSpeakerResNet;
