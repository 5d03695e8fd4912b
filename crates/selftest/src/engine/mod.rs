//! The engines that are compared.

mod candle;
mod torch;

pub use candle::CandleEngine;
pub use torch::{low_precision, torch_reference};
