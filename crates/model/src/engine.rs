//! On what a network runs.

use candle_core::{DType, Device};

use crate::Kernels;

/// On what the networks of a pipeline run.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Precision of weights and activations.
    pub dtype: DType,
    /// Where they are.
    pub device: Device,
    /// By which code they are computed, where there is more than one.
    pub kernels: Kernels,
}

impl Default for Engine {
    /// In f32 on the CPU, with the fastest kernels there are.
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            device: Device::Cpu,
            kernels: Kernels::native(),
        }
    }
}
