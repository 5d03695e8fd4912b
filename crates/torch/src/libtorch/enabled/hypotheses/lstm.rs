//! Mistakes in the layers of an LSTM.

use soundalike_network::{Cause, Gate, Op, Stage};
use tch::Tensor;

use super::{Known, Site, general::across, hypothesis};
use crate::{Error, Result};

/// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
type Params = [Tensor; 4];

/// Whether a direction runs from the last frame to the first.
fn is_reverse(stage: &Stage) -> bool {
    matches!(stage.op, Op::LstmDirection { reverse: true, .. })
}

/// The tensors of the direction `stage`.
fn params(site: &Site<'_>, stage: &Stage) -> Result<Params> {
    let names: Vec<&str> = stage
        .parameters
        .iter()
        .map(|tensor| &*tensor.name)
        .collect();
    let [a, b, c, d] = names[..] else {
        return Err(Error::MissingTensor {
            name: format!("of {}", stage.name),
        });
    };
    Ok([
        site.tensor(a)?,
        site.tensor(b)?,
        site.tensor(c)?,
        site.tensor(d)?,
    ])
}

/// The directions of the network that run as `stage` does, one of each layer.
fn same_directions<'a>(site: &'a Site<'_>) -> impl Iterator<Item = &'a Stage> {
    let alike = |other: &&Stage| {
        matches!(other.op, Op::LstmDirection { .. }) && is_reverse(other) == is_reverse(site.stage)
    };
    site.graph.stages().iter().filter(alike)
}

/// What the layer is fed, `[batch, frame, feature]`: the first transposes its input itself.
fn fed(site: &Site<'_>) -> Result<Tensor> {
    let x = site.x()?;
    if site.graph.is_transposed(site.stage) {
        return Ok(x.f_transpose(1, 2)?);
    }
    Ok(x.shallow_clone())
}

/// How a direction of a layer is run.
struct Run {
    params: Params,
    x: Tensor,
    /// Whether it hears the frames from the last to the first, and whether it gives them back in their order.
    heard_reversed: bool,
    given_reversed: bool,
    /// Whether it starts with the state that the same frames left.
    carried: bool,
}

impl Run {
    fn of(site: &Site<'_>) -> Result<Self> {
        Self::direction(site, site.stage)
    }

    /// The direction `stage` of the layer that `site` is of.
    fn direction(site: &Site<'_>, stage: &Stage) -> Result<Self> {
        let reverse = is_reverse(stage);
        Ok(Self {
            params: params(site, stage)?,
            x: fed(site)?,
            heard_reversed: reverse,
            given_reversed: reverse,
            carried: false,
        })
    }

    fn run(&self) -> Result<Tensor> {
        let x = if self.heard_reversed {
            self.x.f_flip([1])?
        } else {
            self.x.shallow_clone()
        };
        let shape = [1, x.size()[0], self.params[1].size()[1]];
        let zeros = Tensor::f_zeros(shape, (x.f_kind()?, x.device()))?;
        let mut state = [zeros.shallow_clone(), zeros];
        let mut output = None;
        for _ in 0..if self.carried { 2 } else { 1 } {
            let (y, h, c) = x.f_lstm(&state, &self.params, true, 1, 0.0, false, false, true)?;
            (output, state) = (Some(y), [h, c]);
        }
        let output = output.unwrap_or(x);
        Ok(if self.given_reversed {
            output.f_flip([1])?
        } else {
            output
        })
    }
}

/// The rows of each tensor by gates, the gates in another order.
fn gates(params: &Params, order: [i64; 4]) -> Result<Params> {
    let reorder = |tensor: &Tensor| -> Result<Tensor> {
        let size = tensor.size()[0] / 4;
        let blocks = order.map(|gate| tensor.f_narrow(0, gate * size, size));
        let blocks = blocks
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat(&blocks, 0)?)
    };
    let [ih, hh, bias_ih, bias_hh] = params;
    Ok([
        reorder(ih)?,
        reorder(hh)?,
        reorder(bias_ih)?,
        reorder(bias_hh)?,
    ])
}

/// All orders of the gates but the right one.
fn orders() -> Vec<[i64; 4]> {
    let mut orders = Vec::new();
    for number in 0..256_i64 {
        let order = [number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6];
        let all = (0..4).all(|gate| order.contains(&gate));
        if all && order != [0, 1, 2, 3] {
            orders.push(order);
        }
    }
    orders
}

/// A hypothesis in the parameters alone.
fn with_params(
    cause: Cause,
    text: impl Into<String>,
    change: impl Fn(Params) -> Result<Params> + 'static,
) -> Known {
    hypothesis(cause, text, move |site| {
        let run = Run::of(site)?;
        let [a, b, c, d] = &run.params;
        let copy = [a, b, c, d].map(Tensor::shallow_clone);
        Run {
            params: change(copy)?,
            ..run
        }
        .run()
    })
}

