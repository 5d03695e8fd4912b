//! Faults of the filter bank.

use super::super::{
    Fault,
    call::{late, shorter},
    mel::{self, FBANK, Recipe},
    stage,
};

const FEATURES: &[&str] = &["fbank"];
const CENTRED: &[&str] = &["fbank.centred"];

pub(super) fn catalogue() -> Vec<Fault> {
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
