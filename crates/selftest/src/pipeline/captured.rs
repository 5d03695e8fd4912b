//! Captured outputs of the stages of a pipeline on one recording.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ndarray::{Array, ArrayD, ArrayView1, ArrayView2, Dimension, Ix1, Ix2};
use soundalike_convert::{Npz, NpzArray, NpzElement};
use soundalike_diarize::clustering::vbx::Vbx;
use soundalike_metrics::rttm;

use super::{PipelineStage, outputs::Outputs};

/// Why a captured run cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// A file cannot be opened, or an array is missing or invalid.
    #[error("{reason}; capture it again")]
    Npz {
        /// The error of the reader, with its causes.
        reason: soundalike_convert::Error,
    },
    /// An array has another number of axes.
    #[error("{}: entry `{entry}` has the shape {found:?}, expected {expected} axes; capture it again", path.display())]
    Axes {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The expected number of axes.
        expected: usize,
    },
    /// The turns cannot be read.
    #[error(transparent)]
    Turns(#[from] soundalike_metrics::Error),
}

/// Captured outputs of stages on one recording. The directory may hold `segmentations.npz` (`segmentations` `[window,
/// frame, local speaker]`, f32), `raw_embeddings.npz` (`embeddings` `[window, local speaker, dimension]`, f32),
/// `plda_embeddings.npz` (`post_plda` `[embedding, dimension]`, f64, of the local speakers `train_speaker_idx` of the
/// windows `train_chunk_idx`, i64), `vbx_state.npz` (`qinit`, `q_final` `[embedding, cluster]` and `sp_final`
/// `[cluster]`, f64), `clustering.npz` (`hard_clusters` `[window, local speaker]`, i8, below 0 for no cluster),
/// `reconstruction.npz` (`count` `[frame, 1]`, u8, and `discrete_diarization` `[frame, speaker]`, f32) and
/// `reference.rttm`.
#[derive(Debug, Clone, Default)]
pub struct CapturedRun {
    pub(super) outputs: Outputs,
    captured: BTreeSet<PipelineStage>,
}

impl CapturedRun {
    /// Reads the files in `directory` that stages can be spliced by.
    ///
    /// # Errors
    /// [`CaptureError`] if a file is invalid. A missing file is not an error.
    pub fn read(directory: &Path) -> Result<Self, CaptureError> {
        let array = |file: &str| directory.join(file);
        let mut run = Self::default();
        let mut has = |stage| run.captured.insert(stage);
        let outputs = &mut run.outputs;
        if let Some(activity) = entry(&array("segmentations.npz"), "segmentations")? {
            has(PipelineStage::Segmentation);
            outputs.segmentation = activity;
        }
        if let Some(embeddings) = entry(&array("raw_embeddings.npz"), "embeddings")? {
            has(PipelineStage::Embeddings);
            outputs.embeddings = embeddings;
        }
        if let Some(plda) = entry(&array("plda_embeddings.npz"), "post_plda")? {
            has(PipelineStage::Plda);
            outputs.plda = plda;
        }
        let state = array("vbx_state.npz");
        if let Some(start) = entry::<f64, Ix2>(&state, "qinit")? {
            has(PipelineStage::Ahc);
            outputs.ahc = labels(start.view());
        }
        let (responsibilities, priors) = (entry(&state, "q_final")?, entry(&state, "sp_final")?);
        if let Some((responsibilities, priors)) = responsibilities.zip(priors) {
            has(PipelineStage::Vbx);
            outputs.vbx = Vbx {
                responsibilities,
                priors,
                bounds: Vec::new(),
            };
        }
        if let Some(clusters) = entry::<i8, Ix2>(&array("clustering.npz"), "hard_clusters")? {
            has(PipelineStage::Assignment);
            outputs.assignment = clusters.mapv(|k| usize::try_from(k).ok());
        }
        if let Some(counts) = entry::<u8, Ix2>(&array("reconstruction.npz"), "count")? {
            has(PipelineStage::Counts);
            outputs.counts = counts.iter().copied().map(usize::from).collect();
        }
        Ok(run)
    }

    /// Reads also the files that only a self-test of the pipeline compares with.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_all(directory: &Path) -> Result<Self, CaptureError> {
        let mut run = Self::read(directory)?;
        let vectors = directory.join("plda_embeddings.npz");
        if run.has(PipelineStage::Plda) && run.has(PipelineStage::Embeddings) {
            let windows = entry::<i64, Ix1>(&vectors, "train_chunk_idx")?;
            let speakers = entry::<i64, Ix1>(&vectors, "train_speaker_idx")?;
            let places = windows.iter().flatten().zip(speakers.iter().flatten());
            let locals = places.map(|(window, speaker)| (*window as usize, *speaker as usize));
            // An index out of range leaves fewer rows than PLDA vectors, which is a misfit.
            run.outputs.train_on(locals.collect());
            run.captured.insert(PipelineStage::Training);
        }
        let path = directory.join("reconstruction.npz");
        if let Some(active) = entry::<f32, Ix2>(&path, "discrete_diarization")? {
            run.outputs.active = active.mapv(|x| x > 0.5);
            run.captured.insert(PipelineStage::Reconstruction);
        }
        let path = directory.join("reference.rttm");
        if path.is_file() {
            let recordings = rttm::read(&path)?;
            run.outputs.turns = recordings.into_iter().next().unwrap_or_default();
            run.captured.insert(PipelineStage::Turns);
        }
        Ok(run)
    }

    /// Whether the output of `stage` was captured.
    #[must_use]
    pub fn has(&self, stage: PipelineStage) -> bool {
        self.captured.contains(&stage)
    }

    /// Number of windows, and of local speakers per window.
    pub(super) fn size(&self) -> (usize, usize) {
        let (windows, _, speakers) = self.outputs.segmentation.dim();
        (windows, speakers)
    }
}

/// The index of the largest value in each row: `qinit` is a softmax of one-hot rows.
fn labels(start: ArrayView2<'_, f64>) -> Vec<usize> {
    let largest = |row: ArrayView1<'_, f64>| {
        let larger = |best, index| if row[index] > row[best] { index } else { best };
        (0..row.len()).fold(0, larger)
    };
    start.outer_iter().map(largest).collect()
}

/// The array `entry` of an `.npz`; `None` if there is no such file.
fn entry<T: NpzElement, D: Dimension>(
    path: &Path,
    entry: &'static str,
) -> Result<Option<Array<T, D>>, CaptureError> {
    if !path.is_file() {
        return Ok(None);
    }
    let array = Npz::open(path).and_then(|mut npz| npz.read(entry));
    let NpzArray { shape, values } = array.map_err(|reason| CaptureError::Npz { reason })?;
    let array = ArrayD::from_shape_vec(&*shape, values);
    match array.and_then(ArrayD::into_dimensionality) {
        Ok(array) => Ok(Some(array)),
        Err(_) => Err(CaptureError::Axes {
            path: path.to_owned(),
            entry,
            found: shape,
            expected: D::NDIM.unwrap_or_default(),
        }),
    }
}
