//! Which local speakers of a recording are one person, by their speaker embeddings.
//!
//! pyannote.audio `pipelines/clustering.py`, one file per stage, each a function from array to array:
//!
//! [`training`] chooses the embeddings that can be trusted. [`linkage`] and [`dendrogram`] make clusters of
//! them, which [`vbx`] goes on with in the space of the [`plda`], or [`agglomerative`] outside of it;
//! [`mod@kmeans`] makes as many as are asked for. [`assignment`] gives all local speakers their cluster, by
//! their [`distances`]. [`Method`] runs them.

pub mod agglomerative;
pub mod assignment;
mod bounds;
pub mod dendrogram;
pub mod distances;
pub mod kmeans;
pub mod linkage;
pub mod plda;
pub mod training;
pub mod vbx;

use std::fmt;

use ndarray::{Array2, ArrayView3, Axis};
use soundalike_convert::{Bundle, Clustering, Linkage};

use self::{
    agglomerative::agglomerative,
    kmeans::kmeans,
    linkage::linkage,
    training::{TrainingSet, means, unit_length},
    vbx::vbx,
};
use crate::reconstruction::Assignment;

pub use bounds::{BoundsError, SpeakerBounds};
pub use plda::Plda;

/// Prior below which a cluster of VBx is nobody. pyannote.audio `VBxClustering`, `sp > 1e-7`.
const MIN_PRIOR: f64 = 1e-7;
/// Clusters that pyannote.audio can assign: it keeps their numbers in 8 bits with a sign.
const MAX_OF_PYANNOTE: usize = 128;

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
    /// More speakers asked for than local speakers who talk alone for long enough. pyannote.audio stops with an
    /// error, or ignores what was asked for.
    TooFewEmbeddings {
        /// Speakers asked for.
        asked: usize,
        /// Local speakers who talk alone for long enough.
        kept: usize,
    },
    /// There is no cut of the tree into as many clusters of the size required.
    NoSuchCut {
        /// Clusters asked for.
        asked: usize,
        /// Clusters of the nearest cut.
        found: usize,
    },
    /// More clusters than pyannote.audio can number; it stops with an error.
    ManyClusters {
        /// Clusters found.
        found: usize,
    },
    /// k-means was not told the number of speakers, and took the least allowed. pyannote.audio stops with an
    /// error.
    UnknownNumber {
        /// Clusters made.
        taken: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewEmbeddings { asked, kept } => write!(
                f,
                "{asked} speakers were asked for, but only {kept} time(s) does someone talk alone for long enough: no more are told apart"
            ),
            Self::NoSuchCut { asked, found } => write!(
                f,
                "the voices do not fall into {asked} groups of the smallest size allowed, but into {found}"
            ),
            Self::ManyClusters { found } => write!(
                f,
                "{found} speakers are more than pyannote.audio can count ({MAX_OF_PYANNOTE}); it would stop with an error"
            ),
            Self::UnknownNumber { taken } => write!(
                f,
                "KMeansClustering needs the number of speakers; took {taken}, the least allowed"
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
    /// The PLDA's matrices cannot be those of a PLDA.
    #[error("the PLDA's covariances (tr, psi) are not positive definite; is the file damaged?")]
    SingularPlda,
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
        plda: Box<Plda>,
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
                plda: Box::new(Plda::new(plda.ok_or(SetupError::NoPlda)?)?),
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

    /// Which local speakers are one person. `embeddings` is `[window, local speaker, dimension]`, where those
    /// of silent local speakers change nothing; `activity` `[window, frame, local speaker]` of 0 and 1.
    ///
    /// pyannote.audio's `__call__`, which with few embeddings fails or ignores `bounds`; here they are followed
    /// as far as there are embeddings, with a [`Warning`].
    #[must_use]
    pub fn cluster(
        &self,
        embeddings: ArrayView3<'_, f32>,
        activity: ArrayView3<'_, f32>,
        bounds: SpeakerBounds,
    ) -> Clusters {
        let training = TrainingSet::new(embeddings, activity);
        let kept = training.locals.len();
        let mut warnings = Vec::new();
        if bounds.min() > kept.max(1) {
            let asked = bounds.min();
            warnings.push(Warning::TooFewEmbeddings { asked, kept });
        }
        let vectors = training.embeddings.view();
        let labelled = |labels: &[usize]| {
            let clusters = labels.iter().max().map_or(0, |last| last + 1);
            means(vectors, labels, clusters).mapv(f64::from)
        };
        let mut constrained = false;
        let centroids = match self {
            // The mean of none is NaN: nobody's voice is known.
            _ if kept < 2 => means(vectors, &vec![0; kept], 1).mapv(f64::from),
            Self::Vbx {
                threshold,
                fa,
                fb,
                plda,
            } => {
                let unit = unit_length(vectors);
                let start = linkage(unit.view(), Linkage::Centroid).cut(*threshold);
                let fitted = vbx(plda.transform(vectors).view(), plda.phi(), &start, *fa, *fb);
                let alive: Vec<usize> = (0..fitted.priors.len())
                    .filter(|cluster| fitted.priors[*cluster] > MIN_PRIOR)
                    .collect();
                let forced = alive.len().clamp(bounds.min(), bounds.max()).min(kept);
                if forced == alive.len() {
                    constrained = true;
                    let weights = fitted.responsibilities.select(Axis(1), &alive);
                    let totals = weights.sum_axis(Axis(0)).insert_axis(Axis(1));
                    weights.t().dot(&vectors.mapv(f64::from)) / totals
                } else {
                    let labels = kmeans(unit.view(), forced);
                    means(vectors, &labels, forced).mapv(f64::from)
                }
            }
            _ if bounds.max() < 2 => labelled(&vec![0; kept]),
            Self::Agglomerative {
                method,
                min_cluster_size,
                threshold,
            } => {
                let (labels, warning) =
                    agglomerative(vectors, *method, *min_cluster_size, *threshold, bounds);
                warnings.extend(warning);
                labelled(&labels)
            }
            Self::KMeans => {
                let taken = bounds.min().min(kept);
                if bounds.min() != bounds.max() {
                    warnings.push(Warning::UnknownNumber { taken });
                }
                labelled(&kmeans(unit_length(vectors).view(), taken))
            }
        };
        if constrained && centroids.nrows() > MAX_OF_PYANNOTE {
            let found = centroids.nrows();
            warnings.push(Warning::ManyClusters { found });
        }
        let speaking = activity.map_axis(Axis(1), |frames| frames.iter().any(|x| *x > 0.0));
        let similarities = assignment::similarities(embeddings, centroids.view());
        let assignment = if constrained {
            assignment::constrained(similarities.view(), speaking.view())
        } else {
            assignment::most_similar(similarities.view(), speaking.view())
        };
        Clusters {
            assignment,
            centroids,
            warnings,
        }
    }
}
