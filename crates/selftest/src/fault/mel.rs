//! A faulty filter bank, with a direct DFT instead of an FFT.

use std::f64::consts::PI;

use ndarray::{Array1, Array2, Array3, s};
use soundalike_model::{Device, Result, Tensor, TensorError};
use soundalike_network::Op;

use super::{Call, Draft, Fault};

/// The properties of a filter bank that faults change.
pub(super) struct MelOptions {
    /// The window as a function of the position in its period, 0 to 1.
    pub(super) window: fn(f64) -> f64,
    /// Whether the period of the window is its number of samples, not one less.
    pub(super) periodic: bool,
    pub(super) full_scale: f64,
    pub(super) preemphasis: f64,
    /// Whether the pre-emphasis reads the sample before a frame.
    pub(super) whole_signal: bool,
    /// Whether the mean of each frame is subtracted, and whether after the pre-emphasis.
    pub(super) remove_mean: bool,
    pub(super) mean_last: bool,
    /// Samples of the DFT; 0 for the next power of two.
    pub(super) transform: usize,
    /// Whether the spectrum is squared.
    pub(super) power: bool,
    /// Edges of the lowest and of the highest band, Hz.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether each band is divided by its width.
    pub(super) area: bool,
    /// Applied to the energy of a band.
    pub(super) logarithm: fn(f64) -> f64,
    /// Delay of the signal in samples.
    pub(super) late: usize,
}

impl Draft {
    /// Replaces the filter bank of the network by one with changed options.
    pub(super) fn mel(self, change: impl FnOnce(&mut MelOptions)) -> Fault {
        let mut options = KALDI;
        change(&mut options);
        self.stage(&["fbank"], move |call| features(call, &options))
    }
}

/// The filter bank with Kaldi's defaults.
const KALDI: MelOptions = MelOptions {
    window: hamming,
    periodic: false,
    full_scale: 32_768.0,
    preemphasis: 0.97,
    whole_signal: false,
    remove_mean: true,
    mean_last: false,
    transform: 0,
    power: true,
    low: 20.0,
    high: 8000.0,
    area: false,
    logarithm: natural,
    late: 0,
};

fn hamming(turn: f64) -> f64 {
    0.54 - 0.46 * (2.0 * PI * turn).cos()
}

pub(super) fn hann(turn: f64) -> f64 {
    0.5 - 0.5 * (2.0 * PI * turn).cos()
}

pub(super) fn povey(turn: f64) -> f64 {
    hann(turn).powf(0.85)
}

fn natural(energy: f64) -> f64 {
    energy.max(f64::from(f32::EPSILON)).ln()
}

/// Log energies `[batch, frame, band]` of the operand of `call`.
fn features(call: &Call<'_>, options: &MelOptions) -> Result<Tensor> {
    let Op::Fbank(config) = &call.stage.op else {
        return Err(TensorError::msg("the stage is not a filter bank"));
    };
    let rate = f64::from(config.sample_rate);
    let (size, shift) = (config.window_size(), config.window_shift());
    let padded = match options.transform {
        0 => size.next_power_of_two(),
        given => given,
    };
    let turns = if options.periodic { size } else { size - 1 } as f64;
    let window = Array1::from_shape_fn(size, |n| (options.window)(n as f64 / turns));
    let bands = bands(config.num_mel_bins, padded, rate, options);
    let angle = |(n, line): (usize, usize)| 2.0 * PI * ((n * line) % padded) as f64 / padded as f64;
    let lines = padded / 2;
    let cosine = Array2::from_shape_fn((size, lines), |place| angle(place).cos());
    let sine = Array2::from_shape_fn((size, lines), |place| angle(place).sin());

    let (batch, _, length) = call.input()?.dims3()?;
    let waveforms = call.input()?.squeeze(1)?.to_vec2::<f64>()?;
    let count = (length - size) / shift + 1;
    let mut found = Array3::zeros((batch, count, config.num_mel_bins));
    for (index, waveform) in waveforms.iter().enumerate() {
        let mut signal = vec![0.0; options.late];
        signal.extend(waveform.iter().map(|x| x * options.full_scale));
        let mut frames = Array2::zeros((count, size));
        for (frame, mut row) in frames.outer_iter_mut().enumerate() {
            let start = frame * shift;
            let mut taken = Array1::from(signal[start..start + size].to_vec());
            let mean = taken.mean().unwrap_or_default();
            if options.remove_mean && !options.mean_last {
                taken -= mean;
            }
            let before = match start.checked_sub(1) {
                Some(before) if options.whole_signal => signal[before] - mean,
                _ => taken[0],
            };
            for n in (0..size).rev() {
                let earlier = if n == 0 { before } else { taken[n - 1] };
                taken[n] -= options.preemphasis * earlier;
            }
            if options.mean_last {
                taken -= taken.mean().unwrap_or_default();
            }
            row.assign(&(taken * &window));
        }
        let (real, imaginary) = (frames.dot(&cosine), frames.dot(&sine));
        let mut spectrum = &real * &real + &imaginary * &imaginary;
        if !options.power {
            spectrum.mapv_inplace(f64::sqrt);
        }
        let energies = spectrum.dot(&bands);
        found
            .slice_mut(s![index, .., ..])
            .assign(&energies.mapv(options.logarithm));
    }
    let shape = found.shape().to_vec();
    Tensor::from_vec(found.into_raw_vec_and_offset().0, shape, &Device::Cpu)
}

/// Triangles on the mel scale, `[bin, band]`, with the precision of f32 as in Kaldi.
fn bands(count: usize, padded: usize, rate: f64, options: &MelOptions) -> Array2<f64> {
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let (low, high) = (mel(options.low), mel(options.high));
    let step = ((high - low) / (count + 1) as f64) as f32;
    let hertz = |mel: f32| 700.0 * ((f64::from(mel) / 1127.0).exp() - 1.0);
    Array2::from_shape_fn((padded / 2, count), |(line, band)| {
        let ratio = 1.0 + (rate / padded as f64) as f32 * line as f32 / 700.0;
        let place = 1127.0 * f64::from(ratio).ln() as f32;
        let corner = |offset: f32| low as f32 + (band as f32 + offset) * step;
        let (left, centre, right) = (corner(0.0), corner(1.0), corner(2.0));
        let weight = ((place - left) / (centre - left)).min((right - place) / (right - centre));
        let height = match options.area {
            true => 2.0 / (hertz(right) - hertz(left)),
            false => 1.0,
        };
        f64::from(weight.max(0.0)) * height
    })
}
