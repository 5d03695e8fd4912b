//! The reference engine: the networks on libtorch, by the calls that the official package makes, with a
//! probe at every stage.
//!
//! It answers to `reference/capture.py` and calls libtorch only: with the candidates it shares what a
//! [`Bundle`](soundalike_convert::Bundle) and its [`Graph`](soundalike_network::Graph) say, and no arithmetic. In
//! [`Precision::F32`] it is the reference as users of pyannote get it; in [`Precision::F64`] the golden, from the same
//! f32 weights.
//!
//! libtorch is a build-time choice, the feature `libtorch`. Without it [`load`] and [`replay`] return
//! [`Error::NotBuilt`], which says how to build it: callers need no `cfg`.
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

/// Whether this program has libtorch.
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
