//! Clustering local speakers by their speaker embeddings.
//!
//! pyannote.audio `pipelines/clustering.py`, one file per stage, each a function from array to array:
//!
//! [`training`] chooses the reliable embeddings. [`mod@linkage`] and `dendrogram` make clusters of them, which
//! [`mod@vbx`] refines in the space of the [`plda`], or [`mod@agglomerative`] merges outside of it; [`mod@kmeans`] makes
//! a requested number of clusters. [`assignment`] assigns a cluster to every local speaker, by `distances`. [`Method`]
//! runs them.

pub mod agglomerative;
pub mod assignment;
mod bounds;
mod dendrogram;
mod distances;
pub mod kmeans;
pub mod linkage;
pub mod plda;
pub mod training;
pub mod vbx;

use ndarray::{Array2, ArrayView3};
use soundalike_convert::{Bundle, Clustering, Linkage};

use self::{
    agglomerative::agglomerative,
    kmeans::kmeans,
    linkage::linkage,
    training::{TrainingSet, means, unit_length},
    vbx::vbx,
};
use crate::{
    diarization::{MAX_OF_PYANNOTE, Warning},
    reconstruction::Assignment,
};

pub(crate) use dendrogram::Merge;

pub use bounds::{BoundsError, SpeakerBounds};
pub use plda::Plda;

/// The local speakers of a recording, clustered.
#[derive(Debug, Clone)]
pub struct Clusters {
    /// The cluster of each local speaker, `[window, local speaker]`; `None` for a silent or dropped one.
    pub assignment: Assignment,
    /// The embedding of each cluster, `[cluster, dimension]`; NaN if no local speaker talks alone for long enough.
    pub centroids: Array2<f64>,
    /// Warnings for the user.
    pub warnings: Vec<Warning>,
}

/// Why a clustering cannot be set up.
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
    /// The bundle of the PLDA holds another architecture.
    #[error("the bundle holds another architecture, expected a PLDA")]
    NotPlda,
    /// The PLDA's matrices are no covariances.
    #[error("the PLDA's covariances (tr, psi) are not positive definite; is the file damaged?")]
    SingularPlda,
    /// The PLDA is for other embeddings.
    #[error(
        "the PLDA takes {plda} values, and an embedding has {embedding}: are they of one pipeline?"
    )]
    Dimension {
        /// Input values of the PLDA.
        plda: usize,
        /// Values of an embedding.
        embedding: usize,
    },
}

/// A clustering algorithm and its parameters. pyannote.audio `pipelines.clustering.Clustering`.
#[derive(Debug, Clone)]
pub enum Method {
    /// Variational Bayes over PLDA vectors, started from agglomerative clusters. `VBxClustering`.
    Vbx {
        /// Distance at which the agglomerative clustering stops.
        threshold: f64,
        /// Scale of the acoustic evidence.
        fa: f64,
        /// Speaker regularisation; a higher value finds fewer speakers.
        fb: f64,
        /// The PLDA whose space is clustered.
        plda: Box<Plda>,
    },
    /// `AgglomerativeClustering`.
    Agglomerative {
        /// Distance between clusters.
        method: Linkage,
        /// Clusters with fewer embeddings are merged into larger ones.
        min_cluster_size: usize,
        /// Distance at which the clustering stops.
        threshold: f64,
    },
    /// `KMeansClustering`, which needs the number of speakers.
    KMeans,
}

impl Method {
    /// The algorithm of `config`. `plda` is the bundle of the pipeline's PLDA.
    ///
    /// # Errors
    /// [`SetupError`] if the algorithm is not supported or needs another PLDA.
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

    /// Refuses embeddings of `dimension` values if the PLDA takes another number.
    pub(crate) fn check_dimension(&self, dimension: usize) -> Result<(), SetupError> {
        match self {
            Self::Vbx { plda, .. } if plda.dimension() != dimension => Err(SetupError::Dimension {
                plda: plda.dimension(),
                embedding: dimension,
            }),
            _ => Ok(()),
        }
    }

