//! The reference engine: the networks on libtorch, by the calls that the official package makes, with a
//! probe at every stage.
//!
//! It answers to `reference/capture.py` and calls libtorch only: with the candidates it shares what a
//! [`Bundle`](soundalike_convert::Bundle) says, and no arithmetic. In [`Precision::F32`] it is the
//! reference as users of pyannote get it; in [`Precision::F64`] the golden, from the same f32 weights.
//!
//! libtorch is a build-time choice, the feature `libtorch`. Without it everything here exists, and whatever
//! would need libtorch returns [`Error::NotBuilt`], which says how to build it: callers need no `cfg`.
//!
//! ```no_run
//! use soundalike_torch::{Precision, PyanNet, Silent, Tensor};
//!
//! let bundle = soundalike_convert::Bundle::open("segmentation.safetensors".as_ref())?;
//! let golden = PyanNet::load(&bundle, Precision::F64)?;
//! let waveform = Tensor::from_f32(&[0.0; 160_000], &[1, 1, 160_000])?;
//! let scores = golden.forward(&waveform, &mut Silent)?; // [1, 589, 7] log-probabilities
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Whether this program has libtorch.
pub const BUILT: bool = cfg!(feature = "libtorch");

mod error;
mod libtorch;
mod mistake;
mod precision;
mod probe;
mod verification;

pub use error::{Error, Result};
pub use libtorch::{PyanNet, Tensor, WeSpeakerResNet, mistakes};
pub use mistake::Mistake;
pub use precision::{Arithmetic, Narrow, Precision};
pub use probe::{Probe, Silent};
pub use verification::{Verification, variant, verified};
