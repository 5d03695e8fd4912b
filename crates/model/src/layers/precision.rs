//! How sums are taken.

use candle_core::{D, DType, Result, Tensor};

/// The dtype of what 16 bits cannot hold, in a network of `dtype`.
pub(crate) fn at_least_f32(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
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

/// How many f32 are added up before their sum meets another.
const BLOCK: usize = 64;

/// Sums over the last axis, which stays, of length 1. Those of f32 are taken in blocks, then over the blocks, so that
/// their error does not grow with the length, in whatever order a device adds.
pub(super) fn sum(x: &Tensor) -> Result<Tensor> {
    let length = x.dim(D::Minus1)?;
    if x.dtype() == DType::F64 || length <= BLOCK {
        return x.sum_keepdim(D::Minus1);
    }
    let (blocks, rest) = (length / BLOCK, length % BLOCK);
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.extend([blocks, BLOCK]);
    let whole = x.narrow(D::Minus1, 0, blocks * BLOCK)?.reshape(shape)?;
    let mut sums = vec![whole.sum(D::Minus1)?];
    if rest > 0 {
        let rest = x.narrow(D::Minus1, blocks * BLOCK, rest)?;
        sums.push(rest.sum_keepdim(D::Minus1)?);
    }
    sum(&Tensor::cat(&sums, D::Minus1)?)
}

/// As [`sum`], divided by the length.
pub(super) fn mean(x: &Tensor) -> Result<Tensor> {
    sum(x)? / x.dim(D::Minus1)? as f64
}

/// `x` less its mean over the last axis; where that is of f32, also what its rounding left.
pub(super) fn centre(x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&mean(x)?)?;
    match x.dtype() {
        DType::F64 => Ok(centred),
        _ => centred.broadcast_sub(&mean(&centred)?),
    }
}
