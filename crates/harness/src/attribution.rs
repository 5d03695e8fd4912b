//! Which stage of another diarization pipeline costs how much: DER attribution.
//!
//! The candidate's output of one stage takes the place of the reference's, what comes after is computed anew as
//! pyannote.audio computes it, and the result is scored against the reference's own. Only one stage is the
//! candidate's at a time, so the rate is that stage's doing.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::{Array, Array1, Array2, Array3, ArrayView2, Dimension};
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};
use serde::Serialize;
use soundalike_convert::{Inspection, Linkage};
use soundalike_diarize::{
    clustering::{
        Plda, assignment,
        linkage::linkage,
        training::{TrainingSet, unit_length},
        vbx::{Vbx, vbx},
    },
    count::speaker_count,
    frames::FrameGrid,
    reconstruction::{Assignment, reconstruct, speakers_with_phantoms},
    turns::{Numbering, label_turns, speaker_labels},
};
use soundalike_metrics::{Annotation, Components, DiarizationErrorRate};

/// A stage whose output can be put in the place of another's, in order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplicedStage {
    /// Who speaks in each window. The embeddings stay the reference's.
    Segmentation,
    /// How many speak at each frame.
    Counts,
    /// What the local speakers sound like.
    Embeddings,
    /// The embeddings in the space of the PLDA.
    Plda,
    /// The clusters that VBx starts from.
    Ahc,
    /// What VBx makes of them.
    Vbx,
    /// The cluster of each local speaker.
    Assignment,
}

impl SplicedStage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Segmentation,
        Self::Counts,
        Self::Embeddings,
        Self::Plda,
        Self::Ahc,
        Self::Vbx,
        Self::Assignment,
    ];

    /// Its name in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::Counts => "counts",
            Self::Embeddings => "embeddings",
            Self::Plda => "PLDA",
            Self::Ahc => "AHC",
            Self::Vbx => "VBx",
            Self::Assignment => "assignment",
        }
    }

    /// The stages whose outputs change with that of this one.
    fn feeds(self) -> &'static [Self] {
        match self {
            Self::Segmentation => &[
                Self::Counts,
                Self::Plda,
                Self::Ahc,
                Self::Vbx,
                Self::Assignment,
            ],
            Self::Embeddings => &[Self::Plda, Self::Ahc, Self::Vbx, Self::Assignment],
            Self::Plda | Self::Ahc => &[Self::Vbx, Self::Assignment],
            Self::Vbx => &[Self::Assignment],
            Self::Counts | Self::Assignment => &[],
        }
    }
}

/// Why a captured run cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// A file cannot be opened.
    #[error("{}: cannot be read: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: entry `{entry}`: {source}; capture it again", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: &'static str,
        /// What the reader said.
        source: ReadNpzError,
    },
    /// It is damaged.
    #[error(transparent)]
    Damaged(#[from] soundalike_convert::Error),
}

/// Outputs of stages on one recording, as far as they were captured. Names and shapes of files and arrays are
/// those of a directory with `segmentations.npz` (`segmentations` `[window, frame, local speaker]`, f32),
/// `raw_embeddings.npz` (`embeddings` `[window, local speaker, dimension]`, f32), `plda_embeddings.npz`
/// (`post_plda` `[embedding, dimension]`, f64), `vbx_state.npz` (`qinit`, `q_final` `[embedding, cluster]` and
/// `sp_final` `[cluster]`, f64), `clustering.npz` (`hard_clusters` `[window, local speaker]`, i8, below 0 for
/// nobody) and `reconstruction.npz` (`count` `[frame, 1]`, u8).
#[derive(Debug, Clone, Default)]
pub struct CapturedRun {
    segmentation: Option<Array3<f32>>,
    counts: Option<Array1<usize>>,
    embeddings: Option<Array3<f32>>,
    plda: Option<Array2<f64>>,
    ahc: Option<Vec<usize>>,
    vbx: Option<Vbx>,
    assignment: Option<Assignment>,
}

impl CapturedRun {
    /// Reads what is there of `directory`.
    ///
    /// # Errors
    /// [`CaptureError`] where a file is there and is not what it should be.
    pub fn read(directory: &Path) -> Result<Self, CaptureError> {
        let array = |file: &str| directory.join(file);
        let counts: Option<Array2<u8>> = entry(&array("reconstruction.npz"), "count")?;
        let clusters: Option<Array2<i8>> = entry(&array("clustering.npz"), "hard_clusters")?;
        let state = array("vbx_state.npz");
        let start: Option<Array2<f64>> = entry(&state, "qinit")?;
        let responsibilities: Option<Array2<f64>> = entry(&state, "q_final")?;
        let priors: Option<Array1<f64>> = entry(&state, "sp_final")?;
        Ok(Self {
            segmentation: entry(&array("segmentations.npz"), "segmentations")?,
            counts: counts.map(|counts| counts.iter().copied().map(usize::from).collect()),
            embeddings: entry(&array("raw_embeddings.npz"), "embeddings")?,
            plda: entry(&array("plda_embeddings.npz"), "post_plda")?,
            ahc: start.map(|start| labels(start.view())),
            vbx: responsibilities
                .zip(priors)
                .map(|(responsibilities, priors)| Vbx {
                    responsibilities,
                    priors,
                    bounds: Vec::new(),
                }),
            assignment: clusters.map(|clusters| clusters.mapv(|k| usize::try_from(k).ok())),
        })
    }

