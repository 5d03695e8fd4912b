//! The networks on libtorch, or an error with build instructions. The rest of the crate does not depend on which.

#[cfg(not(feature = "libtorch"))]
mod disabled;
#[cfg(feature = "libtorch")]
mod enabled;

#[cfg(not(feature = "libtorch"))]
pub use disabled::{load, replay};
#[cfg(feature = "libtorch")]
pub use enabled::{load, replay};
