//! The code that computes a network.

use std::fmt;

use candle_core::{DType, Device};
use soundalike_kernels::InstructionSet;

/// The code that computes a network. The results differ by rounding only.
#[derive(Debug, Clone, Copy)]
pub enum Kernels {
    /// Hand-written loops with vector instructions. They compute several stages in one pass, and a probe sees the last of
    /// these. For f32 on the CPU; anything else is computed as by [`Self::Portable`].
    Native(InstructionSet),
    /// candle's tensor operations, stage by stage.
    Portable,
    /// As [`Self::Portable`], but in the data types of Metal: sums of f32 stay in f32. On the CPU, it computes what an Apple
    /// GPU would.
    MetalOps,
    /// As [`Self::MetalOps`], but one launch of a kernel (`lstm.wgsl`) computes a layer of the LSTM. Not verified on Apple
    /// hardware. On the CPU, the same algorithm in plain Rust.
    Experimental,
}

impl Kernels {
    /// The widest vector instructions of this machine; [`Self::Portable`] if there are no kernels for it.
    #[must_use]
    pub fn native() -> Self {
        InstructionSet::best().map_or(Self::Portable, Self::Native)
    }

    /// The instructions of the kernels for `dtype` on `device`, if any.
    #[must_use]
    pub fn instructions(self, dtype: DType, device: &Device) -> Option<InstructionSet> {
        match self {
            Self::Native(instructions) if dtype == DType::F32 && device.is_cpu() => {
                Some(instructions)
            }
            _ => None,
        }
    }

    /// The data type in which a network of `dtype` computes the sums of means and variances on `device`.
    ///
    /// PyTorch uses f64 on the CPU (`acc_type<float, /*is_cuda=*/false>`). Sums in f32 have 9 to 88 times the error on
    /// clipped, offset, padded or silent input. Metal has no f64.
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
