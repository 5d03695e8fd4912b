//! The parametrised sinc filters of SincNet.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

/// Lowest cut-off frequency, Hz (`SincNet(min_low_hz=50)` in pyannote.audio `models/blocks/sincnet.py`).
const MIN_LOW_HZ: f64 = 50.0;
/// Narrowest band, Hz (`min_band_hz=50`, same place).
const MIN_BAND_HZ: f64 = 50.0;

/// Band-pass filters `[2 pairs, 1, kernel]` from `low_hz_` and `band_hz_` `[pairs, 1]` and the buffers
/// `window_` and `n_` (half a Hamming window, half a time axis): first all even (cosine) filters, then all
/// odd (sine) ones. asteroid-filterbanks `param_sinc_fb.py`, operation by operation, because a filter built
/// in another order or precision is measurably another filter.
///
/// They are built in f32, as PyTorch builds them, or in f64 for a network in f64, always from parameters
/// and buffers as stored; a 16-bit network gets the f32 filters rounded.
pub(crate) fn sinc_filters(
    pairs: usize,
    kernel: usize,
    sample_rate: u32,
    vb: VarBuilder<'_>,
) -> Result<Tensor> {
    let dtype = vb.dtype();
    let wide = if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let half = kernel / 2;
    let stored = vb.to_dtype(DType::F32);
    let low_hz = stored.get((pairs, 1), "low_hz_")?.to_dtype(wide)?;
    let band_hz = stored.get((pairs, 1), "band_hz_")?.to_dtype(wide)?;
    let n = stored.get((1, half), "n_")?.to_dtype(wide)?;
    let window = stored
        .get(half, "window_")?
        .reshape((1, half))?
        .to_dtype(wide)?;

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
