//! The meaning of a network's output.

use ndarray::{Array2, ArrayD, ArrayView2};
use soundalike_metrics::Annotation;

/// The values of a network's output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Meaning {
    /// Scores of classes. The decision is the likeliest.
    Likeliest,
    /// Probabilities. Each above this threshold is a decision.
    Above(f64),
    /// Vectors, without decisions.
    Vectors,
    /// Not known.
    Unknown,
}

/// Interprets the output of a network. Implement it to compare decisions and turns of your own network.
pub trait Decode: Sync {
    /// The values of the output.
    fn meaning(&self) -> Meaning;

    /// The middle of a frame, seconds from the start of the window; none where frames have no times.
    fn middle(&self, frame: usize) -> Option<f64> {
        let _ = frame;
        None
    }

    /// The activity of the speakers, `[frame, speaker]`, by `scores` `[frame, class]`; none where the classes are not of
    /// speakers.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Speakers who are active where their score is above a half, in frames of a second.
    pub(crate) struct AboveAHalf;

    impl Decode for AboveAHalf {
        fn meaning(&self) -> Meaning {
            Meaning::Above(0.5)
        }

        fn middle(&self, frame: usize) -> Option<f64> {
            Some(frame as f64 + 0.5)
        }

        fn active(&self, scores: ArrayView2<'_, f64>) -> Option<Array2<bool>> {
            Some(scores.mapv(|score| score > 0.5))
        }
    }
}
