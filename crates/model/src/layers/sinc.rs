//! The parametrised sinc filters of SincNet.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::at_least_f32;

/// Lowest cut-off frequency, in Hz (`SincNet(min_low_hz=50)` in pyannote.audio `models/blocks/sincnet.py`).
const MIN_LOW_HZ: f64 = 50.0;
/// Narrowest band, in Hz (`min_band_hz=50`, same place).
const MIN_BAND_HZ: f64 = 50.0;

/// Band-pass filters `[2 x pairs, 1, kernel]` from `low_hz_` and `band_hz_` `[pairs, 1]` and the buffers `window_` and `n_`
/// (half a Hamming window, half a time axis). First all even (cosine) filters, then all odd (sine) ones. The operations are
/// those of asteroid-filterbanks `param_sinc_fb.py`, in the same order: another order or precision gives measurably different
/// filters.
///
/// The filters are computed in f32, as in PyTorch, or in f64 for a network in f64. A 16-bit network gets the f32 filters,
/// rounded.
pub(crate) fn sinc_filters(sample_rate: u32, vb: &VarBuilder<'_>) -> Result<Tensor> {
    let dtype = vb.dtype();
    let get = |name: &str| {
        let values = vb.get_unchecked_dtype(name, DType::F32)?;
        values.to_dtype(at_least_f32(dtype))
    };
    let (low_hz, band_hz) = (get("low_hz_")?, get("band_hz_")?);
    let (n, window) = (get("n_")?, get("window_")?.unsqueeze(0)?);

    let low = (low_hz.abs()? + MIN_LOW_HZ)?;
    let high = ((&low + MIN_BAND_HZ)? + band_hz.abs()?)?
        .clamp(MIN_LOW_HZ, f64::from(sample_rate) / 2.0)?;
    let band = (&high - &low)?;
    let (phase_low, phase_high) = (low.broadcast_mul(&n)?, high.broadcast_mul(&n)?);
    let half_n = (&n / 2.0)?;
    let left = |difference: Tensor| difference.broadcast_div(&half_n)?.broadcast_mul(&window);
    let twice_band = (&band * 2.0)?;
    let filters = |left: &Tensor, centre: &Tensor, right: &Tensor| {
        Tensor::cat(&[left, centre, right], 1)?.broadcast_div(&twice_band)
    };

    let even = left((phase_high.sin()? - phase_low.sin()?)?)?;
    let odd = left((phase_low.cos()? - phase_high.cos()?)?)?;
    let cosine = filters(&even, &twice_band, &even.flip(&[1])?)?;
    let sine = filters(&odd, &band.zeros_like()?, &odd.flip(&[1])?.neg()?)?;
    Tensor::cat(&[cosine, sine], 0)?
        .unsqueeze(1)?
        .to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;

    use super::*;

    #[test]
    fn filters_of_16_bits_are_those_of_f32_rounded_once() {
        let row = |name: &str, values: &[f32], shape: &[usize]| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            (name.to_owned(), tensor)
        };
        let tensors = HashMap::from([
            row("low_hz_", &[101.3, 733.7], &[2, 1]),
            row("band_hz_", &[97.1, 211.9], &[2, 1]),
            row("n_", &[-0.001_178, -0.000_785, -0.000_393], &[1, 3]),
            row("window_", &[0.08, 0.31, 0.77], &[3]),
        ]);
        let filters = |dtype| {
            let vb = VarBuilder::from_tensors(tensors.clone(), dtype, &Device::Cpu);
            let filters = sinc_filters(16_000, &vb).unwrap();
            assert_eq!(filters.dims(), [4, 1, 7]);
            let rounded = filters.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32);
            let flat = rounded.unwrap().flatten_all().unwrap();
            flat.to_vec1::<f32>().unwrap()
        };
        assert_eq!(filters(DType::BF16), filters(DType::F32));
    }
}
