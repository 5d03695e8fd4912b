#![doc = include_str!("../README.md")]
//!
//! All kernels use one product of a few rows with packed columns: [`Conv2d`] over the pixels of an image, [`Conv1d`] over
//! frames, [`Lstm`] over inputs and states; a [`ConvChain`] computes several [`Conv2d`] some rows at a time. The vector
//! instructions are chosen when a kernel is built ([`InstructionSet::best`]). Each value is a sum of short chains of fused
//! multiply-adds whose order depends on the kernel alone, so that results have the same bits for any batch, number of
//! threads and instruction set.

mod activation;
mod buffer;
mod conv1d;
mod conv2d;
mod conv_chain;
mod epilogue;
mod images;
mod instance_norm;
mod instructions;
mod lstm;
mod peak;
mod prefetch;
mod product;
mod statistics;
mod strip;
mod winograd;

pub use buffer::Pool;
pub use conv_chain::{ConvChain, ConvStep};
pub use conv1d::{Conv1d, Conv1dOptions};
pub use conv2d::Conv2d;
pub use images::Images;
pub use instance_norm::InstanceNorm;
pub use instructions::InstructionSet;
pub use lstm::{Lstm, LstmWeights};
pub use statistics::weighted_statistics;
