//! Logarithmic mel filter banks: `torchaudio.compliance.kaldi.fbank`, call by call.
//!
//! pyannote.audio maps it over the batch with `torch.vmap`: the same calls with a leading batch dimension.

use std::f64::consts::PI;

use soundalike_network::FbankOptions;
use tch::{Device, Kind, Tensor};

use crate::Result;

/// `fbank(blackman_coeff=0.42)`.
const BLACKMAN_COEFF: f64 = 0.42;

/// Settings that pyannote.audio fixes or leaves at their default, and that ports got wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variation {
    /// Amplitude of full scale: Kaldi uses 16-bit units. `BaseWeSpeakerResNet.compute_fbank`.
    pub(super) full_scale: f64,
    /// Fraction of the previous sample that is subtracted: `fbank(preemphasis_coefficient=0.97)`.
    pub(super) preemphasis: f64,
    /// Pre-emphasis over the whole signal instead of each frame.
    pub(super) whole_signal: bool,
    /// Whether the mean of each frame is subtracted: `fbank(remove_dc_offset=True)`.
    pub(super) remove_mean: bool,
    /// The mean is subtracted after the pre-emphasis instead of before.
    pub(super) mean_last: bool,
    /// A periodic window instead of a symmetric one.
    pub(super) periodic: bool,
    /// Power of the magnitudes: `fbank(use_power=True)`.
    pub(super) power: f64,
    /// Lower edge of the lowest band, Hz: `fbank(low_freq=20.0)`.
    pub(super) low: f64,
    /// Upper edge of the highest band, Hz; `None` for half the sample rate.
    pub(super) high: Option<f64>,
    /// Bands are divided by their width.
    pub(super) area: bool,
    /// `ln(1 + x)` instead of `ln(x)`.
    pub(super) log1p: bool,
}

impl Variation {
    /// The settings of the package.
    pub(super) const NONE: Self = Self {
        full_scale: 32_768.0,
        preemphasis: 0.97,
        whole_signal: false,
        remove_mean: true,
        mean_last: false,
        periodic: false,
        power: 2.0,
        low: 20.0,
        high: None,
        area: false,
        log1p: false,
    };
}

/// A filter bank with the options of a network.
#[derive(Debug)]
pub(super) struct Fbank {
    variation: Variation,
    /// Samples of one frame.
    window_size: i64,
    /// Samples from one frame to the next.
    window_shift: i64,
    /// Samples of one frame, padded with zeros.
    padded_window_size: i64,
    snip_edges: bool,
    /// `[window_size]`, computed in the precision of the network.
    window: Tensor,
    /// `[padded_window_size / 2 + 1, bands]`, computed in f32 for every precision, then widened.
    mel_banks: Tensor,
    /// Frames in the running average that is subtracted; `None` for the average of all frames.
    centering_kernel: Option<i64>,
}

impl Fbank {
    /// A filter bank with `options`, in the dtype `kind`.
    pub(super) fn new(options: &FbankOptions, kind: Kind, variation: Variation) -> Result<Self> {
        options.check()?;
        let window_size = options.window_size() as i64;
        let padded_window_size = options.padded_window_size() as i64;
        let window = window(&options.window_type, window_size, variation.periodic, kind)?;
        let rate = f64::from(options.sample_rate);
        let bands = options.num_mel_bins as i64;
        let mel_banks = mel_banks(bands, padded_window_size, rate, variation)?;
        Ok(Self {
            variation,
            window_size,
            window_shift: options.window_shift() as i64,
            padded_window_size,
            snip_edges: options.snip_edges,
            window: window.ok_or_else(|| options.unknown_window())?,
            // A zero column for the highest bin of the spectrum.
            mel_banks: mel_banks
                .f_to_kind(kind)?
                .f_pad([0, 1], "constant", 0.0)?
                .f_tr()?,
            centering_kernel: options.span_frames().map(|frames| frames as i64),
        })
    }

    /// Samples of one frame: the shortest input.
    pub(super) fn window_size(&self) -> usize {
        self.window_size as usize
    }

