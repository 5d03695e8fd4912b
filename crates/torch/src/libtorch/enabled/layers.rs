//! The layers, each by the call that its module in Python makes.

use soundalike_convert::Lstm as Config;
use tch::{Device, Tensor};

use super::{stages::Stages, weights::Weights};
use crate::Result;

/// `torch.nn.InstanceNorm1d(channels, affine=True)`.
#[derive(Debug)]
pub(super) struct InstanceNorm1d {
    weight: Tensor,
    bias: Tensor,
}

impl InstanceNorm1d {
    /// Added to the variance: the default of the module.
    const EPS: f64 = 1e-5;
    /// Of running statistics, which the module does not keep: its default, without effect.
    const MOMENTUM: f64 = 0.1;

    pub(super) fn load(module: &str, weights: &Weights<'_>) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{module}.weight"))?,
            bias: weights.get(&format!("{module}.bias"))?,
        })
    }

    /// `[batch, channel, time]`, same shape out.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
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
}

/// `torch.nn.Conv1d` without padding.
#[derive(Debug)]
pub(super) struct Conv1d {
    weight: Tensor,
    bias: Tensor,
}

impl Conv1d {
    pub(super) fn load(module: &str, weights: &Weights<'_>) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{module}.weight"))?,
            bias: weights.get(&format!("{module}.bias"))?,
        })
    }

    /// `[batch, in, time]` to `[batch, out, time - kernel + 1]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        convolve(x, &self.weight, Some(&self.bias), 1)
    }
}

/// `torch.nn.functional.conv1d(x, filters, bias, stride)`.
pub(super) fn convolve(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
) -> Result<Tensor> {
    Ok(x.f_conv1d(filters, bias, stride as i64, 0, 1, 1)?)
}

/// `torch.nn.MaxPool1d(size)`.
pub(super) fn max_pool1d(x: &Tensor, size: usize) -> Result<Tensor> {
    Ok(x.f_max_pool1d(size as i64, size as i64, 0, 1, false)?)
}

/// `torch.nn.Linear`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn load(module: &str, weights: &Weights<'_>) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{module}.weight"))?,
            bias: weights.get(&format!("{module}.bias"))?,
        })
    }

    /// `[..., in]` to `[..., out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// One layer of `torch.nn.LSTM(batch_first=True)`, zero initial state. A layer of a monolithic LSTM is the
/// same call on its own weights.
#[derive(Debug)]
pub(super) struct LstmLayer {
    /// Canonical name: `lstm.N`.
    name: String,
    hidden_size: i64,
    /// Names of the directions, in the order in which they lie in the output.
    directions: &'static [&'static str],
    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` of each direction.
    params: Vec<Tensor>,
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
        })
    }

    /// `[batch, frame, in]` to `[batch, frame, hidden]`, or twice as wide (forward, then reverse).
    pub(super) fn forward(&self, x: &Tensor, stages: &mut Stages<'_>) -> Result<Tensor> {
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
        // One call computes both directions; apart they are seen, and joined again they go on.
        let mut parts = Vec::new();
        for (index, direction) in self.directions.iter().enumerate() {
            let part = output.f_narrow(-1, index as i64 * self.hidden_size, self.hidden_size)?;
            parts.push(stages.see(&format!("{}.{direction}", self.name), part)?);
        }
        stages.see(&self.name, Tensor::f_cat(&parts, -1)?)
    }
}

/// Lowest cut-off frequency, Hz (`SincNet(min_low_hz=50)` in pyannote.audio `models/blocks/sincnet.py`).
const MIN_LOW_HZ: i64 = 50;
/// Narrowest band, Hz (`min_band_hz=50`, same place).
const MIN_BAND_HZ: i64 = 50;

/// asteroid-filterbanks `ParamSincFB.filters`, call by call, in the precision of the network: `[80, 1, 251]`.
pub(super) fn sinc_filters(
    module: &str,
    sample_rate: u32,
    weights: &Weights<'_>,
) -> Result<Tensor> {
    let get = |name: &str| weights.get(&format!("{module}.{name}"));
    let (n, window) = (get("n_")?, get("window_")?);
    let low = get("low_hz_")?.f_abs()?.f_add_scalar(MIN_LOW_HZ)?;
    let high = low
        .f_add_scalar(MIN_BAND_HZ)?
        .f_add(&get("band_hz_")?.f_abs()?)?
        .f_clamp(MIN_LOW_HZ as f64, f64::from(sample_rate) / 2.0)?;
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
