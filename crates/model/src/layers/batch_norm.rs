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

    /// Adds the `bias` of a convolution, `[channels]`, into which a norm was folded.
    pub(crate) fn only_shift(vb: &VarBuilder<'_>) -> Result<Self> {
        let shift = vb.get_unchecked("bias")?.reshape((1, (), 1, 1))?;
        Ok(Self {
            scale: shift.ones_like()?,
            shift,
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

    /// `torch.nn.functional.batch_norm` of one value in each of two channels.
    #[test]
    fn a_value_is_normalised_by_the_running_statistics_then_scaled_and_shifted() {
        let tensors = [
            ("weight", [2.0_f32, -3.0]),
            ("bias", [0.25, 0.5]),
            ("running_mean", [1.5, -2.0]),
            ("running_var", [4.0, 0.0]),
        ];
        let tensors: HashMap<_, _> = tensors
            .map(|(name, values)| {
                let values = Tensor::new(&values, &Device::Cpu).unwrap();
                (name.to_owned(), values)
            })
            .into();
        let vb = VarBuilder::from_tensors(tensors, DType::F64, &Device::Cpu);
        let norm = BatchNorm2d::load(Kernels::Portable, &vb).unwrap();
        let x = Tensor::new(&[7.5_f64, -2.01], &Device::Cpu).unwrap();
        let y = norm.forward(&x.reshape((1, 2, 1, 1)).unwrap()).unwrap();
        let y: Vec<f64> = y.flatten_all().unwrap().to_vec1().unwrap();
        // (x - mean) / sqrt(variance + 1e-5) * weight + bias. Without the epsilon, the second has no value.
        let golden = [
            6.0 / 4.000_01_f64.sqrt() * 2.0 + 0.25,
            -0.01 / 1e-5_f64.sqrt() * -3.0 + 0.5,
        ];
        for (y, golden) in y.iter().zip(golden) {
            assert!((y - golden).abs() < 1e-11, "{y} for {golden}");
        }
    }

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
