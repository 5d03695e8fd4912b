//! Faults of the filter bank.

use std::f64::consts::LN_10;

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{late, shorter},
    fault,
    mel::{hann, povey},
};

const FEATURES: &[&str] = &["fbank"];
const CENTRED: &[&str] = &["fbank.centred"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("fbank-hann")
            .text("a Hann window in place of a Hamming window")
            .seen_in("speech-swift #70; 3D-Speaker #235")
            .mel(|mel| mel.window = hann)
            .named(Cause::HannWindow),
        fault("fbank-povey")
            .text("Kaldi's own povey window in place of a Hamming window")
            .seen_in("CrispASR ECAPA and TitaNet (cosine .917)")
            .mel(|mel| mel.window = povey)
            .named(Cause::PoveyWindow),
        fault("fbank-rectangular")
            .text("no window")
            .seen_in("speech-swift #70, a variant")
            .mel(|mel| mel.window = |_| 1.0)
            .named(Cause::NoWindow),
        fault("fbank-periodic")
            .text("a periodic window in place of a symmetric one")
            .seen_in("CrispASR: periodic against symmetric (cosine .95)")
            .mel(|mel| mel.periodic = true)
            .named(Cause::PeriodicWindow),
        fault("fbank-no-preemphasis")
            .text("no pre-emphasis")
            .seen_in("3D-Speaker #235")
            .mel(|mel| mel.preemphasis = 0.0)
            .named(Cause::NoPreemphasis),
        fault("fbank-preemphasis-of-the-signal")
            .text("pre-emphasis over the whole signal in place of each frame")
            .seen_in("librosa front ends")
            .mel(|mel| mel.whole_signal = true)
            .named(Cause::PreemphasisOfTheSignal),
        fault("fbank-dc-kept")
            .text("the mean of each frame stays")
            .seen_in("speech-swift #70")
            .mel(|mel| mel.remove_mean = false)
            .named(Cause::MeanKept),
        fault("fbank-dc-after-preemphasis")
            .text("the mean of each frame goes after the pre-emphasis in place of before")
            .seen_in("Kaldi look-alikes")
            .mel(|mel| mel.mean_last = true)
            .named(Cause::MeanAfterPreemphasis),
        fault("fbank-transform-400")
            .text("a transform of 400 samples in place of 512")
            .seen_in("CrispASR ECAPA: n_fft 400 against 512")
            .mel(|mel| mel.transform = 400)
            .named(Cause::TransformNotPadded),
        fault("fbank-low-0")
            .text("the lowest band starts at 0 Hz")
            .seen_in("speech-swift #70: low_freq")
            .mel(|mel| mel.low = 0.0)
            .named(Cause::Low(0.0)),
        fault("fbank-high-7600")
            .text("the highest band ends at 7600 Hz")
            .seen_in("high_freq -400 of Kaldi recipes")
            .mel(|mel| mel.high = 7600.0)
            .named(Cause::High7600),
        fault("fbank-not-scaled")
            .text("the waveform is not scaled by 32768")
            .seen_in("CrispASR int16 against float: an offset of 20.79 that centring hides")
            .mel(|mel| mel.full_scale = 1.0)
            .named(Cause::NotScaled),
        fault("fbank-magnitude")
            .text("magnitudes in place of energies")
            .seen_in("use_power of Kaldi recipes")
            .mel(|mel| mel.power = false)
            .named(Cause::Magnitude),
        fault("fbank-base-10")
            .text("logarithms of base 10")
            .seen_in("decibels of librosa")
            .stage(FEATURES, |call| call.value.clone() / LN_10)
            .named(Cause::Base10),
        fault("fbank-log-of-one-more")
            .text("ln(1 + x) in place of ln(x)")
            .seen_in("log1p of music front ends")
            .mel(|mel| mel.logarithm = f64::ln_1p)
            .named(Cause::Log1p),
        fault("fbank-area")
            .text("each band is divided by its width")
            .seen_in("librosa's norm=slaney")
            .mel(|mel| mel.area = true)
            .named(Cause::BandsByArea),
        fault("fbank-one-sample-late")
            .text("a zero is put before the waveform")
            .seen_in("FluidAudio #444: padding drifts")
            .mel(|mel| mel.late = 1),
        fault("fbank-one-frame-late")
            .text("the features are one frame late")
            .seen_in("CrispASR TitaNet and IndexTTS")
            .stage(FEATURES, |call| late(&call.value, 1))
            .named(Cause::OneFrameLate),
        fault("fbank-one-frame-short")
            .text("the last frame is lost")
            .seen_in("FluidAudio #807")
            .stage(FEATURES, |call| shorter(&call.value, 1))
            .named(Cause::OneFrameLess),
        fault("fbank-dither")
            .text("noise of one unit of 16 bits is left on")
            .seen_in("wespeaker #146; VBx #67")
            .stage(FEATURES, |call| {
                call.value.clone() + (call.value.clone() * 12.9898)?.sin()? * 1e-3
            }),
        fault("centring-missing")
            .text("the features are not centred")
            .seen_in("wespeaker #416, #234, #146")
            .left_out(CENTRED)
            .named(Cause::NormLeftOut),
        fault("centring-with-variance")
            .text("the features are divided by their deviation as well")
            .seen_in("wenet #601: CMVN for CMN")
            .stage(CENTRED, |call| {
                let variance = call.value.sqr()?.mean_keepdim(1)?;
                call.value.broadcast_div(&variance.sqrt()?)
            })
            .named(Cause::VarianceNormalised),
        fault("centring-over-bands")
            .text("the features are centred over bands in place of time")
            .seen_in("wespeaker #234: axes")
            .stage(CENTRED, |call| {
                call.input()?.broadcast_sub(&call.input()?.mean_keepdim(2)?)
            })
            .named(Cause::CentredOverBands),
        fault("centring-over-everything")
            .text("one mean is taken off all bands")
            .seen_in("wespeaker #234: axes")
            .stage(CENTRED, |call| {
                let mean = call.input()?.mean_keepdim(2)?.mean_keepdim(1)?;
                call.input()?.broadcast_sub(&mean)
            })
            .named(Cause::CentredOverEverything),
    ]
}