/// Mistakes in one direction of a layer.
pub(super) fn direction(site: &Site<'_>) -> Vec<Known> {
    let mut known: Vec<Known> = orders()
        .into_iter()
        .map(|order| {
            let letters = order.map(|gate| [Gate::I, Gate::F, Gate::G, Gate::O][gate as usize]);
            let cause = Cause::Gates(letters);
            let text = format!(
                "the gates' weights taken in the order {} in place of ifgo",
                letters.map(|gate| gate.to_string()).concat()
            );
            with_params(cause, text, move |params| gates(&params, order))
        })
        .collect();
    known.extend([
        with_params(
            Cause::BiasHhLeftOut,
            "the second bias dropped",
            |[a, b, c, d]| Ok([a, b, c, d.f_zeros_like()?]),
        ),
        with_params(
            Cause::BiasIhLeftOut,
            "the first bias dropped",
            |[a, b, c, d]| Ok([a, b, c.f_zeros_like()?, d]),
        ),
        with_params(
            Cause::BiasesLeftOut,
            "both biases dropped",
            |[a, b, c, d]| Ok([a, b, c.f_zeros_like()?, d.f_zeros_like()?]),
        ),
        with_params(
            Cause::BiasesTwice,
            "both biases added twice",
            |[a, b, c, d]| Ok([a, b, c.f_mul_scalar(2.0)?, d.f_mul_scalar(2.0)?]),
        ),
        with_params(
            Cause::ForgetBias1,
            "1 added to the bias of the forget gate",
            |[a, b, c, d]| {
                let size = c.size()[0] / 4;
                let forget = c.f_narrow(0, size, size)?.f_add_scalar(1.0)?;
                let rest = c.f_narrow(0, 2 * size, 2 * size)?;
                let c = Tensor::f_cat(&[c.f_narrow(0, 0, size)?, forget, rest], 0)?;
                Ok([a, b, c, d])
            },
        ),
        with_params(
            Cause::RecurrentTransposed,
            "the recurrent weights of each gate transposed",
            |[a, b, c, d]| {
                let gates = b.f_chunk(4, 0)?;
                let turned = gates.iter().map(|gate| gate.f_transpose(0, 1));
                let turned = turned.collect::<std::result::Result<Vec<_>, _>>()?;
                Ok([a, Tensor::f_cat(&turned, 0)?, c, d])
            },
        ),
        hypothesis(Cause::WeightsInF16, "weights in 16 bits", |site| {
            let run = Run::of(site)?;
            let params = params_in_half(site)?;
            Run { params, ..run }.run()
        }),
        hypothesis(
            Cause::WeightsOfTheOtherDirection,
            "the weights of the other direction",
            |site| {
                let other = site.parts().find(|part| part.name != site.stage.name);
                let other = other.ok_or_else(|| super::segmentation::not_here("directions", 1))?;
                Run {
                    params: params(site, other)?,
                    ..Run::of(site)?
                }
                .run()
            },
        ),
        hypothesis(
            Cause::StateCarried,
            "states left over from the window before",
            |site| {
                Run {
                    carried: true,
                    ..Run::of(site)?
                }
                .run()
            },
        ),
        hypothesis(Cause::OneFrameLate, "the output one frame late", |site| {
            let x = Run::of(site)?.run()?;
            let rest = x.f_narrow(1, 0, x.size()[1] - 1)?;
            Ok(Tensor::f_cat(
                &[x.f_narrow(1, 0, 1)?.f_zeros_like()?, rest],
                1,
            )?)
        }),
        hypothesis(
            Cause::HardSigmoid,
            "Keras' hard sigmoid in place of the sigmoid",
            |site| {
                let hard = |x: &Tensor| -> Result<Tensor> {
                    Ok(x.f_mul_scalar(0.2)?.f_add_scalar(0.5)?.f_clamp(0.0, 1.0)?)
                };
                step_by_step(site, &hard, &tanh, &tanh)
            },
        ),
        hypothesis(
            Cause::CellWithoutTanh,
            "a cell that leaves without a tanh",
            |site| step_by_step(site, &sigmoid, &tanh, &|x| Ok(x.shallow_clone())),
        ),
        hypothesis(
            Cause::SigmoidForTanh,
            "a sigmoid in place of tanh in gate g",
            |site| step_by_step(site, &sigmoid, &sigmoid, &tanh),
        ),
    ]);
    if is_reverse(site.stage) {
        known.push(hypothesis(
            Cause::ReverseNotTurnedBack,
            "a reverse direction whose outputs are not turned back",
            |site| {
                Run {
                    given_reversed: false,
                    ..Run::of(site)?
                }
                .run()
            },
        ));
        known.push(hypothesis(
            Cause::ReverseGoesForwards,
            "a reverse direction that goes forwards",
            |site| {
                let run = Run::of(site)?;
                Run {
                    heard_reversed: false,
                    given_reversed: false,
                    ..run
                }
                .run()
            },
        ));
    }
    if site.graph.is_transposed(site.stage) {
        known.push(hypothesis(
            Cause::NotTransposed,
            "[feature, frame] read as [frame, feature]",
            |site| {
                let x = site.x()?;
                let size = x.size();
                let x = x.f_contiguous()?.f_reshape([size[0], size[2], size[1]])?;
                Run {
                    x,
                    ..Run::of(site)?
                }
                .run()
            },
        ));
    }
    for (layer, other) in same_directions(site).enumerate() {
        if other.name == site.stage.name {
            continue;
        }
        let other = other.clone();
        known.push(hypothesis(
            Cause::WeightsOfAnotherLayer,
            format!("the weights of layer {layer}"),
            move |site| {
                let run = Run::of(site)?;
                let params = params(site, &other)?;
                if params[0].size() != run.params[0].size() {
                    return Err(super::segmentation::not_here("weights", layer));
                }
                Run { params, ..run }.run()
            },
        ));
    }
    known
}

