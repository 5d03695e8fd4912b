//! Log mel filter banks, as in Kaldi.

use std::f64::consts::PI;

use candle_core::{DType, Device, Error, Result, Tensor, WithDType};
use realfft::{FftNum, RealFftPlanner, num_traits::Float};
use soundalike_network::{FbankOptions, HyperparameterError};

use super::precision::mean;
use crate::Kernels;

/// Full scale of 16-bit audio, the unit of Kaldi's samples. pyannote.audio `BaseWeSpeakerResNet.compute_fbank`.
const FULL_SCALE: f64 = 32_768.0;
/// Share of the previous sample that is subtracted from each sample (`kaldi.fbank(preemphasis_coefficient=0.97)`).
const PREEMPHASIS: f64 = 0.97;
/// Lower edge of the lowest band, in Hz (`kaldi.fbank(low_freq=20.0)`). The highest band ends at half the sample rate.
const LOW_HZ: f64 = 20.0;
/// Lower bound of the energy before the logarithm (`torch.finfo(torch.float).eps`).
const LEAST_ENERGY: f64 = f32::EPSILON as f64;
/// First coefficient of the Blackman window (`kaldi.fbank(blackman_coeff=0.42)`).
const BLACKMAN: f64 = 0.42;

/// `torchaudio.compliance.kaldi.fbank` with the options of a network, and the centring after it.
#[derive(Debug, Clone)]
pub(crate) struct Fbank {
    options: FbankOptions,
    /// Window function, one value per sample of a frame.
    window: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle on the mel scale.
#[derive(Debug, Clone, PartialEq)]
struct Band {
    /// The first bin of the spectrum with a weight above 0.
    first: usize,
    /// The weights from that bin on.
    weights: Vec<f32>,
}

/// The data types in which a filter bank can be computed: f32 and f64.
trait Sample: FftNum + Float + WithDType {}

impl<T: FftNum + Float + WithDType> Sample for T {}

/// `value` in the data type of a filter bank.
fn of<T: Sample>(value: f64) -> T {
    <T as WithDType>::from_f64(value)
}

impl Fbank {
    /// Computes the tables of a filter bank.
    ///
    /// # Errors
    /// [`HyperparameterError`] if torchaudio lacks such a filter bank, or if it is not deterministic.
    pub(crate) fn new(options: FbankOptions) -> std::result::Result<Self, HyperparameterError> {
        options.check()?;
        let window = window(&options.window_type, options.window_size());
        let rate = f64::from(options.sample_rate);
        Ok(Self {
            window: window.ok_or_else(|| options.unknown_window())?,
            bands: mel_bands(options.num_mel_bins, options.padded_window_size(), rate),
            options,
        })
    }

    /// Natural logarithm of the energy in each band: `waveforms` `[batch, 1, samples]` between -1 and 1 to
    /// `[batch, frame, band]`. In f64 for waveforms in f64, else in f32; always on the CPU.
    pub(crate) fn forward(&self, waveforms: &Tensor) -> Result<Tensor> {
        let features = match waveforms.dtype() {
            DType::F64 => self.features::<f64>(waveforms)?,
            _ => self.features::<f32>(waveforms)?,
        };
        features.to_device(waveforms.device())
    }

    /// `features` `[batch, frame, band]` minus their average over time. pyannote.audio
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
                // From the end, so that each sample reads its unchanged neighbour. The first reads itself.
                for i in (0..taken.len()).rev() {
                    taken[i] -= preemphasis * taken[i.saturating_sub(1)];
                }
                taken.iter_mut().zip(&window).for_each(|(x, w)| *x *= *w);
                zeros.fill(of(0.0));
                fft.process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                    .map_err(Error::wrap)?;
                for (power, bin) in power.iter_mut().zip(&spectrum) {
                    *power = bin.norm_sqr();
                }
                for band in &self.bands {
                    let energy = band.energy(&power);
                    // Not max(), which returns a number for NaN.
                    let energy = if energy < least { least } else { energy };
                    features.push(Float::ln(energy));
                }
            }
        }
        Tensor::from_vec(features, (batch, frames, self.bands.len()), &Device::Cpu)
    }

    /// Copies the samples of the frame `index`. Unless edges are snipped, the signal is mirrored at both ends, with the
    /// sample at the end twice.
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
    /// The energy in the band: the weighted sum of a power spectrum.
    fn energy<T: Sample>(&self, power: &[T]) -> T {
        let mut energy = of::<T>(0.0);
        for (weight, power) in self.weights.iter().zip(&power[self.first..]) {
            energy += of::<T>(f64::from(*weight)) * *power;
        }
        energy
    }
}

