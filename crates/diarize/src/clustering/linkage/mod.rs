//! Agglomerative clustering: the two nearest clusters merge until one is left.

mod averages;
mod generic;
mod heap;
mod matrix;
mod points;

use ndarray::ArrayView2;
use soundalike_convert::Linkage;

use self::{averages::Averages, matrix::Matrix, points::Points};
use super::{
    dendrogram::{Dendrogram, Merge},
    distances::{cosine_pairs, euclidean_pairs},
};

/// The most embeddings for which the distances of all pairs are kept, 400 MB of them. With more, centroids are kept
/// instead: memory grows with their number only, distances are computed some three times instead of once, and differ
/// from scipy's in the last bits. Of equal distances another one may come first.
const MOST_PAIRED: usize = 10_000;

/// Whether `method` is about points in space, so that its distances are Euclidean ones between unit vectors
/// and not cosine distances. pyannote.audio `AgglomerativeClustering.cluster`.
#[must_use]
pub fn is_euclidean(method: Linkage) -> bool {
    matches!(method, Linkage::Centroid | Linkage::Median | Linkage::Ward)
}

/// The tree of the rows of `embeddings` (at least one), those at unit length already where the method
/// [`is_euclidean`]. `scipy.cluster.hierarchy.linkage`.
#[must_use]
pub fn linkage(embeddings: ArrayView2<'_, f32>, method: Linkage) -> Dendrogram {
    let observations = embeddings.nrows();
    let pairs = || match is_euclidean(method) {
        true => euclidean_pairs(embeddings),
        false => cosine_pairs(embeddings),
    };
    let matrix = |update| generic::linkage(Matrix::new(pairs(), observations, update));
    let points = |between| generic::linkage(Points::new(embeddings, between));
    let monotonic = |method| monotonic(pairs(), observations, method);
    match method {
        Linkage::Centroid if observations > MOST_PAIRED => points(points::centroid),
        Linkage::Median if observations > MOST_PAIRED => points(points::median),
        Linkage::Centroid => matrix(matrix::centroid),
        Linkage::Median => matrix(matrix::median),
        Linkage::Average => monotonic(kodama::Method::Average),
        Linkage::Complete => monotonic(kodama::Method::Complete),
        Linkage::Single => monotonic(kodama::Method::Single),
        Linkage::Ward => monotonic(kodama::Method::Ward),
        Linkage::Weighted => monotonic(kodama::Method::Weighted),
    }
}

/// The tree of average linkage, by cosine distance, of the rows of `vectors` (at least one, of unit length), but for
/// pairs whose distance is `known` otherwise.
#[must_use]
pub fn average_but_for(
    vectors: ArrayView2<'_, f32>,
    known: impl IntoIterator<Item = ([usize; 2], f64)>,
) -> Dendrogram {
    let (rows, clusters) = (vectors.nrows(), Averages::new(vectors, known));
    if rows > MOST_PAIRED {
        generic::linkage(clusters)
    } else {
        monotonic(clusters.all_pairs(), rows, kodama::Method::Average)
    }
}

/// Linkage where heights only grow. The last bits of heights are not scipy's, and of equal distances another one
/// may come first.
fn monotonic(mut distances: Vec<f64>, observations: usize, method: kodama::Method) -> Dendrogram {
    let tree = kodama::linkage(&mut distances, observations, method);
    let merges = tree.steps().iter().map(|step| Merge {
        left: step.cluster1,
        right: step.cluster2,
        height: step.dissimilarity,
        size: step.size,
    });
    Dendrogram {
        merges: merges.collect(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn points_merge_as_their_distances_do(
            rows in 1_usize..40,
            values in proptest::collection::vec(-1.0_f32..1.0, 40 * 11),
        ) {
            let embeddings = Array2::from_shape_vec((40, 11), values).unwrap();
            let embeddings = embeddings.slice(ndarray::s![..rows, ..]);
            for method in [Linkage::Centroid, Linkage::Median] {
                let expected = linkage(embeddings, method);
                let between = match method {
                    Linkage::Centroid => points::centroid,
                    _ => points::median,
                };
                let found = generic::linkage(Points::new(embeddings, between));
                prop_assert_eq!(found.merges.len(), rows - 1);
                for (found, expected) in found.merges.iter().zip(&expected.merges) {
                    prop_assert!((found.height - expected.height).abs() < 1e-12);
                    let height = expected.height;
                    prop_assert_eq!(Merge { height, ..*found }, *expected);
                }
            }
        }

        #[test]
        fn averages_merge_as_all_distances_do(
            rows in 1_usize..40,
            values in proptest::collection::vec(-1.0_f32..1.0, 40 * 11),
            known in proptest::collection::btree_map((0_usize..40, 0_usize..40), 0.0_f64..3.0, 0..60),
        ) {
            let mut vectors = Array2::from_shape_vec((40, 11), values).unwrap();
            for mut vector in vectors.rows_mut() {
                vector /= vector.dot(&vector).sqrt().max(f32::MIN_POSITIVE);
            }
            let vectors = vectors.slice(ndarray::s![..rows, ..]);
            let known = known.into_iter().filter(|((a, b), _)| a < b && *b < rows);
            // Some are as far apart as nothing else.
            let known = known.map(|((a, b), distance)| ([a, b], if distance < 2.0 { distance } else { 1e30 }));
            let known: Vec<_> = known.collect();
            let wide = vectors.mapv(f64::from);
            let mut distances = Vec::new();
            for a in 0..rows {
                for b in a + 1..rows {
                    let of_pair = known.iter().find(|(pair, _)| *pair == [a, b]);
                    let by_vectors = 1.0 - wide.row(a).dot(&wide.row(b));
                    distances.push(of_pair.map_or(by_vectors, |(_, distance)| *distance));
                }
            }
            let expected = monotonic(distances, rows, kodama::Method::Average);
            let found = generic::linkage(Averages::new(vectors, known));
            prop_assert_eq!(found.merges.len(), rows - 1);
            let alike = found.merges.iter().zip(&expected.merges);
            // From there on distances are equal, and either may come first.
            for (found, expected) in alike.take_while(|(_, expected)| expected.height < 3.0) {
                let height = expected.height;
                prop_assert!((found.height - height).abs() < 1e-5, "{} and {height}", found.height);
                prop_assert_eq!(Merge { height, ..*found }, *expected);
            }
        }
    }
}
