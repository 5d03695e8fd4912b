//! The outputs of the stages, each computed from the earlier ones with the functions of `soundalike-diarize`.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, Array3, ArrayBase, ArrayView1, Data, Dimension};
use soundalike_convert::Linkage;
use soundalike_diarize::{
    clustering::{
        assignment,
        linkage::linkage,
        training::{TrainingSet, unit_length},
        vbx::{Vbx, vbx},
    },
    count::speaker_count,
    reconstruction::{Assignment, reconstruct, speakers_with_phantoms},
    speaker_embedding,
    turns::{Numbering, label_turns, speaker_labels},
};
use soundalike_metrics::{Annotation, DiarizationErrorRate, Turn};

use super::{PipelineParameters, PipelineStage, ShapeMismatch};

/// The outputs of the stages so far; later ones are empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Outputs {
    /// `[window, frame, local speaker]` of 0 and 1.
    pub(super) segmentation: Array3<f32>,
    pub(super) counts: Array1<usize>,
    /// `[window, local speaker, frame]`
    pub(super) masks: Array3<f32>,
    /// `[window, local speaker, dimension]`
    pub(super) embeddings: Array3<f32>,
    pub(super) training: TrainingSet,
    /// `[embedding, dimension]`
    pub(super) plda: Array2<f64>,
    pub(super) ahc: Vec<usize>,
    pub(super) vbx: Vbx,
    pub(super) assignment: Assignment,
    /// `[frame, speaker]`
    pub(super) active: Array2<bool>,
    pub(super) turns: Annotation,
    /// Diarization error rate.
    pub(super) score: f64,
}

/// Tolerance of PLDA vectors, relative to the largest value: eigenvectors rotate by the rounding of the matrix (2^-53
/// of 128 terms up to 26) over the smallest gap between eigenvalues of community-1 (1.4e-3), 3e-10.
const MAX_PLDA: f64 = 1e-9;
/// Tolerance of responsibilities: exponentials of scores below 1e3, times the above.
const MAX_VBX: f64 = 1e-6;

impl PipelineStage {
    /// The largest difference that rounding explains; 0 for decisions.
    pub(super) fn tolerance(self) -> f64 {
        match self {
            Self::Plda => MAX_PLDA,
            Self::Vbx => MAX_VBX,
            _ => 0.0,
        }
    }
}

impl Outputs {
    /// Computes the output of `stage` from the earlier ones, like `VBxClustering.__call__` and
    /// `SpeakerDiarization.apply` of pyannote.audio. Outputs of the networks are kept.
    pub(super) fn compute(&mut self, stage: PipelineStage, setting: &PipelineParameters) {
        let activity = self.segmentation.view();
        match stage {
            PipelineStage::Segmentation | PipelineStage::Embeddings => {}
            PipelineStage::Counts => self.counts = speaker_count(activity, &setting.grid),
            PipelineStage::Masks => {
                let (windows, frames, speakers) = activity.dim();
                let mut masks = Array3::zeros((windows, speakers, frames));
                for (mut mask, activity) in masks.outer_iter_mut().zip(activity.outer_iter()) {
                    mask.assign(&speaker_embedding::alone(
                        activity,
                        setting.min_clean_frames,
                    ));
                }
                self.masks = masks;
            }
            PipelineStage::Training => {
                self.training = TrainingSet::new(self.embeddings.view(), activity);
            }
            PipelineStage::Plda => {
                self.plda = setting.plda.transform(self.training.embeddings.view());
            }
            PipelineStage::Ahc => {
                let unit = unit_length(self.training.embeddings.view());
                self.ahc = match unit.nrows() {
                    0 => Vec::new(),
                    _ => linkage(unit.view(), Linkage::Centroid).cut(setting.threshold),
                };
            }
            PipelineStage::Vbx => {
                let (phi, fa, fb) = (setting.plda.phi(), setting.fa, setting.fb);
                self.vbx = vbx(self.plda.view(), phi, &self.ahc, fa, fb);
            }
            PipelineStage::Assignment => {
                let speaking = assignment::speaking(activity);
                self.assignment = if self.training.locals.len() < 2 {
                    // Too few for a clustering: all active local speakers are one speaker.
                    speaking.mapv(|speaking| speaking.then_some(0))
                } else {
                    assignment::constrained(self.similarities().view(), speaking.view())
                };
            }
            PipelineStage::Reconstruction => {
                let (assignment, counts) = (&self.assignment, self.counts.view());
                let columns = speakers_with_phantoms(assignment, counts);
                self.active = reconstruct(activity, assignment, columns, counts, &setting.grid);
            }
            PipelineStage::Turns => {
                let labels = speaker_labels(self.active.view(), Numbering::Pyannote);
                let (pause, grid) = (setting.min_duration_off, &setting.grid);
                self.turns = label_turns(self.active.view(), &labels, pause, grid, "recording");
            }
            PipelineStage::Score => {
                let renamed = renamed(&self.turns);
                self.score = rate(&renamed, &self.turns);
            }
        }
    }