    /// Whether the output of `stage` was captured.
    #[must_use]
    pub fn has(&self, stage: SplicedStage) -> bool {
        match stage {
            SplicedStage::Segmentation => self.segmentation.is_some(),
            SplicedStage::Counts => self.counts.is_some(),
            SplicedStage::Embeddings => self.embeddings.is_some(),
            SplicedStage::Plda => self.plda.is_some(),
            SplicedStage::Ahc => self.ahc.is_some(),
            SplicedStage::Vbx => self.vbx.is_some(),
            SplicedStage::Assignment => self.assignment.is_some(),
        }
    }
}

/// How the reference clusters and what its frames are.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Distance at which the agglomerative clustering stops.
    pub threshold: f64,
    /// Weight of the evidence in VBx.
    pub fa: f64,
    /// What a speaker costs in VBx.
    pub fb: f64,
    /// Pauses shorter than this are filled, seconds.
    pub min_duration_off: f64,
    /// The space of VBx.
    pub plda: Plda,
    /// The frames of a recording.
    pub grid: FrameGrid,
    /// Frames of a window.
    pub frames: usize,
}

/// An output that does not fit the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("has the shape {found:?}, expected {expected:?}")]
pub struct Misfit {
    /// Its shape.
    pub found: Vec<usize>,
    /// The shape that fits.
    pub expected: Vec<usize>,
}

/// The errors of a diarization against the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Diarization error rate, without a collar.
    pub der: f64,
    /// What it is made of.
    #[serde(flatten)]
    pub components: Components,
    /// Speakers of the diarization.
    pub speakers: usize,
}

/// What one stage of the candidate costs.
#[derive(Debug, Clone, Serialize)]
pub struct Splice {
    /// The stage.
    pub stage: SplicedStage,
    /// Its score.
    pub outcome: Outcome,
}

/// What came of a splice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The errors.
    Score(Score),
    /// The output of the candidate does not fit.
    Misfit(Misfit),
    /// The candidate lacks the stage.
    NotCaptured,
}

/// What each stage of a candidate costs.
#[derive(Debug, Clone, Serialize)]
pub struct Attribution {
    /// Speakers of the reference.
    pub speakers: usize,
    /// One for each stage, in order of execution.
    pub splices: Vec<Splice>,
}

/// Puts each stage of `candidate` into `reference`, which must have at least its segmentation and embeddings.
///
/// # Errors
/// Where the reference does not fit together.
pub fn attribute(
    reference: &CapturedRun,
    candidate: &CapturedRun,
    setting: &Setting,
) -> Result<Attribution, Misfit> {
    let turns = |stage| {
        let mixture = Mixture {
            reference,
            candidate,
            stage,
        };
        mixture.turns(setting)
    };
    let own = turns(None)?;
    let splice = |stage: SplicedStage| {
        let outcome = if !candidate.has(stage) {
            Outcome::NotCaptured
        } else {
            match turns(Some(stage)) {
                Ok(spliced) => Outcome::Score(score(&own, &spliced)),
                Err(misfit) => Outcome::Misfit(misfit),
            }
        };
        Splice { stage, outcome }
    };
    Ok(Attribution {
        speakers: own.labels().len(),
        splices: SplicedStage::ALL.map(splice).into(),
    })
}

fn score(reference: &Annotation, hypothesis: &Annotation) -> Score {
    let components = DiarizationErrorRate::default().components(reference, hypothesis, None);
    Score {
        der: components.rate(),
        components,
        speakers: hypothesis.labels().len(),
    }
}

/// The reference with one stage of the candidate.
struct Mixture<'a> {
    reference: &'a CapturedRun,
    candidate: &'a CapturedRun,
    stage: Option<SplicedStage>,
}

impl<'a> Mixture<'a> {
    /// The captured output of a stage, unless it is to be computed from another one before it.
    fn of<T>(
        &self,
        stage: SplicedStage,
        output: impl Fn(&'a CapturedRun) -> Option<&'a T>,
    ) -> Option<&'a T> {
        match self.stage {
            Some(spliced) if spliced == stage => output(self.candidate),
            Some(spliced) if spliced.feeds().contains(&stage) => None,
            _ => output(self.reference),
        }
    }

