//! What the output of a network means.

use ndarray::{Array2, ArrayD, ArrayView2};
use soundalike_metrics::Annotation;

/// What the output of a network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Meaning {
    /// Scores of classes, of which the likeliest is decided for.
    Likeliest,
    /// Probabilities, each decided for where it is above this threshold.
    Above(f64),
    /// Vectors, in which nothing is decided.
    Vectors,
    /// Not known.
    Unknown,
}

/// What the output of a network means. Implement it to compare decisions and turns of a network of your own.
pub trait Decode: Sync {
    /// What the output is.
    fn meaning(&self) -> Meaning;

    /// The middle of a frame, seconds from the start of the window; none where frames have no known place.
    fn middle(&self, frame: usize) -> Option<f64> {
        let _ = frame;
        None
    }

    /// Which speakers are active, `[frame, speaker]`, by `scores` `[frame, class]`; none where the classes are not of speakers.
    fn active(&self, scores: ArrayView2<'_, f64>) -> Option<Array2<bool>> {
        let _ = scores;
        None
    }

    /// The turns of the recording `uri` by `scores` `[1, frame, class]`, times from the start of the window; none where
    /// the classes are not of speakers.
    fn turns(&self, scores: &ArrayD<f64>, uri: &str) -> Option<Annotation> {
        let _ = (scores, uri);
        None
    }
}

impl Decode for Meaning {
    fn meaning(&self) -> Meaning {
        *self
    }
}

/// `[frame, class]` of `[1, frame, class]`.
#[must_use]
pub fn frames(scores: &ArrayD<f64>) -> Option<ArrayView2<'_, f64>> {
    let [1, frames, classes] = *scores.shape() else {
        return None;
    };
    scores.view().into_shape_with_order((frames, classes)).ok()
}
