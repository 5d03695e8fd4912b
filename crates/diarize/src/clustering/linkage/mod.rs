//! Agglomerative clustering: the two nearest clusters merge until one is left.

mod generic;
mod heap;

use ndarray::ArrayView2;
use soundalike_convert::Linkage;

use super::{
    dendrogram::{Dendrogram, Merge},
    distances::{cosine_pairs, euclidean_pairs},
};

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
    let distances = if is_euclidean(method) {
        euclidean_pairs(embeddings)
    } else {
        cosine_pairs(embeddings)
    };
    match method {
        Linkage::Centroid => generic::linkage(distances, observations, generic::centroid),
        Linkage::Median => generic::linkage(distances, observations, generic::median),
        Linkage::Average => monotonic(distances, observations, kodama::Method::Average),
        Linkage::Complete => monotonic(distances, observations, kodama::Method::Complete),
        Linkage::Single => monotonic(distances, observations, kodama::Method::Single),
        Linkage::Ward => monotonic(distances, observations, kodama::Method::Ward),
        Linkage::Weighted => monotonic(distances, observations, kodama::Method::Weighted),
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
