//! The clustering of speaker-diarization-3.1.

use ndarray::{ArrayView2, s};
use soundalike_convert::Linkage;

use super::{
    Warning,
    bounds::SpeakerBounds,
    dendrogram::Dendrogram,
    distances::cosine_to,
    linkage::{is_euclidean, linkage},
    training::{means, unit_length},
};

/// Part of the embeddings that a cluster needs at most to be a large one.
const MAX_SMALL_RATIO: f64 = 0.1;

/// Agglomerative clusters of `embeddings` `[embedding, dimension]` (at least one). Clusters of fewer than
/// `min_cluster_size` are joined to the nearest larger one, whose number `bounds` limit.
/// pyannote.audio `AgglomerativeClustering.cluster`.
///
/// Returns the cluster of each embedding, 0, 1, ... without gaps, and a warning where there is no cut into as
/// many clusters as asked for.
#[must_use]
pub fn agglomerative(
    embeddings: ArrayView2<'_, f32>,
    method: Linkage,
    min_cluster_size: usize,
    threshold: f64,
    bounds: SpeakerBounds,
) -> (Vec<usize>, Option<Warning>) {
    let count = embeddings.nrows();
    let tenth = (MAX_SMALL_RATIO * count as f64).round_ties_even() as usize;
    let min_size = min_cluster_size.min(tenth.max(1));
    let embeddings = if is_euclidean(method) {
        unit_length(embeddings)
    } else {
        embeddings.to_owned()
    };
    let tree = linkage(embeddings.view(), method);
    let mut cut = Cut::new(tree.cut(threshold), min_size);
    let large = cut.large.len();
    let asked = large.clamp(bounds.min().min(count), bounds.max().min(count));
    let mut warning = None;
    if large != asked {
        cut = closest_cut(&tree, threshold, min_size, asked);
        let found = cut.large.len();
        warning = (found != asked).then_some(Warning::NoSuchCut { asked, found });
    }
    (cut.join_small(embeddings.view()), warning)
}

/// Clusters, some of which are large.
struct Cut {
    labels: Vec<usize>,
    large: Vec<usize>,
    small: Vec<usize>,
}

impl Cut {
    fn new(labels: Vec<usize>, min_size: usize) -> Self {
        let mut sizes = vec![0; labels.iter().max().map_or(0, |last| last + 1)];
        for label in &labels {
            sizes[*label] += 1;
        }
        let (large, small) = (0..sizes.len()).partition(|label| sizes[*label] >= min_size);
        Self {
            labels,
            large,
            small,
        }
    }

    /// Joins each small cluster to the large one whose mean is nearest, the first of equals, and numbers what
    /// is left in order. Where all are small they become one.
    fn join_small(self, embeddings: ArrayView2<'_, f32>) -> Vec<usize> {
        let clusters = self.large.len() + self.small.len();
        if self.large.is_empty() {
            return vec![0; self.labels.len()];
        }
        let means = means(embeddings, &self.labels, clusters).mapv(f64::from);
        let mut becomes = vec![0; clusters];
        for (number, label) in self.large.iter().enumerate() {
            becomes[*label] = number;
        }
        for label in &self.small {
            let mean = means.slice(s![*label..=*label, ..]);
            let distances = cosine_to(mean, means.select(ndarray::Axis(0), &self.large).view());
            let distances = distances.row(0);
            let nearer = |best: usize, large: usize| {
                if distances[large] < distances[best] {
                    large
                } else {
                    best
                }
            };
            becomes[*label] = (0..distances.len()).fold(0, nearer);
        }
        self.labels.iter().map(|label| becomes[*label]).collect()
    }
}

/// Of the cuts after one merge or another that make a large cluster, beginning with the merge whose height is
/// nearest to `threshold`, the first one with the number of large clusters nearest to `asked`.
fn closest_cut(tree: &Dendrogram, threshold: f64, min_size: usize, asked: usize) -> Cut {
    let mut order: Vec<usize> = (0..tree.merges.len()).collect();
    let distance = |merge: &usize| (tree.merges[*merge].height - threshold).abs();
    order.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    // All in one cluster.
    let mut best = (1_usize, tree.merges.len());
    for merge in order {
        if tree.merges[merge].size < min_size {
            continue;
        }
        let cut = Cut::new(tree.cut_after(merge), min_size);
        let large = cut.large.len();
        if large == asked {
            return cut;
        }
        if large.abs_diff(asked) < best.0.abs_diff(asked) {
            best = (large, merge);
        }
    }
    Cut::new(tree.cut_after(best.1), min_size)
}
