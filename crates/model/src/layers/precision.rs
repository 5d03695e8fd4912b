//! Precision of sums and products.

use candle_core::{D, DType, Result, Tensor};

/// The data type of values that 16 bits cannot represent, in a network of `dtype`.
pub(crate) fn at_least_f32(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// Runs `op`, a matrix product or convolution, in f32 for tensors of a 16-bit data type on the CPU, which has no 16-bit
/// arithmetic. The operands are exact in f32, and the result is rounded once. On other devices, and for wider data types,
/// `op` gets the tensors unchanged.
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

/// Values of f32 that are summed before the sum is added to another.
const BLOCK: usize = 64;

/// The sum over the last axis, which is kept with length 1. In f32, blocks are summed first, then their sums, so that the
/// error does not grow with the length, for any order in which a device adds.
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

/// `x` minus its mean over the last axis. In f32, a second step subtracts the mean that rounding has left.
pub(super) fn centre(x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&mean(x)?)?;
    match x.dtype() {
        DType::F64 => Ok(centred),
        _ => centred.broadcast_sub(&mean(&centred)?),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn in_f64_the_mean_is_subtracted_once_and_in_f32_what_rounding_has_left_too() {
        let values: Vec<f64> = (0..50)
            .map(|i| 1000.0 + f64::from(i * i % 17) / 7.0)
            .collect();
        let wide = Tensor::new(values, &Device::Cpu).unwrap();
        for (dtype, once) in [(DType::F64, true), (DType::F32, false)] {
            let x = wide.to_dtype(dtype).unwrap();
            let values = |x: &Tensor| x.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let subtracted = x.broadcast_sub(&mean(&x).unwrap()).unwrap();
            let centred = values(&centre(&x).unwrap());
            assert_eq!(centred == values(&subtracted), once, "{dtype:?}");
        }
    }
}
