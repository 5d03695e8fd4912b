//! The layers, each with the call of its Python module.

use soundalike_network::LstmOptions as Config;
use tch::{Device, Tensor};

use super::{reference_ops, stages::Stages, weights::Weights};
use crate::{Arithmetic, Result};

/// A module with a weight and a bias.
#[derive(Debug)]
pub(super) struct Module {
    weight: Tensor,
    bias: Tensor,
    arithmetic: Arithmetic,
}

impl Module {
    /// Added to the variance: the default of `torch.nn.InstanceNorm1d`.
    const EPS: f64 = 1e-5;
    /// Of running statistics, which that module does not keep: the default, without effect.
    const MOMENTUM: f64 = 0.1;

    /// Reads the module whose tensors start with `name`.
    pub(super) fn load(name: &str, weights: &Weights<'_>) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            bias: weights.get(&format!("{name}.bias"))?,
            arithmetic: weights.arithmetic(),
        })
    }

    /// `torch.nn.InstanceNorm1d(channels, affine=True)`: `[batch, channel, time]`, same shape out.
    pub(super) fn instance_norm(&self, x: &Tensor) -> Result<Tensor> {
        if self.arithmetic == Arithmetic::ReferenceOps {
            return reference_ops::instance_norm(x, &self.weight, &self.bias, Self::EPS);
        }
        let none = None::<&Tensor>;
        Ok(x.f_instance_norm(
            Some(&self.weight),
            Some(&self.bias),
            none,
            none,
            true,
            Self::MOMENTUM,
            Self::EPS,
            true,
        )?)
    }

    /// `torch.nn.Conv1d` without padding: `[batch, in, time]` to `[batch, out, time - kernel + 1]`.
    pub(super) fn conv1d(&self, x: &Tensor) -> Result<Tensor> {
        convolve(x, &self.weight, Some(&self.bias), 1, self.arithmetic)
    }

    /// `torch.nn.Linear`: `[..., in]` to `[..., out]`.
    pub(super) fn linear(&self, x: &Tensor) -> Result<Tensor> {
        if self.arithmetic == Arithmetic::ReferenceOps {
            return reference_ops::linear(x, &self.weight, &self.bias);
        }
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// `torch.nn.functional.conv1d(x, filters, bias, stride)`.
pub(super) fn convolve(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    arithmetic: Arithmetic,
) -> Result<Tensor> {
    if arithmetic == Arithmetic::ReferenceOps {
        return reference_ops::convolve(x, filters, bias, stride as i64);
    }
    Ok(x.f_conv1d(filters, bias, stride as i64, 0, 1, 1)?)
}

/// `torch.nn.MaxPool1d(size)`.
pub(super) fn max_pool1d(x: &Tensor, size: usize) -> Result<Tensor> {
    Ok(x.f_max_pool1d(size as i64, size as i64, 0, 1, false)?)
}

/// One layer of `torch.nn.LSTM(batch_first=True)` with a zero initial state. A layer of a monolithic LSTM is the same
/// call with its own weights.
#[derive(Debug)]
pub(super) struct LstmLayer {
    /// Canonical name: `lstm.N`.
    name: String,
    hidden_size: i64,
    /// Names of the directions, in their order in the output.
    directions: &'static [&'static str],
    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` of each direction.
    params: Vec<Tensor>,
    arithmetic: Arithmetic,
}

impl LstmLayer {
    pub(super) fn load(index: usize, config: &Config, weights: &Weights<'_>) -> Result<Self> {
        let directions: &[&str] = if config.bidirectional {
            &["forward", "reverse"]
        } else {
            &["forward"]
        };
        let mut params = Vec::new();
        for direction in 0..directions.len() {
            for kind in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
                params.push(weights.get(&config.tensor_name(kind, index, direction == 1))?);
            }
        }
        Ok(Self {
            name: format!("lstm.{index}"),
            hidden_size: config.hidden_size as i64,
            directions,
            params,
            arithmetic: weights.arithmetic(),
        })
    }

    /// `[batch, frame, in]` to `[batch, frame, hidden]`, or twice as wide if bidirectional (forward, then reverse).
    pub(super) fn forward(&self, x: &Tensor, stages: &mut Stages<'_, '_>) -> Result<Tensor> {
        let output = match self.arithmetic {
            Arithmetic::Torch(_) => self.at_once(x)?,
            Arithmetic::ReferenceOps | Arithmetic::Rounded(_) => self.step_by_step(x)?,
        };
        // One call computes both directions: they are split for the probe and joined afterwards.
        let mut parts = Vec::new();
        for (index, direction) in self.directions.iter().enumerate() {
            let part = output.f_narrow(-1, index as i64 * self.hidden_size, self.hidden_size)?;
            parts.push(stages.see(&format!("{}.{direction}", self.name), part)?);
        }
        stages.see(&self.name, Tensor::f_cat(&parts, -1)?)
    }

    /// All directions, with the call of the package.
    fn at_once(&self, x: &Tensor) -> Result<Tensor> {
        let shape = [self.directions.len() as i64, x.size()[0], self.hidden_size];
        let zeros = Tensor::f_zeros(shape, (x.f_kind()?, Device::Cpu))?;
        let (output, _, _) = x.f_lstm(
            &[zeros.shallow_clone(), zeros],
            &self.params,
            true,
            1,
            0.0,
            false,
            self.directions.len() == 2,
            true,
        )?;
        Ok(output)
    }

    /// All directions step by step, each result rounded if the precision is low.
    fn step_by_step(&self, x: &Tensor) -> Result<Tensor> {
        let round = |x| self.arithmetic.round(x);
        let params = self.params.chunks(4).zip([false, true]);
        let directions =
            params.map(|(params, reverse)| reference_ops::lstm(x, params, reverse, &round));
        Ok(Tensor::f_cat(&directions.collect::<Result<Vec<_>>>()?, -1)?)
    }
}

/// `torch.nn.Conv2d` with a square kernel.
#[derive(Debug)]
pub(super) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    pub(super) fn load(
        module: &str,
        stride: usize,
        padding: usize,
        bias: bool,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let get = |name: &str| weights.get(&format!("{module}.{name}"));
        Ok(Self {
            weight: get("weight")?,
            bias: bias.then(|| get("bias")).transpose()?,
            stride,
            padding,
        })
    }

    /// `[batch, in, band, frame]` to `[batch, out, band / stride, frame / stride]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride as i64; 2], [self.padding as i64; 2]);
        Ok(x.f_conv2d(&self.weight, self.bias.as_ref(), stride, padding, [1, 1], 1)?)
    }
}

