//! The loops worth writing by hand: slices of `f32` in and out, nothing of a network.
//!
//! Everything is a product of a few rows with packed columns: [`Conv2d`] takes it over the
//! pixels of an image. The vector instructions are chosen when a kernel is built
//! ([`InstructionSet::best`]). Each value is one chain of fused multiply-adds whose order depends on the
//! kernel alone, so that results are the same bits for any batch, number of threads and instruction set.

mod buffer;
mod conv2d;
mod epilogue;
mod images;
mod instructions;
mod product;
mod winograd;

pub use buffer::Pool;
pub use conv2d::Conv2d;
pub use images::Images;
pub use instructions::InstructionSet;
