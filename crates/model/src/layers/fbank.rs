//! Logarithmic mel filter banks, as Kaldi makes them.

use std::f64::consts::PI;

use candle_core::{DType, Device, Error, Result, Tensor, WithDType};
use realfft::{FftNum, RealFftPlanner, num_traits::Float};
use soundalike_network::{FbankOptions, Hyperparameter};

use super::precision::mean;
use crate::Kernels;

/// Full scale of 16-bit audio, in which Kaldi counts. pyannote.audio `BaseWeSpeakerResNet.compute_fbank`.
const FULL_SCALE: f64 = 32_768.0;
/// Part of the sample before that is taken off each sample (`kaldi.fbank(preemphasis_coefficient=0.97)`).
const PREEMPHASIS: f64 = 0.97;
/// Lower edge of the lowest band, Hz (`kaldi.fbank(low_freq=20.0)`); the highest ends at half the rate.
const LOW_HZ: f64 = 20.0;
/// Least energy that is put through the logarithm (`torch.finfo(torch.float).eps`).
const LEAST_ENERGY: f64 = f32::EPSILON as f64;
/// First coefficient of the Blackman window (`kaldi.fbank(blackman_coeff=0.42)`).
const BLACKMAN: f64 = 0.42;

/// `torchaudio.compliance.kaldi.fbank` with the hyperparameters of a network.
#[derive(Debug, Clone)]
pub(crate) struct Fbank {
    options: FbankOptions,
    /// By what the samples of one frame are tapered.
    window: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle on the mel scale.
#[derive(Debug, Clone, PartialEq)]
struct Band {
    /// The first line of the spectrum with a weight above 0.
    first: usize,
    /// The weights from there on.
    weights: Vec<f32>,
}

/// What a filter bank can be computed in.
trait Sample: FftNum + Float + WithDType {}

impl<T: FftNum + Float + WithDType> Sample for T {}

/// `value` in the dtype of a filter bank.
fn of<T: Sample>(value: f64) -> T {
    <T as WithDType>::from_f64(value)
}

impl Fbank {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Hyperparameter`] where torchaudio has no such filter bank, or not twice the same.
    pub(crate) fn new(options: FbankOptions) -> std::result::Result<Self, Hyperparameter> {
        options.check()?;
        let window = window(&options.window_type, options.window_size());
        let rate = f64::from(options.sample_rate);
        Ok(Self {
            window: window.ok_or_else(|| options.unknown_window())?,
            bands: mel_bands(options.num_mel_bins, options.padded_window_size(), rate),
            options,
        })
    }

    /// Natural logarithm of the energy per band, `[batch, frame, band]`, of `waveforms`
    /// `[batch, 1, samples]` between -1 and 1. In f32, or in f64 for waveforms in f64; always on the CPU.
    pub(crate) fn forward(&self, waveforms: &Tensor) -> Result<Tensor> {
        let features = match waveforms.dtype() {
            DType::F64 => self.features::<f64>(waveforms)?,
            _ => self.features::<f32>(waveforms)?,
        };
        features.to_device(waveforms.device())
    }

    /// `features` `[batch, frame, band]` less their average over time. pyannote.audio
    /// `BaseWeSpeakerResNet.compute_fbank`.
    pub(crate) fn centre(&self, features: &Tensor, kernels: Kernels) -> Result<Tensor> {
        let wide = features.to_dtype(kernels.sums(features.dtype(), features.device()))?;
        let mean = match self.options.span_frames() {
            None => mean(&wide.transpose(1, 2)?)?.transpose(1, 2)?,
            Some(span) => {
                // `avg_pool1d(kernel_size=2 * (span // 2) + 1, count_include_pad=False)`
                let (frames, half) = (features.dim(1)?, span / 2);
                let means = (0..frames).map(|frame| {
                    let first = frame.saturating_sub(half);
                    let last = (frame + half).min(frames - 1);
                    wide.narrow(1, first, last - first + 1)?.mean_keepdim(1)
                });
                Tensor::cat(&means.collect::<Result<Vec<_>>>()?, 1)?
            }
        };
        features.broadcast_sub(&mean.to_dtype(features.dtype())?)
    }

