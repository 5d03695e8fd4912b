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

impl Engine {
    /// By which code the networks are computed in the end: kernels are for f32 on the CPU.
    #[must_use]
    pub fn used_kernels(&self) -> Kernels {
        let available = self.kernels.instructions(self.dtype, &self.device);
        match self.kernels {
            Kernels::Native(_) if available.is_none() => Kernels::Portable,
            kernels => kernels,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_for_f32() {
        let narrow = |dtype| Engine {
            dtype,
            ..Engine::default()
        };
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            assert!(matches!(narrow(dtype).used_kernels(), Kernels::Portable));
        }
        let own = Kernels::native().to_string();
        assert_eq!(narrow(DType::F32).used_kernels().to_string(), own);
    }
}
