//! The reference engine: the networks on libtorch, with the calls of the official package and a probe at every stage.
//!
//! It is the counterpart of `reference/capture.py`. It shares the [`Bundle`](soundalike_convert::Bundle) and its
//! [`Graph`](soundalike_network::Graph) with the candidates, but no arithmetic. [`Precision::F32`] is the reference
//! that users of pyannote get; [`Precision::F64`] is the golden, computed from the same f32 weights.
//!
//! libtorch is optional: the feature `libtorch`. Without it, [`load`] and [`replay`] return [`Error::NotBuilt`] with
//! build instructions, so callers need no `cfg`.
//!
//! ```no_run
//! use ndarray::ArrayD;
//! use soundalike_torch::Precision;
//!
//! let bundle = soundalike_convert::Bundle::open("segmentation.safetensors".as_ref())?;
//! let golden = soundalike_torch::load(&bundle, Precision::F64.into())?;
//! let waveform = ArrayD::zeros(vec![1, 1, 160_000]);
//! let scores = golden.forward(&waveform, None, &mut |_, _| Ok(None))?; // [1, 589, 7] log-probabilities
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Whether this program was built with libtorch.
pub const BUILT: bool = cfg!(feature = "libtorch");

mod error;
mod hypothesis;
mod libtorch;
mod network;
mod precision;

pub use error::{Error, Result};
pub use hypothesis::Hypothesis;
pub use libtorch::{load, replay};
pub use network::{Network, Probe};
pub use precision::{Arithmetic, LowPrecision, Precision};
