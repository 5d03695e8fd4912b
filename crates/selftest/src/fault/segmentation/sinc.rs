//! Faults of the norm of the waveform and of the sinc filters.

use std::f64::consts::PI;

use ndarray::{Array1, ArrayD, s};
use soundalike_network::Cause;

use super::super::{Draft, Fault, call::late, edit::half, fault};

const WAV_NORM: &[&str] = &["sincnet.wav_norm1d"];
const FILTERS: &[&str] = &["sincnet.conv1d.0.filters"];
const SINC: &[&str] = &["sincnet.conv1d.0"];
const ABS: &[&str] = &["sincnet.conv1d.0.abs"];
const CONVS: &[&str] = &["sincnet.conv1d.[12]"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("wav-norm-missing")
            .text("the waveform is not normalised")
            .seen_in("pyannote-ggml loads this norm separately")
            .left_out(WAV_NORM)
            .named(Cause::NormLeftOut),
        fault("wav-norm-affine-missing")
            .text("weight and bias of the waveform norm are not loaded")
            .seen_in("pyannote-ggml")
            .weights(WAV_NORM, |edit| edit.without_affine("sincnet.wav_norm1d"))
            .named(Cause::AffineLeftOut),
        fault("wav-norm-eps-0")
            .text("the waveform norm has no epsilon")
            .seen_in("pyannote-ggml")
            .norm(WAV_NORM, |norm| norm.eps = 0.0)
            .named(Cause::Eps(0.0)),
        fault("waveform-in-16-bit-units")
            .text("the waveform is scaled by 32768 before its norm")
            .seen_in("CrispASR int16 against float; pyannote-ggml")
            .norm(WAV_NORM, |norm| norm.eps = 1e-5 / 32768_f64.powi(2))
            .named(Cause::Eps(0.0)),
        fault("wav-norm-eps-1e-3")
            .text("the waveform norm has an epsilon of 1e-3")
            .seen_in("NeMo eps 1e-3")
            .norm(WAV_NORM, |norm| norm.eps = 1e-3)
            .named(Cause::Eps(1e-3)),
        fault("wav-norm-unbiased")
            .text("the waveform norm divides by n - 1")
            .seen_in("Pocket-TTS variance")
            .norm(WAV_NORM, |norm| norm.correction = 1.0)
            .named(Cause::UnbiasedVariance),
        fault("wav-norm-keeps-the-mean")
            .text("the waveform norm divides by the deviation and leaves the mean")
            .seen_in("Pocket-TTS mean square against variance")
            .norm(WAV_NORM, |norm| norm.centred = false)
            .named(Cause::MeanKept),
        fault("waveform-one-sample-late")
            .text("a zero is put before the waveform")
            .seen_in("FluidAudio #444: padding drifts")
            .stage(WAV_NORM, |call| late(&call.value, 2))
            .named(Cause::OneFrameLate),
        fault("sine-filters-negated")
            .text("the sine filters have the other sign")
            .seen_in("pyannote-ggml plan")
            .filters(|index, rows| &rows[index] * sign(index, rows.len() / 2))
            .named(Cause::SineNegated)
            .void("the absolute value follows"),
        fault("sinc-pairs-f-and-minus-f")
            .text("each pair of filters is f and -f in place of cosine and sine")
            .seen_in("pyannote-ggml: filters[2i+1] = -bandpass")
            .filters(|index, rows| {
                let cosines = rows.len() / 2;
                &rows[index % cosines] * sign(index, cosines)
            })
            .named(Cause::CosineTwice),
        fault("sinc-interleaved")
            .text("cosine and sine filters take turns in place of following each other")
            .seen_in("asteroid's layout in pyannote-ggml")
            .filters(|index, rows| rows[index / 2 + index % 2 * (rows.len() / 2)].clone())
            .named(Cause::FiltersInterleaved),
        fault("sinc-l2-normalised")
            .text("each filter is divided by its length")
            .seen_in("pyannote-ggml: decision L2")
            .filters(|index, rows| &rows[index] / (rows[index].mapv(|x| x * x).sum()).sqrt())
            .named(Cause::FiltersNormalised),
        fault("sine-mirrored-without-minus")
            .text("the right half of the sine filters is the mirror image of the left")
            .seen_in("pyannote-ggml")
            .filters(|index, rows| {
                let mut filter = rows[index].clone();
                let right = filter.len() / 2 + 1;
                let mut right = filter.slice_mut(s![right..]);
                right *= sign(index, rows.len() / 2);
                filter
            })
            .named(Cause::SineWithoutMinus),
        fault("sinc-window-hann")
            .text("the filters have a Hann window in place of a Hamming window")
            .seen_in("CrispASR: windows of mel filters")
            .windowed(|n, size| {
                let hann = 0.5 - 0.5 * (2.0 * PI * n / (size - 1.0)).cos();
                hann / hamming(n, size - 1.0)
            })
            .named(Cause::HannWindow),
        fault("sinc-window-none")
            .text("the filters have no window")
            .seen_in("CrispASR: windows of mel filters")
            .windowed(|n, size| 1.0 / hamming(n, size - 1.0))
            .named(Cause::NoWindow),
        fault("sinc-window-periodic")
            .text("the window of the filters is periodic in place of symmetric")
            .seen_in("CrispASR: periodic against symmetric, cosine .95 of mel features")
            .windowed(|n, size| hamming(n, size) / hamming(n, size - 1.0))
            .named(Cause::PeriodicWindow),
        fault("sinc-filters-f16")
            .text("the filters were stored in 16 bits")
            .seen_in("CrispASR: quantised weights against a float reference")
            .weights(FILTERS, |edit| edit.each(FILTERS[0], half))
            .named(Cause::WeightsInF16),
        fault("sinc-one-frame-late")
            .text("the output of the filters is one frame late, as of causal padding")
            .seen_in("CrispASR: causal against symmetric padding")
            .stage(SINC, |call| late(&call.value, 2))
            .named(Cause::OneFrameLate),
        fault("sinc-stride-wrong")
            .text("the filters move by one sample less")
            .seen_in("Silero stride (T-1)/2+1")
            .stage(SINC, |call| {
                let stride = call.stride() - 1;
                call.input()?.conv1d(call.operand(1)?, 0, stride, 1, 1)
            })
            .named(Cause::StrideLessOne),
        fault("abs-missing")
            .text("no absolute value after the filters")
            .seen_in("pyannote-ggml, first trap")
            .left_out(ABS)
            .named(Cause::ActivationLeftOut),
        fault("relu-for-abs")
            .text("ReLU in place of the absolute value")
            .seen_in("pyannote-ggml, first trap, a variant")
            .stage(ABS, |call| call.input()?.relu())
            .named(Cause::ReluForAbs),
        fault("square-for-abs")
            .text("the square in place of the absolute value")
            .seen_in("energies in other filter banks")
            .stage(ABS, |call| call.input()?.sqr())
            .named(Cause::SquareForAbs),
        fault("abs-everywhere")
            .text("the absolute value after all three convolutions")
            .seen_in("MLX: abs on the first only")
            .stage(CONVS, |call| call.value.abs())
            .named(Cause::AbsAfter),
    ]
}

