#![doc = include_str!("../README.md")]
//!
//! It is the counterpart of `reference/capture.py`. It shares the [`Bundle`](soundalike_convert::Bundle) and its
//! [`Graph`](soundalike_network::Graph) with the candidates, but no arithmetic. [`Precision::F32`] is the reference
//! that users of pyannote get; [`Precision::F64`] is the golden, computed from the same f32 weights.
//!
//! Without the feature `libtorch`, [`load`] and [`replay`] return [`Error::NotBuilt`] with build instructions, so callers
//! need no `cfg`.

/// Whether this program was built with libtorch.
pub const BUILT: bool = cfg!(feature = "libtorch");

mod error;
mod hypothesis;
mod libtorch;
mod network;
mod precision;

pub use error::{Error, Result};
pub use hypothesis::{Compute, Family, Hypothesis, Mistake};
pub use libtorch::{load, replay};
pub use network::{Network, Probe};
pub use precision::{Arithmetic, LowPrecision, Precision};
