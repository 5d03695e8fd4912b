//! Mistakes in a filter bank and in how its features are centred.

use soundalike_network::{Cause, FbankOptions, Op};
use tch::{Kind, Tensor};

use super::{Known, Site, hypothesis};
use crate::{
    Error, Result,
    libtorch::enabled::{
        fbank::{Fbank, Variation},
        tensor::kind,
    },
};

/// The options of the network's filter bank.
fn options<'a>(site: &'a Site<'_>) -> Result<&'a FbankOptions> {
    let banks = site
        .graph
        .stages()
        .iter()
        .find_map(|stage| match &stage.op {
            Op::Fbank(options) => Some(options),
            _ => None,
        });
    banks.ok_or_else(|| Error::NoStage {
        name: "a filter bank".into(),
    })
}

/// A filter bank with other options.
fn with_options(site: &Site<'_>, change: impl Fn(&mut FbankOptions)) -> Result<Tensor> {
    let mut options = options(site)?.clone();
    change(&mut options);
    Fbank::new(&options, kind(site.precision), Variation::NONE)?.forward(site.x()?)
}

pub(super) fn features(site: &Site<'_>) -> Result<Tensor> {
    with_options(site, |_| {})
}

pub(super) fn centred(site: &Site<'_>) -> Result<Tensor> {
    Fbank::new(options(site)?, kind(site.precision), Variation::NONE)?.centre(site.x()?)
}

pub(super) fn fbank() -> Vec<Known> {
    let varied = |cause: Cause, text: &str, variation: Variation| {
        hypothesis(cause, text, move |site| {
            Fbank::new(options(site)?, kind(site.precision), variation)?.forward(site.x()?)
        })
    };
    let window = |cause: Cause, text: &str, window: &'static str| {
        hypothesis(cause, text, move |site| {
            with_options(site, |options| options.window_type = window.to_owned())
        })
    };
    vec![
        window(
            Cause::HannWindow,
            "a Hann window in place of a Hamming window",
            "hanning",
        ),
        window(
            Cause::PoveyWindow,
            "Kaldi's povey window in place of a Hamming window",
            "povey",
        ),
        window(
            Cause::BlackmanWindow,
            "a Blackman window in place of a Hamming window",
            "blackman",
        ),
        window(Cause::NoWindow, "no window on the frames", "rectangular"),
        hypothesis(
            Cause::TransformNotPadded,
            "a transform of the frame alone, not of a power of two",
            |site| with_options(site, |options| options.round_to_power_of_two = false),
        ),
        hypothesis(
            Cause::EdgesMirrored,
            "edges mirrored in place of snipped",
            |site| with_options(site, |options| options.snip_edges = false),
        ),
        varied(
            Cause::PeriodicWindow,
            "a periodic window in place of a symmetric one",
            Variation {
                periodic: true,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::NoPreemphasis,
            "no pre-emphasis",
            Variation {
                preemphasis: 0.0,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::PreemphasisOfTheSignal,
            "pre-emphasis over the whole signal in place of each frame",
            Variation {
                whole_signal: true,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::MeanKept,
            "frames whose mean stays",
            Variation {
                remove_mean: false,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::MeanAfterPreemphasis,
            "a mean taken off after the pre-emphasis in place of before",
            Variation {
                mean_last: true,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::NotScaled,
            "a waveform that is not scaled by 32768",
            Variation {
                full_scale: 1.0,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::Magnitude,
            "magnitudes in place of energies",
            Variation {
                power: 1.0,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::Low0,
            "a lowest band that starts at 0 Hz",
            Variation {
                low: 0.0,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::High7600,
            "a highest band that ends at 7600 Hz",
            Variation {
                high: Some(7600.0),
                ..Variation::NONE
            },
        ),
        varied(
            Cause::BandsByArea,
            "bands divided by their width",
            Variation {
                area: true,
                ..Variation::NONE
            },
        ),
        varied(
            Cause::Log1p,
            "ln(1 + x) in place of ln(x)",
            Variation {
                log1p: true,
                ..Variation::NONE
            },
        ),
    ]
}

pub(super) fn centring() -> Vec<Known> {
    vec![
        hypothesis(
            Cause::NormLeftOut,
            "features that are not centred",
            |site| Ok(site.x()?.shallow_clone()),
        ),
        hypothesis(
            Cause::VarianceNormalised,
            "features divided by their deviation as well",
            |site| {
                let x = centred(site)?;
                let variance = x
                    .f_mul(&x)?
                    .f_mean_dim([1i64].as_slice(), true, None::<Kind>)?;
                Ok(x.f_div(&variance.f_sqrt()?)?)
            },
        ),
        hypothesis(
            Cause::CentredOverBands,
            "features centred over bands in place of time",
            |site| {
                let x = site.x()?;
                Ok(x.f_sub(&x.f_mean_dim([2i64].as_slice(), true, None::<Kind>)?)?)
            },
        ),
        hypothesis(
            Cause::CentredOverEverything,
            "one mean for all bands",
            |site| {
                let x = site.x()?;
                Ok(x.f_sub(&x.f_mean_dim([1i64, 2].as_slice(), true, None::<Kind>)?)?)
            },
        ),
    ]
}
