//! Agreement of the network's output.

mod decisions;
mod embedding;

pub use decisions::{Decisions, Margins, NearTie, Share};
pub use embedding::EmbeddingAgreement;

use ndarray::{ArrayD, Axis};
use serde::Serialize;

use crate::{
    Decode, Meaning,
    error::{correlation, least_correlation, worse},
};

/// How much two outputs agree: scores `[batch, frame, class]`, or embeddings `[..., feature]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputAgreement {
    /// Pearson correlation of all values.
    pub correlation: f64,
    /// That of the reference's own f32.
    pub reference_correlation: f64,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Mean over frames of the length of the error.
    pub mean_l2: f64,
    /// Error in units of the reference's own, free-running.
    pub r: f64,
    /// Frames compared, or embeddings.
    pub frames: usize,
    /// Smallest and largest value.
    pub ranges: Sides<(f64, f64)>,
    /// What is decided by scores; none for embeddings.
    #[serde(flatten)]
    pub decisions: Option<Decisions>,
    /// Of each embedding; none for scores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingAgreement>,
}

/// Something of either side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sides<T> {
    /// Of the candidate.
    pub candidate: T,
    /// Of the golden.
    pub reference: T,
}

impl<T> Sides<T> {
    /// The same of either side.
    pub fn map<U>(self, of: impl Fn(T) -> U) -> Sides<U> {
        Sides {
            candidate: of(self.candidate),
            reference: of(self.reference),
        }
    }

    /// Borrows both.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides {
            candidate: &self.candidate,
            reference: &self.reference,
        }
    }
}

impl OutputAgreement {
    /// Compares `candidate` with `golden`; `rounded` is the reference's own f32. All of equal shape. `r` is
    /// the free-running error of the last stage, `decode` says what the values mean.
    #[must_use]
    pub fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        rounded: &ArrayD<f64>,
        r: f64,
        decode: &dyn Decode,
    ) -> Self {
        let values = Axis(golden.ndim() - 1);
        let difference = candidate - golden;
        let lengths = difference.lanes(values).into_iter();
        let lengths: Vec<f64> = lengths.map(|error| error.dot(&error).sqrt()).collect();
        let max_abs = largest(&difference);
        let range = |values: &ArrayD<f64>| {
            let widen = |(low, high): (f64, f64), x: &f64| (low.min(*x), high.max(*x));
            values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), widen)
        };
        let embeddings = match decode.meaning() {
            Meaning::Vectors => embedding::agreements(candidate, golden, rounded),
            Meaning::Likeliest | Meaning::Above(_) | Meaning::Unknown => Vec::new(),
        };
        Self {
            correlation: correlation(candidate, golden),
            reference_correlation: correlation(rounded, golden),
            max_abs,
            mean_l2: lengths.iter().sum::<f64>() / lengths.len().max(1) as f64,
            r,
            frames: lengths.len(),
            ranges: Sides {
                candidate,
                reference: golden,
            }
            .map(range),
            decisions: Decisions::new(
                candidate,
                golden,
                largest(&(rounded - golden)),
                max_abs,
                decode,
            ),
            embeddings,
        }
    }

    /// Part of the frames that are decided alike; none for embeddings.
    #[must_use]
    pub fn frame_agreement(&self) -> Option<f64> {
        self.decisions
            .as_ref()
            .map(|decisions| decisions.frame_agreement)
    }

    /// Over several inputs: what can be added up is, the rest is that of the worst. None where an input has
    /// none.
    pub(crate) fn pool<'a>(outputs: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        let outputs: Vec<_> = outputs.collect::<Option<_>>()?;
        let frames: usize = outputs.iter().map(|output| output.frames).sum();
        let worst =
            |of: &dyn Fn(&Self) -> f64| outputs.iter().map(|output| of(output)).reduce(worse);
        let correlations = outputs
            .iter()
            .map(|output| (output.correlation, output.reference_correlation));
        let (correlation, reference_correlation) = least_correlation(correlations);
        let weighted = |output: &&Self| output.mean_l2 * output.frames as f64;
        let range = |of: &dyn Fn(&Self) -> (f64, f64)| {
            let ranges = outputs.iter().map(|output| of(output));
            ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        };
        Some(Self {
            correlation,
            reference_correlation,
            max_abs: worst(&|output| output.max_abs)?,
            mean_l2: outputs.iter().map(weighted).sum::<f64>() / frames.max(1) as f64,
            r: worst(&|output| output.r)?,
            frames,
            ranges: Sides {
                candidate: range(&|output| output.ranges.candidate)?,
                reference: range(&|output| output.ranges.reference)?,
            },
            decisions: Decisions::pool(&outputs),
            embeddings: outputs
                .iter()
                .flat_map(|output| output.embeddings.clone())
                .collect(),
        })
    }
}

/// Largest absolute value, NaN before anything.
fn largest(values: &ArrayD<f64>) -> f64 {
    values.iter().map(|x| x.abs()).fold(0.0, worse)
}
