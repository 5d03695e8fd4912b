//! The layers from elementary torch operations. `reference/capture.py`, `elementary_*`.
//!
//! They are a second f32 reference: it gives the floor for degenerate input (silence), on which PyTorch's own error is
//! almost zero. The LSTM also serves the references of low precision, rounded after every step.

use tch::Tensor;

use super::tensor::{mean, sum};
use crate::Result;

/// `torch.nn.InstanceNorm1d` of `[batch, channel, time]`.
pub(super) fn instance_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let centred = x.f_sub(&mean(x, &[-1])?)?;
    let variance = mean(&centred.f_mul(&centred)?, &[-1])?;
    let normal = centred.f_div(&variance.f_add_scalar(eps)?.f_sqrt()?)?;
    Ok(normal
        .f_mul(&weight.f_unsqueeze(1)?)?
        .f_add(&bias.f_unsqueeze(1)?)?)
}

/// `torch.nn.functional.conv1d` without padding: one matrix product for each position in the kernel.
pub(super) fn convolve(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
) -> Result<Tensor> {
    let sizes = (filters.size(), x.size());
    let (kernel, samples) = (sizes.0[2], sizes.1[2]);
    let frames = (samples - kernel) / stride + 1;
    let mut total = Tensor::f_zeros([sizes.1[0], sizes.0[0], frames], (x.f_kind()?, x.device()))?;
    for place in 0..kernel {
        let seen = x.f_slice(2, place, place + stride * (frames - 1) + 1, stride)?;
        total = total.f_add(&filters.f_select(2, place)?.f_matmul(&seen)?)?;
    }
    match bias {
        Some(bias) => Ok(total.f_add(&bias.f_unsqueeze(1)?)?),
        None => Ok(total),
    }
}

/// `torch.nn.Linear`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(x.f_matmul(&weight.f_transpose(0, 1)?)?.f_add(bias)?)
}

/// `torch.nn.LogSoftmax(dim=-1)`.
pub(super) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.f_sub(&x.f_amax([-1i64].as_slice(), true)?)?;
    Ok(shifted.f_sub(&sum(&shifted.f_exp()?, -1)?.f_log()?)?)
}

/// `torch.nn.Sigmoid`.
pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_neg()?.f_exp()?.f_add_scalar(1.0)?.f_reciprocal()?)
}

/// One direction of a layer of `torch.nn.LSTM(batch_first=True)`: `[batch, frame, in]` to
/// `[batch, frame, hidden]`. `params` are `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`; `round` is
/// applied to every intermediate result.
pub(super) fn lstm(
    x: &Tensor,
    params: &[Tensor],
    reverse: bool,
    round: &dyn Fn(Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = params else {
        return Err(crate::Error::MissingTensor {
            name: "of an LSTM".into(),
        });
    };
    let (batch, frames, hidden) = (x.size()[0], x.size()[1], weight_hh.size()[1]);
    let input = weight_ih.f_transpose(0, 1)?;
    let recurrent = weight_hh.f_transpose(0, 1)?;
    let mut h = Tensor::f_zeros([batch, hidden], (x.f_kind()?, x.device()))?;
    let mut c = h.shallow_clone();
    let mut states = Vec::new();
    for step in 0..frames {
        let frame = if reverse { frames - 1 - step } else { step };
        let projected = round(x.f_select(1, frame)?.f_matmul(&input)?.f_add(bias_ih)?)?;
        let recurrent_sum = round(h.f_matmul(&recurrent)?)?;
        let gates = round(projected.f_add(&recurrent_sum)?.f_add(bias_hh)?)?;
        let gate = |index: i64| gates.f_narrow(1, index * hidden, hidden);
        let (i, f) = (round(gate(0)?.f_sigmoid()?)?, round(gate(1)?.f_sigmoid()?)?);
        let (g, o) = (round(gate(2)?.f_tanh()?)?, round(gate(3)?.f_sigmoid()?)?);
        c = round(round(f.f_mul(&c)?)?.f_add(&round(i.f_mul(&g)?)?)?)?;
        h = round(o.f_mul(&round(c.f_tanh()?)?)?)?;
        states.push(h.shallow_clone());
    }
    if reverse {
        states.reverse();
    }
    Ok(Tensor::f_stack(&states, 1)?)
}
