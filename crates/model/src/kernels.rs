//! By which code a network is computed.

use std::fmt;

use candle_core::{DType, Device};
use soundalike_kernels::InstructionSet;

/// By which code a network is computed: the same network, and the same numbers but for rounding.
#[derive(Debug, Clone, Copy)]
pub enum Kernels {
    /// Hand-written loops for vector instructions, which take several stages in one pass: the last of them is
    /// what a probe sees. For f32 on the CPU; elsewhere the portable expression.
    Native(InstructionSet),
    /// Tensor operations of candle, one for each stage.
    Portable,
    /// As [`Self::Portable`], in the dtypes that Metal has: the CPU computes what an Apple GPU is asked for.
    MetalOps,
    /// As [`Self::MetalOps`], but a layer of the LSTM is one launch of a kernel (`lstm.wgsl`) that no Mac was seen to
    /// run. On the CPU, the same in plain Rust.
    Experimental,
}

impl Kernels {
    /// The widest instructions that this machine has; portable where it has none.
    #[must_use]
    pub fn native() -> Self {
        InstructionSet::best().map_or(Self::Portable, Self::Native)
    }

    /// The instructions for a network of `dtype` on `device`, if there are kernels for it.
    pub(crate) fn instructions(self, dtype: DType, device: &Device) -> Option<InstructionSet> {
        match self {
            Self::Native(instructions) if dtype == DType::F32 && device.is_cpu() => {
                Some(instructions)
            }
            _ => None,
        }
    }

    /// The dtype in which a network of dtype `dtype` sums up means and variances on `device`.
    ///
    /// PyTorch sums in f64 on the CPU (`acc_type<float, /*is_cuda=*/false>`); sums in f32 lanes are 9 to 88
    /// times less exact on clipped, offset, padded or silent input. Metal has no f64.
    pub(crate) fn sums(self, dtype: DType, device: &Device) -> DType {
        match (dtype, device, self) {
            (DType::F64, _, _) | (_, Device::Cpu, Self::Native(_) | Self::Portable) => DType::F64,
            _ => DType::F32,
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(instructions) => write!(f, "{} kernels", instructions.name()),
            Self::Portable => f.write_str("no kernels"),
            Self::MetalOps => f.write_str("no kernels, as on Metal"),
            Self::Experimental => f.write_str("experimental kernels"),
        }
    }
}

impl Default for Kernels {
    fn default() -> Self {
        Self::native()
    }
}
