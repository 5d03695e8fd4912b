//! Known mistakes of ports, put into one stage of the reference at a time.
//!
//! The hypotheses are independent of the faults that a self-test injects into a candidate: they act on libtorch
//! tensors, the operands of the stage in the golden run.

mod embedding;
mod families;
mod general;
mod lstm;
mod mel;
mod right;
mod segmentation;

use ndarray::ArrayD;
use soundalike_convert::Bundle;
use soundalike_network::{Cause, Graph, Op, Stage};
use tch::Tensor;

use self::families::Parametric;
use super::{
    tensor::{kind, to_array, to_tensor},
    weights::Weights,
};
use crate::{Arithmetic, Error, Hypothesis, LowPrecision, Mistake, Precision, Result};

/// Replays each known mistake on `stage` of the network of `bundle` and passes it to `see`: first those with nothing
/// unknown, then those with values from `output`, the candidate's, then families. `operands` are those of the stage in the
/// network's graph, in order, in f64.
///
/// # Errors
/// [`Error`] if the network has no such stage, or if libtorch or `see` fails.
pub fn replay(
    bundle: &Bundle,
    stage: &str,
    operands: &[ArrayD<f64>],
    output: &ArrayD<f64>,
    see: &mut dyn FnMut(Mistake<'_>) -> Result<()>,
) -> Result<()> {
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    // Masks only add stages.
    let graph = bundle.architecture().graph(true);
    let whole = bundle.architecture().graph(false);
    let no_stage = || Error::NoStage {
        name: stage.to_owned(),
    };
    let reads = |graph: &Graph| {
        let found = graph.get(stage);
        found.is_some_and(|stage| stage.operands.len() == operands.len())
    };
    let mut graphs = [whole, graph].into_iter().flatten();
    let graph = graphs.find(reads).ok_or_else(no_stage)?;
    let found = graph.get(stage).ok_or_else(no_stage)?;
    let golden = Site::new(bundle, &graph, found, operands, output, Precision::F64)?;
    let rounded = Site::new(bundle, &graph, found, operands, output, Precision::F32)?;
    for known in known(&golden) {
        let made = ((known.make)(&golden), (known.make)(&rounded));
        let (golden, rounded) = match made {
            (Ok(golden), Ok(rounded)) => (golden, rounded),
            (Err(error), Err(_)) if applies_elsewhere(&error) => continue,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let hypothesis = Hypothesis {
            cause: known.cause,
            text: known.text,
            golden: to_array(&golden)?,
            rounded: to_array(&rounded)?,
        };
        see(match known.fitted {
            false => Mistake::Fixed(hypothesis),
            true => Mistake::Fitted(hypothesis),
        })?;
    }
    for Parametric { family, make } in families::families(&golden) {
        if make(&golden, family.right).is_err_and(|error| applies_elsewhere(&error)) {
            continue;
        }
        let compute = |value: f64, precision: Precision| match precision {
            Precision::F64 => to_array(&make(&golden, value)?),
            Precision::F32 => to_array(&make(&rounded, value)?),
        };
        see(Mistake::Family(&family, &compute))?;
    }
    Ok(())
}

/// Whether tensors do not fit a mistake or do not exist, such as the weights of the layer before the first.
fn applies_elsewhere(error: &Error) -> bool {
    matches!(
        error,
        Error::Shape { .. } | Error::MissingTensor { .. } | Error::Libtorch { .. }
    )
}

/// A stage with its operands, and the output of the candidate.
struct Site<'a> {
    bundle: &'a Bundle,
    graph: &'a Graph,
    stage: &'a Stage,
    operands: Vec<Tensor>,
    output: Tensor,
    precision: Precision,
}

/// A mistake and its implementation.
struct Known {
    cause: Cause,
    text: String,
    /// Whether it takes values from the candidate's output.
    fitted: bool,
    make: Make,
}

type Make = Box<dyn Fn(&Site<'_>) -> Result<Tensor>>;

impl<'a> Site<'a> {
    fn new(
        bundle: &'a Bundle,
        graph: &'a Graph,
        stage: &'a Stage,
        operands: &[ArrayD<f64>],
        output: &ArrayD<f64>,
        precision: Precision,
    ) -> Result<Self> {
        let tensor = |values: &ArrayD<f64>| -> Result<Tensor> {
            Ok(to_tensor(values)?.f_to_kind(kind(precision))?)
        };
        let operands = operands.iter().map(tensor);
        Ok(Self {
            bundle,
            graph,
            stage,
            operands: operands.collect::<Result<_>>()?,
            output: tensor(output)?,
            precision,
        })
    }

    /// The first operand.
    fn x(&self) -> Result<&Tensor> {
        self.operand(0)
    }

    fn operand(&self, index: usize) -> Result<&Tensor> {
        self.operands.get(index).ok_or_else(|| Error::Shape {
            what: "operands",
            found: vec![self.operands.len()],
            expected: format!("{} or more", index + 1),
        })
    }

    /// The parts of this stage, or of the stage that it is part of: the directions of an LSTM layer.
    fn parts(&self) -> impl Iterator<Item = &'a Stage> {
        let whole = self.stage.part_of.or(self.graph.position(&self.stage.name));
        whole.into_iter().flat_map(|whole| self.graph.parts(whole))
    }

    /// A tensor of the network.
    fn tensor(&self, name: &str) -> Result<Tensor> {
        Weights::new(self.bundle, self.precision.into()).get(name)
    }

    /// A tensor of this stage's module.
    fn weight(&self, kind: &str) -> Result<Tensor> {
        self.tensor(&format!("{}.{kind}", self.stage.name))
    }

    /// The same with one value per channel, for `[batch, channel, ...]` of `rank` dimensions.
    fn channels(&self, kind: &str, rank: usize) -> Result<Tensor> {
        let mut shape = vec![1; rank];
        shape[1] = -1;
        Ok(self.weight(kind)?.f_reshape(shape)?)
    }

    /// The weight of this stage's module, rounded to f16.
    fn half_weight(&self) -> Result<Tensor> {
        self.half(&format!("{}.weight", self.stage.name))
    }

    /// The tensor `name`, rounded to f16.
    fn half(&self, name: &str) -> Result<Tensor> {
        let half = Weights::new(self.bundle, Arithmetic::Rounded(LowPrecision::F16)).get(name)?;
        Ok(half.f_to_kind(kind(self.precision))?)
    }
}

/// A mistake without its implementation.
struct Title {
    cause: Cause,
    text: String,
}

/// Starts a mistake with its cause.
fn hypothesis(cause: Cause) -> Title {
    let text = String::new();
    Title { cause, text }
}

impl Title {
    /// The mistake, in words.
    fn text(self, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, ..self }
    }

    /// Computes the stage with another function.
    fn by(self, make: impl Fn(&Site<'_>) -> Result<Tensor> + 'static) -> Known {
        Known {
            cause: self.cause,
            text: self.text,
            fitted: false,
            make: Box::new(make),
        }
    }

    /// Computes the stage with another function, which takes values from the candidate's output.
    fn fitted(self, make: impl Fn(&Site<'_>) -> Result<Tensor> + 'static) -> Known {
        Known {
            fitted: true,
            ..self.by(make)
        }
    }

    /// Computes the stage with another function of its first operand.
    fn of_input<E: Into<Error> + 'static>(
        self,
        change: impl Fn(&Tensor) -> std::result::Result<Tensor, E> + 'static,
    ) -> Known {
        self.by(move |site| change(site.x()?).map_err(Into::into))
    }

    /// Applies a function to the correct output of the stage, computed by `right`.
    fn of_output<E: Into<Error> + 'static>(
        self,
        right: Right,
        change: impl Fn(&Tensor) -> std::result::Result<Tensor, E> + 'static,
    ) -> Known {
        self.by(move |site| change(&right(site)?).map_err(Into::into))
    }

    /// Returns the first operand unchanged.
    fn left_out(self) -> Known {
        self.by(|site| Ok(site.x()?.shallow_clone()))
    }
}

