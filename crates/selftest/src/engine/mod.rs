//! The engines that are compared.

mod candle;
mod torch;

pub use candle::CandleEngine;
pub(crate) use candle::to_tensor;
pub use torch::{low_precision, torch_reference};
