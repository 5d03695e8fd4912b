//! Mistakes in a filter bank and in how its features are centred.

use soundalike_convert::{Architecture, WeSpeakerResNet as Config};
use tch::{Device, Kind, Tensor};

use super::{Known, Site, mistake};
use crate::{
    Error, Result,
    libtorch::enabled::{fbank::Fbank, tensor::kind},
};

fn config<'a>(site: &'a Site<'_>) -> Result<&'a Config> {
    match site.bundle.architecture() {
        Architecture::WeSpeakerResNet(config) => Ok(config),
        other => Err(Error::OtherArchitecture {
            expected: "WeSpeakerResNet",
            found: other.name(),
        }),
    }
}

/// The filter bank of another network.
fn with_config(site: &Site<'_>, change: impl Fn(&mut Config)) -> Result<Tensor> {
    let mut config = config(site)?.clone();
    change(&mut config);
    Fbank::new(&config, kind(site.precision))?.forward(site.x()?)
}

pub(super) fn features(site: &Site<'_>) -> Result<Tensor> {
    with_config(site, |_| {})
}

pub(super) fn centred(site: &Site<'_>) -> Result<Tensor> {
    Fbank::new(config(site)?, kind(site.precision))?.centre(site.x()?)
}

/// A filter bank call by call, as torchaudio has it, with something otherwise.
#[derive(Clone, Copy)]
struct Recipe {
    periodic: bool,
    full_scale: f64,
    preemphasis: f64,
    whole_signal: bool,
    remove_mean: bool,
    mean_last: bool,
    power: f64,
    low: f64,
    high: f64,
    area: bool,
    one_more: bool,
}

const RECIPE: Recipe = Recipe {
    periodic: false,
    full_scale: 32_768.0,
    preemphasis: 0.97,
    whole_signal: false,
    remove_mean: true,
    mean_last: false,
    power: 2.0,
    low: 20.0,
    high: 8000.0,
    area: false,
    one_more: false,
};

fn by_hand(site: &Site<'_>, recipe: Recipe) -> Result<Tensor> {
    let config = config(site)?;
    let kind = kind(site.precision);
    let rate = f64::from(config.sample_rate);
    let samples = |milliseconds: f64| (rate * milliseconds * 0.001) as i64;
    let (size, shift) = (samples(config.frame_length), samples(config.frame_shift));
    let padded = (size as u64).next_power_of_two() as i64;
    let signal = site.x()?.f_select(1, 0)?.f_mul_scalar(recipe.full_scale)?;
    let mut frames = signal.f_unfold(1, size, shift)?;
    let mean = |frames: &Tensor| frames.f_mean_dim([2i64].as_slice(), true, None::<Kind>);
    let means = mean(&frames)?;
    if recipe.remove_mean && !recipe.mean_last {
        frames = frames.f_sub(&means)?;
    }
    let mut before = frames
        .f_pad([1, 0], "replicate", None)?
        .f_narrow(2, 0, size)?;
    if recipe.whole_signal {
        let late = signal
            .f_pad([1, 0], "constant", 0.0)?
            .f_unfold(1, size, shift)?;
        let earlier = late.f_sub(&means)?.f_narrow(1, 1, frames.size()[1] - 1)?;
        let rest = earlier.f_narrow(2, 0, size)?;
        before = Tensor::f_cat(&[before.f_narrow(1, 0, 1)?, rest], 1)?;
    }
    frames = frames.f_sub(&before.f_mul_scalar(recipe.preemphasis)?)?;
    if recipe.mean_last {
        frames = frames.f_sub(&mean(&frames)?)?;
    }
    let window = Tensor::f_hamming_window_periodic_alpha_beta(
        size,
        recipe.periodic,
        0.54,
        0.46,
        (kind, Device::Cpu),
    )?;
    let frames = frames
        .f_mul(&window)?
        .f_pad([0, padded - size], "constant", 0.0)?;
    let spectrum = frames
        .f_fft_rfft(None, -1, "backward")?
        .f_abs()?
        .f_pow_tensor_scalar(recipe.power)?;
    let banks = banks(config.num_mel_bins as i64, padded, rate, recipe)?;
    let banks = banks
        .f_to_kind(kind)?
        .f_pad([0, 1], "constant", 0.0)?
        .f_tr()?;
    let energies = spectrum.f_matmul(&banks)?;
    if recipe.one_more {
        return Ok(energies.f_log1p()?);
    }
    let epsilon = Tensor::f_from_slice(&[f32::EPSILON])?.f_to_kind(kind)?;
    Ok(energies.f_max_other(&epsilon)?.f_log()?)
}