    fn features<T: Sample>(&self, waveforms: &Tensor) -> Result<Tensor> {
        let (batch, _, samples) = waveforms.dims3()?;
        let frames = self.options.num_frames(samples);
        let values = waveforms
            .to_device(&Device::Cpu)?
            .to_dtype(T::DTYPE)?
            .flatten_all()?
            .to_vec1::<T>()?;
        let window: Vec<T> = self.window.iter().map(|x| of(*x)).collect();
        let (scale, preemphasis) = (of::<T>(FULL_SCALE), of::<T>(PREEMPHASIS));
        let least = of::<T>(LEAST_ENERGY);
        let fft = RealFftPlanner::<T>::new().plan_fft_forward(self.options.padded_window_size());
        let (mut frame, mut spectrum) = (fft.make_input_vec(), fft.make_output_vec());
        let mut scratch = fft.make_scratch_vec();
        let mut power = vec![of::<T>(0.0); spectrum.len()];
        let mut features = Vec::with_capacity(batch * frames * self.bands.len());
        for signal in values.chunks(samples) {
            for index in 0..frames {
                let (taken, zeros) = frame.split_at_mut(window.len());
                self.take(signal, index, taken);
                taken.iter_mut().for_each(|x| *x *= scale);
                remove_mean(taken);
                // From the end, so that each sample meets its neighbour as it was; the first is its own.
                for i in (0..taken.len()).rev() {
                    taken[i] -= preemphasis * taken[i.saturating_sub(1)];
                }
                taken.iter_mut().zip(&window).for_each(|(x, w)| *x *= *w);
                zeros.fill(of(0.0));
                fft.process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                    .map_err(Error::wrap)?;
                for (power, line) in power.iter_mut().zip(&spectrum) {
                    *power = line.norm_sqr();
                }
                for band in &self.bands {
                    let energy = band.energy(&power);
                    // Not max(), which would make a number of NaN.
                    let energy = if energy < least { least } else { energy };
                    features.push(Float::ln(energy));
                }
            }
        }
        Tensor::from_vec(features, (batch, frames, self.bands.len()), &Device::Cpu)
    }

    /// Copies the samples of one frame. Where edges are not snipped, the signal goes on as its own mirror
    /// image on both sides, the sample at the edge twice.
    fn take<T: Copy>(&self, signal: &[T], index: usize, frame: &mut [T]) {
        let shift = self.options.window_shift();
        let start = index * shift;
        if self.options.snip_edges {
            frame.copy_from_slice(&signal[start..start + frame.len()]);
            return;
        }
        let before = (frame.len() / 2) as isize - (shift / 2) as isize;
        let end = signal.len() as isize;
        for (i, x) in frame.iter_mut().enumerate() {
            let place = (start + i) as isize - before;
            let mirrored = match place {
                place if place < 0 => -1 - place,
                place if place < end => place,
                place => 2 * end - 1 - place,
            };
            *x = signal[mirrored as usize];
        }
    }
}

impl Band {
    /// Energy in the band: the weighted sum of a power spectrum.
    fn energy<T: Sample>(&self, power: &[T]) -> T {
        let mut energy = of::<T>(0.0);
        for (weight, power) in self.weights.iter().zip(&power[self.first..]) {
            energy += of::<T>(f64::from(*weight)) * *power;
        }
        energy
    }
}

/// Takes the mean off, summed in f64.
fn remove_mean<T: Sample>(frame: &mut [T]) {
    let sum: f64 = frame.iter().map(|x| WithDType::to_f64(*x)).sum();
    let mean = of::<T>(sum / frame.len() as f64);
    frame.iter_mut().for_each(|x| *x -= mean);
}

/// A window of `size` samples by Kaldi's name of it. torchaudio `_feature_window_function`.
fn window(name: &str, size: usize) -> Option<Vec<f64>> {
    let turn = |n: usize, times: f64| (times * 2.0 * PI * n as f64 / (size - 1) as f64).cos();
    let hann = |n: usize| 0.5 - 0.5 * turn(n, 1.0);
    let value = |n: usize| {
        Some(match name {
            "hamming" => 0.54 - 0.46 * turn(n, 1.0),
            "hanning" => hann(n),
            // A Hann window that goes to zero less steeply.
            "povey" => hann(n).powf(0.85),
            "rectangular" => 1.0,
            "blackman" => BLACKMAN - 0.5 * turn(n, 1.0) + (0.5 - BLACKMAN) * turn(n, 2.0),
            _ => return None,
        })
    };
    (0..size).map(value).collect()
}