/// The tensors of the direction as 16 bits hold them.
fn params_in_half(site: &Site<'_>) -> Result<Params> {
    let [a, b, c, d] = &site.stage.parameters[..] else {
        return Err(super::segmentation::not_here(
            "tensors",
            site.stage.parameters.len(),
        ));
    };
    Ok([
        site.half(&a.name)?,
        site.half(&b.name)?,
        site.half(&c.name)?,
        site.half(&d.name)?,
    ])
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_sigmoid()?)
}

fn tanh(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_tanh()?)
}

type Function<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

/// A direction with other functions: of the gates i, f and o, of g, and of the cell on its way out.
fn step_by_step(
    site: &Site<'_>,
    gate: Function<'_>,
    candidate: Function<'_>,
    output: Function<'_>,
) -> Result<Tensor> {
    let run = Run::of(site)?;
    let [weight_ih, weight_hh, bias_ih, bias_hh] = &run.params;
    let x = if run.heard_reversed {
        run.x.f_flip([1])?
    } else {
        run.x.shallow_clone()
    };
    let heard = x.f_linear(weight_ih, Some(bias_ih))?.f_add(bias_hh)?;
    let hidden = weight_hh.size()[1];
    let mut h = Tensor::f_zeros([x.size()[0], hidden], (x.f_kind()?, x.device()))?;
    let mut c = h.shallow_clone();
    let mut states = Vec::new();
    for frame in 0..x.size()[1] {
        let sums = heard
            .f_select(1, frame)?
            .f_add(&h.f_linear(weight_hh, None::<&Tensor>)?)?;
        let part = |index: i64| sums.f_narrow(1, index * hidden, hidden);
        let (i, f) = (gate(&part(0)?)?, gate(&part(1)?)?);
        let (g, o) = (candidate(&part(2)?)?, gate(&part(3)?)?);
        c = f.f_mul(&c)?.f_add(&i.f_mul(&g)?)?;
        h = o.f_mul(&output(&c)?)?;
        states.push(h.shallow_clone());
    }
    let states = Tensor::f_stack(&states, 1)?;
    Ok(if run.given_reversed {
        states.f_flip([1])?
    } else {
        states
    })
}

/// The outputs of the directions of a layer.
fn directions(site: &Site<'_>) -> Result<Vec<Tensor>> {
    let parts = site.parts();
    parts
        .map(|part| Run::direction(site, part)?.run())
        .collect()
}

/// A layer: its directions side by side.
pub(super) fn joined(site: &Site<'_>) -> Result<Tensor> {
    Ok(Tensor::f_cat(&directions(site)?, -1)?)
}

/// Both directions of a layer; of one that has one, none of these mistakes can be made.
fn both(site: &Site<'_>) -> Result<[Tensor; 2]> {
    let found = directions(site)?;
    let count = found.len();
    found
        .try_into()
        .map_err(|_| super::segmentation::not_here("directions", count))
}

/// Mistakes in how the directions of a layer are put together.
pub(super) fn layer() -> Vec<Known> {
    vec![
        hypothesis(
            Cause::HalvesSwapped,
            "the reverse direction before the forward one",
            |site| {
                let [forward, reverse] = both(site)?;
                Ok(Tensor::f_cat(&[reverse, forward], -1)?)
            },
        ),
        hypothesis(
            Cause::ReverseLeftOut,
            "a reverse direction of zeros",
            |site| {
                let [forward, reverse] = both(site)?;
                Ok(Tensor::f_cat(&[forward, reverse.f_zeros_like()?], -1)?)
            },
        ),
        hypothesis(
            Cause::DirectionsInterleaved,
            "the units of both directions taking turns",
            |site| {
                let directions = both(site)?;
                Ok(Tensor::f_stack(&directions, -1)?.f_flatten(2, 3)?)
            },
        ),
        hypothesis(
            Cause::FeaturesAndFramesMixed,
            "[frame, feature] read as [feature, frame]",
            |site| across(&joined(site)?),
        ),
    ]
}
