//! Device, precision and code of a network.

use candle_core::{DType, Device};

use crate::Kernels;

/// Device, precision and code of the networks of a pipeline.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Data type of weights and activations.
    pub dtype: DType,
    /// The device on which they are stored and computed.
    pub device: Device,
    /// The code that computes them.
    pub kernels: Kernels,
}

impl Engine {
    /// The code that is used in the end: [`Kernels::Portable`] in place of [`Kernels::Native`] for other data types than f32
    /// and other devices than the CPU.
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
    /// f32 on the CPU, with the fastest kernels for this machine.
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