/// 1 for a cosine filter, -1 for a sine filter. The first `cosines` filters are cosines.
fn sign(index: usize, cosines: usize) -> f32 {
    if index < cosines { 1.0 } else { -1.0 }
}

/// A Hamming window of period `size` at the sample `n`.
fn hamming(n: f64, size: f64) -> f64 {
    0.54 - 0.46 * (2.0 * PI * n / size).cos()
}

impl Draft {
    /// Computes each stored filter from its index and all stored filters.
    fn filters(
        self,
        change: impl Fn(usize, &[Array1<f32>]) -> Array1<f32> + Send + Sync + 'static,
    ) -> Fault {
        self.weights(FILTERS, move |edit| {
            edit.each(FILTERS[0], |w| {
                let rows: Vec<_> = w.rows().into_iter().map(|row| row.to_owned()).collect();
                let changed = (0..rows.len()).flat_map(|index| change(index, &rows));
                ArrayD::from_shape_vec(w.shape(), changed.collect()).unwrap_or(w.clone())
            });
        })
    }

    /// Multiplies the value `n` of each filter by `ratio` of `n` and the number of values.
    fn windowed(self, ratio: fn(f64, f64) -> f64) -> Fault {
        self.filters(move |index, rows| {
            let size = rows[index].len() as f64;
            let values = rows[index].indexed_iter();
            let windowed = values.map(|(n, x)| (f64::from(*x) * ratio(n as f64, size)) as f32);
            windowed.collect()
        })
    }
}
