//! Faults of the filter bank.

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{late, shorter},
    filter_bank,
    mel::{self, KALDI, MelOptions},
    stage,
};

const FEATURES: &[&str] = &["fbank"];
const CENTRED: &[&str] = &["fbank.centred"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        filter_bank(
            "fbank-hann",
            "a Hann window in place of a Hamming window",
            "speech-swift #70; 3D-Speaker #235",
            MelOptions {
                window: mel::hann,
                ..KALDI
            },
        )
        .named(Cause::HannWindow),
        filter_bank(
            "fbank-povey",
            "Kaldi's own povey window in place of a Hamming window",
            "CrispASR ECAPA and TitaNet (cosine .917)",
            MelOptions {
                window: mel::povey,
                ..KALDI
            },
        )
        .named(Cause::PoveyWindow),
        filter_bank(
            "fbank-rectangular",
            "no window",
            "speech-swift #70, a variant",
            MelOptions {
                window: |_| 1.0,
                ..KALDI
            },
        )
        .named(Cause::NoWindow),
        filter_bank(
            "fbank-periodic",
            "a periodic window in place of a symmetric one",
            "CrispASR: periodic against symmetric (cosine .95)",
            MelOptions {
                periodic: true,
                ..KALDI
            },
        )
        .named(Cause::PeriodicWindow),
        filter_bank(
            "fbank-no-preemphasis",
            "no pre-emphasis",
            "3D-Speaker #235",
            MelOptions {
                preemphasis: 0.0,
                ..KALDI
            },
        )
        .named(Cause::NoPreemphasis),
        filter_bank(
            "fbank-preemphasis-of-the-signal",
            "pre-emphasis over the whole signal in place of each frame",
            "librosa front ends",
            MelOptions {
                whole_signal: true,
                ..KALDI
            },
        )
        .named(Cause::PreemphasisOfTheSignal),
        filter_bank(
            "fbank-dc-kept",
            "the mean of each frame stays",
            "speech-swift #70",
            MelOptions {
                remove_mean: false,
                ..KALDI
            },
        )
        .named(Cause::MeanKept),
        filter_bank(
            "fbank-dc-after-preemphasis",
            "the mean of each frame goes after the pre-emphasis in place of before",
            "Kaldi look-alikes",
            MelOptions {
                mean_last: true,
                ..KALDI
            },
        )
        .named(Cause::MeanAfterPreemphasis),
        filter_bank(
            "fbank-transform-400",
            "a transform of 400 samples in place of 512",
            "CrispASR ECAPA: n_fft 400 against 512",
            MelOptions {
                transform: 400,
                ..KALDI
            },
        )
        .named(Cause::TransformNotPadded),
        filter_bank(
            "fbank-low-0",
            "the lowest band starts at 0 Hz",
            "speech-swift #70: low_freq",
            MelOptions { low: 0.0, ..KALDI },
        )
        .named(Cause::Low0),
        filter_bank(
            "fbank-high-7600",
            "the highest band ends at 7600 Hz",
            "high_freq -400 of Kaldi recipes",
            MelOptions {
                high: 7600.0,
                ..KALDI
            },
        )
        .named(Cause::High7600),
        filter_bank(
            "fbank-not-scaled",
            "the waveform is not scaled by 32768",
            "CrispASR int16 against float: an offset of 20.79 that centring hides",
            MelOptions {
                full_scale: 1.0,
                ..KALDI
            },
        )
        .named(Cause::NotScaled),
        filter_bank(
            "fbank-magnitude",
            "magnitudes in place of energies",
            "use_power of Kaldi recipes",
            MelOptions {
                power: false,
                ..KALDI
            },
        )
        .named(Cause::Magnitude),
        stage(
            "fbank-base-10",
            "logarithms of base 10",
            "decibels of librosa",
            FEATURES,
            |call| call.value.clone() / std::f64::consts::LN_10,
        )
        .named(Cause::Base10),
        filter_bank(
            "fbank-log-of-one-more",
            "ln(1 + x) in place of ln(x)",
            "log1p of music front ends",
            MelOptions {
                logarithm: f64::ln_1p,
                ..KALDI
            },
        )
        .named(Cause::Log1p),
        filter_bank(
            "fbank-area",
            "each band is divided by its width",
            "librosa's norm=slaney",
            MelOptions {
                area: true,
                ..KALDI
            },
        )
        .named(Cause::BandsByArea),
        filter_bank(
            "fbank-one-sample-late",
            "a zero is put before the waveform",
            "FluidAudio #444: padding drifts",
            MelOptions { late: 1, ..KALDI },
        ),
        stage(
            "fbank-one-frame-late",
            "the features are one frame late",
            "CrispASR TitaNet and IndexTTS",
            FEATURES,
            |call| late(&call.value, 1),
        )
        .named(Cause::OneFrameLate),
        stage(
            "fbank-one-frame-short",
            "the last frame is lost",
            "FluidAudio #807",
            FEATURES,
            |call| shorter(&call.value, 1),
        )
        .named(Cause::OneFrameLess),
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
        .named(Cause::NormLeftOut),
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
        .named(Cause::VarianceNormalised),
        stage(
            "centring-over-bands",
            "the features are centred over bands in place of time",
            "wespeaker #234: axes",
            CENTRED,
            |call| call.input()?.broadcast_sub(&call.input()?.mean_keepdim(2)?),
        )
        .named(Cause::CentredOverBands),
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
        .named(Cause::CentredOverEverything),
    ]
}
