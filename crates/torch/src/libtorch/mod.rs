//! The networks on libtorch, or in their place the advice to build with it. Nothing outside knows which.

#[cfg(not(feature = "libtorch"))]
mod disabled;
#[cfg(feature = "libtorch")]
mod enabled;

#[cfg(not(feature = "libtorch"))]
pub use disabled::{load, replay};
#[cfg(feature = "libtorch")]
pub use enabled::{load, replay};