/// torchaudio `get_mel_banks`, between other edges.
fn banks(bands: i64, padded: i64, rate: f64, recipe: Recipe) -> Result<Tensor> {
    let scalar = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let low = scalar(recipe.low);
    let delta = (scalar(recipe.high) - low) / (bands + 1) as f64;
    let band = Tensor::f_arange(bands, (Kind::Int64, Device::Cpu))?.f_unsqueeze(1)?;
    let edge = |offset: f64| -> Result<Tensor> {
        let place = band.f_add_scalar(offset)?;
        Ok(place.f_mul_scalar(delta)?.f_add_scalar(low)?)
    };
    let (left, centre, right) = (edge(0.0)?, edge(1.0)?, edge(2.0)?);
    let mel = Tensor::f_arange(padded / 2, (Kind::Float, Device::Cpu))?
        .f_mul_scalar(rate / padded as f64)?
        .f_div_scalar(700.0)?
        .f_add_scalar(1.0)?
        .f_log()?
        .f_mul_scalar(1127.0)?
        .f_unsqueeze(0)?;
    let up = mel.f_sub(&left)?.f_div(&centre.f_sub(&left)?)?;
    let down = right.f_sub(&mel)?.f_div(&right.f_sub(&centre)?)?;
    let zero = Tensor::f_zeros(1, (Kind::Float, Device::Cpu))?;
    let banks = zero.f_max_other(&up.f_min_other(&down)?)?;
    if !recipe.area {
        return Ok(banks);
    }
    let hertz = |mel: &Tensor| -> Result<Tensor> {
        let ratio = mel.f_div_scalar(1127.0)?.f_exp()?;
        Ok(ratio.f_sub_scalar(1.0)?.f_mul_scalar(700.0)?)
    };
    let width = hertz(&right)?.f_sub(&hertz(&left)?)?;
    Ok(banks.f_mul_scalar(2.0)?.f_div(&width)?)
}

pub(super) fn fbank() -> Vec<Known> {
    let recipe = |cause: &str, text: &str, recipe: Recipe| {
        mistake(cause, text, move |site| by_hand(site, recipe))
    };
    let window = |cause: &str, text: &str, window: &'static str| {
        mistake(cause, text, move |site| {
            with_config(site, |config| config.window_type = window.to_owned())
        })
    };
    vec![
        window(
            "hann-window",
            "a Hann window in place of a Hamming window",
            "hanning",
        ),
        window(
            "povey-window",
            "Kaldi's povey window in place of a Hamming window",
            "povey",
        ),
        window(
            "blackman-window",
            "a Blackman window in place of a Hamming window",
            "blackman",
        ),
        window("no-window", "no window on the frames", "rectangular"),
        mistake(
            "transform-not-padded",
            "a transform of the frame alone, not of a power of two",
            |site| with_config(site, |config| config.round_to_power_of_two = false),
        ),
        mistake(
            "edges-mirrored",
            "edges mirrored in place of snipped",
            |site| with_config(site, |config| config.snip_edges = false),
        ),
        recipe(
            "periodic-window",
            "a periodic window in place of a symmetric one",
            Recipe {
                periodic: true,
                ..RECIPE
            },
        ),
        recipe(
            "no-preemphasis",
            "no pre-emphasis",
            Recipe {
                preemphasis: 0.0,
                ..RECIPE
            },
        ),
        recipe(
            "preemphasis-of-the-signal",
            "pre-emphasis over the whole signal in place of each frame",
            Recipe {
                whole_signal: true,
                ..RECIPE
            },
        ),
        recipe(
            "mean-kept",
            "frames whose mean stays",
            Recipe {
                remove_mean: false,
                ..RECIPE
            },
        ),
        recipe(
            "mean-after-preemphasis",
            "a mean taken off after the pre-emphasis in place of before",
            Recipe {
                mean_last: true,
                ..RECIPE
            },
        ),
        recipe(
            "not-scaled",
            "a waveform that is not scaled by 32768",
            Recipe {
                full_scale: 1.0,
                ..RECIPE
            },
        ),
        recipe(
            "magnitude",
            "magnitudes in place of energies",
            Recipe {
                power: 1.0,
                ..RECIPE
            },
        ),
        recipe(
            "low-0",
            "a lowest band that starts at 0 Hz",
            Recipe { low: 0.0, ..RECIPE },
        ),
        recipe(
            "high-7600",
            "a highest band that ends at 7600 Hz",
            Recipe {
                high: 7600.0,
                ..RECIPE
            },
        ),
        recipe(
            "bands-by-area",
            "bands divided by their width",
            Recipe {
                area: true,
                ..RECIPE
            },
        ),
        recipe(
            "log1p",
            "ln(1 + x) in place of ln(x)",
            Recipe {
                one_more: true,
                ..RECIPE
            },
        ),
    ]
}

pub(super) fn centring() -> Vec<Known> {
    vec![
        mistake("norm-left-out", "features that are not centred", |site| {
            Ok(site.x()?.shallow_clone())
        }),
        mistake(
            "variance-normalised",
            "features divided by their deviation as well",
            |site| {
                let x = centred(site)?;
                let variance = x
                    .f_mul(&x)?
                    .f_mean_dim([1i64].as_slice(), true, None::<Kind>)?;
                Ok(x.f_div(&variance.f_sqrt()?)?)
            },
        ),
        mistake(
            "centred-over-bands",
            "features centred over bands in place of time",
            |site| {
                let x = site.x()?;
                Ok(x.f_sub(&x.f_mean_dim([2i64].as_slice(), true, None::<Kind>)?)?)
            },
        ),
        mistake(
            "centred-over-everything",
            "one mean for all bands",
            |site| {
                let x = site.x()?;
                Ok(x.f_sub(&x.f_mean_dim([1i64, 2].as_slice(), true, None::<Kind>)?)?)
            },
        ),
    ]
}
