//! The parameters of a pipeline.

use serde::{Deserialize, Serialize};

use super::{ModelRole, PipelineError};

/// Parameters of `pyannote.audio.pipelines.SpeakerDiarization`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Name of the class: `pyannote.audio.pipelines.SpeakerDiarization`.
    pub class: String,
    /// Time between two windows, relative to the duration of a window: 0.1.
    pub segmentation_step: f64,
    /// Batch size of the segmentation, in windows.
    pub segmentation_batch_size: usize,
    /// Batch size of the embedding, in windows.
    pub embedding_batch_size: usize,
    /// Whether embeddings exclude overlapped speech.
    pub embedding_exclude_overlap: bool,
    /// Threshold of speaker activity, 0 to 1. `None` for a powerset model.
    pub segmentation_threshold: Option<f64>,
    /// Shorter pauses of a speaker are filled, in seconds.
    pub min_duration_off: f64,
    /// Clustering of embeddings.
    pub clustering: Clustering,
}

/// Clustering of embeddings. `pyannote.audio.pipelines.clustering.Clustering`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", content = "parameters", deny_unknown_fields)]
pub enum Clustering {
    /// Variational Bayes on PLDA vectors, initialised by agglomerative clustering.
    #[serde(rename = "VBxClustering")]
    VBx {
        /// Distance at which agglomerative clustering stops, for unit-length embeddings.
        threshold: f64,
        /// Scale of the acoustic evidence.
        #[serde(rename = "Fa")]
        fa: f64,
        /// Speaker regularisation: higher values find fewer speakers.
        #[serde(rename = "Fb")]
        fb: f64,
    },
    /// Agglomerative clustering.
    #[serde(rename = "AgglomerativeClustering")]
    Agglomerative {
        /// Distance between clusters.
        method: Linkage,
        /// Smaller clusters are merged into larger ones, in embeddings.
        min_cluster_size: usize,
        /// Distance at which clustering stops, for unit-length embeddings.
        threshold: f64,
    },
    /// k-means. Requires the number of speakers.
    #[serde(rename = "KMeansClustering")]
    KMeans {},
    /// The true speakers, for experiments. Requires the reference.
    #[serde(rename = "OracleClustering")]
    Oracle {},
}

/// Distance between clusters. `scipy.cluster.hierarchy.linkage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Linkage {
    /// Mean distance of all pairs.
    Average,
    /// Distance of the centroids.
    Centroid,
    /// Largest distance of a pair.
    Complete,
    /// Distance of the centroids. A merged centroid is the midpoint of both.
    Median,
    /// Smallest distance of a pair.
    Single,
    /// Increase of the variance within clusters.
    Ward,
    /// Mean distance, with equal weight for both parts of a cluster.
    Weighted,
}

impl PipelineConfig {
    /// The models required by this pipeline.
    #[must_use]
    pub fn needs(&self) -> Vec<ModelRole> {
        match self.clustering {
            Clustering::VBx { .. } => ModelRole::ALL.to_vec(),
            Clustering::Agglomerative { .. } | Clustering::KMeans {} => {
                vec![ModelRole::Segmentation, ModelRole::Embedding]
            }
            Clustering::Oracle {} => vec![ModelRole::Segmentation],
        }
    }

    /// Refuses invalid numbers. pyannote's ranges are narrower: they limit its search of parameters.
    pub(super) fn check(&self) -> Result<(), PipelineError> {
        let above_zero = |key, x: f64| {
            let fits = x.is_finite() && x > 0.0;
            (key, x.to_string(), fits, "a number above 0")
        };
        let finite = 0.0..=f64::MAX;
        let zero_or_more = |key, x: f64| (key, x.to_string(), finite.contains(&x), "0 or more");
        let one_or_more = |key, n: usize| (key, n.to_string(), n >= 1, "1 or more");
        let mut checks = match self.clustering {
            Clustering::VBx { threshold, fa, fb } => vec![
                above_zero("clustering.Fa", fa),
                above_zero("clustering.Fb", fb),
                zero_or_more("clustering.threshold", threshold),
            ],
            Clustering::Agglomerative {
                method: _,
                min_cluster_size,
                threshold,
            } => vec![
                one_or_more("clustering.min_cluster_size", min_cluster_size),
                zero_or_more("clustering.threshold", threshold),
            ],
            Clustering::KMeans {} | Clustering::Oracle {} => vec![],
        };
        let threshold = self.segmentation_threshold;
        checks.extend(threshold.map(|x| zero_or_more("segmentation.threshold", x)));
        checks.extend([
            above_zero("segmentation_step", self.segmentation_step),
            zero_or_more("segmentation.min_duration_off", self.min_duration_off),
            one_or_more("segmentation_batch_size", self.segmentation_batch_size),
            one_or_more("embedding_batch_size", self.embedding_batch_size),
        ]);
        for (key, found, fits, expected) in checks {
            if !fits {
                return Err(PipelineError::Value {
                    key: key.into(),
                    found,
                    expected: expected.into(),
                });
            }
        }
        Ok(())
    }
}
