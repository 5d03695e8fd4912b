//! One layer of an LSTM, in one or both directions.

#[cfg(feature = "metal")]
mod metal;
mod whole_sequence;

use std::sync::Arc;

use candle_core::{D, IndexOp, Result, Tensor};
use candle_nn::{VarBuilder, ops::sigmoid};
use soundalike_kernels as kernels;

use self::whole_sequence::WholeSequence;
use super::{Linear, frames::by_kernel, precision::in_wide_enough};
use crate::{Kernels, Probe};

/// One layer of `torch.nn.LSTM(batch_first=True)`, zero initial state.
#[derive(Debug, Clone)]
pub(crate) struct BiLstm {
    /// Canonical name of the layer: `lstm.N`.
    name: String,
    /// Of each direction, forward first, all gates' contribution of the input, both biases included.
    input: Vec<Linear>,
    /// `[direction, hidden, 4 hidden]`: the recurrent weights, transposed once.
    recurrent: Tensor,
    fused: Option<Fused>,
}

/// What computes all frames of both directions in one go.
#[derive(Debug, Clone)]
enum Fused {
    Native(Arc<kernels::Lstm>),
    WholeSequence(WholeSequence),
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
        let suffixes = if bidirectional {
            &["", "_reverse"][..]
        } else {
            &[""]
        };
        let mut input = Vec::with_capacity(suffixes.len());
        let mut recurrent = Vec::with_capacity(suffixes.len());
        for suffix in suffixes {
            let named = |kind: &str| format!("{kind}_l{k}{suffix}");
            let bias = (vb.get(4 * hidden, &named("bias_ih"))?
                + vb.get(4 * hidden, &named("bias_hh"))?)?;
            input.push(Linear::new(
                vb.get((4 * hidden, inputs), &named("weight_ih"))?,
                bias,
            ));
            recurrent.push(vb.get((4 * hidden, hidden), &named("weight_hh"))?);
        }
        let native = instructions
            .map(|instructions| {
                let values = input
                    .iter()
                    .zip(&recurrent)
                    .map(|(input, recurrent)| {
                        Ok([
                            values(input.weight())?,
                            values(recurrent)?,
                            values(input.bias())?,
                        ])
                    })
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
                Ok::<_, candle_core::Error>(Fused::Native(Arc::new(layer)))
            })
            .transpose()?;
        let fused = match kernels {
            Kernels::Experimental => {
                let layer = WholeSequence::new(shape, &input, &recurrent)?;
                Some(Fused::WholeSequence(layer))
            }
            _ => native,
        };
        Ok(Self {
            name: format!("lstm.{index}"),
            input,
            recurrent: Tensor::stack(&recurrent, 0)?
                .transpose(1, 2)?
                .contiguous()?,
            fused,
        })
    }

    /// `[batch, frame, inputs]` to `[batch, frame, hidden]`, or twice as wide (forward, then reverse).
    pub(crate) fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let both = match &self.fused {
            None => self.expression(x, probe)?,
            Some(fused) => self.see_parts(self.fused(fused, x)?, probe)?,
        };
        probe.see(&self.name, both)
    }

    /// Both directions in one pass.
    fn fused(&self, fused: &Fused, x: &Tensor) -> Result<Tensor> {
        let (directions, hidden, _) = self.recurrent.dims3()?;
        match fused {
            Fused::Native(kernel) => {
                by_kernel(x, directions * hidden, |x, batch| kernel.forward(x, batch))
            }
            Fused::WholeSequence(layer) => layer.forward(x),
        }
    }

    /// Each direction of `both` is cut out only where the probe looks at it.
    fn see_parts(&self, both: Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (directions, hidden, _) = self.recurrent.dims3()?;
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

    /// Both directions and all examples in each step, which on a GPU takes nine operations whatever their number;
    /// a tenth puts its states where they belong.
    fn expression(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (batch, frames, _) = x.dims3()?;
        let (directions, hidden, _) = self.recurrent.dims3()?;
        // Time-major, so that the gates of one step lie together, and each direction in its own order.
        let x = x.transpose(0, 1)?.contiguous()?;
        let in_order = |index: usize, x: Tensor, time: usize| match index {
            0 => Ok(x),
            _ => x.flip(&[time]),
        };
        let gates = self.input.iter().enumerate();
        let gates = gates.map(|(index, input)| in_order(index, input.forward(&x)?, 0));
        let gates = Tensor::stack(&gates.collect::<Result<Vec<_>>>()?, 1)?;
        let gate = |gates: &Tensor, index: usize| gates.narrow(2, index * hidden, hidden);
        let mut h = Tensor::zeros((directions, batch, hidden), x.dtype(), x.device())?;
        let mut c = h.clone();
        let mut states = Vec::with_capacity(frames);
        for step in 0..frames {
            let recurrent = in_wide_enough([&h, &self.recurrent], |[h, w]| h.matmul(w))?;
            let gates = (gates.i(step)? + recurrent)?;
            // Of all four in one go, though g has no use for it.
            let open = sigmoid(&gates)?;
            let new = (gate(&open, 0)? * gate(&gates, 2)?.tanh()?)?;
            c = ((gate(&open, 1)? * c)? + new)?;
            h = (gate(&open, 3)? * c.tanh()?)?;
            states.push(h.clone());
        }
        let states = Tensor::stack(&states, 2)?;
        let mut parts = Vec::with_capacity(directions);
        for (index, part) in ["forward", "reverse"].iter().take(directions).enumerate() {
            let value = in_order(index, states.get(index)?, 1)?;
            parts.push(probe.see(&self.part(part), value)?);
        }
        Tensor::cat(&parts, D::Minus1)
    }

    /// Canonical name of a direction.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
