//! The parameters of a pipeline.

use serde::{Deserialize, Serialize};

use super::{Part, PipelineError};

/// Parameters of `pyannote.audio.pipelines.SpeakerDiarization`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Name of the class: `pyannote.audio.pipelines.SpeakerDiarization`.
    pub class: String,
    /// Time between two windows, in multiples of the window's duration: 0.1.
    pub segmentation_step: f64,
    /// Windows given to the segmentation at once.
    pub segmentation_batch_size: usize,
    /// Windows given to the embedding at once.
    pub embedding_batch_size: usize,
    /// Whether embeddings leave out what is spoken while someone else speaks.
    pub embedding_exclude_overlap: bool,
    /// Activity above which a speaker speaks, 0 to 1; `None` for a powerset model.
    pub segmentation_threshold: Option<f64>,
    /// Pauses of one speaker shorter than this are filled, in seconds.
    pub min_duration_off: f64,
    /// How embeddings become speakers.
    pub clustering: Clustering,
}

/// How embeddings become speakers. `pyannote.audio.pipelines.clustering.Clustering`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", content = "parameters", deny_unknown_fields)]
pub enum Clustering {
    /// Variational Bayes over PLDA vectors, started from agglomerative clusters.
    #[serde(rename = "VBxClustering")]
    VBx {
        /// Distance at which agglomerative clustering stops; unit-length embeddings.
        threshold: f64,
        /// Weight of the acoustic evidence.
        #[serde(rename = "Fa")]
        fa: f64,
        /// How much is asked of a speaker to exist.
        #[serde(rename = "Fb")]
        fb: f64,
    },
    /// Agglomerative clusters.
    #[serde(rename = "AgglomerativeClustering")]
    Agglomerative {
        /// Distance between clusters.
        method: Linkage,
        /// Clusters with fewer embeddings are joined to larger ones.
        min_cluster_size: usize,
        /// Distance at which clustering stops; unit-length embeddings.
        threshold: f64,
    },
    /// k-means; needs the number of speakers.
    #[serde(rename = "KMeansClustering")]
    KMeans {},
    /// The true speakers, for experiments; needs the reference.
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
    /// Distance of the centroids, the new one halfway between the old.
    Median,
    /// Smallest distance of a pair.
    Single,
    /// Increase of the variance.
    Ward,
    /// Mean distance, both halves of a cluster counting the same.
    Weighted,
}

impl PipelineConfig {
    /// The models without which this pipeline cannot run.
    pub fn needs(&self) -> Vec<Part> {
        match self.clustering {
            Clustering::VBx { .. } => Part::ALL.to_vec(),
            Clustering::Agglomerative { .. } | Clustering::KMeans {} => {
                vec![Part::Segmentation, Part::Embedding]
            }
            Clustering::Oracle {} => vec![Part::Segmentation],
        }
    }

    /// Refuses numbers with which nothing can be computed. pyannote's own ranges are for its
    /// search of parameters and narrower.
    pub(super) fn check(&self) -> Result<(), PipelineError> {
        let refuse = |key: &str, found: String, expected: &str| {
            Err(PipelineError::Value {
                key: key.into(),
                found,
                expected: expected.into(),
            })
        };
        let mut positive = vec![("segmentation_step", self.segmentation_step)];
        let mut zero_or_more = vec![("segmentation.min_duration_off", self.min_duration_off)];
        zero_or_more.extend(
            self.segmentation_threshold
                .map(|x| ("segmentation.threshold", x)),
        );
        match self.clustering {
            Clustering::VBx { threshold, fa, fb } => {
                positive.extend([("clustering.Fa", fa), ("clustering.Fb", fb)]);
                zero_or_more.push(("clustering.threshold", threshold));
            }
            Clustering::Agglomerative {
                threshold,
                min_cluster_size,
                ..
            } => {
                zero_or_more.push(("clustering.threshold", threshold));
                if min_cluster_size == 0 {
                    return refuse("clustering.min_cluster_size", "0".into(), "1 or more");
                }
            }
            Clustering::KMeans {} | Clustering::Oracle {} => {}
        }
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return refuse(key, value.to_string(), "a number above 0");
            }
        }
        for (key, value) in zero_or_more {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "0 or more");
            }
        }
        for (key, value) in [
            ("segmentation_batch_size", self.segmentation_batch_size),
            ("embedding_batch_size", self.embedding_batch_size),
        ] {
            if value == 0 {
                return refuse(key, "0".into(), "1 or more");
            }
        }
        Ok(())
    }
}
