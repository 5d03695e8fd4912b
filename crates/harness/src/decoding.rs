//! What the output of a network means.

use ndarray::{Array2, ArrayD, ArrayView2};
use soundalike_convert::{Activation, Architecture, Bundle};
use soundalike_diarize::{frames::FrameGrid, powerset::Powerset, turns::to_annotation};
use soundalike_metrics::Annotation;
use soundalike_model::FrameGeometry;

/// What the output of a network means.
#[derive(Debug, Clone)]
pub enum Decoding {
    /// Log-probabilities of sets of speakers.
    Powerset {
        /// The sets.
        powerset: Powerset,
        /// Where the frames lie.
        grid: FrameGrid,
    },
    /// Probabilities of speakers, each on its own.
    Threshold {
        /// Where the frames lie.
        grid: FrameGrid,
    },
    /// Log-probabilities of classes that nobody described.
    Likeliest,
    /// Vectors.
    Embedding,
}

impl Decoding {
    /// Above it a speaker talks. Real pipelines tune it; a comparison needs one that favours neither side.
    pub const THRESHOLD: f64 = 0.5;

    /// Of the network of `bundle`, whose frames are where `geometry` says; none for a network without frames.
    #[must_use]
    pub fn new(bundle: &Bundle, geometry: Option<FrameGeometry>) -> Self {
        let (Architecture::PyanNet(config), Some(geometry)) = (bundle.architecture(), geometry)
        else {
            return Self::Embedding;
        };
        let seconds = |samples: usize| samples as f64 / f64::from(config.sample_rate);
        // One window is compared at a time: what lies between windows does not matter.
        let grid = FrameGrid {
            duration: seconds(geometry.receptive_field),
            step: seconds(geometry.step),
            window_duration: 0.0,
            window_step: 0.0,
        };
        let specifications = bundle.specifications();
        let most = specifications.and_then(|known| known.powerset_max_classes);
        match (config.activation, specifications, most) {
            (Activation::LogSoftmax, Some(known), Some(most)) => Self::Powerset {
                powerset: Powerset::new(known.classes.len(), most),
                grid,
            },
            (Activation::LogSoftmax, ..) => Self::Likeliest,
            (Activation::Sigmoid, ..) => Self::Threshold { grid },
        }
    }

    /// Where the frames lie, where that is known.
    #[must_use]
    pub fn grid(&self) -> Option<&FrameGrid> {
        match self {
            Self::Powerset { grid, .. } | Self::Threshold { grid } => Some(grid),
            Self::Likeliest | Self::Embedding => None,
        }
    }

    /// Who speaks when by `scores` `[1, frame, class]`, times from the start of the window. None where that
    /// is not known.
    #[must_use]
    pub fn turns(&self, scores: &ArrayD<f64>, uri: &str) -> Option<Annotation> {
        let active = self.active(scores)?;
        Some(to_annotation(active.view(), self.grid()?, uri))
    }

    /// Who speaks, `[frame, speaker]`, by `scores` `[1, frame, class]`. None where that is not known.
    #[must_use]
    pub fn active(&self, scores: &ArrayD<f64>) -> Option<Array2<bool>> {
        let [1, frames, classes] = scores.shape() else {
            return None;
        };
        let rows = scores.view().into_shape_with_order((*frames, *classes));
        active(rows.ok()?, self)
    }
}

/// Who speaks, `[frame, speaker]`, by `scores` `[frame, class]`. None where that is not known.
pub(crate) fn active(scores: ArrayView2<'_, f64>, decoding: &Decoding) -> Option<Array2<bool>> {
    match decoding {
        Decoding::Powerset { powerset, .. } if powerset.num_classes() == scores.ncols() => {
            let scores = scores.mapv(|score| score as f32);
            Some(powerset.decode(scores.view()).mapv(|active| active > 0.0))
        }
        Decoding::Threshold { .. } => Some(scores.mapv(|score| score > Decoding::THRESHOLD)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{Sides, Task};

    #[test]
    fn the_task_is_scored_on_what_is_decoded() {
        let grid = FrameGrid {
            duration: 1.0,
            step: 1.0,
            window_duration: 4.0,
            window_step: 1.0,
        };
        let decoding = |speakers, most| Decoding::Powerset {
            powerset: Powerset::new(speakers, most),
            grid,
        };
        // Golden: speaker 0 in frames 0 and 1, speaker 1 in frame 2. Candidate: nobody in frame 1.
        let golden = array![[
            [-9.0, 0.0, -9.0],
            [-9.0, 0.0, -9.0],
            [-9.0, -9.0, 0.0],
            [0.0, -9.0, -9.0]
        ]]
        .into_dyn();
        let mut candidate = golden.clone();
        candidate[[0, 1, 0]] = 1.0;
        let turns = |scores| decoding(2, 1).turns(scores, "window").unwrap();
        let task = Task::new(&Sides {
            candidate: turns(&candidate),
            reference: turns(&golden),
        });
        assert_eq!((task.missed_detection, task.der), (1.0 / 3.0, 1.0 / 3.0));
        assert_eq!(task.speaking_time.reference, [2.0, 1.0]);
        assert_eq!(
            (task.num_speakers.candidate, task.num_speakers.reference),
            (2, 2)
        );
        let pooled = Task::pool([&task, &task].into_iter()).unwrap();
        assert_eq!((pooled.der, pooled.num_speakers.reference), (task.der, 4));
        assert_eq!(decoding(3, 2).turns(&golden, "window"), None);
    }
}
