//! Logarithmic mel filter banks: `torchaudio.compliance.kaldi.fbank`, call by call.
//!
//! pyannote.audio maps it over the batch with `torch.vmap`, which is the same calls with one more dimension in front.

use std::f64::consts::PI;

use soundalike_convert::WeSpeakerResNet as Config;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Full scale of 16-bit audio, in which Kaldi counts. pyannote.audio `BaseWeSpeakerResNet.compute_fbank`.
const FULL_SCALE: i64 = 1 << 15;
/// `MILLISECONDS_TO_SECONDS`: a factor, which rounds unlike a division.
const MILLISECONDS_TO_SECONDS: f64 = 0.001;
/// `fbank(preemphasis_coefficient=0.97)`: part of the sample before that is taken off each sample.
const PREEMPHASIS: f64 = 0.97;
/// `fbank(low_freq=20.0)`: lower edge of the lowest band, Hz. The highest ends at half the sample rate.
const LOW_FREQ: f64 = 20.0;
/// `fbank(blackman_coeff=0.42)`.
const BLACKMAN_COEFF: f64 = 0.42;

/// A filter bank with the hyperparameters of a network.
#[derive(Debug)]
pub(super) struct Fbank {
    /// Samples of one frame.
    window_size: i64,
    /// Samples from one frame to the next.
    window_shift: i64,
    /// Samples of one frame with the zeros after it.
    padded_window_size: i64,
    snip_edges: bool,
    /// `[window_size]`, made in the precision of the network.
    window: Tensor,
    /// `[padded_window_size / 2 + 1, bands]`: made in f32 whatever the network runs in, then widened.
    mel_banks: Tensor,
    /// Frames in the running average that is taken off; none for the average of all.
    centering_kernel: Option<i64>,
}

impl Fbank {
    /// Reads the hyperparameters; the network runs in `kind`.
    pub(super) fn new(config: &Config, kind: Kind) -> Result<Self> {
        let refuse = |hyperparameter, found, expected| {
            Err(Error::Unsupported {
                hyperparameter,
                found,
                expected,
            })
        };
        let rate = f64::from(config.sample_rate);
        let samples = |milliseconds: f64| (rate * milliseconds * MILLISECONDS_TO_SECONDS) as i64;
        let window_size = samples(config.frame_length);
        let window_shift = samples(config.frame_shift);
        let padded_window_size = if config.round_to_power_of_two {
            (window_size as u64).next_power_of_two() as i64
        } else {
            window_size
        };
        if window_size < 2 || padded_window_size % 2 != 0 {
            let found = format!("{} ms, {window_size} samples", config.frame_length);
            return refuse("frame_length", found, "an even number of samples");
        }
        if window_shift < 1 {
            let found = format!("{} ms", config.frame_shift);
            return refuse("frame_shift", found, "one sample or more");
        }
        if config.dither != 0.0 {
            let expected = "0: random dither would make every run another";
            return refuse("dither", config.dither.to_string(), expected);
        }
        if config.use_energy {
            let expected = "false: the network has no row for the energy";
            return refuse("use_energy", "true".into(), expected);
        }
        let Some(window) = window(&config.window_type, window_size, kind)? else {
            let expected = "hamming, hanning, povey, rectangular or blackman";
            return refuse("window_type", config.window_type.clone(), expected);
        };
        let centering_kernel = match config.fbank_centering_span {
            None => None,
            Some(seconds) => {
                let rest = (seconds * rate) as i64 - window_size;
                if rest < 0 {
                    let expected = "one frame_length or more";
                    return refuse("fbank_centering_span", format!("{seconds} s"), expected);
                }
                Some(1 + rest / window_shift)
            }
        };
        let mel_banks = mel_banks(config.num_mel_bins as i64, padded_window_size, rate)?;
        Ok(Self {
            window_size,
            window_shift,
            padded_window_size,
            snip_edges: config.snip_edges,
            window,
            // A column of zeros for the highest line of the spectrum.
            mel_banks: mel_banks
                .f_to_kind(kind)?
                .f_pad([0, 1], "constant", 0.0)?
                .f_tr()?,
            centering_kernel,
        })
    }

    /// Samples of one frame, and the fewest there may be.
    pub(super) fn window_size(&self) -> usize {
        self.window_size as usize
    }

    /// Natural logarithm of the energy per band, `[batch, frame, band]`, of `waveforms` `[batch, 1, samples]`
    /// between -1 and 1.
    pub(super) fn forward(&self, waveforms: &Tensor) -> Result<Tensor> {
        let waveforms = waveforms.f_mul_scalar(FULL_SCALE)?.f_select(1, 0)?;
        let frames = self.frames(&waveforms)?;
        let spectrum = frames
            .f_fft_rfft(None, -1, "backward")?
            .f_abs()?
            .f_pow_tensor_scalar(2.0)?;
        let energies = spectrum.f_matmul(&self.mel_banks)?;
        let epsilon = Tensor::f_from_slice(&[f32::EPSILON])?.f_to_kind(energies.f_kind()?)?;
        Ok(energies.f_max_other(&epsilon)?.f_log()?)
    }

    /// `features` `[batch, frame, band]` less their average over time. pyannote.audio
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
        let frames = self.strided(waveforms)?;
        let means = frames.f_mean_dim(2, false, frames.f_kind()?)?;
        let frames = frames.f_sub(&means.f_unsqueeze(2)?)?;
        let before = frames
            .f_pad([1, 0], "replicate", None)?
            .f_narrow(2, 0, self.window_size)?;
        let frames = frames.f_sub(&before.f_mul_scalar(PREEMPHASIS)?)?;
        let frames = frames.f_mul(&self.window)?;
        let missing = self.padded_window_size - self.window_size;
        Ok(frames.f_pad([0, missing], "constant", 0.0)?)
    }

    /// `_get_strided`: `[batch, samples]` to `[batch, frame, window_size]`, which overlap.
    fn strided(&self, waveforms: &Tensor) -> Result<Tensor> {
        let (size, shift) = (self.window_size, self.window_shift);
        let samples = waveforms.size()[1];
        let (waveforms, count) = if self.snip_edges {
            (waveforms.shallow_clone(), 1 + (samples - size) / shift)
        } else {
            // The signal goes on as its own mirror image, the sample at the edge twice.
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

/// `_feature_window_function`: a window of `size` samples by Kaldi's name of it.
fn window(name: &str, size: i64, kind: Kind) -> Result<Option<Tensor>> {
    let options = (kind, Device::Cpu);
    let hann = || Tensor::f_hann_window_periodic(size, false, options);
    Ok(Some(match name {
        "hanning" => hann()?,
        "hamming" => {
            Tensor::f_hamming_window_periodic_alpha_beta(size, false, 0.54, 0.46, options)?
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
fn mel_banks(bands: i64, padded_window_size: i64, rate: f64) -> Result<Tensor> {
    // `mel_scale_scalar`
    let scalar = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let low = scalar(LOW_FREQ);
    let delta = (scalar(0.5 * rate) - low) / (bands + 1) as f64;
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
    Ok(zero.f_max_other(&up.f_min_other(&down)?)?)
}
