//! In which dtype sums are taken.

use candle_core::{DType, Device, Result, Tensor};

/// The dtype in which a network of dtype `dtype` accumulates means and variances on `device`.
///
/// PyTorch sums in f64 on the CPU (`acc_type<float, /*is_cuda=*/false>`); sums in f32 lanes are 9 to 88
/// times less exact on clipped, offset, padded or silent input. Metal has no f64, and GPU reductions are
/// trees, whose error grows with the logarithm of the length only.
pub(super) fn of_statistics(dtype: DType, device: &Device) -> DType {
    match (dtype, device) {
        (DType::F64, _) | (_, Device::Cpu) => DType::F64,
        _ => DType::F32,
    }
}

/// Runs a product of sums (`op`) on tensors of a 16-bit dtype in f32 on the CPU, which has no arithmetic
/// of that width: the operands are exact in f32 and the result is rounded once. Elsewhere, and for wider
/// dtypes, `op` gets the tensors as they are.
pub(super) fn in_wide_enough<const N: usize>(
    tensors: [&Tensor; N],
    op: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let dtype = tensors[0].dtype();
    let narrow = matches!(dtype, DType::F16 | DType::BF16);
    if !narrow || !tensors[0].device().is_cpu() {
        return op(tensors);
    }
    let wide = tensors
        .iter()
        .map(|tensor| tensor.to_dtype(DType::F32))
        .collect::<Result<Vec<_>>>()?;
    op(std::array::from_fn(|i| &wide[i]))?.to_dtype(dtype)
}
