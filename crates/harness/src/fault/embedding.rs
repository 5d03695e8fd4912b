//! Faults of speaker embeddings and of their filter bank.

use ndarray::Axis;
use soundalike_model::{Result, Tensor};

use super::{
    Fault,
    call::{
        Call, POOL, Pool, batch_norm, causal, conv2d, late, leaky, replicated, shorter, statistics,
        stats_pool, whole_window,
    },
    edit::{flip, half, transpose, zero},
    mel::{self, FBANK, Recipe},
    stage, weights,
};

const FEATURES: &[&str] = &["fbank"];
const CENTRED: &[&str] = &["fbank.centred"];
const NORMS: &[&str] = &[
    "resnet.bn1",
    "resnet.layer?.*.bn?",
    "resnet.layer?.*.shortcut.1",
];
const FIRST_NORM: &[&str] = &["resnet.bn1"];
const CONV1: &[&str] = &["resnet.conv1"];
const BLOCK_CONV: &[&str] = &["resnet.layer1.0.conv1"];
const POOLED: &[&str] = &["resnet.pool"];
const LAST: &[&str] = &["resnet.seg_1"];
const ADD: &[&str] = &["resnet.layer2.1.add"];
const BLOCK: &[&str] = &["resnet.layer2.1"];

/// By the order of the stages.
pub(super) fn catalogue() -> Vec<Fault> {
    [filter_bank(), trunk(), pooling(), no_faults()].concat()
}

fn filter_bank() -> Vec<Fault> {
    vec![
        stage(
            "fbank-hann",
            "a Hann window in place of a Hamming window",
            "speech-swift #70; 3D-Speaker #235",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        window: mel::hann,
                        ..FBANK
                    },
                )
            },
        )
        .named("hann-window"),
        stage(
            "fbank-povey",
            "Kaldi's own povey window in place of a Hamming window",
            "CrispASR ECAPA and TitaNet (cosine .917)",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        window: mel::povey,
                        ..FBANK
                    },
                )
            },
        )
        .named("povey-window"),
        stage(
            "fbank-rectangular",
            "no window",
            "speech-swift #70, a variant",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        window: |_| 1.0,
                        ..FBANK
                    },
                )
            },
        )
        .named("no-window"),
        stage(
            "fbank-periodic",
            "a periodic window in place of a symmetric one",
            "CrispASR: periodic against symmetric (cosine .95)",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        periodic: true,
                        ..FBANK
                    },
                )
            },
        )
        .named("periodic-window"),
        stage(
            "fbank-no-preemphasis",
            "no pre-emphasis",
            "3D-Speaker #235",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        preemphasis: 0.0,
                        ..FBANK
                    },
                )
            },
        )
        .named("no-preemphasis"),
        stage(
            "fbank-preemphasis-of-the-signal",
            "pre-emphasis over the whole signal in place of each frame",
            "librosa front ends",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        whole_signal: true,
                        ..FBANK
                    },
                )
            },
        )
        .named("preemphasis-of-the-signal"),
        stage(
            "fbank-dc-kept",
            "the mean of each frame stays",
            "speech-swift #70",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        remove_mean: false,
                        ..FBANK
                    },
                )
            },
        )
        .named("mean-kept"),
        stage(
            "fbank-dc-after-preemphasis",
            "the mean of each frame goes after the pre-emphasis in place of before",
            "Kaldi look-alikes",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        mean_last: true,
                        ..FBANK
                    },
                )
            },
        )
        .named("mean-after-preemphasis"),
        stage(
            "fbank-transform-400",
            "a transform of 400 samples in place of 512",
            "CrispASR ECAPA: n_fft 400 against 512",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        transform: 400,
                        ..FBANK
                    },
                )
            },
        )
        .named("transform-not-padded"),
        stage(
            "fbank-low-0",
            "the lowest band starts at 0 Hz",
            "speech-swift #70: low_freq",
            FEATURES,
            |call| mel::features(call, &Recipe { low: 0.0, ..FBANK }),
        )
        .named("low-0"),
        stage(
            "fbank-high-7600",
            "the highest band ends at 7600 Hz",
            "high_freq -400 of Kaldi recipes",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        high: 7600.0,
                        ..FBANK
                    },
                )
            },
        )
        .named("high-7600"),
        stage(
            "fbank-not-scaled",
            "the waveform is not scaled by 32768",
            "CrispASR int16 against float: an offset of 20.79 that centring hides",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        full_scale: 1.0,
                        ..FBANK
                    },
                )
            },
        )
        .named("not-scaled"),
        stage(
            "fbank-magnitude",
            "magnitudes in place of energies",
            "use_power of Kaldi recipes",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        power: false,
                        ..FBANK
                    },
                )
            },
        )
        .named("magnitude"),
        stage(
            "fbank-base-10",
            "logarithms of base 10",
            "decibels of librosa",
            FEATURES,
            |call| call.value.clone() / std::f64::consts::LN_10,
        )
        .named("base-10"),
        stage(
            "fbank-log-of-one-more",
            "ln(1 + x) in place of ln(x)",
            "log1p of music front ends",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        logarithm: f64::ln_1p,
                        ..FBANK
                    },
                )
            },
        )
        .named("log1p"),
        stage(
            "fbank-area",
            "each band is divided by its width",
            "librosa's norm=slaney",
            FEATURES,
            |call| {
                mel::features(
                    call,
                    &Recipe {
                        area: true,
                        ..FBANK
                    },
                )
            },
        )
        .named("bands-by-area"),
        stage(
            "fbank-one-sample-late",
            "a zero is put before the waveform",
            "FluidAudio #444: padding drifts",
            FEATURES,
            |call| mel::features(call, &Recipe { late: 1, ..FBANK }),
        ),
        stage(
            "fbank-one-frame-late",
            "the features are one frame late",
            "CrispASR TitaNet and IndexTTS",
            FEATURES,
            |call| late(&call.value, 1),
        )
        .named("one-frame-late"),
        stage(
            "fbank-one-frame-short",
            "the last frame is lost",
            "FluidAudio #807",
            FEATURES,
            |call| shorter(&call.value, 1),
        )
        .named("one-frame-less"),
        stage(
            "fbank-dither",
            "noise of one unit of 16 bits is left on",
            "wespeaker #146; VBx #67",
            FEATURES,
            |call| call.value.clone() + (call.value.clone() * 12.9898)?.sin()? * 1e-3,
        ),
        stage(
            "centring-missing",
            "the features are not centred",
            "wespeaker #416, #234, #146",
            CENTRED,
            |call| Ok(call.input()?.clone()),
        )
        .named("norm-left-out"),
        stage(
            "centring-with-variance",
            "the features are divided by their deviation as well",
            "wenet #601: CMVN for CMN",
            CENTRED,
            |call| {
                let variance = call.value.sqr()?.mean_keepdim(1)?;
                call.value.broadcast_div(&variance.sqrt()?)
            },
        )
        .named("variance-normalised"),
        stage(
            "centring-over-bands",
            "the features are centred over bands in place of time",
            "wespeaker #234: axes",
            CENTRED,
            |call| call.input()?.broadcast_sub(&call.input()?.mean_keepdim(2)?),
        )
        .named("centred-over-bands"),
        stage(
            "centring-over-everything",
            "one mean is taken off all bands",
            "wespeaker #234: axes",
            CENTRED,
            |call| {
                let mean = call.input()?.mean_keepdim(2)?.mean_keepdim(1)?;
                call.input()?.broadcast_sub(&mean)
            },
        )
        .named("centred-over-everything"),
    ]
}

