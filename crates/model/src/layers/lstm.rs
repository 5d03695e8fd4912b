//! One layer of an LSTM, in one or both directions.

use candle_core::{D, IndexOp, Result, Tensor};
use candle_nn::{VarBuilder, ops::sigmoid};

use super::{Linear, precision::in_wide_enough};
use crate::Probe;

/// One layer of `torch.nn.LSTM(batch_first=True)`, zero initial state.
#[derive(Debug, Clone)]
pub(crate) struct BiLstm {
    /// Canonical name of the layer: `lstm.N`.
    name: String,
    forward: Direction,
    reverse: Option<Direction>,
}

impl BiLstm {
    /// Reads layer `index`: `weight_ih_lK` `[4 hidden, inputs]`, `weight_hh_lK` `[4 hidden, hidden]`,
    /// `bias_ih_lK` and `bias_hh_lK` `[4 hidden]`, gates in PyTorch's order i, f, g, o, and the same with
    /// `_reverse`. A monolithic LSTM keeps all layers under one prefix (K = `index`), a split one each
    /// under its own (`vb.pp(index)`, K = 0).
    pub(crate) fn load(
        index: usize,
        monolithic: bool,
        bidirectional: bool,
        inputs: usize,
        hidden: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let (vb, k) = if monolithic {
            (vb, index)
        } else {
            (vb.pp(index), 0)
        };
        let direction = |suffix: &str| {
            let named = |kind: &str| format!("{kind}_l{k}{suffix}");
            let bias = (vb.get(4 * hidden, &named("bias_ih"))?
                + vb.get(4 * hidden, &named("bias_hh"))?)?;
            Ok::<_, candle_core::Error>(Direction {
                input: Linear::new(vb.get((4 * hidden, inputs), &named("weight_ih"))?, bias),
                recurrent: vb
                    .get((4 * hidden, hidden), &named("weight_hh"))?
                    .t()?
                    .contiguous()?,
            })
        };
        Ok(Self {
            name: format!("lstm.{index}"),
            forward: direction("")?,
            reverse: bidirectional.then(|| direction("_reverse")).transpose()?,
        })
    }

    /// `[batch, frame, inputs]` to `[batch, frame, hidden]`, or twice as wide (forward, then reverse).
    pub(crate) fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let forward = probe.see(
            &format!("{}.forward", self.name),
            self.forward.run(x, false)?,
        )?;
        let both = match &self.reverse {
            None => forward,
            Some(reverse) => {
                let reverse =
                    probe.see(&format!("{}.reverse", self.name), reverse.run(x, true)?)?;
                Tensor::cat(&[forward, reverse], D::Minus1)?
            }
        };
        probe.see(&self.name, both)
    }
}

/// One direction of one layer.
#[derive(Debug, Clone)]
struct Direction {
    /// All gates' contribution of the input, both biases included.
    input: Linear,
    /// `[hidden, 4 hidden]`: the recurrent weights, transposed once.
    recurrent: Tensor,
}

impl Direction {
    /// `[batch, frame, inputs]` to `[batch, frame, hidden]`, frames in their own order either way.
    fn run(&self, x: &Tensor, reverse: bool) -> Result<Tensor> {
        let (batch, frames, _) = x.dims3()?;
        let hidden = self.recurrent.dim(0)?;
        // Time-major, so that the gates of one step lie together.
        let gates = self.input.forward(&x.transpose(0, 1)?.contiguous()?)?;
        let mut h = Tensor::zeros((batch, hidden), x.dtype(), x.device())?;
        let mut c = h.clone();
        let mut states = Vec::with_capacity(frames);
        for step in 0..frames {
            let frame = if reverse { frames - 1 - step } else { step };
            let recurrent = in_wide_enough([&h, &self.recurrent], |[h, w]| h.matmul(w))?;
            let gates = (gates.i(frame)? + recurrent)?;
            let gate = |index: usize| gates.narrow(1, index * hidden, hidden)?.contiguous();
            let (i, f) = (sigmoid(&gate(0)?)?, sigmoid(&gate(1)?)?);
            let (g, o) = (gate(2)?.tanh()?, sigmoid(&gate(3)?)?);
            c = ((f * &c)? + (i * g)?)?;
            h = (o * c.tanh()?)?;
            states.push(h.clone());
        }
        if reverse {
            states.reverse();
        }
        Tensor::stack(&states, 1)
    }
}