/// `torch.nn.BatchNorm2d` in evaluation mode: it uses the running statistics.
#[derive(Debug)]
pub(super) struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm2d {
    /// Added to the variance: the default of the module.
    const EPS: f64 = 1e-5;
    /// Weight of new statistics in training: the default of the module, without effect.
    const MOMENTUM: f64 = 0.1;

    pub(super) fn load(module: &str, weights: &Weights<'_>) -> Result<Self> {
        let get = |name: &str| weights.get(&format!("{module}.{name}"));
        Ok(Self {
            weight: get("weight")?,
            bias: get("bias")?,
            running_mean: get("running_mean")?,
            running_var: get("running_var")?,
        })
    }

    /// `[batch, channel, band, frame]`, same shape out.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            false,
            Self::MOMENTUM,
            Self::EPS,
            true,
        )?)
    }
}

/// Avoids a division by zero for a speaker without frames. pyannote.audio `models/blocks/pooling.py`.
const POOL_EPS: f64 = 1e-8;

/// `torch.nn.functional.interpolate(weights, size=frames, mode="nearest")`: `[batch, speaker, frame]`.
pub(super) fn interpolate_nearest(weights: &Tensor, frames: usize) -> Result<Tensor> {
    Ok(weights.f_upsample_nearest1d(frames as i64, None)?)
}

