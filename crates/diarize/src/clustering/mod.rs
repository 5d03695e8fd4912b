//! Which local speakers of a recording are one person, by their speaker embeddings.
//!
//! pyannote.audio `pipelines/clustering.py`.

mod bounds;
mod plda;

use std::fmt;

use ndarray::{Array2, ArrayView3};
use soundalike_convert::{Bundle, Clustering, Linkage};

pub use bounds::{BoundsError, SpeakerBounds};
pub use plda::Plda;

use crate::reconstruction::Assignment;

/// What the local speakers of a recording became.
#[derive(Debug, Clone)]
pub struct Clusters {
    /// The cluster of each local speaker, `[window, local speaker]`; `None` for a silent or dropped one.
    pub assignment: Assignment,
    /// The embedding of each cluster, `[cluster, dimension]`; a row is NaN where nobody talked alone for
    /// long enough to be sure of it.
    pub centroids: Array2<f64>,
    /// What the caller should know of them.
    pub warnings: Vec<Warning>,
}

/// Something that went differently than asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Fewer clusters than speakers asked for, because too few local speakers talk alone for long enough.
    /// pyannote.audio stops with an error there.
    TooFewEmbeddings {
        /// Speakers asked for.
        asked: usize,
        /// Local speakers who talk alone for long enough.
        kept: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewEmbeddings { asked, kept } => write!(
                f,
                "{asked} speakers were asked for, but only {kept} time(s) does someone talk alone for two seconds: at most that many are told apart"
            ),
        }
    }
}

/// Why a pipeline's clustering cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// It takes the true speakers from a reference.
    #[error(
        "OracleClustering needs the true speakers; expected VBxClustering, AgglomerativeClustering or KMeansClustering"
    )]
    Oracle,
    /// VBxClustering without its PLDA.
    #[error("VBxClustering needs a PLDA, and the pipeline has none")]
    NoPlda,
    /// The bundle given as PLDA holds another architecture.
    #[error("the bundle holds another architecture, expected a PLDA")]
    NotPlda,
}

/// How embeddings become speakers. pyannote.audio `pipelines.clustering.Clustering`.
#[derive(Debug, Clone)]
pub enum Method {
    /// Variational Bayes over PLDA vectors, started from agglomerative clusters. `VBxClustering`.
    Vbx {
        /// Distance at which the agglomerative clustering stops.
        threshold: f64,
        /// Weight of the acoustic evidence.
        fa: f64,
        /// How much is asked of a speaker to exist.
        fb: f64,
        /// The space in which it happens.
        plda: Plda,
    },
    /// `AgglomerativeClustering`.
    Agglomerative {
        /// Distance between clusters.
        method: Linkage,
        /// Clusters with fewer embeddings are joined to larger ones.
        min_cluster_size: usize,
        /// Distance at which it stops.
        threshold: f64,
    },
    /// `KMeansClustering`, which must be told the number of speakers.
    KMeans,
}

impl Method {
    /// What `config` asks for; `plda` is the bundle of the pipeline's PLDA.
    ///
    /// # Errors
    /// [`SetupError`] where that needs what is not there.
    pub fn new(config: &Clustering, plda: Option<&Bundle>) -> Result<Self, SetupError> {
        match *config {
            Clustering::VBx { threshold, fa, fb } => Ok(Self::Vbx {
                threshold,
                fa,
                fb,
                plda: Plda::new(plda.ok_or(SetupError::NoPlda)?)?,
            }),
            Clustering::Agglomerative {
                method,
                min_cluster_size,
                threshold,
            } => Ok(Self::Agglomerative {
                method,
                min_cluster_size,
                threshold,
            }),
            Clustering::KMeans {} => Ok(Self::KMeans),
            Clustering::Oracle {} => Err(SetupError::Oracle),
        }
    }

    /// Which local speakers are one person. `embeddings` is `[window, local speaker, dimension]`, of which
    /// those of silent local speakers are never looked at; `activity` `[window, frame, local speaker]` of
    /// 0 and 1.
    #[must_use]
    pub fn cluster(
        &self,
        embeddings: ArrayView3<'_, f32>,
        activity: ArrayView3<'_, f32>,
        _bounds: SpeakerBounds,
    ) -> Clusters {
        // Everybody is one, until the stages are here.
        let (windows, _, speakers) = activity.dim();
        let assignment = Assignment::from_shape_fn((windows, speakers), |(window, speaker)| {
            let active = activity.slice(ndarray::s![window, .., speaker]);
            active.iter().any(|active| *active > 0.0).then_some(0)
        });
        let centroids = Array2::from_elem((1, embeddings.dim().2), f64::NAN);
        Clusters {
            assignment,
            centroids,
            warnings: Vec::new(),
        }
    }
}
