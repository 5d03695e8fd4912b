//! From centroids back to all local speakers.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

use super::distances::cosine_to;
use crate::reconstruction::Assignment;

/// Who says anything at all, `[window, local speaker]`, by `activity` `[window, frame, local speaker]`.
#[must_use]
pub fn speaking(activity: ArrayView3<'_, f32>) -> Array2<bool> {
    activity.map_axis(Axis(1), |frames| frames.iter().any(|x| *x > 0.0))
}

/// How like each centroid `[cluster, dimension]` each local speaker sounds, `[window, local speaker,
/// cluster]`: 2 less the cosine distance, so 0 to 2. `soft_clusters` in pyannote.audio.
#[must_use]
pub fn similarities(
    embeddings: ArrayView3<'_, f32>,
    centroids: ArrayView2<'_, f64>,
) -> Array3<f64> {
    let (windows, speakers, _) = embeddings.dim();
    let mut similarities = Array3::zeros((windows, speakers, centroids.nrows()));
    for (window, mut rows) in embeddings.outer_iter().zip(similarities.outer_iter_mut()) {
        let distances = cosine_to(window.mapv(f64::from).view(), centroids);
        rows.assign(&(2.0 - distances));
    }
    similarities
}

/// The cluster that each local speaker is most like, the first of equals; `None` for those who are not
/// `speaking` `[window, local speaker]`. `np.argmax(soft_clusters, axis=2)`, but NaN, a cluster without
/// embeddings, is nobody's.
#[must_use]
pub fn most_similar(
    similarities: ArrayView3<'_, f64>,
    speaking: ArrayView2<'_, bool>,
) -> Assignment {
    Assignment::from_shape_fn(speaking.dim(), |(window, speaker)| {
        let similarities = similarities.index_axis(Axis(0), window);
        let row = similarities.row(speaker);
        let larger = |best: usize, cluster: usize| {
            if row[cluster] > row[best] || row[best].is_nan() {
                cluster
            } else {
                best
            }
        };
        speaking[[window, speaker]].then(|| (0..row.len()).fold(0, larger))
    })
}

/// A cluster for each local speaker such that those of one window have different ones and are as like them
/// as can be; `None` for those who are not `speaking` `[window, local speaker]` and those for whom no
/// cluster is left. `VBxClustering.constrained_argmax`.
///
/// The silent take part below everybody else, so that they never take a cluster from someone who speaks.
#[must_use]
pub fn constrained(
    similarities: ArrayView3<'_, f64>,
    speaking: ArrayView2<'_, bool>,
) -> Assignment {
    let (windows, speakers, clusters) = similarities.dim();
    let spoken = |(window, speaker, _): (usize, usize, usize)| speaking[[window, speaker]];
    let least = similarities
        .indexed_iter()
        .filter(|(place, value)| spoken(*place) && !value.is_nan())
        .fold(f64::INFINITY, |least, (_, value)| least.min(*value));
    let least = if least.is_finite() { least } else { 0.0 };
    let mut assignment = Assignment::from_elem((windows, speakers), None);
    for (window, similarities) in similarities.outer_iter().enumerate() {
        let values =
            Array2::from_shape_fn(
                (speakers, clusters),
                |(speaker, cluster)| match similarities[[speaker, cluster]] {
                    _ if !speaking[[window, speaker]] => least - 1.0,
                    value if value.is_nan() => least,
                    value => value,
                },
            );
        let (values, _) = values.into_raw_vec_and_offset();
        // Refused would be values that are not finite, and there are none.
        let (rows, columns) = lsap::solve(speakers, clusters, &values, true).unwrap_or_default();
        for (speaker, cluster) in rows.into_iter().zip(columns) {
            if speaking[[window, speaker]] {
                assignment[[window, speaker]] = Some(cluster);
            }
        }
    }
    assignment
}
