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

    /// Frequencies, half a time axis in radians per Hz, half a window. The second band ends at half the sample rate.
    fn parameters() -> HashMap<String, Tensor> {
        let row = |name: &str, values: &[f32], shape: &[usize]| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            (name.to_owned(), tensor)
        };
        HashMap::from([
            row("low_hz_", &[101.3, -7733.7], &[2, 1]),
            row("band_hz_", &[-97.1, 311.9], &[2, 1]),
            row("n_", &[-0.001_178, -0.000_785, -0.000_393], &[1, 3]),
            row("window_", &[0.08, 0.31, 0.77], &[3]),
        ])
    }

    /// The mean of `wave` between two frequencies.
    fn mean(wave: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
        const STEPS: u32 = 10_000;
        let step = (high - low) / f64::from(STEPS);
        let waves = (0..STEPS).map(|i| wave(low + (f64::from(i) + 0.5) * step));
        waves.sum::<f64>() / f64::from(STEPS)
    }

    /// `(sin(high n) - sin(low n)) / (n (high - low))` is the mean of `cos(f n)` over the band, and the odd filter
    /// that of `sin(f n)`.
    #[test]
    fn a_filter_is_the_mean_of_all_waves_of_its_band_in_a_window() {
        let vb = VarBuilder::from_tensors(parameters(), DType::F64, &Device::Cpu);
        let filters = sinc_filters(16_000, &vb).unwrap().squeeze(1).unwrap();
        let filters = filters.to_vec2::<f64>().unwrap();
        let read = |name: &str| {
            let values = parameters()[name].flatten_all().unwrap();
            let values = values.to_vec1::<f32>().unwrap();
            values.into_iter().map(f64::from).collect::<Vec<_>>()
        };
        let (n, window) = (read("n_"), read("window_"));
        for (filter, (low, band)) in read("low_hz_")
            .into_iter()
            .zip(read("band_hz_"))
            .enumerate()
        {
            let low = low.abs() + 50.0;
            let high = (low + 50.0 + band.abs()).min(8_000.0);
            for (i, (n, window)) in n.iter().zip(&window).enumerate() {
                let even = window * mean(|hz| (hz * n).cos(), low, high);
                let odd = window * mean(|hz| (hz * n).sin(), low, high);
                // The odd filters follow the even ones, and their second half is negated.
                for (place, expected) in [
                    ((filter, i), even),
                    ((filter, 6 - i), even),
                    ((2 + filter, i), odd),
                    ((2 + filter, 6 - i), -odd),
                ] {
                    let found = filters[place.0][place.1];
                    assert!(
                        (found - expected).abs() < 1e-8,
                        "{place:?}: {found}, expected {expected}"
                    );
                }
            }
            assert_eq!([filters[filter][3], filters[2 + filter][3]], [1.0, 0.0]);
        }
    }

    #[test]
    fn filters_of_16_bits_are_those_of_f32_rounded_once() {
        let filters = |dtype| {
            let vb = VarBuilder::from_tensors(parameters(), dtype, &Device::Cpu);
            let filters = sinc_filters(16_000, &vb).unwrap();
            assert_eq!(filters.dims(), [4, 1, 7]);
            let rounded = filters.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32);
            let flat = rounded.unwrap().flatten_all().unwrap();
            flat.to_vec1::<f32>().unwrap()
        };
        assert_eq!(filters(DType::BF16), filters(DType::F32));
    }
}