    /// Clusters local speakers. `embeddings` is `[window, local speaker, dimension]`; those of silent local speakers
    /// do not matter. `activity` is `[window, frame, local speaker]` of 0 and 1.
    ///
    /// pyannote.audio's `__call__`. With few embeddings the original fails or ignores `bounds`; here the number of
    /// clusters is as near to `bounds` as the embeddings allow, with a [`Warning`].
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
            let requested = bounds.min();
            warnings.push(Warning::TooFewEmbeddings { requested, kept });
        }
        let vectors = training.embeddings.view();
        let labelled =
            |labels: &[usize]| means(vectors, labels, cluster_count(labels)).mapv(f64::from);
        let mut constrained = false;
        let centroids = match self {
            // One speaker; the mean of no embeddings is NaN.
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

/// Number of clusters of `labels`: one more than the largest.
pub(crate) fn cluster_count<'a>(labels: impl IntoIterator<Item = &'a usize>) -> usize {
    labels.into_iter().max().map_or(0, |last| last + 1)
}

/// The best of the indices `0..len`, the first of equals; 0 if there are none. `better(a, b)`: whether `a` is better
/// than `b`.
pub(crate) fn first_best(len: usize, better: impl Fn(usize, usize) -> bool) -> usize {
    (1..len).fold(
        0,
        |best, index| if better(index, best) { index } else { best },
    )
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array3, s};

    use super::*;

    /// Values of an embedding.
    const DIMENSION: usize = 140;
    /// Frames of a window. An embedding of a fifth of them is reliable.
    const FRAMES: usize = 10;

    /// The methods of both pipelines.
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

    /// Windows of two local speakers. The first is active in `frames` frames and has the unit vector `voice` as embedding,
    /// for each `(frames, voice)`.
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
    fn silence_has_no_clusters_whatever_its_embeddings() {
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
    fn embeddings_of_silent_local_speakers_change_nothing() {
        let (mut embeddings, activity) = recording(&[(5, 0), (5, 1), (5, 0), (1, 1)]);
        for method in methods() {
            let mut cluster = |fill: f32| {
                embeddings.slice_mut(s![.., 1, ..]).fill(fill);
                let clusters = method.cluster(embeddings.view(), activity.view(), exactly(2));
                assert_eq!(clusters.warnings, []);
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
    fn one_frame_of_speech_is_one_cluster_without_a_centroid() {
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
    fn no_more_clusters_than_embeddings() {
        let (embeddings, activity) = recording(&[(5, 0), (5, 0), (5, 0), (1, 0)]);
        for method in methods() {
            let clusters = method.cluster(embeddings.view(), activity.view(), exactly(7));
            let warning = Warning::TooFewEmbeddings {
                requested: 7,
                kept: 3,
            };
            assert_eq!(clusters.warnings[0], warning);
            assert!(clusters.centroids.nrows() <= 3);
            assert!(clusters.assignment.column(0).iter().all(Option::is_some));
        }
        let (embeddings, activity) = recording(&[(5, 0), (1, 1)]);
        for method in methods() {
            let clusters = method.cluster(embeddings.view(), activity.view(), exactly(2));
            let warning = Warning::TooFewEmbeddings {
                requested: 2,
                kept: 1,
            };
            assert_eq!(clusters.warnings, [warning]);
            assert_eq!(clusters.centroids.nrows(), 1);
        }
    }

    #[test]
    fn more_clusters_than_pyannote_can_number_are_numbered() {
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
    fn k_means_without_a_number_takes_the_minimum_allowed() {
        let (embeddings, activity) = recording(&[(5, 0), (5, 1), (5, 2)]);
        let bounds = SpeakerBounds::new(2, 3).expect("bounds");
        let clusters = Method::KMeans.cluster(embeddings.view(), activity.view(), bounds);
        assert_eq!(clusters.warnings, [Warning::UnknownNumber { taken: 2 }]);
        assert_eq!(clusters.centroids.nrows(), 2);
    }

    #[test]
    fn a_method_needs_its_plda_and_refuses_another() {
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
