//! Mistakes in the layers of an LSTM.

use soundalike_network::{Cause, LstmGate, Op, Stage};
use tch::Tensor;

use super::{
    Known, Site, Title,
    general::{across, one_frame_late},
    hypothesis, not_here,
};
use crate::Result;

/// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
type Params = [Tensor; 4];

/// Whether a direction runs from the last frame to the first.
fn is_reverse(stage: &Stage) -> bool {
    matches!(stage.op, Op::LstmDirection { reverse: true, .. })
}

/// The tensors of the direction `stage`, each read by `get`.
fn params(stage: &Stage, get: impl Fn(&str) -> Result<Tensor>) -> Result<Params> {
    four(stage.parameters.iter().map(|tensor| get(&tensor.name)))
}

fn four(tensors: impl Iterator<Item = Result<Tensor>>) -> Result<Params> {
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let params = tensors.try_into();
    params.map_err(|tensors: Vec<_>| not_here("tensors", tensors.len()))
}

/// The LSTM directions of every layer that run the same way.
fn same_directions<'a>(site: &'a Site<'_>) -> impl Iterator<Item = &'a Stage> {
    let alike = |other: &&Stage| {
        matches!(other.op, Op::LstmDirection { .. }) && is_reverse(other) == is_reverse(site.stage)
    };
    site.graph.stages().iter().filter(alike)
}

/// The input of the layer, `[batch, frame, feature]`. The first layer transposes its operand.
fn fed(site: &Site<'_>) -> Result<Tensor> {
    let x = site.x()?;
    if site.graph.is_transposed(site.stage) {
        return Ok(x.f_transpose(1, 2)?);
    }
    Ok(x.shallow_clone())
}

/// One direction of a layer, ready to run.
struct Direction {
    params: Params,
    x: Tensor,
    /// Whether the input is reversed in time, and whether the output is.
    input_reversed: bool,
    output_reversed: bool,
    /// Whether it starts with the final state of a run on the same frames.
    carried: bool,
}

impl Direction {
    /// The direction `stage` of the layer of `site`, without a mistake.
    fn new(site: &Site<'_>, stage: &Stage) -> Result<Self> {
        let reverse = is_reverse(stage);
        Ok(Self {
            params: params(stage, |name| site.tensor(name))?,
            x: fed(site)?,
            input_reversed: reverse,
            output_reversed: reverse,
            carried: false,
        })
    }

    fn run(&self) -> Result<Tensor> {
        let x = reversed_if(self.input_reversed, &self.x)?;
        let shape = [1, x.size()[0], self.params[1].size()[1]];
        let zeros = Tensor::f_zeros(shape, (x.f_kind()?, x.device()))?;
        let lstm =
            |state: &[Tensor; 2]| x.f_lstm(state, &self.params, true, 1, 0.0, false, false, true);
        let (mut output, h, c) = lstm(&[zeros.shallow_clone(), zeros])?;
        if self.carried {
            (output, _, _) = lstm(&[h, c])?;
        }
        reversed_if(self.output_reversed, &output)
    }
}

/// `x` `[batch, frame, feature]`, reversed in time if `reversed`.
fn reversed_if(reversed: bool, x: &Tensor) -> Result<Tensor> {
    Ok(if reversed {
        x.f_flip([1])?
    } else {
        x.shallow_clone()
    })
}

/// The direction without a mistake.
fn right(site: &Site<'_>) -> Result<Tensor> {
    Direction::new(site, site.stage)?.run()
}

/// The tensors with their gates in another order.
fn gates(params: &Params, order: [usize; 4]) -> Result<Params> {
    four(params.iter().map(|tensor| {
        let gates = tensor.f_chunk(4, 0)?;
        Ok(Tensor::f_cat(&order.map(|gate| &gates[gate]), 0)?)
    }))
}

