//! Batch normalisation, in evaluation.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::precision::in_wide_enough;
use crate::Kernels;

/// Added to the variance: the default of `torch.nn.BatchNorm2d`.
const EPS: f64 = 1e-5;

/// `torch.nn.BatchNorm2d(channels)` in evaluation. The running statistics, weight and bias become one scale and one shift
/// per channel, as in PyTorch: `aten/src/ATen/native/cpu/batch_norm_kernel.cpp`.
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm2d {
    /// weight / sqrt(variance + eps), `[1, channel, 1, 1]`.
    pub(super) scale: Tensor,
    /// bias - mean x scale, `[1, channel, 1, 1]`.
    pub(super) shift: Tensor,
}

impl BatchNorm2d {
    /// Reads `weight`, `bias`, `running_mean` and `running_var`, all `[channels]`.
    pub(crate) fn load(kernels: Kernels, vb: &VarBuilder<'_>) -> Result<Self> {
        let (dtype, wide) = (vb.dtype(), kernels.sums(vb.dtype(), vb.device()));
        // Read in f32: a 16-bit network rounds the scale, not the tensors from which it is computed.
        let get = |name: &str| {
            let values = vb.get_unchecked_dtype(name, DType::F32)?.to_dtype(wide)?;
            values.reshape((1, (), 1, 1))
        };
        let deviation = (get("running_var")? + EPS)?.sqrt()?;
        let scale = (get("weight")? / deviation)?;
        let shift = (get("bias")? - (get("running_mean")? * &scale)?)?;
        Ok(Self {
            scale: scale.to_dtype(dtype)?,
            shift: shift.to_dtype(dtype)?,
        })
    }

    /// `[batch, channel, height, width]`, same shape out.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        in_wide_enough([x, &self.scale, &self.shift], |[x, scale, shift]| {
            x.broadcast_mul(scale)?.broadcast_add(shift)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;

    use super::*;

    #[test]
    fn a_norm_of_16_bits_is_that_of_f64_rounded_once() {
        let channels = |first: f32| {
            let values = (0..9).map(|i| first + 0.013 * i as f32);
            Tensor::from_iter(values, &Device::Cpu).unwrap()
        };
        let tensors = [
            ("weight", 1.01),
            ("bias", 0.3),
            ("running_mean", -0.7),
            ("running_var", 3.3),
        ];
        let tensors: HashMap<_, _> = tensors
            .map(|(name, first)| (name.to_owned(), channels(first)))
            .into();
        let norm = |dtype| {
            let vb = VarBuilder::from_tensors(tensors.clone(), dtype, &Device::Cpu);
            let norm = BatchNorm2d::load(Kernels::Portable, &vb).unwrap();
            [norm.scale, norm.shift].map(|x| {
                let rounded = x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F64);
                let flat = rounded.unwrap().flatten_all().unwrap();
                flat.to_vec1::<f64>().unwrap()
            })
        };
        assert_eq!(norm(DType::BF16), norm(DType::F64));
    }
}
