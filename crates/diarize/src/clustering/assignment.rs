//! Assigning clusters to all local speakers.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

use super::{distances::cosine_to, first_best};
use crate::reconstruction::Assignment;

/// Whether each local speaker is active at any frame, `[window, local speaker]`, by `activity`
/// `[window, frame, local speaker]`.
#[must_use]
pub fn speaking(activity: ArrayView3<'_, f32>) -> Array2<bool> {
    activity.map_axis(Axis(1), |frames| frames.iter().any(|x| *x > 0.0))
}

/// Similarity of each local speaker to each centroid `[cluster, dimension]`, `[window, local speaker, cluster]`: 2 minus
/// the cosine distance, so 0 to 2. `soft_clusters` in pyannote.audio.
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

/// The most similar cluster of each local speaker, the first of equals; `None` for those not `speaking`
/// `[window, local speaker]`. `np.argmax(soft_clusters, axis=2)`, except that NaN, a cluster without embeddings, is never
/// chosen.
#[must_use]
pub fn most_similar(
    similarities: ArrayView3<'_, f64>,
    speaking: ArrayView2<'_, bool>,
) -> Assignment {
    Assignment::from_shape_fn(speaking.dim(), |(window, speaker)| {
        let similarities = similarities.index_axis(Axis(0), window);
        let row = similarities.row(speaker);
        let better = |a: usize, b: usize| row[a] > row[b] || row[b].is_nan();
        speaking[[window, speaker]].then(|| first_best(row.len(), better))
    })
}

/// Assigns different clusters to the local speakers of one window, such that the sum of similarities is the largest.
/// `None` for those not `speaking` `[window, local speaker]`, and for those left over if there are too few clusters.
/// `VBxClustering.constrained_argmax`.
///
/// Silent local speakers take part with a lower similarity than all others, so that they never take a cluster from one
/// who speaks.
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
        // The solver refuses only values that are not finite, and there are none.
        let (rows, columns) = lsap::solve(speakers, clusters, &values, true).unwrap_or_default();
        for (speaker, cluster) in rows.into_iter().zip(columns) {
            if speaking[[window, speaker]] {
                assignment[[window, speaker]] = Some(cluster);
            }
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// `soft_clusters[inactive] = soft_clusters.min() - 1.0`: with the least similarity itself, the second speaker would tie
    /// with the third, which has it, and take its cluster.
    #[test]
    fn a_silent_speaker_takes_no_cluster_from_the_least_similar_one() {
        let similarities = array![[[1.0, 0.9], [2.0, 2.0], [0.1, 0.1]]];
        let speaking = array![[true, false, true]];
        let assignment = constrained(similarities.view(), speaking.view());
        assert_eq!(assignment, array![[Some(0), None, Some(1)]]);
        // The same below 0, and beside what is no number.
        let similarities = array![[[-5.0], [3.0]], [[f64::NAN], [-6.0]]];
        let speaking = array![[true, false], [true, false]];
        let assignment = constrained(similarities.view(), speaking.view());
        assert_eq!(assignment, array![[Some(0), None], [Some(0), None]]);
    }
}
