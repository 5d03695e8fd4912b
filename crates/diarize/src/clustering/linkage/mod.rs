//! Agglomerative clustering: the two nearest clusters merge until one remains.

mod averages;
mod generic;
mod heap;
mod matrix;
mod points;

use ndarray::{ArrayView1, ArrayView2};
use soundalike_convert::Linkage;

use self::{averages::Averages, generic::Clusters, matrix::Matrix, points::Points};
use super::{
    dendrogram::{Dendrogram, Merge},
    distances::{cosine_pairs, euclidean_pairs},
};

/// Most embeddings for which the distances of all pairs are stored, 400 MB. Above, centroids are stored: memory is linear
/// in the number of embeddings, each distance is computed about three times instead of once, and differs from scipy's in
/// the last bits (for averages: of f32). Of equal distances another one may be first.
const MOST_PAIRED: usize = 10_000;

/// Whether `method` takes Euclidean distances between unit vectors, not cosine distances. pyannote.audio
/// `AgglomerativeClustering.cluster`.
pub(super) fn is_euclidean(method: Linkage) -> bool {
    matches!(method, Linkage::Centroid | Linkage::Median | Linkage::Ward)
}

/// The dendrogram of the rows of `embeddings` (at least one). For centroid, median and Ward linkage they must have unit
/// length. `scipy.cluster.hierarchy.linkage`.
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

/// The dendrogram of average linkage, by cosine distance, of `vectors` (at least one, of unit length and one dimension).
/// `overrides` replace the distances of some pairs.
pub(crate) fn average_linkage<'a>(
    vectors: impl Iterator<Item = ArrayView1<'a, f32>>,
    overrides: impl IntoIterator<Item = ([usize; 2], f64)>,
) -> Dendrogram {
    let clusters = Averages::new(vectors, overrides);
    let observations = clusters.sizes().len();
    if observations > MOST_PAIRED {
        generic::linkage(clusters)
    } else {
        monotonic(clusters.all_pairs(), observations, kodama::Method::Average)
    }
}

/// Linkage whose heights never fall. The last bits of heights may differ from scipy's, and of equal distances another one
/// may be first.
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
        fn points_merge_as_their_stored_distances(
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
        fn each_merge_has_the_least_average_distance(
            rows in 1_usize..25,
            values in proptest::collection::vec(-1.0_f32..1.0, 25 * 11),
            known in proptest::collection::btree_map((0_usize..25, 0_usize..25), 0.0_f64..3.0, 0..60),
        ) {
            let mut vectors = Array2::from_shape_vec((25, 11), values).unwrap();
            for mut vector in vectors.rows_mut() {
                vector /= vector.dot(&vector).sqrt().max(f32::MIN_POSITIVE);
            }
            let wide = vectors.mapv(f64::from);
            let mut distances = 1.0 - wide.dot(&wide.t());
            let known = known.into_iter().filter(|((a, b), _)| a < b && *b < rows);
            let known: Vec<_> = known
                // Some pairs must never merge first.
                .map(|((a, b), distance)| ([a, b], if distance < 2.0 { distance } else { 1e30 }))
                .collect();
            for ([a, b], distance) in &known {
                (distances[[*a, *b]], distances[[*b, *a]]) = (*distance, *distance);
            }
            let vectors = || vectors.rows().into_iter().take(rows);
            for tree in [
                average_linkage(vectors(), known.clone()),
                generic::linkage(Averages::new(vectors(), known.clone())),
            ] {
                prop_assert_eq!(tree.merges.len(), rows - 1);
                let mut clusters: Vec<Vec<usize>> = (0..rows).map(|row| vec![row]).collect();
                let apart = |a: &[usize], b: &[usize]| {
                    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| [*a, *b]));
                    pairs.map(|pair| distances[pair]).sum::<f64>() / (a.len() * b.len()) as f64
                };
                for merge in tree.merges {
                    let left: Vec<_> = clusters.iter().filter(|members| !members.is_empty()).collect();
                    let of_pairs = left.iter().enumerate().flat_map(|(index, a)| {
                        left[..index].iter().map(|b| apart(a, b))
                    });
                    let least = of_pairs.fold(f64::INFINITY, f64::min);
                    let [a, b] = [merge.left, merge.right].map(|cluster| std::mem::take(&mut clusters[cluster]));
                    // Of similar distances the rounding of f32 decides which is first.
                    let rounding = 1e-5 * least.max(1.0);
                    prop_assert!((apart(&a, &b) - least).abs() < rounding);
                    prop_assert!((merge.height - least).abs() < rounding);
                    clusters.push([a, b].concat());
                    prop_assert_eq!(clusters.last().map(Vec::len), Some(merge.size));
                }
            }
        }
    }
}