    /// The stages in order, as `VBxClustering.__call__` and `SpeakerDiarization.apply` of pyannote.audio.
    fn turns(&self, setting: &Setting) -> Result<Annotation, Misfit> {
        let grid = &setting.grid;
        let none = (Array3::zeros((0, 0, 0)), Array3::zeros((0, 0, 0)));
        let activity = self
            .of(SplicedStage::Segmentation, |run| run.segmentation.as_ref())
            .unwrap_or(&none.0);
        let embeddings = self
            .of(SplicedStage::Embeddings, |run| run.embeddings.as_ref())
            .unwrap_or(&none.1);
        let whole = self.reference.segmentation.as_ref().unwrap_or(&none.0);
        let (windows, _, speakers) = whole.dim();
        let dimension = setting.plda.dimension();
        fits(
            activity.shape(),
            &[windows.max(1), setting.frames, speakers],
        )?;
        fits(embeddings.shape(), &[windows, speakers, dimension])?;

        let training = TrainingSet::new(embeddings.view(), activity.view());
        let (kept, vectors) = (training.locals.len(), training.embeddings.view());
        let plda = match self.of(SplicedStage::Plda, |run| run.plda.as_ref()) {
            Some(captured) => captured.clone(),
            None => setting.plda.transform(vectors),
        };
        fits(plda.shape(), &[kept, setting.plda.phi().len()])?;
        let ahc = match self.of(SplicedStage::Ahc, |run| run.ahc.as_ref()) {
            Some(captured) => captured.clone(),
            None if kept == 0 => Vec::new(),
            None => linkage(unit_length(vectors).view(), Linkage::Centroid).cut(setting.threshold),
        };
        fits(&[ahc.len()], &[kept])?;
        let shares = match self.of(SplicedStage::Vbx, |run| run.vbx.as_ref()) {
            Some(captured) => captured.clone(),
            None => vbx(
                plda.view(),
                setting.plda.phi(),
                &ahc,
                setting.fa,
                setting.fb,
            ),
        };
        let clusters = shares.priors.len();
        fits(shares.responsibilities.shape(), &[kept, clusters])?;
        let speaking = assignment::speaking(activity.view());
        let assigned = match self.of(SplicedStage::Assignment, |run| run.assignment.as_ref()) {
            Some(captured) => captured.clone(),
            // Too few for a clustering: everybody is one.
            None if kept < 2 => Assignment::from_elem(speaking.dim(), Some(0)),
            None => {
                let centroids = shares.centroids(vectors);
                let similarities = assignment::similarities(embeddings.view(), centroids.view());
                assignment::constrained(similarities.view(), speaking.view())
            }
        };
        fits(assigned.shape(), &[windows, speakers])?;
        // The silent are nobody, whatever a capture gives them.
        let assigned = Assignment::from_shape_fn(assigned.dim(), |place| {
            assigned[place].filter(|_| speaking[place])
        });
        let counts = match self.of(SplicedStage::Counts, |run| run.counts.as_ref()) {
            Some(captured) => captured.clone(),
            None => speaker_count(activity.view(), grid),
        };
        fits(counts.shape(), &[grid.count(windows)])?;

        let columns = speakers_with_phantoms(&assigned, counts.view());
        let active = reconstruct(activity.view(), &assigned, columns, counts.view(), grid);
        let labels = speaker_labels(active.view(), Numbering::Pyannote);
        Ok(label_turns(
            active.view(),
            &labels,
            setting.min_duration_off,
            grid,
            "recording",
        ))
    }
}

fn fits(found: &[usize], expected: &[usize]) -> Result<(), Misfit> {
    if found == expected {
        return Ok(());
    }
    Err(Misfit {
        found: found.to_vec(),
        expected: expected.to_vec(),
    })
}

/// The largest value of each row: what `qinit`, a softmax of one-hot rows, was made of.
fn labels(start: ArrayView2<'_, f64>) -> Vec<usize> {
    let largest = |row: ndarray::ArrayView1<'_, f64>| {
        let larger = |best: usize, (index, value): (usize, &f64)| {
            if *value > row[best] { index } else { best }
        };
        row.iter().enumerate().fold(0, larger)
    };
    start.outer_iter().map(largest).collect()
}

/// The array `entry` of an `.npz`, or nothing where there is no such file.
fn entry<T: ReadableElement, D: Dimension>(
    path: &Path,
    entry: &'static str,
) -> Result<Option<Array<T, D>>, CaptureError> {
    if !path.is_file() {
        return Ok(None);
    }
    // A file's arrays are no larger than the file says, and it says no more than it holds.
    Inspection::of(path)?;
    let file = File::open(path).map_err(|source| CaptureError::Open {
        path: path.to_owned(),
        source,
    })?;
    let array = NpzReader::new(file).and_then(|mut npz| npz.by_name(entry));
    let failed = |source| CaptureError::Entry {
        path: path.to_owned(),
        entry,
        source,
    };
    array.map(Some).map_err(failed)
}