/// All wrong orders of the gates.
fn orders() -> impl Iterator<Item = [usize; 4]> {
    let orders = (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
    let all = |order: &[usize; 4]| (0..4).all(|gate| order.contains(&gate));
    orders.filter(move |order| all(order) && *order != [0, 1, 2, 3])
}

impl Title {
    /// The direction with a change.
    fn direction(
        self,
        change: impl Fn(&Site<'_>, &mut Direction) -> Result<()> + 'static,
    ) -> Known {
        self.by(move |site| {
            let mut direction = Direction::new(site, site.stage)?;
            change(site, &mut direction)?;
            direction.run()
        })
    }

    /// The direction with changed options.
    fn run(self, change: fn(&mut Direction)) -> Known {
        self.direction(move |_, direction| {
            change(direction);
            Ok(())
        })
    }

    /// The direction with other biases: `change` takes `bias_ih` and `bias_hh`.
    fn biases(self, change: fn(&Tensor, &Tensor) -> Result<[Tensor; 2]>) -> Known {
        self.direction(move |_, direction| {
            let [_, _, bias_ih, bias_hh] = &mut direction.params;
            [*bias_ih, *bias_hh] = change(bias_ih, bias_hh)?;
            Ok(())
        })
    }

    /// The direction with other activations: of the gates i, f and o, of gate g, and of the cell state.
    fn step_by_step(self, gate: Function, candidate: Function, output: Function) -> Known {
        self.by(move |site| step_by_step(site, gate, candidate, output))
    }
}

/// Mistakes in one direction of a layer.
pub(super) fn direction(site: &Site<'_>) -> Vec<Known> {
    let in_order = |order: [usize; 4]| {
        let letters = order.map(|gate| [LstmGate::I, LstmGate::F, LstmGate::G, LstmGate::O][gate]);
        let text = format!(
            "the gates' weights taken in the order {} in place of ifgo",
            letters.map(|gate| gate.to_string()).concat()
        );
        hypothesis(Cause::Gates(letters))
            .text(text)
            .direction(move |_, direction| {
                direction.params = gates(&direction.params, order)?;
                Ok(())
            })
    };
    let mut known: Vec<Known> = orders().map(in_order).collect();
    known.extend([
        hypothesis(Cause::BiasHhLeftOut)
            .text("the second bias dropped")
            .biases(|c, d| Ok([c.shallow_clone(), d.f_zeros_like()?])),
        hypothesis(Cause::BiasIhLeftOut)
            .text("the first bias dropped")
            .biases(|c, d| Ok([c.f_zeros_like()?, d.shallow_clone()])),
        hypothesis(Cause::BiasesLeftOut)
            .text("both biases dropped")
            .biases(|c, d| Ok([c.f_zeros_like()?, d.f_zeros_like()?])),
        hypothesis(Cause::BiasesTwice)
            .text("both biases added twice")
            .biases(|c, d| Ok([c.f_mul_scalar(2.0)?, d.f_mul_scalar(2.0)?])),
        hypothesis(Cause::ForgetBias1)
            .text("1 added to the bias of the forget gate")
            .biases(|c, d| {
                let mut gates = c.f_chunk(4, 0)?;
                gates[1] = gates[1].f_add_scalar(1.0)?;
                Ok([Tensor::f_cat(&gates, 0)?, d.shallow_clone()])
            }),
        hypothesis(Cause::RecurrentTransposed)
            .text("the recurrent weights of each gate transposed")
            .direction(|_, direction| {
                let gates = direction.params[1].f_chunk(4, 0)?.into_iter();
                let gates = gates.map(|gate| Ok(gate.f_transpose(0, 1)?));
                direction.params[1] = Tensor::f_cat(&gates.collect::<Result<Vec<_>>>()?, 0)?;
                Ok(())
            }),
        hypothesis(Cause::WeightsInF16)
            .text("weights in 16 bits")
            .direction(|site, direction| {
                direction.params = params(site.stage, |name| site.half(name))?;
                Ok(())
            }),
        hypothesis(Cause::WeightsOfTheOtherDirection)
            .text("the weights of the other direction")
            .direction(|site, direction| {
                let other = site.parts().find(|part| part.name != site.stage.name);
                let other = other.ok_or_else(|| not_here("directions", 1))?;
                direction.params = params(other, |name| site.tensor(name))?;
                Ok(())
            }),
        hypothesis(Cause::StateCarried)
            .text("states left over from a run on the same window")
            .run(|direction| direction.carried = true),
        one_frame_late(right),
        hypothesis(Cause::HardSigmoid)
            .text("Keras' hard sigmoid in place of the sigmoid")
            .step_by_step(hard_sigmoid, Tensor::f_tanh, Tensor::f_tanh),
        hypothesis(Cause::CellWithoutTanh)
            .text("a cell that leaves without a tanh")
            .step_by_step(Tensor::f_sigmoid, Tensor::f_tanh, |x| Ok(x.shallow_clone())),
        hypothesis(Cause::SigmoidForTanh)
            .text("a sigmoid in place of tanh in gate g")
            .step_by_step(Tensor::f_sigmoid, Tensor::f_sigmoid, Tensor::f_tanh),
    ]);
    if is_reverse(site.stage) {
        known.push(
            hypothesis(Cause::ReverseNotTurnedBack)
                .text("a reverse direction whose outputs are not turned back")
                .run(|direction| direction.output_reversed = false),
        );
        known.push(
            hypothesis(Cause::ReverseGoesForwards)
                .text("a reverse direction that goes forwards")
                .run(|direction| {
                    direction.input_reversed = false;
                    direction.output_reversed = false;
                }),
        );
    }
    if site.graph.is_transposed(site.stage) {
        known.push(
            hypothesis(Cause::NotTransposed)
                .text("[feature, frame] read as [frame, feature]")
                .direction(|site, direction| {
                    let x = site.x()?.f_contiguous()?;
                    direction.x = x.f_reshape(direction.x.size())?;
                    Ok(())
                }),
        );
    }
    for (layer, other) in same_directions(site).enumerate() {
        if other.name == site.stage.name {
            continue;
        }
        let other = other.clone();
        known.push(
            hypothesis(Cause::WeightsOfAnotherLayer)
                .text(format!("the weights of layer {layer}"))
                .direction(move |site, direction| {
                    let params = params(&other, |name| site.tensor(name))?;
                    if params[0].size() != direction.params[0].size() {
                        return Err(not_here("weights", layer));
                    }
                    direction.params = params;
                    Ok(())
                }),
        );
    }
    known.push(
        hypothesis(Cause::StateCarried)
            .text("states left over from another window or row: the first frame does not start from zeros")
            .fitted(from_its_own_state),
    );
    known
}

/// The direction with both biases multiplied by `factor`.
pub(super) fn with_scaled_biases(site: &Site<'_>, factor: f64) -> Result<Tensor> {
    let mut direction = Direction::new(site, site.stage)?;
    for bias in &mut direction.params[2..] {
        *bias = bias.f_mul_scalar(factor)?;
    }
    direction.run()
}

/// Frames that show the state of the candidate: the cell state follows from the output and the gates of a frame, and the
/// gates from the output of the frame before.
const SHOWN: i64 = 2;

/// The direction from the state that the candidate has after its first frames, which are kept as they are.
fn from_its_own_state(site: &Site<'_>) -> Result<Tensor> {
    let direction = Direction::new(site, site.stage)?;
    let [weight_ih, weight_hh, bias_ih, bias_hh] = &direction.params;
    let x = reversed_if(direction.input_reversed, &direction.x)?;
    let output = reversed_if(direction.output_reversed, &site.output)?;
    let (frames, hidden) = (x.size()[1], weight_hh.size()[1]);
    if output.size() != [x.size()[0], frames, hidden] || frames <= SHOWN {
        return Err(not_here("frames", frames as usize));
    }
    let state = |frame: i64| output.f_select(1, frame);
    let sums = x
        .f_select(1, SHOWN - 1)?
        .f_linear(weight_ih, Some(bias_ih))?
        .f_add(&state(SHOWN - 2)?.f_linear(weight_hh, Some(bias_hh))?)?;
    let o = sums.f_narrow(1, 3 * hidden, hidden)?.f_sigmoid()?;
    let h = state(SHOWN - 1)?;
    // Rounding may take the ratio to 1 or beyond, where tanh has no inverse.
    let below_one = 1.0 - f64::from(f32::EPSILON);
    let c = h.f_div(&o)?.f_clamp(-below_one, below_one)?.f_atanh()?;
    let rest = x.f_narrow(1, SHOWN, frames - SHOWN)?;
    let state = [h.f_unsqueeze(0)?, c.f_unsqueeze(0)?];
    let (rest, _, _) = rest.f_lstm(&state, &direction.params, true, 1, 0.0, false, false, true)?;
    let whole = Tensor::f_cat(&[output.f_narrow(1, 0, SHOWN)?, rest], 1)?;
    reversed_if(direction.output_reversed, &whole)
}

/// An activation.
type Function = fn(&Tensor) -> std::result::Result<Tensor, tch::TchError>;

/// `clip(0.2 x + 0.5, 0, 1)`.
fn hard_sigmoid(x: &Tensor) -> std::result::Result<Tensor, tch::TchError> {
    x.f_mul_scalar(0.2)?.f_add_scalar(0.5)?.f_clamp(0.0, 1.0)
}

fn step_by_step(
    site: &Site<'_>,
    gate: Function,
    candidate: Function,
    output: Function,
) -> Result<Tensor> {
    let direction = Direction::new(site, site.stage)?;
    let [weight_ih, weight_hh, bias_ih, bias_hh] = &direction.params;
    let x = reversed_if(direction.input_reversed, &direction.x)?;
    let projected = x.f_linear(weight_ih, Some(bias_ih))?.f_add(bias_hh)?;
    let hidden = weight_hh.size()[1];
    let mut h = Tensor::f_zeros([x.size()[0], hidden], (x.f_kind()?, x.device()))?;
    let mut c = h.shallow_clone();
    let mut states = Vec::new();
    for frame in 0..x.size()[1] {
        let recurrent = h.f_linear(weight_hh, None::<&Tensor>)?;
        let sums = projected.f_select(1, frame)?.f_add(&recurrent)?;
        let part = |index: i64| sums.f_narrow(1, index * hidden, hidden);
        let (i, f) = (gate(&part(0)?)?, gate(&part(1)?)?);
        let (g, o) = (candidate(&part(2)?)?, gate(&part(3)?)?);
        c = f.f_mul(&c)?.f_add(&i.f_mul(&g)?)?;
        h = o.f_mul(&output(&c)?)?;
        states.push(h.shallow_clone());
    }
    reversed_if(direction.output_reversed, &Tensor::f_stack(&states, 1)?)
}

/// The outputs of the directions of a layer.
fn directions(site: &Site<'_>) -> Result<Vec<Tensor>> {
    let run = |part| Direction::new(site, part)?.run();
    site.parts().map(run).collect()
}

/// A layer without a mistake: its directions concatenated.
pub(super) fn joined(site: &Site<'_>) -> Result<Tensor> {
    Ok(Tensor::f_cat(&directions(site)?, -1)?)
}

/// Both directions of a layer. An error for a unidirectional layer.
fn both(site: &Site<'_>) -> Result<[Tensor; 2]> {
    let found = directions(site)?;
    let count = found.len();
    let both = found.try_into();
    both.map_err(|_| not_here("directions", count))
}

/// Mistakes in how the directions of a layer are concatenated.
pub(super) fn layer() -> Vec<Known> {
    vec![
        hypothesis(Cause::HalvesSwapped)
            .text("the reverse direction before the forward one")
            .by(|site| {
                let [forward, reverse] = both(site)?;
                Ok(Tensor::f_cat(&[reverse, forward], -1)?)
            }),
        hypothesis(Cause::ReverseLeftOut)
            .text("a reverse direction of zeros")
            .by(|site| {
                let [forward, reverse] = both(site)?;
                Ok(Tensor::f_cat(&[forward, reverse.f_zeros_like()?], -1)?)
            }),
        hypothesis(Cause::DirectionsInterleaved)
            .text("the units of both directions taking turns")
            .by(|site| {
                let directions = both(site)?;
                Ok(Tensor::f_stack(&directions, -1)?.f_flatten(2, 3)?)
            }),
        hypothesis(Cause::FeaturesAndFramesMixed)
            .text("[frame, feature] read as [feature, frame]")
            .by(|site| across(&joined(site)?)),
    ]
}