    /// Similarity of each local speaker to each cluster, `[window, local speaker, cluster]`.
    pub(super) fn similarities(&self) -> Array3<f64> {
        let centroids = self.vbx.centroids(self.training.embeddings.view());
        assignment::similarities(self.embeddings.view(), centroids.view())
    }

    /// Makes `locals` the training set. A local speaker without an embedding has no row.
    pub(super) fn train_on(&mut self, locals: Vec<(usize, usize)>) {
        let (windows, speakers, dimension) = self.embeddings.dim();
        let mut known = locals.clone();
        known.retain(|(window, speaker)| *window < windows && *speaker < speakers);
        let embeddings = Array2::from_shape_fn((known.len(), dimension), |(row, value)| {
            let (window, speaker) = known[row];
            self.embeddings[[window, speaker, value]]
        });
        self.training = TrainingSet { locals, embeddings };
    }

    /// Takes the output of `stage` from another run.
    pub(super) fn take(&mut self, stage: PipelineStage, from: &Self) {
        match stage {
            PipelineStage::Segmentation => self.segmentation.clone_from(&from.segmentation),
            PipelineStage::Counts => self.counts.clone_from(&from.counts),
            PipelineStage::Masks => self.masks.clone_from(&from.masks),
            PipelineStage::Embeddings => self.embeddings.clone_from(&from.embeddings),
            PipelineStage::Training => self.training.clone_from(&from.training),
            PipelineStage::Plda => self.plda.clone_from(&from.plda),
            PipelineStage::Ahc => self.ahc.clone_from(&from.ahc),
            PipelineStage::Vbx => self.vbx.clone_from(&from.vbx),
            PipelineStage::Assignment => {
                // Inactive local speakers have no cluster, whatever the capture assigns.
                let speaking = assignment::speaking(self.segmentation.view());
                self.assignment = Assignment::from_shape_fn(from.assignment.dim(), |place| {
                    let active = speaking.get(place).copied().unwrap_or_default();
                    from.assignment[place].filter(|_| active)
                });
            }
            PipelineStage::Reconstruction => self.active.clone_from(&from.active),
            PipelineStage::Turns => self.turns.clone_from(&from.turns),
            PipelineStage::Score => self.score = from.score,
        }
    }

    /// Checks the shape of the output of `stage` against the earlier ones and `setting`, in a run of `windows` windows
    /// with `speakers` local speakers.
    ///
    /// # Errors
    /// [`ShapeMismatch`] if it does not fit.
    pub(super) fn check(
        &self,
        stage: PipelineStage,
        setting: &PipelineParameters,
        (windows, speakers): (usize, usize),
    ) -> Result<(), ShapeMismatch> {
        let (frames, kept) = (setting.frames, self.training.locals.len());
        let plda = &setting.plda;
        match stage {
            PipelineStage::Segmentation => fits(
                self.segmentation.shape(),
                &[windows.max(1), frames, speakers],
            ),
            PipelineStage::Counts => fits(self.counts.shape(), &[setting.grid.count(windows)]),
            PipelineStage::Embeddings => fits(
                self.embeddings.shape(),
                &[windows, speakers, plda.dimension()],
            ),
            PipelineStage::Plda => fits(self.plda.shape(), &[kept, plda.phi().len()]),
            PipelineStage::Ahc => fits(&[self.ahc.len()], &[kept]),
            PipelineStage::Vbx => fits(
                self.vbx.responsibilities.shape(),
                &[kept, self.vbx.priors.len()],
            ),
            PipelineStage::Assignment => fits(self.assignment.shape(), &[windows, speakers]),
            PipelineStage::Masks
            | PipelineStage::Training
            | PipelineStage::Reconstruction
            | PipelineStage::Turns
            | PipelineStage::Score => Ok(()),
        }
    }

    /// The difference between the output of `stage` and that of `golden`: the fraction of different decisions, the
    /// largest error of PLDA vectors and embeddings relative to the largest value, the largest error of
    /// responsibilities, or the error of the score. Infinite if the shapes differ or a value is NaN.
    pub(super) fn difference(&self, stage: PipelineStage, golden: &Self) -> f64 {
        match stage {
            PipelineStage::Segmentation => unlike(&self.segmentation, &golden.segmentation),
            PipelineStage::Counts => unlike(&self.counts, &golden.counts),
            PipelineStage::Masks => unlike(&self.masks, &golden.masks),
            PipelineStage::Embeddings => {
                let [ours, theirs] =
                    [&self.embeddings, &golden.embeddings].map(|x| x.mapv(f64::from));
                error(&ours, &theirs) / largest(&theirs)
            }
            PipelineStage::Training => {
                let locals = |run: &Self| run.training.locals.iter().copied().collect();
                not_shared::<(usize, usize)>([self, golden].map(locals))
            }
            PipelineStage::Plda => {
                let ours = with_signs_of(self.plda.clone(), &golden.plda);
                error(&ours, &golden.plda) / largest(&golden.plda)
            }
            PipelineStage::Ahc => {
                let [ours, theirs] = [self, golden].map(|run| ArrayView1::from(&run.ahc));
                unlike(&ours, &theirs)
            }
            PipelineStage::Vbx => {
                let (ours, theirs) = (&self.vbx, &golden.vbx);
                let priors = error(&ours.priors, &theirs.priors);
                error(&ours.responsibilities, &theirs.responsibilities).max(priors)
            }
            PipelineStage::Assignment => unlike(&self.assignment, &golden.assignment),
            PipelineStage::Reconstruction => unlike(&self.active, &golden.active),
            PipelineStage::Turns => not_shared([self, golden].map(|run| lines(&run.turns))),
            PipelineStage::Score => (self.score - golden.score).abs(),
        }
    }
}

