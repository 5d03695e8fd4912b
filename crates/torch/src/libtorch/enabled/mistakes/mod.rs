//! Known mistakes of ports, put into one stage of the reference at a time.
//!
//! Nothing here knows of the faults that a self-test puts into a candidate: a mistake acts on libtorch's tensors, on
//! what the stage is fed in the golden run.

mod embedding;
mod general;
mod lstm;
mod mel;
mod right;
mod segmentation;

use soundalike_convert::Bundle;

use super::{Tensor, weights::Weights};
use crate::{Arithmetic, Error, Mistake, Narrow, Precision, Result};

/// Shows `see` the stage `stage` of the network of `bundle`, fed `inputs` in f64, with each known mistake: the operands of
/// the stage in order, as the network has them (the waveform for the first stage; of an LSTM layer its two directions).
///
/// # Errors
/// [`Error`] where libtorch fails, or `see` does. A stage that nobody knows mistakes of is shown with none.
pub fn mistakes(
    bundle: &Bundle,
    stage: &str,
    inputs: &[Tensor],
    see: &mut dyn FnMut(Mistake) -> Result<()>,
) -> Result<()> {
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let golden = Site::new(bundle, stage, inputs, Precision::F64)?;
    let rounded = Site::new(bundle, stage, inputs, Precision::F32)?;
    for known in known(&golden) {
        let (golden, rounded) = match ((known.make)(&golden), (known.make)(&rounded)) {
            (Ok(golden), Ok(rounded)) => (golden, rounded),
            // A mistake that cannot be made here explains nothing.
            (Err(error), Err(_)) if is_of_shapes(&error) => continue,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        see(Mistake {
            cause: known.cause,
            text: known.text,
            golden: Tensor(golden),
            rounded: Tensor(rounded),
        })?;
    }
    Ok(())
}

/// Whether `error`, of both precisions, says that tensors do not fit a mistake, or are not there: of the first layer, that
/// there is none before it.
fn is_of_shapes(error: &Error) -> bool {
    matches!(
        error,
        Error::Shape { .. } | Error::MissingTensor { .. } | Error::Libtorch { .. }
    )
}

/// A stage with what it is fed.
struct Site<'a> {
    bundle: &'a Bundle,
    name: &'a str,
    inputs: Vec<tch::Tensor>,
    precision: Precision,
}

/// A mistake, and how it is made.
struct Known {
    cause: String,
    text: String,
    make: Make,
}

type Make = Box<dyn Fn(&Site<'_>) -> Result<tch::Tensor>>;

impl<'a> Site<'a> {
    fn new(
        bundle: &'a Bundle,
        name: &'a str,
        inputs: &[Tensor],
        precision: Precision,
    ) -> Result<Self> {
        let inputs = inputs.iter().map(|input| {
            let Tensor(input) = input.to_precision(precision)?;
            Ok(input)
        });
        Ok(Self {
            bundle,
            name,
            inputs: inputs.collect::<Result<_>>()?,
            precision,
        })
    }

    /// The first operand.
    fn x(&self) -> Result<&tch::Tensor> {
        self.operand(0)
    }

    fn operand(&self, index: usize) -> Result<&tch::Tensor> {
        self.inputs.get(index).ok_or_else(|| Error::Shape {
            what: "operands",
            found: vec![self.inputs.len()],
            expected: format!("{} or more", index + 1),
        })
    }

    /// A tensor of the network.
    fn tensor(&self, name: &str) -> Result<tch::Tensor> {
        Weights::new(self.bundle, self.precision.into()).get(name)
    }

    /// A tensor of the module of this stage.
    fn weight(&self, kind: &str) -> Result<tch::Tensor> {
        self.tensor(&format!("{}.{kind}", self.name))
    }

    /// The same, per channel of `[batch, channel, ...]` of `rank` dimensions.
    fn channels(&self, kind: &str, rank: usize) -> Result<tch::Tensor> {
        let mut shape = vec![1; rank];
        shape[1] = -1;
        Ok(self.weight(kind)?.f_reshape(shape)?)
    }

    /// The tensor `name` as 16 bits hold it.
    fn half(&self, name: &str) -> Result<tch::Tensor> {
        let half = Weights::new(self.bundle, Arithmetic::Rounded(Narrow::F16)).get(name)?;
        Ok(half.f_to_kind(super::tensor::kind(self.precision))?)
    }
}

fn mistake(
    cause: impl Into<String>,
    text: impl Into<String>,
    make: impl Fn(&Site<'_>) -> Result<tch::Tensor> + 'static,
) -> Known {
    Known {
        cause: cause.into(),
        text: text.into(),
        make: Box::new(make),
    }
}

/// The stage without a mistake.
type Right = fn(&Site<'_>) -> Result<tch::Tensor>;

/// The mistakes that can be made at this stage.
fn known(site: &Site<'_>) -> Vec<Known> {
    let name = site.name;
    let (own, right): (Vec<Known>, Option<Right>) = match name {
        "fbank" => (mel::fbank(), Some(mel::features)),
        "fbank.centred" => (mel::centring(), Some(mel::centred)),
        "weights" => (embedding::masks(), Some(embedding::resampled)),
        "resnet.pool" => (embedding::pool(), Some(embedding::pooled)),
        "resnet.seg_1" => (embedding::last(), Some(right::linear)),
        "sincnet.conv1d.0.filters" => (segmentation::filters(), Some(right::as_stored)),
        "sincnet.conv1d.0" => (segmentation::sinc(), Some(right::filtered)),
        "sincnet.conv1d.0.abs" => (
            segmentation::absolute(),
            Some(|site| Ok(site.x()?.f_abs()?)),
        ),
        "activation" => (segmentation::activation(), Some(right::activated)),
        _ if name.ends_with(".leaky_relu") => (
            segmentation::leaky_relu(),
            Some(|site| Ok(site.x()?.f_leaky_relu()?)),
        ),
        _ if name.starts_with("sincnet.conv1d.") => (segmentation::conv(), Some(right::convolved)),
        _ if name.starts_with("sincnet.pool1d.") => (segmentation::pool(), Some(right::pooled)),
        _ if name.starts_with("sincnet.") => (segmentation::norm(), Some(right::normalised)),
        _ if name.ends_with(".forward") || name.ends_with(".reverse") => {
            (lstm::direction(site), None)
        }
        _ if name.starts_with("lstm.") => (lstm::layer(), Some(lstm::joined)),
        _ if name.starts_with("linear.") || name == "classifier" => {
            (segmentation::linear_mistakes(), Some(right::linear))
        }
        _ if name.starts_with("resnet.") => embedding::trunk(site),
        _ => (Vec::new(), None),
    };
    let Some(right) = right else {
        return own;
    };
    // What is made of weights alone has no frames, and what follows an activation is another activation.
    let moved = (name != "sincnet.conv1d.0.filters").then(|| general::moved(right));
    let sums = ["conv", "linear.", "classifier", "resnet.seg_1", "fbank"];
    let sums = sums.iter().any(|part| name.contains(part)) || name == "activation";
    let activated = ["relu", "abs", "filters", "centred"]
        .iter()
        .any(|end| name.ends_with(end));
    let after = (sums && !activated).then(|| general::after(right));
    let general = moved.into_iter().chain(after).flatten();
    own.into_iter().chain(general).collect()
}
