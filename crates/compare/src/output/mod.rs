//! Agreement of the outputs.

mod decisions;
mod embedding;

pub use decisions::FrameCount;
pub use embedding::EmbeddingAgreement;

use ndarray::{ArrayD, Axis};
use serde::Serialize;

use self::decisions::Decisions;
use crate::{
    Decode, Meaning,
    error::{correlation, largest, least_correlation, nan_max},
};

/// Agreement of two outputs: scores `[batch, frame, class]`, or embeddings `[..., feature]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputAgreement {
    /// Pearson correlation of all values.
    pub correlation: f64,
    /// The same of the reference's own f32.
    pub reference_correlation: f64,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Mean over frames of the length of the error.
    pub mean_l2: f64,
    /// Free-running error in units of the reference's own.
    pub r: f64,
    /// Number of frames, or of embeddings.
    pub frames: usize,
    /// Smallest and largest value.
    pub ranges: Sides<(f64, f64)>,
    /// The decisions by scores; none for embeddings.
    #[serde(flatten)]
    pub decisions: Option<Decisions>,
    /// Each embedding; empty for scores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingAgreement>,
}

/// A value of each side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sides<T> {
    /// Of the candidate.
    pub candidate: T,
    /// Of the golden.
    pub reference: T,
}

impl<T> Sides<T> {
    pub(crate) fn new(candidate: T, reference: T) -> Self {
        Self {
            candidate,
            reference,
        }
    }

    /// Applies `of` to both.
    pub fn map<U>(self, of: impl Fn(T) -> U) -> Sides<U> {
        Sides::new(of(self.candidate), of(self.reference))
    }

    /// Borrows both.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides::new(&self.candidate, &self.reference)
    }
}

impl<T> Sides<Option<T>> {
    /// Both; none where either is missing.
    pub(crate) fn transpose(self) -> Option<Sides<T>> {
        Some(Sides::new(self.candidate?, self.reference?))
    }
}

impl OutputAgreement {
    /// Compares `candidate` with `golden`; `rounded` is the reference's own f32. All have one shape. `r` is the free-running
    /// error of the last stage; `decode` interprets the values.
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
        let rounding = largest(&(rounded - golden));
        let range = |values: &ArrayD<f64>| {
            let ranges = values.iter().map(|x| (*x, *x));
            ranges.fold((f64::INFINITY, f64::NEG_INFINITY), wider)
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
            ranges: Sides::new(candidate, golden).map(range),
            decisions: Decisions::new(candidate, golden, rounding, max_abs, decode),
            embeddings,
        }
    }

    /// Fraction of the frames with equal decisions; none for embeddings.
    #[must_use]
    pub fn frame_agreement(&self) -> Option<f64> {
        Some(self.decisions.as_ref()?.frame_agreement)
    }

    /// Over several inputs: sums and means where they make sense, else the worst. None where an input has none.
    pub(crate) fn pool<'a>(outputs: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        let outputs: Vec<_> = outputs.collect::<Option<_>>()?;
        let frames: usize = outputs.iter().map(|output| output.frames).sum();
        let worst =
            |of: &dyn Fn(&Self) -> f64| outputs.iter().map(|output| of(output)).reduce(nan_max);
        let correlations = outputs
            .iter()
            .map(|output| (output.correlation, output.reference_correlation));
        let (correlation, reference_correlation) = least_correlation(correlations);
        let weighted = |output: &&Self| output.mean_l2 * output.frames as f64;
        let ranges = outputs.iter().map(|output| output.ranges.clone());
        let embeddings = outputs.iter().flat_map(|output| output.embeddings.clone());
        Some(Self {
            correlation,
            reference_correlation,
            max_abs: worst(&|output| output.max_abs)?,
            mean_l2: outputs.iter().map(weighted).sum::<f64>() / frames.max(1) as f64,
            r: worst(&|output| output.r)?,
            frames,
            ranges: ranges.reduce(|a, b| Sides {
                candidate: wider(a.candidate, b.candidate),
                reference: wider(a.reference, b.reference),
            })?,
            decisions: Decisions::pool(&outputs),
            embeddings: embeddings.collect(),
        })
    }
}

/// The range that holds two ranges.
fn wider(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0.min(b.0), a.1.max(b.1))
}