/// Diarization error rate of `hypothesis` without a collar, with times rounded to the millisecond.
pub(super) fn rate(reference: &Annotation, hypothesis: &Annotation) -> f64 {
    let [reference, hypothesis] = [reference, hypothesis].map(as_written);
    DiarizationErrorRate::default()
        .components(&reference, &hypothesis, None)
        .rate()
}

/// Start and duration rounded to the millisecond, as in RTTM.
fn as_written(turns: &Annotation) -> Annotation {
    let round = |seconds: f64| (seconds * 1e3).round() / 1e3;
    let written = turns.turns().iter().map(|turn| {
        let start = round(turn.segment.start);
        let end = start + round(turn.segment.duration());
        Turn::new(start, end, &*turn.speaker)
    });
    Annotation::from_turns(&*turns.uri, written)
}

/// The same turns with speakers renamed in reverse order.
pub(super) fn renamed(turns: &Annotation) -> Annotation {
    let names = turns.labels();
    let other = |name: &str| {
        let place = names.iter().rev().position(|known| *known == name);
        place.map_or(name, |place| names[place]).to_owned()
    };
    let renamed = turns.turns().iter().map(|turn| {
        let segment = turn.segment;
        Turn::new(segment.start, segment.end, other(&turn.speaker))
    });
    Annotation::from_turns(&*turns.uri, renamed)
}

fn fits(found: &[usize], expected: &[usize]) -> Result<(), ShapeMismatch> {
    if found == expected {
        return Ok(());
    }
    Err(ShapeMismatch {
        found: found.to_vec(),
        expected: expected.to_vec(),
    })
}

fn part(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

/// The fraction of values that differ.
fn unlike<T: PartialEq, S: Data<Elem = T>, D: Dimension>(
    ours: &ArrayBase<S, D>,
    theirs: &ArrayBase<S, D>,
) -> f64 {
    if ours.shape() != theirs.shape() {
        return f64::INFINITY;
    }
    let pairs = ours.iter().zip(theirs);
    part(pairs.filter(|(a, b)| a != b).count(), ours.len())
}

/// The largest difference.
fn error<S: Data<Elem = f64>, D: Dimension>(
    ours: &ArrayBase<S, D>,
    theirs: &ArrayBase<S, D>,
) -> f64 {
    if ours.shape() != theirs.shape() {
        return f64::INFINITY;
    }
    let difference = |(a, b): (&f64, &f64)| match (a - b).abs() {
        _ if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        error if error.is_nan() => f64::INFINITY,
        error => error,
    };
    ours.iter().zip(theirs).map(difference).fold(0.0, f64::max)
}

fn largest<D: Dimension>(values: &ArrayBase<ndarray::OwnedRepr<f64>, D>) -> f64 {
    let larger = |most: f64, x: &f64| most.max(x.abs());
    values.iter().fold(f64::MIN_POSITIVE, larger)
}

/// The fraction of all elements that only one of the sets contains.
fn not_shared<T: Ord>([ours, theirs]: [BTreeSet<T>; 2]) -> f64 {
    let differing = ours.symmetric_difference(&theirs).count();
    part(differing, ours.union(&theirs).count())
}

/// Turns as in RTTM, to the millisecond.
fn lines(turns: &Annotation) -> BTreeSet<String> {
    let line = |turn: &Turn| {
        let (start, duration) = (turn.segment.start, turn.segment.duration());
        format!("{start:.3} {duration:.3} {}", turn.speaker)
    };
    turns.turns().iter().map(line).collect()
}

/// `ours` with the sign of each column as in `theirs`: the sign of an eigenvector is arbitrary.
fn with_signs_of(mut ours: Array2<f64>, theirs: &Array2<f64>) -> Array2<f64> {
    if ours.dim() == theirs.dim() {
        let columns = ours.columns_mut().into_iter();
        for (mut ours, theirs) in columns.zip(theirs.columns()) {
            if ours.dot(&theirs) < 0.0 {
                ours *= -1.0;
            }
        }
    }
    ours
}