/// Triangles on the mel scale, each from the centre of the one below to that of the one above, over the
/// lines of a spectrum of `padded` samples, the last line (half the rate) left out. torchaudio
/// `get_mel_banks`.
///
/// In f32 step by step whatever the dtype of the network, as torchaudio does: a weight is a small difference
/// of large mels, so that f32 has only five or six of its digits. torch's own logarithm is up to a unit in the
/// last place off, which moves a weight by 1e-5 and the features by a third of torch's rounding.
fn mel_bands(bands: usize, padded: usize, rate: f64) -> Vec<Band> {
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let (low, high) = (mel(LOW_HZ), mel(0.5 * rate));
    let (delta, low) = (((high - low) / (bands + 1) as f64) as f32, low as f32);
    let width = (rate / padded as f64) as f32;
    let lines: Vec<f32> = (0..padded / 2)
        .map(|line| {
            let ratio = 1.0_f32 + width * line as f32 / 700.0;
            1127.0 * f64::from(ratio).ln() as f32
        })
        .collect();
    let band = |index: usize| {
        let corner = |offset: f32| low + (index as f32 + offset) * delta;
        let (left, centre, right) = (corner(0.0), corner(1.0), corner(2.0));
        let weight = |line: &f32| {
            let up = (line - left) / (centre - left);
            let down = (right - line) / (right - centre);
            up.min(down)
        };
        let first = lines.iter().take_while(|line| weight(line) <= 0.0).count();
        let weights = lines[first..].iter().map(weight).take_while(|w| *w > 0.0);
        Band {
            first,
            weights: weights.collect(),
        }
    };
    (0..bands).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> FbankOptions {
        FbankOptions {
            sample_rate: 16_000,
            num_mel_bins: 8,
            frame_length: 25.0,
            frame_shift: 10.0,
            round_to_power_of_two: true,
            snip_edges: true,
            dither: 0.0,
            window_type: "hamming".into(),
            use_energy: false,
            centering_span: None,
        }
    }

    /// Another filter bank than that of [`options`].
    fn with(change: impl FnOnce(&mut FbankOptions)) -> FbankOptions {
        let mut options = options();
        change(&mut options);
        options
    }

    /// ```python
    /// n = torch.arange(900)
    /// x = ((n * n * 7 + n * 3) % 1000 - 500).double()[None]
    /// kaldi.fbank(x, num_mel_bins=8, dither=0.0, **options)  # the last row, and how many there are
    /// ```
    #[test]
    fn filter_banks_are_those_of_torchaudio() {
        let signal = (0..900_i64)
            .map(|n| ((n * n * 7 + n * 3) % 1000 - 500) as f64 / FULL_SCALE)
            .collect();
        let signal = Tensor::from_vec(signal, (1, 1, 900), &Device::Cpu).unwrap();
        let named = |name: &str| with(|options| options.window_type = name.into());
        let cases = [
            (
                options(),
                4,
                [
                    15.098801, 16.284657, 17.174789, 18.14996, 19.266322, 20.270134, 20.961018,
                    21.703504,
                ],
            ),
            (
                named("hanning"),
                4,
                [
                    15.047945, 16.224394, 17.109487, 18.053614, 19.211505, 20.209339, 20.905425,
                    21.645988,
                ],
            ),
            (
                named("povey"),
                4,
                [
                    15.107375, 16.30437, 17.193675, 18.171525, 19.276142, 20.284163, 20.971585,
                    21.717606,
                ],
            ),
            (
                named("rectangular"),
                4,
                [
                    16.067338, 17.092418, 18.120963, 19.342681, 20.286981, 21.249081, 21.879653,
                    22.556558,
                ],
            ),
            (
                named("blackman"),
                4,
                [
                    14.873812, 15.987716, 16.848846, 17.708727, 19.011241, 19.982728, 20.715707,
                    21.433211,
                ],
            ),
            (
                with(|options| options.snip_edges = false),
                6,
                [
                    14.562905, 15.682871, 17.082361, 18.501543, 19.550596, 20.07017, 21.110888,
                    21.713587,
                ],
            ),
            (
                with(|options| options.round_to_power_of_two = false),
                4,
                [
                    14.842848, 16.038705, 16.926512, 17.903431, 19.018455, 20.02333, 20.714529,
                    21.456629,
                ],
            ),
            (
                with(|options| (options.frame_length, options.frame_shift) = (20.0, 8.0)),
                5,
                [
                    14.961933, 16.096702, 16.913957, 17.680961, 19.017144, 20.058181, 20.728864,
                    21.470161,
                ],
            ),
        ];
        for (options, frames, expected) in cases {
            let fbank = Fbank::new(options.clone()).unwrap();
            // torch's own f32 is 1e-5 away from its f64.
            for (dtype, allowed) in [(DType::F64, 5e-6), (DType::F32, 5e-5)] {
                let features = fbank.forward(&signal.to_dtype(dtype).unwrap()).unwrap();
                assert_eq!(features.dims(), [1, frames, 8], "{options:?}");
                let last = features.narrow(1, frames - 1, 1).unwrap();
                let last = last.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
                for (found, expected) in last.to_vec1::<f64>().unwrap().iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < allowed,
                        "{found} for {expected}, {options:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn silence_is_the_least_energy_and_not_a_number_stays_one() {
        let fbank = Fbank::new(options()).unwrap();
        let silence = Tensor::zeros((1, 1, 400), DType::F32, &Device::Cpu).unwrap();
        let bands = |x: &Tensor| fbank.forward(x).unwrap().flatten_all().unwrap();
        let least = f32::EPSILON.ln();
        assert_eq!(bands(&silence).to_vec1::<f32>().unwrap(), [least; 8]);
        let broken = (silence + f64::NAN).unwrap();
        assert!(
            bands(&broken)
                .to_vec1::<f32>()
                .unwrap()
                .iter()
                .all(|x| x.is_nan())
        );
    }

    /// `x - F.avg_pool1d(x[None, None], 3, 1, padding=1, count_include_pad=False)`
    #[test]
    fn a_running_average_has_fewer_frames_at_the_ends() {
        // 45 ms: frames at 0, 10 and 20 ms.
        let fbank = Fbank::new(with(|options| options.centering_span = Some(0.045))).unwrap();
        let features = Tensor::new(&[[[1.0_f64], [2.0], [6.0], [4.0]]], &Device::Cpu).unwrap();
        let centred = fbank
            .centre(&features, Kernels::Portable)
            .unwrap()
            .flatten_all()
            .unwrap();
        assert_eq!(centred.to_vec1::<f64>().unwrap(), [-0.5, -1.0, 2.0, -1.0]);
    }

    #[test]
    fn what_torchaudio_cannot_compute_twice_alike_is_refused_by_name() {
        for (name, options) in [
            ("dither", with(|options| options.dither = 1.0)),
            ("use_energy", with(|options| options.use_energy = true)),
            (
                "window_type",
                with(|options| options.window_type = "kaiser".into()),
            ),
            ("frame_shift", with(|options| options.frame_shift = 0.01)),
            ("frame_length", with(|options| options.frame_length = 0.01)),
            (
                "fbank_centering_span",
                with(|options| options.centering_span = Some(0.01)),
            ),
        ] {
            let error = Fbank::new(options).unwrap_err();
            assert_eq!(error.name, name, "{error}");
        }
    }

    #[test]
    fn a_mean_in_f32_is_that_in_f64_however_long_the_signal() {
        let fbank = Fbank::new(options()).unwrap();
        let values: Vec<f32> = (0..998).map(|frame| 10.0 + (frame as f32).sin()).collect();
        let features = Tensor::from_vec(values, (1, 998, 1), &Device::Cpu).unwrap();
        let [ours, exact] = [Kernels::MetalOps, Kernels::Portable].map(|kernels| {
            let centred = fbank.centre(&features, kernels).unwrap();
            centred.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        });
        // The mean is the same but for the unit in its last place.
        let allowed = 8.0 * f32::EPSILON;
        for (ours, exact) in ours.iter().zip(exact) {
            assert!((ours - exact).abs() <= allowed, "{ours}, expected {exact}");
        }
    }
}
