//! Decoding of the outputs of pyannote's networks.

use ndarray::{Array2, ArrayD, ArrayView2};
use soundalike_compare::{Decode, Meaning, frames};
use soundalike_convert::Bundle;
use soundalike_diarize::{frames::FrameGrid, powerset::Powerset, turns::to_annotation};
use soundalike_metrics::Annotation;
use soundalike_network::{Activation, Output};

/// The meaning of the output of one of pyannote's networks.
#[derive(Debug, Clone)]
pub enum Decoding {
    /// Log-probabilities of sets of speakers.
    Powerset {
        /// The sets.
        powerset: Powerset,
        /// Position of the frames in time.
        grid: FrameGrid,
    },
    /// Probabilities of speakers, each on its own.
    Threshold {
        /// Position of the frames in time.
        grid: FrameGrid,
    },
    /// Log-probabilities of classes without a description.
    Likeliest,
    /// Vectors.
    Embedding,
}

impl Decoding {
    /// Probability above which a speaker is active. Pipelines tune it; a comparison needs one that favours neither
    /// side.
    const THRESHOLD: f64 = 0.5;

    /// The decoding of the network of `bundle`.
    #[must_use]
    pub fn new(bundle: &Bundle) -> Self {
        let architecture = bundle.architecture();
        let graph = architecture.graph(false);
        let geometry = graph.and_then(|graph| graph.frame_geometry());
        let (Output::Scores { activation, .. }, Some(geometry), Some(sample_rate)) =
            (architecture.output(), geometry, architecture.sample_rate())
        else {
            return Self::Embedding;
        };
        let seconds = |samples: usize| samples as f64 / f64::from(sample_rate);
        // Windows are compared one at a time, so their length and step do not matter.
        let grid = FrameGrid {
            duration: seconds(geometry.receptive_field),
            step: seconds(geometry.step),
            window_duration: 0.0,
            window_step: 0.0,
        };
        let specifications = bundle.specifications();
        let most = specifications.and_then(|known| known.powerset_max_classes);
        match (activation, specifications, most) {
            (Activation::LogSoftmax, Some(known), Some(most)) => Self::Powerset {
                powerset: Powerset::new(known.classes.len(), most),
                grid,
            },
            (Activation::LogSoftmax, ..) => Self::Likeliest,
            (Activation::Sigmoid, ..) => Self::Threshold { grid },
        }
    }

    /// Position of the frames in time, if known.
    fn grid(&self) -> Option<&FrameGrid> {
        match self {
            Self::Powerset { grid, .. } | Self::Threshold { grid } => Some(grid),
            Self::Likeliest | Self::Embedding => None,
        }
    }
}

impl Decode for Decoding {
    fn meaning(&self) -> Meaning {
        match self {
            Self::Powerset { .. } | Self::Likeliest => Meaning::Likeliest,
            Self::Threshold { .. } => Meaning::Above(Self::THRESHOLD),
            Self::Embedding => Meaning::Vectors,
        }
    }

    fn middle(&self, frame: usize) -> Option<f64> {
        self.grid().map(|grid| grid.middle(frame))
    }

    fn active(&self, scores: ArrayView2<'_, f64>) -> Option<Array2<bool>> {
        match self {
            Self::Powerset { powerset, .. } if powerset.num_classes() == scores.ncols() => {
                let scores = scores.mapv(|score| score as f32);
                Some(powerset.decode(scores.view()).mapv(|active| active > 0.0))
            }
            Self::Threshold { .. } => Some(scores.mapv(|score| score > Self::THRESHOLD)),
            Self::Powerset { .. } | Self::Likeliest | Self::Embedding => None,
        }
    }

    fn turns(&self, scores: &ArrayD<f64>, uri: &str) -> Option<Annotation> {
        let active = self.active(frames(scores)?)?;
        Some(to_annotation(active.view(), self.grid()?, uri))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use soundalike_compare::{Sides, Task};

    use super::*;

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
        // Golden: speaker 0 in frames 0 and 1, speaker 1 in frame 2. Candidate: no speaker in frame 1.
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