/// pyannote.audio `StatsPool.forward`: `sequences` `[batch, feature, frame]` to mean, then (unbiased) standard
/// deviation, `[batch, 2 features]`, or with `weights` `[batch, speaker, frame]` to
/// `[batch, speaker, 2 features]`.
pub(super) fn stats_pool(sequences: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    let Some(weights) = weights else {
        let mean = sequences.f_mean_dim(-1, false, sequences.f_kind()?)?;
        let std = sequences.f_std_correction(-1, 1, false)?;
        return Ok(Tensor::f_cat(&[mean, std], -1)?);
    };
    let speakers = (0..weights.size()[1])
        .map(|speaker| weighted_pool(sequences, &weights.f_select(1, speaker)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&speakers, 1)?)
}

/// pyannote.audio `_pool` of one speaker: `weights` `[batch, frame]`, to `[batch, 2 features]`.
fn weighted_pool(sequences: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let sum = |x: &Tensor| x.f_sum_dim_intlist(2, false, x.f_kind()?);
    let weights = weights.f_unsqueeze(1)?;
    let v1 = sum(&weights)?.f_add_scalar(POOL_EPS)?;
    let mean = sum(&sequences.f_mul(&weights)?)?.f_div(&v1)?;
    let dx2 = sequences.f_sub(&mean.f_unsqueeze(2)?)?.f_square()?;
    let v2 = sum(&weights.f_square()?)?;
    let unbiased = v1.f_sub(&v2.f_div(&v1)?)?.f_add_scalar(POOL_EPS)?;
    let var = sum(&dx2.f_mul(&weights)?)?.f_div(&unbiased)?;
    Ok(Tensor::f_cat(&[mean, var.f_sqrt()?], 1)?)
}

/// Lowest cut-off frequency, Hz (`SincNet(min_low_hz=50)` in pyannote.audio `models/blocks/sincnet.py`).
pub(super) const MIN_LOW_HZ: f64 = 50.0;
/// Narrowest band, Hz (`min_band_hz=50`, same place).
const MIN_BAND_HZ: i64 = 50;

/// asteroid-filterbanks `ParamSincFB.filters`, call by call, in the precision of the network, with a lowest cut-off
/// frequency of `min_low` Hz. `[80, 1, 251]`.
pub(super) fn sinc_filters(
    module: &str,
    sample_rate: u32,
    min_low: f64,
    weights: &Weights<'_>,
) -> Result<Tensor> {
    let get = |name: &str| weights.exact(&format!("{module}.{name}"));
    let (n, window) = (get("n_")?, get("window_")?);
    let low = get("low_hz_")?.f_abs()?.f_add_scalar(min_low)?;
    let high = low
        .f_add_scalar(MIN_BAND_HZ)?
        .f_add(&get("band_hz_")?.f_abs()?)?
        .f_clamp(min_low, f64::from(sample_rate) / 2.0)?;
    let band = high.f_sub(&low)?;
    let (phase_low, phase_high) = (low.f_matmul(&n)?, high.f_matmul(&n)?);
    let half_n = n.f_div_scalar(2)?;
    let twice_band = band.f_mul_scalar(2)?;
    let left =
        |difference: Tensor| -> Result<Tensor> { Ok(difference.f_div(&half_n)?.f_mul(&window)?) };
    let filters = |left: Tensor, centre: &Tensor, right: Tensor| -> Result<Tensor> {
        let whole = Tensor::f_cat(&[left, centre.shallow_clone(), right], 1)?;
        Ok(whole.f_div(&twice_band)?.f_unsqueeze(1)?)
    };

    let even = left(phase_high.f_sin()?.f_sub(&phase_low.f_sin()?)?)?;
    let odd = left(phase_low.f_cos()?.f_sub(&phase_high.f_cos()?)?)?;
    let (even_right, odd_right) = (even.f_flip([1])?, odd.f_flip([1])?.f_neg()?);
    let cosine = filters(even, &twice_band, even_right)?;
    let sine = filters(odd, &band.f_zeros_like()?, odd_right)?;
    Ok(Tensor::f_cat(&[cosine, sine], 0)?)
}