fn trunk() -> Vec<Fault> {
    vec![
        weights(
            "time-and-band-swapped",
            "the kernel of the first convolution has time and band swapped",
            "MLX FINAL_STATUS: axes",
            CONV1,
            |edit| {
                edit.each("resnet.conv1.weight", |w| {
                    let mut view = w.view();
                    view.swap_axes(2, 3);
                    view.as_standard_layout().to_owned()
                });
            },
        )
        .named("kernel-transposed"),
        weights(
            "conv2d-kernel-flipped",
            "the kernel of a convolution is turned round",
            "mlx-audio #715",
            BLOCK_CONV,
            |edit| edit.each("resnet.layer1.0.conv1.weight", |w| flip(&flip(&w, 2), 3)),
        )
        .named("kernel-flipped"),
        weights(
            "conv2d-in-and-out-swapped",
            "inputs and outputs of a convolution are swapped",
            "mlx-vlm #1743, #1545",
            BLOCK_CONV,
            |edit| edit.each("resnet.layer1.0.conv1.weight", transpose),
        )
        .named("in-and-out-swapped"),
        stage(
            "conv2d-edges-replicated",
            "a convolution pads with its edge in place of zeros",
            "SpeechBrain pads by reflection",
            BLOCK_CONV,
            |call| conv2d(call, 1, replicated),
        )
        .named("edges-replicated"),
        stage(
            "conv2d-causal",
            "a convolution pads before its input only",
            "CrispASR: causal against symmetric",
            BLOCK_CONV,
            |call| conv2d(call, 1, causal),
        )
        .named("causal-padding"),
        stage(
            "stride-one-off",
            "a convolution with a stride starts one value late",
            "TensorFlow's SAME with a stride",
            &["resnet.layer2.0.conv1"],
            |call| {
                let edge = |x: &Tensor, axis| x.pad_with_zeros(axis, 0, 2);
                conv2d(call, 2, edge)
            },
        )
        .named("stride-one-late"),
        weights(
            "conv2d-filters-zeroed",
            "four filters of a convolution are zero",
            "CrispASR OmniVoice #254",
            &["resnet.layer1.1.conv2"],
            |edit| {
                edit.each("resnet.layer1.1.conv2.weight", |mut w| {
                    w.slice_axis_mut(Axis(0), ndarray::Slice::from(..4))
                        .fill(0.0);
                    w
                });
            },
        ),
        stage(
            "bn-eps-1e-3",
            "batch norms have an epsilon of 1e-3",
            "CrispASR #334: eps by position (cosine .810)",
            NORMS,
            |call| batch_norm(call, |variance| (variance + 1e-3)?.sqrt()),
        )
        .named("eps-1e-3"),
        stage(
            "bn-eps-1e-6",
            "batch norms have an epsilon of 1e-6",
            "CrispASR #334, a variant",
            NORMS,
            |call| batch_norm(call, |variance| (variance + 1e-6)?.sqrt()),
        )
        .named("eps-1e-6"),
        stage(
            "bn-eps-outside",
            "the epsilon of the batch norms is added to the deviation",
            "norms written by hand",
            NORMS,
            |call| batch_norm(call, |variance| variance.sqrt()? + 1e-5),
        )
        .named("eps-outside-the-root"),
        stage(
            "bn-variance-for-deviation",
            "the first batch norm divides by the variance",
            "norms written by hand",
            FIRST_NORM,
            |call| batch_norm(call, |variance| variance + 1e-5),
        )
        .named("variance-for-deviation"),
        weights(
            "bn-statistics-not-loaded",
            "running means and variances are 0 and 1",
            "MLX FINAL_STATUS: norm 2.4 against .78",
            NORMS,
            |edit| {
                edit.each("*.running_mean", zero);
                edit.each("*.running_var", |w| w * 0.0 + 1.0);
            },
        )
        .named("statistics-left-out"),
        weights(
            "bn-affine-missing",
            "weights and biases of the first batch norm are not loaded",
            "CrispASR #334",
            FIRST_NORM,
            |edit| {
                edit.each("resnet.bn1.weight", |w| w * 0.0 + 1.0);
                edit.each("resnet.bn1.bias", zero);
            },
        )
        .named("affine-left-out"),
        weights(
            "bn-bias-lost",
            "the bias of a batch norm is lost when it is folded",
            "CrispASR #334 (cosine .737); canary",
            &["resnet.layer1.0.bn2"],
            |edit| edit.each("resnet.layer1.0.bn2.bias", zero),
        )
        .named("bias-left-out"),
        stage(
            "bn-in-training",
            "the first batch norm takes the statistics of its input",
            "models left in training mode",
            FIRST_NORM,
            |call| {
                let x = call.input()?;
                let mean = x.mean_keepdim(3)?.mean_keepdim(2)?;
                let centred = x.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(3)?.mean_keepdim(2)?;
                centred
                    .broadcast_div(&(variance + 1e-5)?.sqrt()?)?
                    .broadcast_mul(&call.channels("weight")?)?
                    .broadcast_add(&call.channels("bias")?)
            },
        )
        .named("statistics-of-the-input"),
        stage(
            "relu-missing",
            "no ReLU within a block",
            "CrispASR Silero LID: missing activations",
            &["resnet.layer1.0.bn1.relu"],
            |call| Ok(call.input()?.clone()),
        )
        .named("activation-left-out"),
        stage(
            "leaky-for-relu",
            "LeakyReLU(0.01) in place of ReLU",
            "the mistake of an MLX port the other way round",
            &["resnet.bn1.relu"],
            |call| leaky(call, 0.01),
        )
        .named("slope-0.01"),
        stage(
            "residual-missing",
            "a block does not add its input",
            "CrispASR Jasper mout",
            ADD,
            |call| Ok(call.input()?.clone()),
        )
        .named("shortcut-left-out"),
        stage(
            "residual-twice",
            "a block adds its input twice",
            "sums written by hand",
            ADD,
            |call| &call.value + call.operand(1)?,
        )
        .named("shortcut-twice"),
        stage(
            "relu-before-the-sum",
            "a block adds its input after the ReLU",
            "pre-activation blocks",
            BLOCK,
            |call| Ok(call.input()?.clone()),
        )
        .named("activation-left-out"),
        stage(
            "shortcut-norm-missing",
            "the shortcut has no batch norm",
            "CrispASR Jasper",
            &["resnet.layer2.0.shortcut.1"],
            |call| Ok(call.input()?.clone()),
        )
        .named("norm-left-out"),
    ]
}

