//! A faulty direction of an LSTM layer, step by step.

use soundalike_model::{Result, Tensor, TensorError};
use soundalike_network::Op;

use super::{Call, Draft, Fault, Patterns};

/// The properties of an LSTM that faults change.
pub(super) struct LstmOptions {
    /// Activation of the gates i, f and o.
    pub(super) gate: fn(&Tensor) -> Result<Tensor>,
    /// Activation of the gate g.
    pub(super) candidate: fn(&Tensor) -> Result<Tensor>,
    /// Activation of the cell state in the output.
    pub(super) output: fn(&Tensor) -> Result<Tensor>,
    /// Makes a window from this one: it starts with the final state of a run on that.
    pub(super) before: Option<fn(&Tensor) -> Result<Tensor>>,
    /// Whether the reverse direction runs forwards.
    pub(super) forwards: bool,
}

impl Draft {
    /// Runs the LSTM directions among `stages` with changed options.
    pub(super) fn lstm(self, stages: Patterns, change: fn(&mut LstmOptions)) -> Fault {
        let mut options = LSTM;
        change(&mut options);
        self.stage(stages, move |call| {
            let x = call.input()?;
            // The first layer transposes its operand.
            let x = match call.graph.is_transposed(call.stage) {
                true => x.transpose(1, 2)?.contiguous()?,
                false => x.clone(),
            };
            run(call, &x, &options)
        })
    }
}

/// A correct LSTM.
pub(super) const LSTM: LstmOptions = LstmOptions {
    gate: sigmoid,
    candidate: Tensor::tanh,
    output: Tensor::tanh,
    before: None,
    forwards: false,
};

pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// `clip(0.2 x + 0.5, 0, 1)`, which Keras used instead of a sigmoid.
pub(super) fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.2)? + 0.5)?.clamp(0.0, 1.0)
}

/// Runs the direction of `call` with these options on `x` `[batch, frame, feature]`.
pub(super) fn run(call: &Call<'_>, x: &Tensor, options: &LstmOptions) -> Result<Tensor> {
    let (Op::LstmDirection { reverse, .. }, [input, recurrent, bias_ih, bias_hh]) =
        (&call.stage.op, &call.stage.parameters[..])
    else {
        let name = &call.stage.name;
        return Err(TensorError::msg(format!(
            "{name} is not a direction of an LSTM"
        )));
    };
    let backwards = *reverse && !options.forwards;
    let [input, recurrent, bias_ih, bias_hh] =
        [input, recurrent, bias_ih, bias_hh].map(|tensor| call.tensor(&tensor.name));
    let (recurrent, bias) = (recurrent?.t()?.contiguous()?, (bias_ih? + bias_hh?)?);
    let (batch, frames, _) = x.dims3()?;
    let hidden = recurrent.dim(0)?;
    let input = input?.t()?;
    let mut h = Tensor::zeros((batch, hidden), x.dtype(), x.device())?;
    let mut c = h.clone();
    let mut states = Vec::new();
    let before = options.before.map(|make| make(x)).transpose()?;
    for x in before.iter().chain([x]) {
        states.clear();
        let gates = x.broadcast_matmul(&input)?.broadcast_add(&bias)?;
        for step in 0..frames {
            let frame = if backwards { frames - 1 - step } else { step };
            let sums =
                (gates.narrow(1, frame, 1)?.squeeze(1)? + h.contiguous()?.matmul(&recurrent)?)?;
            let gate = |index: usize| sums.narrow(1, index * hidden, hidden);
            let (i, f) = ((options.gate)(&gate(0)?)?, (options.gate)(&gate(1)?)?);
            let (g, o) = ((options.candidate)(&gate(2)?)?, (options.gate)(&gate(3)?)?);
            c = ((f * &c)? + (i * g)?)?;
            h = (o * (options.output)(&c)?)?;
            states.push(h.clone());
        }
    }
    if backwards {
        states.reverse();
    }
    Tensor::stack(&states, 1)
}