/// The error of a hypothesis that does not apply to a stage.
fn not_here(what: &'static str, found: usize) -> Error {
    Error::Shape {
        what,
        found: vec![found],
        expected: "others for this hypothesis".into(),
    }
}

/// A function that computes the stage without a mistake.
type Right = fn(&Site<'_>) -> Result<Tensor>;

/// The mistakes that are possible at this stage: those of its operation, those in time and layout, and, after an
/// operation that sums, extra functions of its output.
fn known(site: &Site<'_>) -> Vec<Known> {
    let (mut known, right, sums): (Vec<Known>, Right, bool) = match site.stage.op {
        // It depends on weights only and has no frames.
        Op::SincFilters { .. } => return segmentation::filters(),
        Op::LstmDirection { .. } => return lstm::direction(site),
        Op::Other(_) => return Vec::new(),
        Op::InstanceNorm { .. } => (segmentation::norm(), right::normalised, false),
        Op::Conv1d { .. } if site.stage.parameters.is_empty() => {
            (segmentation::sinc(), right::filtered, true)
        }
        Op::Conv1d { .. } => (segmentation::conv(), right::convolved, true),
        Op::Abs => (segmentation::absolute(), right::absolute, false),
        Op::MaxPool { .. } => (segmentation::pool(), right::pooled, false),
        Op::LeakyRelu { .. } => (segmentation::leaky_relu(), right::leaky_relu, false),
        Op::Lstm { .. } => (lstm::layer(), lstm::joined, false),
        Op::Linear { .. } => (segmentation::linear_mistakes(), right::linear, true),
        Op::LogSoftmax | Op::Sigmoid => (segmentation::activation(), right::activated, true),
        Op::Fbank(_) => (mel::fbank(), mel::features, true),
        Op::Centre { .. } => (mel::centring(), mel::centred, false),
        Op::Conv2d { .. } => (embedding::convs(), embedding::convolved, true),
        Op::BatchNorm { .. } => (embedding::norms(), embedding::normalised, false),
        Op::Relu => (embedding::relus(), embedding::rectified, false),
        Op::Add => (embedding::sums(), embedding::added, false),
        Op::ResampleMasks => (embedding::masks(), embedding::resampled, false),
        Op::StatsPool => (embedding::pool(), embedding::pooled, false),
    };
    known.extend(general::moved(right));
    if sums {
        known.extend(general::after(right));
    }
    known
}