    /// Natural logarithm of the energy per band, `[batch, frame, band]`, of `waveforms` `[batch, 1, samples]`
    /// between -1 and 1.
    pub(super) fn forward(&self, waveforms: &Tensor) -> Result<Tensor> {
        let waveforms = waveforms
            .f_mul_scalar(self.variation.full_scale)?
            .f_select(1, 0)?;
        let frames = self.frames(&waveforms)?;
        let spectrum = frames
            .f_fft_rfft(None, -1, "backward")?
            .f_abs()?
            .f_pow_tensor_scalar(self.variation.power)?;
        let energies = spectrum.f_matmul(&self.mel_banks)?;
        if self.variation.log1p {
            return Ok(energies.f_log1p()?);
        }
        let epsilon = Tensor::f_from_slice(&[f32::EPSILON])?.f_to_kind(energies.f_kind()?)?;
        Ok(energies.f_max_other(&epsilon)?.f_log()?)
    }

    /// Subtracts the average over time from `features` `[batch, frame, band]`. pyannote.audio
    /// `BaseWeSpeakerResNet.compute_fbank`.
    pub(super) fn centre(&self, features: &Tensor) -> Result<Tensor> {
        let mean = match self.centering_kernel {
            None => features.f_mean_dim(1, true, features.f_kind()?)?,
            Some(kernel) => features
                .f_transpose(1, 2)?
                .f_avg_pool1d(2 * (kernel / 2) + 1, 1, kernel / 2, false, false)?
                .f_transpose(1, 2)?,
        };
        Ok(features.f_sub(&mean)?)
    }

    /// `_get_window`: `[batch, samples]` to `[batch, frame, padded_window_size]`.
    fn frames(&self, waveforms: &Tensor) -> Result<Tensor> {
        let Variation {
            preemphasis,
            whole_signal,
            remove_mean,
            mean_last,
            ..
        } = self.variation;
        let centred = |frames: &Tensor| -> Result<Tensor> {
            let means = frames.f_mean_dim(2, false, frames.f_kind()?)?;
            Ok(frames.f_sub(&means.f_unsqueeze(2)?)?)
        };
        let taken = self.strided(waveforms)?;
        let frames = match remove_mean && !mean_last {
            true => centred(&taken)?,
            false => taken.shallow_clone(),
        };
        let mut before =
            frames
                .f_pad([1, 0], "replicate", None)?
                .f_narrow(2, 0, self.window_size)?;
        if whole_signal {
            before = self.neighbours(waveforms, &taken, &before)?;
        }
        let mut frames = frames.f_sub(&before.f_mul_scalar(preemphasis)?)?;
        if mean_last {
            frames = centred(&frames)?;
        }
        let frames = frames.f_mul(&self.window)?;
        let missing = self.padded_window_size - self.window_size;
        Ok(frames.f_pad([0, missing], "constant", 0.0)?)
    }

    /// The previous sample of each, across frame borders, minus the mean of its frame. The first frame has no previous
    /// sample and takes `before`.
    fn neighbours(&self, waveforms: &Tensor, frames: &Tensor, before: &Tensor) -> Result<Tensor> {
        let means = frames
            .f_mean_dim(2, false, frames.f_kind()?)?
            .f_unsqueeze(2)?;
        let late = waveforms.f_pad([1, 0], "constant", 0.0)?;
        let late = self
            .strided(&late)?
            .f_narrow(1, 0, frames.size()[1])?
            .f_sub(&means)?;
        let rest = late.f_narrow(1, 1, frames.size()[1] - 1)?;
        Ok(Tensor::f_cat(&[before.f_narrow(1, 0, 1)?, rest], 1)?)
    }

