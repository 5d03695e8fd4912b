//! Powerset decoding: from sets of speakers to speakers.

use ndarray::{Array2, ArrayView2};

use crate::clustering::first_best;

/// The classes of a powerset classifier: sets of speakers. pyannote.audio `utils/powerset.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powerset {
    speakers: usize,
    /// Members of each set, smaller sets first, then in lexicographic order.
    sets: Vec<Vec<usize>>,
}

impl Powerset {
    /// All sets of at most `max_together` out of `speakers` speakers: {}, {0}, {1}, {2}, {0,1}, {0,2},
    /// {1,2} for 3 and 2. `Powerset.build_mapping`.
    #[must_use]
    pub fn new(speakers: usize, max_together: usize) -> Self {
        let mut sets = vec![Vec::new()];
        let mut first_of_size = 0;
        for _ in 0..max_together.min(speakers) {
            let end = sets.len();
            for set in first_of_size..end {
                let next = sets[set].last().map_or(0, |last| last + 1);
                for speaker in next..speakers {
                    sets.push([sets[set].as_slice(), &[speaker]].concat());
                }
            }
            first_of_size = end;
        }
        Self { speakers, sets }
    }

    /// Number of sets: the outputs of the network.
    #[must_use]
    pub fn num_classes(&self) -> usize {
        self.sets.len()
    }

    /// Local speakers of a window.
    #[must_use]
    pub fn num_speakers(&self) -> usize {
        self.speakers
    }

    /// Activity of each speaker, 0 or 1, `[frame, speaker]`: 1 for the members of the set with the highest of `scores`
    /// `[frame, set]`, the first of equals. `Powerset.to_multilabel`, hard.
    #[must_use]
    pub fn decode(&self, scores: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut activity = Array2::zeros((scores.nrows(), self.speakers));
        for (scores, mut activity) in scores.outer_iter().zip(activity.outer_iter_mut()) {
            let best = first_best(scores.len(), |a, b| scores[a] > scores[b]);
            for speaker in &self.sets[best] {
                activity[*speaker] = 1.0;
            }
        }
        activity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_the_order_of_pyannote() {
        let expected: [&[usize]; 7] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2]];
        assert_eq!(Powerset::new(3, 2).sets, expected);
        assert_eq!(Powerset::new(4, 3).num_classes(), 1 + 4 + 6 + 4);
    }

    #[test]
    fn the_first_of_equal_scores_wins() {
        let scores = ndarray::array![[-1.0, -0.5, -0.5, -2.0, -0.5, -3.0, -3.0]];
        assert_eq!(
            Powerset::new(3, 2).decode(scores.view()),
            ndarray::array![[1.0, 0.0, 0.0]]
        );
    }
}
