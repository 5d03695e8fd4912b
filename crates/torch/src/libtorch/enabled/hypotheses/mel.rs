//! Mistakes in a filter bank and in the centring of its features.

use soundalike_network::{Cause, FbankOptions, Op};
use tch::Tensor;

use super::{Known, Site, Title, hypothesis};
use crate::{
    Error, Result,
    libtorch::enabled::{
        fbank::{Fbank, Variation},
        tensor::{kind, mean},
    },
};

/// The options of the network's filter bank.
fn options<'a>(site: &'a Site<'_>) -> Result<&'a FbankOptions> {
    let mut stages = site.graph.stages().iter();
    let options = stages.find_map(|stage| match &stage.op {
        Op::Fbank(options) => Some(options),
        _ => None,
    });
    options.ok_or_else(|| Error::NoStage {
        name: "a filter bank".into(),
    })
}

/// The filter bank with other options.
fn with_options(
    site: &Site<'_>,
    change: fn(&mut FbankOptions),
    variation: Variation,
) -> Result<Tensor> {
    let mut options = options(site)?.clone();
    change(&mut options);
    Fbank::new(&options, kind(site.precision), variation)?.forward(site.x()?)
}

impl Title {
    /// The filter bank with changed options.
    fn options(self, change: fn(&mut FbankOptions)) -> Known {
        self.by(move |site| with_options(site, change, Variation::NONE))
    }

    /// The filter bank with a change outside the options.
    fn varied(self, change: fn(&mut Variation)) -> Known {
        let mut variation = Variation::NONE;
        change(&mut variation);
        self.by(move |site| with_options(site, |_| {}, variation))
    }
}

/// The filter bank with another pre-emphasis.
pub(super) fn with_preemphasis(site: &Site<'_>, preemphasis: f64) -> Result<Tensor> {
    let variation = Variation {
        preemphasis,
        ..Variation::NONE
    };
    with_options(site, |_| {}, variation)
}

/// The filter bank with another lowest frequency, Hz.
pub(super) fn with_low(site: &Site<'_>, low: f64) -> Result<Tensor> {
    let variation = Variation {
        low,
        ..Variation::NONE
    };
    with_options(site, |_| {}, variation)
}

pub(super) fn features(site: &Site<'_>) -> Result<Tensor> {
    with_options(site, |_| {}, Variation::NONE)
}

pub(super) fn centred(site: &Site<'_>) -> Result<Tensor> {
    Fbank::new(options(site)?, kind(site.precision), Variation::NONE)?.centre(site.x()?)
}

pub(super) fn fbank() -> Vec<Known> {
    vec![
        hypothesis(Cause::HannWindow)
            .text("a Hann window in place of a Hamming window")
            .options(|options| options.window_type = "hanning".to_owned()),
        hypothesis(Cause::PoveyWindow)
            .text("Kaldi's povey window in place of a Hamming window")
            .options(|options| options.window_type = "povey".to_owned()),
        hypothesis(Cause::BlackmanWindow)
            .text("a Blackman window in place of a Hamming window")
            .options(|options| options.window_type = "blackman".to_owned()),
        hypothesis(Cause::NoWindow)
            .text("no window on the frames")
            .options(|options| options.window_type = "rectangular".to_owned()),
        hypothesis(Cause::TransformNotPadded)
            .text("a transform of the frame alone, not of a power of two")
            .options(|options| options.round_to_power_of_two = false),
        hypothesis(Cause::EdgesMirrored)
            .text("edges mirrored in place of snipped")
            .options(|options| options.snip_edges = false),
        hypothesis(Cause::PeriodicWindow)
            .text("a periodic window in place of a symmetric one")
            .varied(|fbank| fbank.periodic = true),
        hypothesis(Cause::NoPreemphasis)
            .text("no pre-emphasis")
            .varied(|fbank| fbank.preemphasis = 0.0),
        hypothesis(Cause::PreemphasisOfTheSignal)
            .text("pre-emphasis over the whole signal in place of each frame")
            .varied(|fbank| fbank.whole_signal = true),
        hypothesis(Cause::MeanKept)
            .text("frames whose mean stays")
            .varied(|fbank| fbank.remove_mean = false),
        hypothesis(Cause::MeanAfterPreemphasis)
            .text("a mean taken off after the pre-emphasis in place of before")
            .varied(|fbank| fbank.mean_last = true),
        hypothesis(Cause::NotScaled)
            .text("a waveform that is not scaled by 32768")
            .varied(|fbank| fbank.full_scale = 1.0),
        hypothesis(Cause::Magnitude)
            .text("magnitudes in place of energies")
            .varied(|fbank| fbank.power = 1.0),
        hypothesis(Cause::High7600)
            .text("a highest band that ends at 7600 Hz")
            .varied(|fbank| fbank.high = Some(7600.0)),
        hypothesis(Cause::BandsByArea)
            .text("bands divided by their width")
            .varied(|fbank| fbank.area = true),
        hypothesis(Cause::Log1p)
            .text("ln(1 + x) in place of ln(x)")
            .varied(|fbank| fbank.log1p = true),
    ]
}

/// `x` minus its mean over `axes`.
fn less_mean(x: &Tensor, axes: &[i64]) -> Result<Tensor> {
    Ok(x.f_sub(&mean(x, axes)?)?)
}

pub(super) fn centring() -> Vec<Known> {
    vec![
        hypothesis(Cause::NormLeftOut)
            .text("features that are not centred")
            .left_out(),
        hypothesis(Cause::VarianceNormalised)
            .text("features divided by their deviation as well")
            .by(|site| {
                let x = centred(site)?;
                Ok(x.f_div(&mean(&x.f_mul(&x)?, &[1])?.f_sqrt()?)?)
            }),
        hypothesis(Cause::CentredOverBands)
            .text("features centred over bands in place of time")
            .of_input(|x| less_mean(x, &[2])),
        hypothesis(Cause::CentredOverEverything)
            .text("one mean for all bands")
            .of_input(|x| less_mean(x, &[1, 2])),
    ]
}