    /// `_get_strided`: `[batch, samples]` to overlapping frames `[batch, frame, window_size]`.
    fn strided(&self, waveforms: &Tensor) -> Result<Tensor> {
        let (size, shift) = (self.window_size, self.window_shift);
        let samples = waveforms.size()[1];
        let (waveforms, count) = if self.snip_edges {
            (waveforms.shallow_clone(), 1 + (samples - size) / shift)
        } else {
            // The signal is mirrored at its ends, the sample at the edge repeated.
            let mirrored = waveforms.f_flip([1])?;
            let pad = size / 2 - shift / 2;
            let parts = if pad > 0 {
                let left = mirrored.f_narrow(1, samples - pad, pad)?;
                vec![left, waveforms.shallow_clone(), mirrored]
            } else {
                vec![waveforms.f_narrow(1, -pad, samples + pad)?, mirrored]
            };
            (Tensor::f_cat(&parts, 1)?, (samples + shift / 2) / shift)
        };
        let strides = waveforms.stride();
        Ok(waveforms.f_as_strided(
            [waveforms.size()[0], count, size],
            [strides[0], shift * strides[1], strides[1]],
            None,
        )?)
    }
}

/// `_feature_window_function`: the window of `size` samples with Kaldi's `name`.
fn window(name: &str, size: i64, periodic: bool, kind: Kind) -> Result<Option<Tensor>> {
    let options = (kind, Device::Cpu);
    let hann = || Tensor::f_hann_window_periodic(size, periodic, options);
    Ok(Some(match name {
        "hanning" => hann()?,
        "hamming" => {
            Tensor::f_hamming_window_periodic_alpha_beta(size, periodic, 0.54, 0.46, options)?
        }
        "povey" => hann()?.f_pow_tensor_scalar(0.85)?,
        "rectangular" => Tensor::f_ones(size, options)?,
        "blackman" => {
            let a = 2.0 * PI / (size - 1) as f64;
            let samples = Tensor::f_arange(size, options)?;
            let once = samples.f_mul_scalar(a)?.f_cos()?.f_mul_scalar(0.5)?;
            let twice = samples.f_mul_scalar(2.0 * a)?.f_cos()?;
            let twice = twice.f_mul_scalar(0.5 - BLACKMAN_COEFF)?;
            once.f_rsub_scalar(BLACKMAN_COEFF)?.f_add(&twice)?
        }
        _ => return Ok(None),
    }))
}

/// `get_mel_banks`: triangles on the mel scale, `[bands, padded_window_size / 2]`, f32.
fn mel_banks(
    bands: i64,
    padded_window_size: i64,
    rate: f64,
    variation: Variation,
) -> Result<Tensor> {
    // `mel_scale_scalar`
    let scalar = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let low = scalar(variation.low);
    let high = variation.high.unwrap_or(0.5 * rate);
    let delta = (scalar(high) - low) / (bands + 1) as f64;
    let band = Tensor::f_arange(bands, (Kind::Int64, Device::Cpu))?.f_unsqueeze(1)?;
    let edge =
        |band: &Tensor| -> Result<Tensor> { Ok(band.f_mul_scalar(delta)?.f_add_scalar(low)?) };
    let left = edge(&band)?;
    let centre = edge(&band.f_add_scalar(1.0)?)?;
    let right = edge(&band.f_add_scalar(2.0)?)?;

    let lines = Tensor::f_arange(padded_window_size / 2, (Kind::Float, Device::Cpu))?;
    // `mel_scale`
    let mel = lines
        .f_mul_scalar(rate / padded_window_size as f64)?
        .f_div_scalar(700.0)?
        .f_add_scalar(1.0)?
        .f_log()?
        .f_mul_scalar(1127.0)?
        .f_unsqueeze(0)?;
    let up = mel.f_sub(&left)?.f_div(&centre.f_sub(&left)?)?;
    let down = right.f_sub(&mel)?.f_div(&right.f_sub(&centre)?)?;
    let zero = Tensor::f_zeros(1, (Kind::Float, Device::Cpu))?;
    let banks = zero.f_max_other(&up.f_min_other(&down)?)?;
    if !variation.area {
        return Ok(banks);
    }
    let hertz = |mel: &Tensor| -> Result<Tensor> {
        let ratio = mel.f_div_scalar(1127.0)?.f_exp()?;
        Ok(ratio.f_sub_scalar(1.0)?.f_mul_scalar(700.0)?)
    };
    let width = hertz(&right)?.f_sub(&hertz(&left)?)?;
    Ok(banks.f_mul_scalar(2.0)?.f_div(&width)?)
}
