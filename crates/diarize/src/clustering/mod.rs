//! Which local speakers of a recording are one person, by their speaker embeddings.
//!
//! pyannote.audio `pipelines/clustering.py`, one file per stage, each a function from array to array:
//!
//! [`training`] chooses the embeddings that can be trusted. [`mod@linkage`] and [`dendrogram`] make clusters of
//! them, which [`mod@vbx`] goes on with in the space of the [`plda`], or [`mod@agglomerative`] outside of it;
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

use ndarray::{Array2, ArrayView3};
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
    /// The PLDA is for other embeddings.
    #[error(
        "the PLDA takes {plda} values, and an embedding has {embedding}: are they of one pipeline?"
    )]
    Dimension {
        /// Values that the PLDA takes.
        plda: usize,
        /// Values of an embedding.
        embedding: usize,
    },
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

    /// Whether embeddings may have `dimension` values.
    ///
    /// # Errors
    /// [`SetupError::Dimension`] where the PLDA takes others.
    pub fn check_dimension(&self, dimension: usize) -> Result<(), SetupError> {
        match self {
            Self::Vbx { plda, .. } if plda.dimension() != dimension => Err(SetupError::Dimension {
                plda: plda.dimension(),
                embedding: dimension,
            }),
            _ => Ok(()),
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
                let found = fitted.centroids(vectors);
                let forced = found.nrows().clamp(bounds.min(), bounds.max()).min(kept);
                if forced == found.nrows() {
                    constrained = true;
                    found
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
        let speaking = assignment::speaking(activity);
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

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array3, s};

    use super::*;

    /// Values of an embedding.
    const DIMENSION: usize = 140;
    /// Frames of a window, of which a fifth founds a cluster.
    const FRAMES: usize = 10;

    /// Both pipelines' methods.
    fn methods() -> [Method; 2] {
        let plda = Box::new(plda::tests::plain(Array1::from_elem(DIMENSION, 10.0)));
        [
            Method::Vbx {
                threshold: 0.6,
                fa: 1.0,
                fb: 1.0,
                plda,
            },
            Method::Agglomerative {
                method: Linkage::Centroid,
                min_cluster_size: 12,
                threshold: 0.7,
            },
        ]
    }

    /// One local speaker of two for each window: the first, in so many frames, with the voice of that number.
    fn recording(windows: &[(usize, usize)]) -> (Array3<f32>, Array3<f32>) {
        let mut embeddings = Array3::zeros((windows.len(), 2, DIMENSION));
        let mut activity = Array3::zeros((windows.len(), FRAMES, 2));
        for (window, (frames, voice)) in windows.iter().enumerate() {
            activity.slice_mut(s![window, ..*frames, 0]).fill(1.0);
            embeddings[[window, 0, *voice]] = 1.0;
        }
        (embeddings, activity)
    }

    fn exactly(speakers: usize) -> SpeakerBounds {
        SpeakerBounds::new(speakers, speakers).expect("bounds")
    }

    #[test]
    fn silence_is_nobody_and_no_embedding_of_it_matters() {
        let (mut embeddings, activity) = recording(&[(0, 0), (0, 1)]);
        for fill in [0.0, f32::NAN, f32::INFINITY] {
            embeddings.fill(fill);
            for method in methods() {
                let clusters =
                    method.cluster(embeddings.view(), activity.view(), SpeakerBounds::default());
                assert!(clusters.assignment.iter().all(Option::is_none));
                assert!(clusters.centroids.iter().all(|value| value.is_nan()));
                assert_eq!(clusters.warnings, []);
            }
        }
    }

    #[test]
    fn what_a_silent_local_speaker_sounds_like_changes_nothing() {
        let (mut embeddings, activity) = recording(&[(5, 0), (5, 1), (5, 0), (1, 1)]);
        for method in methods() {
            let mut cluster = |fill: f32| {
                embeddings.slice_mut(s![.., 1, ..]).fill(fill);
                let clusters = method.cluster(embeddings.view(), activity.view(), exactly(2));
                (clusters.assignment, clusters.centroids)
            };
            let expected = cluster(0.0);
            assert_eq!(
                expected.0.column(0).to_vec(),
                [Some(0), Some(1), Some(0), Some(1)]
            );
            for fill in [1.0, f32::NAN, f32::INFINITY] {
                assert_eq!(cluster(fill), expected);
            }
        }
    }

    #[test]
    fn one_frame_of_speech_is_one_speaker_whose_voice_is_unknown() {
        let (embeddings, activity) = recording(&[(0, 0), (1, 1)]);
        for method in methods() {
            let clusters =
                method.cluster(embeddings.view(), activity.view(), SpeakerBounds::default());
            assert_eq!(clusters.assignment[[1, 0]], Some(0));
            assert_eq!(clusters.assignment.iter().flatten().count(), 1);
            assert!(clusters.centroids.iter().all(|value| value.is_nan()));
        }
    }

    #[test]
    fn more_speakers_than_embeddings_are_as_many_as_there_are() {
        let (embeddings, activity) = recording(&[(5, 0), (5, 0), (5, 0), (1, 0)]);
        for method in methods() {
            let clusters = method.cluster(embeddings.view(), activity.view(), exactly(7));
            let warning = Warning::TooFewEmbeddings { asked: 7, kept: 3 };
            assert_eq!(clusters.warnings[0], warning);
            assert!(clusters.centroids.nrows() <= 3);
            assert!(clusters.assignment.column(0).iter().all(Option::is_some));
        }
        let (embeddings, activity) = recording(&[(5, 0), (1, 1)]);
        for method in methods() {
            let clusters = method.cluster(embeddings.view(), activity.view(), exactly(2));
            let warning = Warning::TooFewEmbeddings { asked: 2, kept: 1 };
            assert_eq!(clusters.warnings, [warning]);
            assert_eq!(clusters.centroids.nrows(), 1);
        }
    }

    #[test]
    fn more_clusters_than_pyannote_can_count_are_counted() {
        let windows: Vec<_> = (0..DIMENSION).map(|voice| (5, voice)).collect();
        let (embeddings, activity) = recording(&windows);
        let [vbx, _] = methods();
        let clusters = vbx.cluster(embeddings.view(), activity.view(), SpeakerBounds::default());
        assert_eq!(
            clusters.warnings,
            [Warning::ManyClusters { found: DIMENSION }]
        );
        let mut found: Vec<_> = clusters.assignment.iter().flatten().collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), DIMENSION);
    }

    #[test]
    fn k_means_without_a_number_takes_the_least_allowed() {
        let (embeddings, activity) = recording(&[(5, 0), (5, 1), (5, 2)]);
        let bounds = SpeakerBounds::new(2, 3).expect("bounds");
        let clusters = Method::KMeans.cluster(embeddings.view(), activity.view(), bounds);
        assert_eq!(clusters.warnings, [Warning::UnknownNumber { taken: 2 }]);
        assert_eq!(clusters.centroids.nrows(), 2);
    }

    #[test]
    fn what_a_method_needs_must_be_there() {
        let vbx = Clustering::VBx {
            threshold: 0.6,
            fa: 0.07,
            fb: 0.8,
        };
        assert_eq!(Method::new(&vbx, None).err(), Some(SetupError::NoPlda));
        let [vbx, agglomerative] = methods();
        let wrong = SetupError::Dimension {
            plda: DIMENSION,
            embedding: 256,
        };
        assert_eq!(vbx.check_dimension(256), Err(wrong));
        assert_eq!(vbx.check_dimension(DIMENSION), Ok(()));
        assert_eq!(agglomerative.check_dimension(256), Ok(()));
        assert_eq!(
            Method::new(&Clustering::Oracle {}, None).err(),
            Some(SetupError::Oracle)
        );
    }
}
