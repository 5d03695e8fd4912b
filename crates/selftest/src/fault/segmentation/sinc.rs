//! Faults of the norm of the waveform and of the sinc filters.

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{NORM, NormOptions, instance_norm, late},
    edit::{Edit, half},
    stage, weights,
};

const WAV_NORM: &[&str] = &["sincnet.wav_norm1d"];
const FILTERS: &[&str] = &["sincnet.conv1d.0.filters"];
const SINC: &[&str] = &["sincnet.conv1d.0"];
const ABS: &[&str] = &["sincnet.conv1d.0.abs"];
const CONVS: &[&str] = &["sincnet.conv1d.[12]"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        stage(
            "wav-norm-missing",
            "the waveform is not normalised",
            "pyannote-ggml loads this norm separately",
            WAV_NORM,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::NormLeftOut),
        weights(
            "wav-norm-affine-missing",
            "weight and bias of the waveform norm are not loaded",
            "pyannote-ggml",
            WAV_NORM,
            |edit| edit.without_affine("sincnet.wav_norm1d"),
        )
        .named(Cause::AffineLeftOut),
        stage(
            "wav-norm-eps-0",
            "the waveform norm has no epsilon",
            "pyannote-ggml",
            WAV_NORM,
            |call| instance_norm(call, &NormOptions { eps: 0.0, ..NORM }),
        )
        .named(Cause::Eps0),
        stage(
            "waveform-in-16-bit-units",
            "the waveform is scaled by 32768 before its norm",
            "CrispASR int16 against float; pyannote-ggml",
            WAV_NORM,
            |call| {
                let eps = 1e-5 / 32768_f64.powi(2);
                instance_norm(call, &NormOptions { eps, ..NORM })
            },
        )
        .named(Cause::Eps0),
        stage(
            "wav-norm-eps-1e-3",
            "the waveform norm has an epsilon of 1e-3",
            "NeMo eps 1e-3",
            WAV_NORM,
            |call| instance_norm(call, &NormOptions { eps: 1e-3, ..NORM }),
        )
        .named(Cause::Eps1e3),
        stage(
            "wav-norm-unbiased",
            "the waveform norm divides by n - 1",
            "Pocket-TTS variance",
            WAV_NORM,
            |call| {
                instance_norm(
                    call,
                    &NormOptions {
                        correction: 1.0,
                        ..NORM
                    },
                )
            },
        )
        .named(Cause::UnbiasedVariance),
        stage(
            "wav-norm-keeps-the-mean",
            "the waveform norm divides by the deviation and leaves the mean",
            "Pocket-TTS mean square against variance",
            WAV_NORM,
            |call| {
                instance_norm(
                    call,
                    &NormOptions {
                        centred: false,
                        ..NORM
                    },
                )
            },
        )
        .named(Cause::MeanKept),
        stage(
            "waveform-one-sample-late",
            "a zero is put before the waveform",
            "FluidAudio #444: padding drifts",
            WAV_NORM,
            |call| late(&call.value, 2),
        )
        .named(Cause::OneFrameLate),
        weights(
            "sine-filters-negated",
            "the sine filters have the other sign",
            "pyannote-ggml plan",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    if index < rows.len() / 2 {
                        rows[index].clone()
                    } else {
                        -&rows[index]
                    }
                })
            },
        )
        .named(Cause::SineNegated)
        .void("the absolute value follows"),
        weights(
            "sinc-pairs-f-and-minus-f",
            "each pair of filters is f and -f in place of cosine and sine",
            "pyannote-ggml: filters[2i+1] = -bandpass",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    if index < rows.len() / 2 {
                        rows[index].clone()
                    } else {
                        -&rows[index - rows.len() / 2]
                    }
                })
            },
        )
        .named(Cause::CosineTwice),
        weights(
            "sinc-interleaved",
            "cosine and sine filters take turns in place of following each other",
            "asteroid's layout in pyannote-ggml",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    rows[index / 2 + index % 2 * (rows.len() / 2)].clone()
                })
            },
        )
        .named(Cause::FiltersInterleaved),
        weights(
            "sinc-l2-normalised",
            "each filter is divided by its length",
            "pyannote-ggml: decision L2",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    &rows[index] / (rows[index].mapv(|x| x * x).sum()).sqrt()
                })
            },
        )
        .named(Cause::FiltersNormalised),
        weights(
            "sine-mirrored-without-minus",
            "the right half of the sine filters is the mirror image of the left",
            "pyannote-ggml",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    let odd = index >= rows.len() / 2;
                    let middle = rows[index].len() / 2;
                    ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
                        if odd && n > middle {
                            -rows[index][n]
                        } else {
                            rows[index][n]
                        }
                    })
                })
            },
        )
        .named(Cause::SineWithoutMinus),
        weights(
            "sinc-window-hann",
            "the filters have a Hann window in place of a Hamming window",
            "CrispASR: windows of mel filters",
            FILTERS,
            |edit| windowed(edit, |turn| (0.5 - 0.5 * turn.cos()) / hamming(turn)),
        )
        .named(Cause::HannWindow),
        weights(
            "sinc-window-none",
            "the filters have no window",
            "CrispASR: windows of mel filters",
            FILTERS,
            |edit| windowed(edit, |turn| 1.0 / hamming(turn)),
        )
        .named(Cause::NoWindow),
        weights(
            "sinc-window-periodic",
            "the window of the filters is periodic in place of symmetric",
            "CrispASR: periodic against symmetric, cosine .95 of mel features",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    let length = rows[index].len() as f64;
                    ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
                        let turn = |size: f64| 2.0 * std::f64::consts::PI * n as f64 / size;
                        let ratio = hamming(turn(length)) / hamming(turn(length - 1.0));
                        (f64::from(rows[index][n]) * ratio) as f32
                    })
                });
            },
        )
        .named(Cause::PeriodicWindow),
        weights(
            "sinc-filters-f16",
            "the filters were stored in 16 bits",
            "CrispASR: quantised weights against a float reference",
            FILTERS,
            |edit| edit.each(FILTERS[0], half),
        )
        .named(Cause::WeightsInF16),
        stage(
            "sinc-one-frame-late",
            "the output of the filters is one frame late, as of causal padding",
            "CrispASR: causal against symmetric padding",
            SINC,
            |call| late(&call.value, 2),
        )
        .named(Cause::OneFrameLate),
        stage(
            "sinc-stride-wrong",
            "the filters move by one sample less",
            "Silero stride (T-1)/2+1",
            SINC,
            |call| {
                call.input()?
                    .conv1d(call.operand(1)?, 0, call.stride() - 1, 1, 1)
            },
        )
        .named(Cause::StrideLessOne),
        stage(
            "abs-missing",
            "no absolute value after the filters",
            "pyannote-ggml, first trap",
            ABS,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        stage(
            "relu-for-abs",
            "ReLU in place of the absolute value",
            "pyannote-ggml, first trap, a variant",
            ABS,
            |call| call.input()?.relu(),
        )
        .named(Cause::ReluForAbs),
        stage(
            "square-for-abs",
            "the square in place of the absolute value",
            "energies in other filter banks",
            ABS,
            |call| call.input()?.sqr(),
        )
        .named(Cause::SquareForAbs),
        stage(
            "abs-everywhere",
            "the absolute value after all three convolutions",
            "MLX: abs on the first only",
            CONVS,
            |call| call.value.abs(),
        )
        .named(Cause::AbsAfter),
    ]
}

fn hamming(turn: f64) -> f64 {
    0.54 - 0.46 * turn.cos()
}

/// Gives each of the baked sinc filters other values, of all of them.
fn filters(
    edit: &mut Edit<'_>,
    change: impl Fn(usize, &[ndarray::Array1<f32>]) -> ndarray::Array1<f32>,
) {
    edit.each(FILTERS[0], |w| {
        let length = w.shape().last().copied().unwrap_or(1);
        let rows: Vec<_> = w.rows().into_iter().map(|row| row.to_owned()).collect();
        debug_assert!(rows.iter().all(|row| row.len() == length));
        let changed = (0..rows.len()).flat_map(|index| change(index, &rows));
        ndarray::ArrayD::from_shape_vec(w.shape(), changed.collect()).unwrap_or(w.clone())
    });
}

/// Multiplies the filters by `ratio` of the angle, a full turn from their first value to their last.
fn windowed(edit: &mut Edit<'_>, ratio: fn(f64) -> f64) {
    filters(edit, |index, rows| {
        let last = rows[index].len() - 1;
        ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
            let turn = 2.0 * std::f64::consts::PI * n as f64 / last as f64;
            (f64::from(rows[index][n]) * ratio(turn)) as f32
        })
    });
}
