//! An LSTM layer in one launch, whatever the number of frames.

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor};

use super::{super::Linear, LstmShape};

/// Gates of a unit.
const GATES: usize = 4;

/// One layer, whose directions are computed by one matrix product and one launch of `lstm.wgsl`.
#[derive(Debug, Clone)]
pub(super) struct WholeSequence {
    /// To the gates of all directions: the four of a unit lie together.
    input: Linear,
    /// `[direction, hidden, hidden, gate]`, in f32: from the first unit to the second.
    recurrent: Tensor,
    recurrence: Recurrence,
}

impl WholeSequence {
    /// From what each direction has: the map from its input `[4 hidden, inputs]`, and the recurrent weights
    /// `[4 hidden, hidden]`.
    pub(super) fn new(shape: LstmShape, input: &[Linear], recurrent: &[Tensor]) -> Result<Self> {
        let LstmShape { inputs, hidden, .. } = shape;
        let by_unit = |x: &Tensor, width: usize| {
            let x = x.reshape((GATES, hidden, width))?.transpose(0, 1)?;
            x.reshape((GATES * hidden, width))
        };
        let weights = input.iter().map(|input| by_unit(input.weight(), inputs));
        let biases = input
            .iter()
            .map(|input| by_unit(input.bias(), 1)?.flatten_all());
        let input = Linear::new(
            Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)?,
            Tensor::cat(&biases.collect::<Result<Vec<_>>>()?, 0)?,
        );
        let recurrent = Tensor::stack(recurrent, 0)?
            .reshape((recurrent.len(), GATES, hidden, hidden))?
            .permute((0, 3, 2, 1))?
            .to_dtype(DType::F32)?
            .contiguous()?;
        Ok(Self {
            recurrence: Recurrence::new(hidden, recurrent.device())?,
            input,
            recurrent,
        })
    }

    /// `[batch, frame, inputs]` to `[batch, frame, directions x hidden]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shares = self.input.forward(x)?.to_dtype(DType::F32)?;
        let states = shares.apply_op2_no_bwd(&self.recurrent, &self.recurrence)?;
        states.to_dtype(x.dtype())
    }
}

/// What is left of a layer once its input is multiplied: shares of the gates `[batch, frame, directions x 4 hidden]` and
/// recurrent weights to states `[batch, frame, directions x hidden]`, all of f32.
#[derive(Debug, Clone)]
struct Recurrence {
    #[cfg(feature = "metal")]
    pipeline: Option<super::metal::Pipeline>,
}

impl Recurrence {
    fn new(hidden: usize, device: &Device) -> Result<Self> {
        /// As `UNITS` in `lstm.wgsl`.
        const MOST: usize = 1024;
        if hidden > MOST {
            candle_core::bail!(
                "the experimental kernel is for LSTMs of at most {MOST} units, and this has {hidden}"
            );
        }
        match device {
            Device::Cuda(_) => candle_core::bail!("the experimental kernels are for Metal"),
            #[cfg(feature = "metal")]
            Device::Metal(device) => Ok(Self {
                pipeline: Some(super::metal::Pipeline::new(
                    device,
                    include_str!("lstm.wgsl"),
                )?),
            }),
            _ => Ok(Self {
                #[cfg(feature = "metal")]
                pipeline: None,
            }),
        }
    }
}

/// Batch, frames, directions and hidden units of shares and recurrent weights that lie in order.
fn sizes(shares: &Layout, recurrent: &Layout) -> Result<[usize; 4]> {
    let (batch, frames, width) = shares.shape().dims3()?;
    let (directions, hidden, _, gates) = recurrent.shape().dims4()?;
    if width != directions * hidden * gates || !shares.is_contiguous() || !recurrent.is_contiguous()
    {
        candle_core::bail!("an LSTM of {recurrent:?} cannot have gates of {shares:?}");
    }
    Ok([batch, frames, directions, hidden])
}

impl CustomOp2 for Recurrence {
    fn name(&self) -> &'static str {
        "lstm"
    }

    /// The same on the CPU, of the same layout: by it, all that is around the kernel can be compared with the original
    /// where there is no GPU.
    fn cpu_fwd(
        &self,
        shares: &CpuStorage,
        shares_layout: &Layout,
        recurrent: &CpuStorage,
        recurrent_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [batch, frames, directions, hidden] = sizes(shares_layout, recurrent_layout)?;
        let shares = &shares.as_slice::<f32>()?[shares_layout.start_offset()..];
        let recurrent = &recurrent.as_slice::<f32>()?[recurrent_layout.start_offset()..];
        let (shares, _) = shares.as_chunks::<GATES>();
        let (recurrent, _) = recurrent.as_chunks::<GATES>();
        let mut states = vec![0.0; batch * frames * directions * hidden];
        for sequence in 0..batch {
            for direction in 0..directions {
                let weights = &recurrent[direction * hidden * hidden..];
                let mut cell = vec![0.0; hidden];
                let mut before = vec![0.0; hidden];
                for step in 0..frames {
                    let frame = if direction == 1 {
                        frames - 1 - step
                    } else {
                        step
                    };
                    let row = ((sequence * frames + frame) * directions + direction) * hidden;
                    for unit in 0..hidden {
                        let mut sums = [[0.0; GATES]; 4];
                        for (k, state) in before.iter().enumerate() {
                            for (sum, weight) in
                                sums[k % 4].iter_mut().zip(weights[k * hidden + unit])
                            {
                                *sum += state * weight;
                            }
                        }
                        let [i, f, g, o] = std::array::from_fn(|gate| {
                            let [a, b, c, d] = sums.map(|sum| sum[gate]);
                            shares[row + unit][gate] + ((a + b) + (c + d))
                        });
                        cell[unit] = sigmoid(f) * cell[unit] + sigmoid(i) * g.tanh();
                        states[row + unit] = sigmoid(o) * cell[unit].tanh();
                    }
                    before.copy_from_slice(&states[row..][..hidden]);
                }
            }
        }
        Ok((
            CpuStorage::F32(states),
            Shape::from((batch, frames, directions * hidden)),
        ))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        shares: &candle_core::MetalStorage,
        shares_layout: &Layout,
        recurrent: &candle_core::MetalStorage,
        recurrent_layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let [batch, frames, directions, hidden] = sizes(shares_layout, recurrent_layout)?;
        let Some(pipeline) = &self.pipeline else {
            candle_core::bail!("the LSTM was not built on Metal");
        };
        let shape = Shape::from((batch, frames, directions * hidden));
        let states = pipeline.launch(
            [(shares, shares_layout), (recurrent, recurrent_layout)],
            [frames, hidden],
            [directions, batch],
            shape.elem_count(),
        )?;
        Ok((states, shape))
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_that_do_not_fit_or_do_not_lie_in_order_are_refused() {
        // Two directions of three units.
        let shares = Layout::contiguous((2, 5, 24));
        let recurrent = Layout::contiguous((2, 3, 3, GATES));
        assert_eq!(sizes(&shares, &recurrent).unwrap(), [2, 5, 2, 3]);
        let other = Layout::contiguous((2, 5, 23));
        assert!(sizes(&other, &recurrent).is_err());
        let transposed = Layout::contiguous((5, 2, 24)).transpose(0, 1).unwrap();
        assert!(sizes(&transposed, &recurrent).is_err());
        let transposed = recurrent.transpose(1, 2).unwrap();
        assert!(sizes(&shares, &transposed).is_err());
    }
}
