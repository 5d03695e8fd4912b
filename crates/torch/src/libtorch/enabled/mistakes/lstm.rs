//! Mistakes in the layers of an LSTM.

use soundalike_convert::{Architecture, Lstm as Config};
use tch::Tensor;

use super::{Known, Site, general::across, mistake};
use crate::{Error, Result};

/// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
type Params = [Tensor; 4];

fn config<'a>(site: &'a Site<'_>) -> Result<&'a Config> {
    match site.bundle.architecture() {
        Architecture::PyanNet(config) => Ok(&config.lstm),
        other => Err(Error::OtherArchitecture {
            expected: "PyanNet",
            found: other.name(),
        }),
    }
}

/// Layer and direction of a stage `lstm.N.forward` or `lstm.N.reverse`.
fn place(site: &Site<'_>) -> (usize, bool) {
    let layer = site
        .name
        .split('.')
        .nth(1)
        .and_then(|index| index.parse().ok());
    (layer.unwrap_or_default(), site.name.ends_with(".reverse"))
}

fn params(site: &Site<'_>, layer: usize, reverse: bool) -> Result<Params> {
    let config = config(site)?;
    let get = |kind| site.tensor(&config.tensor_name(kind, layer, reverse));
    Ok([
        get("weight_ih")?,
        get("weight_hh")?,
        get("bias_ih")?,
        get("bias_hh")?,
    ])
}

/// What the layer is fed, `[batch, frame, feature]`: the first turns its input round itself.
fn fed(site: &Site<'_>) -> Result<Tensor> {
    let x = site.x()?;
    if place(site).0 == 0 {
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
        let (layer, reverse) = place(site);
        Ok(Self {
            params: params(site, layer, reverse)?,
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

/// A mistake in the parameters alone.
fn with_params(
    cause: impl Into<String>,
    text: impl Into<String>,
    change: impl Fn(Params) -> Result<Params> + 'static,
) -> Known {
    mistake(cause, text, move |site| {
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
            let letters: String = order
                .iter()
                .map(|gate| ['i', 'f', 'g', 'o'][*gate as usize])
                .collect();
            let text = format!("the gates' weights taken in the order {letters} in place of ifgo");
            with_params(format!("gates-{letters}"), text, move |params| {
                gates(&params, order)
            })
        })
        .collect();
    known.extend([
        with_params(
            "bias-hh-left-out",
            "the second bias dropped",
            |[a, b, c, d]| Ok([a, b, c, d.f_zeros_like()?]),
        ),
        with_params(
            "bias-ih-left-out",
            "the first bias dropped",
            |[a, b, c, d]| Ok([a, b, c.f_zeros_like()?, d]),
        ),
        with_params("biases-left-out", "both biases dropped", |[a, b, c, d]| {
            Ok([a, b, c.f_zeros_like()?, d.f_zeros_like()?])
        }),
        with_params("biases-twice", "both biases added twice", |[a, b, c, d]| {
            Ok([a, b, c.f_mul_scalar(2.0)?, d.f_mul_scalar(2.0)?])
        }),
        with_params(
            "forget-bias-1",
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
            "recurrent-transposed",
            "the recurrent weights of each gate transposed",
            |[a, b, c, d]| {
                let gates = b.f_chunk(4, 0)?;
                let turned = gates.iter().map(|gate| gate.f_transpose(0, 1));
                let turned = turned.collect::<std::result::Result<Vec<_>, _>>()?;
                Ok([a, Tensor::f_cat(&turned, 0)?, c, d])
            },
        ),
        mistake("weights-in-f16", "weights in 16 bits", |site| {
            let (layer, reverse) = place(site);
            let config = config(site)?;
            let get = |kind| site.half(&config.tensor_name(kind, layer, reverse));
            let params = [
                get("weight_ih")?,
                get("weight_hh")?,
                get("bias_ih")?,
                get("bias_hh")?,
            ];
            Run {
                params,
                ..Run::of(site)?
            }
            .run()
        }),
        mistake(
            "weights-of-the-other-direction",
            "the weights of the other direction",
            |site| {
                let (layer, reverse) = place(site);
                Run {
                    params: params(site, layer, !reverse)?,
                    ..Run::of(site)?
                }
                .run()
            },
        ),
        mistake(
            "state-carried",
            "states left over from the window before",
            |site| {
                Run {
                    carried: true,
                    ..Run::of(site)?
                }
                .run()
            },
        ),
        mistake("one-frame-late", "the output one frame late", |site| {
            let x = Run::of(site)?.run()?;
            let rest = x.f_narrow(1, 0, x.size()[1] - 1)?;
            Ok(Tensor::f_cat(
                &[x.f_narrow(1, 0, 1)?.f_zeros_like()?, rest],
                1,
            )?)
        }),
        mistake(
            "hard-sigmoid",
            "Keras' hard sigmoid in place of the sigmoid",
            |site| {
                let hard = |x: &Tensor| -> Result<Tensor> {
                    Ok(x.f_mul_scalar(0.2)?.f_add_scalar(0.5)?.f_clamp(0.0, 1.0)?)
                };
                step_by_step(site, &hard, &tanh, &tanh)
            },
        ),
        mistake(
            "cell-without-tanh",
            "a cell that leaves without a tanh",
            |site| step_by_step(site, &sigmoid, &tanh, &|x| Ok(x.shallow_clone())),
        ),
        mistake(
            "sigmoid-for-tanh",
            "a sigmoid in place of tanh in gate g",
            |site| step_by_step(site, &sigmoid, &sigmoid, &tanh),
        ),
    ]);
    let (layer, reverse) = place(site);
    if reverse {
        known.push(mistake(
            "reverse-not-turned-back",
            "a reverse direction whose outputs are not turned back",
            |site| {
                Run {
                    given_reversed: false,
                    ..Run::of(site)?
                }
                .run()
            },
        ));
        known.push(mistake(
            "reverse-goes-forwards",
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
    if layer == 0 {
        known.push(mistake(
            "not-transposed",
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
    let layers = config(site).map_or(0, |config| config.num_layers);
    for other in (0..layers).filter(|other| *other != layer) {
        known.push(mistake(
            "weights-of-another-layer",
            format!("the weights of layer {other}"),
            move |site| {
                let run = Run::of(site)?;
                let params = params(site, other, reverse)?;
                if params[0].size() != run.params[0].size() {
                    return Err(super::segmentation::not_here("weights", other));
                }
                Run { params, ..run }.run()
            },
        ));
    }
    known
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

/// A layer, of its directions.
pub(super) fn joined(site: &Site<'_>) -> Result<Tensor> {
    Ok(Tensor::f_cat(&site.inputs, -1)?)
}

/// Mistakes in how the directions of a layer are put together.
pub(super) fn layer() -> Vec<Known> {
    vec![
        mistake(
            "halves-swapped",
            "the reverse direction before the forward one",
            |site| Ok(Tensor::f_cat(&[site.operand(1)?, site.x()?], -1)?),
        ),
        mistake("reverse-left-out", "a reverse direction of zeros", |site| {
            Ok(Tensor::f_cat(
                &[site.x()?, &site.operand(1)?.f_zeros_like()?],
                -1,
            )?)
        }),
        mistake(
            "directions-interleaved",
            "the units of both directions taking turns",
            |site| {
                let both = Tensor::f_stack(&[site.x()?, site.operand(1)?], -1)?;
                Ok(both.f_flatten(2, 3)?)
            },
        ),
        mistake(
            "features-and-frames-mixed",
            "[frame, feature] read as [feature, frame]",
            |site| across(&joined(site)?),
        ),
    ]
}