/// Subtracts the mean, whose sum is in f64.
fn remove_mean<T: Sample>(frame: &mut [T]) {
    let sum: f64 = frame.iter().map(|x| WithDType::to_f64(*x)).sum();
    let mean = of::<T>(sum / frame.len() as f64);
    frame.iter_mut().for_each(|x| *x -= mean);
}

/// The window function with Kaldi's name `name`, of `size` samples. torchaudio `_feature_window_function`.
fn window(name: &str, size: usize) -> Option<Vec<f64>> {
    let turn = |n: usize, times: f64| (times * 2.0 * PI * n as f64 / (size - 1) as f64).cos();
    let hann = |n: usize| 0.5 - 0.5 * turn(n, 1.0);
    let value = |n: usize| {
        Some(match name {
            "hamming" => 0.54 - 0.46 * turn(n, 1.0),
            "hanning" => hann(n),
            // A Hann window with a less steep fall to zero.
            "povey" => hann(n).powf(0.85),
            "rectangular" => 1.0,
            "blackman" => BLACKMAN - 0.5 * turn(n, 1.0) + (0.5 - BLACKMAN) * turn(n, 2.0),
            _ => return None,
        })
    };
    (0..size).map(value).collect()
}

/// Triangles on the mel scale, each from the centre of the previous band to the centre of the next, over the bins of a
/// spectrum of `padded` samples without the last bin (half the sample rate). torchaudio `get_mel_banks`.
///
/// Every step is in f32 for every network, as in torchaudio: a weight is a small difference of large mels, of which f32
/// keeps five or six digits. torch's own logarithm is up to one unit in the last place off. This changes a weight by 1e-5
/// and the features by a third of torch's rounding error.
fn mel_bands(bands: usize, padded: usize, rate: f64) -> Vec<Band> {
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let (low, high) = (mel(LOW_HZ), mel(0.5 * rate));
    let (delta, low) = (((high - low) / (bands + 1) as f64) as f32, low as f32);
    let width = (rate / padded as f64) as f32;
    let bins: Vec<f32> = (0..padded / 2)
        .map(|bin| {
            let ratio = 1.0_f32 + width * bin as f32 / 700.0;
            1127.0 * f64::from(ratio).ln() as f32
        })
        .collect();
    let band = |index: usize| {
        let corner = |offset: f32| low + (index as f32 + offset) * delta;
        let (left, centre, right) = (corner(0.0), corner(1.0), corner(2.0));
        let weight = |bin: &f32| {
            let up = (bin - left) / (centre - left);
            let down = (right - bin) / (right - centre);
            up.min(down)
        };
        let first = bins.iter().take_while(|bin| weight(bin) <= 0.0).count();
        let weights = bins[first..].iter().map(weight).take_while(|w| *w > 0.0);
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

    /// The options after `change`.
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
                assert_eq!(features.dtype(), dtype, "{options:?}");
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

    /// torchaudio `_get_strided`: frames of `cat(flip(x)[-pad:], x, flip(x))`.
    #[test]
    fn a_signal_is_mirrored_at_both_ends() {
        let fbank = Fbank::new(with(|options| options.snip_edges = false)).unwrap();
        let signal: Vec<usize> = (0..900).collect();
        // 25 ms every 10 ms.
        let (size, shift) = (400, 160);
        let before = signal[..size / 2 - shift / 2].iter().rev();
        let padded = before.chain(&signal).chain(signal.iter().rev());
        let padded: Vec<usize> = padded.copied().collect();
        let mut frame = vec![0; size];
        for index in 0..6 {
            fbank.take(&signal, index, &mut frame);
            assert_eq!(frame, padded[index * shift..][..size], "frame {index}");
        }
    }

    /// torchaudio `get_mel_banks` gives it no weight, even where rounding puts it within the last band.
    #[test]
    fn no_band_has_the_last_bin_of_the_spectrum() {
        for rate in [16_000.0, 24_000.0] {
            for bands in 1..=120 {
                let ends = mel_bands(bands, 512, rate).into_iter();
                let last = ends.map(|band| band.first + band.weights.len()).max();
                assert!(last <= Some(256), "{bands} bands at {rate} Hz: {last:?}");
            }
        }
    }

    #[test]
    fn silence_is_the_least_energy_and_nan_stays_nan() {
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
    fn options_without_a_deterministic_result_are_refused_by_name() {
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
        // The means may differ by one unit in the last place.
        let allowed = 8.0 * f32::EPSILON;
        for (ours, exact) in ours.iter().zip(exact) {
            assert!((ours - exact).abs() <= allowed, "{ours}, expected {exact}");
        }
    }
}
