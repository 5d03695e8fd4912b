//! One layer of an LSTM, in one or both directions.

#[cfg(feature = "metal")]
mod metal;
mod whole_sequence;

use std::sync::Arc;

use candle_core::{D, IndexOp, Result, Tensor};
use candle_nn::{VarBuilder, ops::sigmoid};
use soundalike_kernels as kernels;
use soundalike_network::LstmOptions;

use self::whole_sequence::WholeSequence;
use super::{
    Linear,
    frames::{by_kernel, values},
    precision::in_wide_enough,
};
use crate::{Kernels, Probe};

/// One layer of `torch.nn.LSTM(batch_first=True)` with a zero initial state.
#[derive(Debug, Clone)]
pub(crate) struct BiLstm {
    /// Canonical name of the layer: `lstm.N`.
    name: String,
    /// For each direction, forward first: the map from the input to all gates, with the sum of both biases.
    input: Vec<Linear>,
    /// The recurrent weights, transposed: `[direction, hidden, 4 hidden]`.
    recurrent: Tensor,
    fused: Option<Fused>,
}

/// Code that computes all frames of both directions in one call.
#[derive(Debug, Clone)]
enum Fused {
    Native(Arc<kernels::Lstm>),
    WholeSequence(WholeSequence),
}

/// Size of a layer.
#[derive(Debug, Clone, Copy)]
struct LstmShape {
    inputs: usize,
    hidden: usize,
}

impl BiLstm {
    /// Reads layer `index` of an LSTM with these hyperparameters. Each direction has `weight_ih` `[4 hidden, inputs]`,
    /// `weight_hh` `[4 hidden, hidden]`, `bias_ih` and `bias_hh` `[4 hidden]`, gates in PyTorch's order i, f, g, o.
    pub(crate) fn load(
        index: usize,
        config: &LstmOptions,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (mut input, mut recurrent) = (Vec::new(), Vec::new());
        for reverse in [false, true] {
            if reverse && !config.bidirectional {
                break;
            }
            let get = |kind| vb.get_unchecked(&config.tensor_name(kind, index, reverse));
            let bias = (get("bias_ih")? + get("bias_hh")?)?;
            input.push(Linear::new(get("weight_ih")?, bias));
            recurrent.push(get("weight_hh")?);
        }
        let shape = LstmShape {
            inputs: input[0].weight().dim(1)?,
            hidden: config.hidden_size,
        };
        let fused = match (kernels, kernels.instructions(vb.dtype(), vb.device())) {
            (Kernels::Experimental, _) => {
                let layer = WholeSequence::new(shape, &input, &recurrent)?;
                Some(Fused::WholeSequence(layer))
            }
            (_, Some(instructions)) => {
                let mut directions = Vec::new();
                for (input, recurrent) in input.iter().zip(&recurrent) {
                    let (weight, bias) = (values(input.weight())?, values(input.bias())?);
                    directions.push((weight, values(recurrent)?, bias));
                }
                let weights: Vec<_> = directions
                    .iter()
                    .map(|(input, recurrent, bias)| kernels::LstmWeights {
                        input,
                        recurrent,
                        bias,
                    })
                    .collect();
                let size = [shape.inputs, shape.hidden];
                let layer = kernels::Lstm::new(instructions, size, &weights);
                Some(Fused::Native(Arc::new(layer)))
            }
            (_, None) => None,
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

    /// `[batch, frame, inputs]` to `[batch, frame, hidden]`, or twice as wide with two directions, forward first.
    pub(crate) fn forward(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let both = match &self.fused {
            None => self.expression(x, probe)?,
            Some(fused) => self.observe_parts(self.fused(fused, x)?, probe)?,
        };
        probe.observe(&self.name, both)
    }

    /// Both directions in one call.
    fn fused(&self, fused: &Fused, x: &Tensor) -> Result<Tensor> {
        let (directions, hidden, _) = self.recurrent.dims3()?;
        match fused {
            Fused::Native(kernel) => {
                by_kernel(x, directions * hidden, |x, batch| kernel.forward(x, batch))
            }
            Fused::WholeSequence(layer) => layer.forward(x),
        }
    }

    /// Hands the directions of `both` to `probe` if it needs one of them, and returns `both` with the replacements.
    fn observe_parts(&self, both: Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (directions, hidden, _) = self.recurrent.dims3()?;
        let names = ["forward", "reverse"].map(|part| self.part(part));
        let names = &names[..directions];
        if !names.iter().any(|name| probe.needs(name)) {
            return Ok(both);
        }
        let mut replaced = false;
        let mut parts = Vec::with_capacity(directions);
        for (direction, name) in names.iter().enumerate() {
            let part = both.narrow(2, direction * hidden, hidden)?.contiguous()?;
            let part_id = part.id();
            let value = probe.observe(name, part)?;
            replaced |= value.id() != part_id;
            parts.push(value);
        }
        if replaced {
            Tensor::cat(&parts, D::Minus1)
        } else {
            Ok(both)
        }
    }

    /// Each step computes both directions of all examples. On a GPU this takes nine operations for any number of examples, and
    /// a tenth to store the states.
    fn expression(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (batch, frames, _) = x.dims3()?;
        let (directions, hidden, _) = self.recurrent.dims3()?;
        // Time first, so that the gates of one step are adjacent; the reverse direction is flipped in time.
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
            // One operation for all four gates, although g does not need it.
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
            parts.push(probe.observe(&self.part(part), value)?);
        }
        Tensor::cat(&parts, D::Minus1)
    }

    /// Canonical name of a direction.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}