fn pooling() -> Vec<Fault> {
    vec![
        stage(
            "masks-late",
            "the masks are one frame late",
            "mask frames and feature frames mixed",
            &["weights"],
            |call| late(&call.value, 2),
        )
        .named("one-frame-late"),
        stage(
            "masks-inverted",
            "the masks are those of everybody else",
            "FluidAudio #523",
            &["weights"],
            |call| call.value.neg()? + 1.0,
        )
        .named("masks-inverted"),
        stage(
            "pool-biased",
            "the deviation is divided by n",
            "an MLX port: sqrt(var + 1e-7), biased; NeMo #7225",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &Pool {
                        correction: 0.0,
                        ..POOL
                    },
                )
            },
        )
        .named("biased-deviation"),
        stage(
            "pool-eps",
            "1e-7 is added to the variance",
            "an MLX port: sqrt(var + 1e-7)",
            POOLED,
            |call| stats_pool(call, &Pool { eps: 1e-7, ..POOL }),
        )
        .named("eps-1e-7"),
        stage(
            "pool-variance",
            "variances in place of deviations",
            "coremltools #2718",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &Pool {
                        variance: true,
                        ..POOL
                    },
                )
            },
        )
        .named("variance-for-deviation"),
        stage(
            "pool-deviation-first",
            "deviations first, then means",
            "CrispASR ECAPA",
            POOLED,
            |call| {
                let (mean, deviation) = statistics(call, &POOL)?;
                Ok(whole_window(call, Tensor::cat(&[deviation, mean], 1)?))
            },
        )
        .named("deviation-first"),
        stage(
            "pool-one-frame-short",
            "the first frame is left out of the pool",
            "off by one",
            POOLED,
            |call| stats_pool(call, &Pool { skipped: 1, ..POOL }),
        ),
        stage(
            "pool-flattened-otherwise",
            "bands and channels are flattened in the other order",
            "MLX FINAL_STATUS: time and frequency swapped",
            POOLED,
            |call| {
                let swapped = |call: &Call<'_>| -> Result<Tensor> {
                    call.input()?.transpose(1, 2)?.contiguous()
                };
                let turned = Call {
                    name: call.name,
                    inputs: vec![swapped(call)?],
                    value: call.value.clone(),
                    bundle: call.bundle,
                };
                stats_pool(&turned, &POOL)
            },
        )
        .named("flattened-otherwise"),
        weights(
            "last-bias-missing",
            "the last layer has no bias",
            "CrispASR ECAPA",
            LAST,
            |edit| edit.each("resnet.seg_1.bias", zero),
        )
        .named("bias-left-out"),
        weights(
            "last-weights-f16",
            "the last layer was stored in 16 bits",
            "speakrs ADR 001: DER 6.8 to 27.1 %",
            LAST,
            |edit| edit.each("resnet.seg_1.weight", half),
        )
        .named("weights-in-f16"),
        stage(
            "embedding-normalised",
            "the embedding is divided by its length",
            "MLX FINAL_STATUS: shipped, ranks kept 2 of 4",
            LAST,
            |call| {
                let axis = call.value.rank() - 1;
                let length = call.value.sqr()?.sum_keepdim(axis)?.sqrt()?;
                call.value.broadcast_div(&length)
            },
        )
        .named("length-1"),
        stage(
            "embedding-gain",
            "the embedding has a gain of 3",
            "librosa scale=True; CrispASR CQT: correlation .9999",
            LAST,
            |call| call.value.clone() * 3.0,
        ),
        stage(
            "embedding-activated",
            "a ReLU follows the last layer",
            "two_emb_layer networks",
            LAST,
            |call| call.value.relu(),
        )
        .named("relu-after"),
    ]
}

/// Changes that are none.
fn no_faults() -> Vec<Fault> {
    vec![
        stage(
            "bn-folded",
            "batch norms as one scale and one shift",
            "every runtime",
            NORMS,
            |call| {
                let deviation = (call.channels("running_var")? + 1e-5)?.sqrt()?;
                let scale = (call.channels("weight")? / deviation)?;
                let shift = (call.channels("bias")? - (call.channels("running_mean")? * &scale)?)?;
                call.input()?.broadcast_mul(&scale)?.broadcast_add(&shift)
            },
        )
        .equivalent("w (x - m) / d + b = (w / d) x + (b - m w / d)"),
        stage(
            "centring-twice",
            "the features are centred twice",
            "wespeaker #416",
            CENTRED,
            |call| call.value.broadcast_sub(&call.value.mean_keepdim(1)?),
        )
        .equivalent("the mean of centred features is 0"),
        stage(
            "sum-the-other-way",
            "a block adds its branch to its input",
            "most ports",
            &["resnet.layer?.*.add"],
            |call| call.operand(1)? + call.operand(0)?,
        )
        .equivalent("sums commute"),
    ]
}
