//! One layer of an LSTM, in one or both directions.

use std::sync::Arc;

use candle_core::{D, IndexOp, Result, Tensor};
use candle_nn::{VarBuilder, ops::sigmoid};
use soundalike_kernels as kernels;

use super::{Linear, frames::by_kernel, precision::in_wide_enough};
use crate::{Kernels, Probe};

/// One layer of `torch.nn.LSTM(batch_first=True)`, zero initial state.
#[derive(Debug, Clone)]
pub(crate) struct BiLstm {
    /// Canonical name of the layer: `lstm.N`.
    name: String,
    forward: Direction,
    reverse: Option<Direction>,
    kernel: Option<Arc<kernels::Lstm>>,
}

/// Size of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LstmShape {
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) bidirectional: bool,
}

impl BiLstm {
    /// Reads layer `index`: `weight_ih_lK` `[4 hidden, inputs]`, `weight_hh_lK` `[4 hidden, hidden]`,
    /// `bias_ih_lK` and `bias_hh_lK` `[4 hidden]`, gates in PyTorch's order i, f, g, o, and the same with
    /// `_reverse`. A monolithic LSTM keeps all layers under one prefix (K = `index`), a split one each
    /// under its own (`vb.pp(index)`, K = 0).
    pub(crate) fn load(
        index: usize,
        monolithic: bool,
        shape: LstmShape,
        kernels: Kernels,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let LstmShape {
            inputs,
            hidden,
            bidirectional,
        } = shape;
        let instructions = kernels.instructions(vb.dtype(), vb.device());
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
        let forward = direction("")?;
        let reverse = bidirectional.then(|| direction("_reverse")).transpose()?;
        let kernel = instructions
            .map(|instructions| {
                let directions = std::iter::once(&forward).chain(&reverse);
                let values = directions
                    .map(Direction::values)
                    .collect::<Result<Vec<_>>>()?;
                let weights: Vec<_> = values
                    .iter()
                    .map(|[input, recurrent, bias]| kernels::Weights {
                        input,
                        recurrent,
                        bias,
                    })
                    .collect();
                let layer = kernels::Lstm::new(instructions, [inputs, hidden], &weights);
                Ok::<_, candle_core::Error>(Arc::new(layer))
            })
            .transpose()?;
        Ok(Self {
            name: format!("lstm.{index}"),
            forward,
            reverse,
            kernel,
        })
    }

    /// `[batch, frame, inputs]` to `[batch, frame, hidden]`, or twice as wide (forward, then reverse).
    pub(crate) fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let both = match &self.kernel {
            Some(kernel) => self.by_kernel(kernel, x, probe)?,
            None => {
                let part = self.forward.run(x, false)?;
                let forward = probe.see(&self.part("forward"), part)?;
                match &self.reverse {
                    None => forward,
                    Some(reverse) => {
                        let part = reverse.run(x, true)?;
                        let reverse = probe.see(&self.part("reverse"), part)?;
                        Tensor::cat(&[forward, reverse], D::Minus1)?
                    }
                }
            }
        };
        probe.see(&self.name, both)
    }

    /// Both directions in one pass; each is cut out only where the probe looks at it.
    fn by_kernel(
        &self,
        kernel: &kernels::Lstm,
        x: &Tensor,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let hidden = self.forward.recurrent.dim(0)?;
        let directions = 1 + usize::from(self.reverse.is_some());
        let both = by_kernel(x, directions * hidden, |x, batch| kernel.forward(x, batch))?;
        let names = ["forward", "reverse"].map(|part| self.part(part));
        let names = &names[..directions];
        if !names.iter().any(|name| probe.looks_at(name)) {
            return Ok(both);
        }
        let mut replaced = false;
        let mut parts = Vec::with_capacity(directions);
        for (direction, name) in names.iter().enumerate() {
            let part = both.narrow(2, direction * hidden, hidden)?.contiguous()?;
            let part_id = part.id();
            let value = probe.see(name, part)?;
            replaced |= value.id() != part_id;
            parts.push(value);
        }
        if replaced {
            Tensor::cat(&parts, D::Minus1)
        } else {
            Ok(both)
        }
    }

    /// Canonical name of a direction.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
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
    /// Weights of the input and of the recurrence, `[4 hidden, ...]`, and the bias.
    fn values(&self) -> Result<[Vec<f32>; 3]> {
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
        Ok([
            values(self.input.weight())?,
            values(&self.recurrent.t()?)?,
            values(self.input.bias())?,
        ])
    }

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
