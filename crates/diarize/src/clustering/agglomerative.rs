//! Agglomerative clustering, as in speaker-diarization-3.1.

use ndarray::{ArrayView2, s};
use soundalike_convert::Linkage;

use super::{
    bounds::SpeakerBounds,
    cluster_count,
    dendrogram::Dendrogram,
    distances::cosine_to,
    first_best,
    linkage::{is_euclidean, linkage},
    training::{means, unit_length},
};
use crate::Warning;

/// Fraction of the embeddings that always makes a large cluster.
const MAX_SMALL_RATIO: f64 = 0.1;

/// Agglomerative clusters of `embeddings` `[embedding, dimension]` (at least one). A cluster of fewer than
/// `min_cluster_size` embeddings is merged into the nearest large one; the number of large ones is within `bounds`.
/// pyannote.audio `AgglomerativeClustering.cluster`.
///
/// Returns the cluster of each embedding, 0, 1, ... without gaps, and a warning if no cut gives a number within `bounds`.
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
    let requested = large.clamp(bounds.min().min(count), bounds.max().min(count));
    let mut warning = None;
    if large != requested {
        cut = closest_cut(&tree, threshold, min_size, requested);
        let found = cut.large.len();
        warning = (found != requested).then_some(Warning::NoSuchCut { requested, found });
    }
    (cut.merge_small(embeddings.view()), warning)
}

/// A cut of the tree: its clusters, large and small.
struct Cut {
    labels: Vec<usize>,
    large: Vec<usize>,
    small: Vec<usize>,
}

impl Cut {
    fn new(labels: Vec<usize>, min_size: usize) -> Self {
        let mut sizes = vec![0; cluster_count(&labels)];
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

    /// Merges each small cluster into the large one whose mean is nearest, the first of equals, and renumbers the large
    /// ones in order. If all are small they become one.
    fn merge_small(self, embeddings: ArrayView2<'_, f32>) -> Vec<usize> {
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
            becomes[*label] = first_best(self.large.len(), |a, b| {
                distances[[0, a]] < distances[[0, b]]
            });
        }
        self.labels.iter().map(|label| becomes[*label]).collect()
    }
}

/// The cut whose number of large clusters is nearest to `requested`. Tried are the cuts after each merge into a large cluster,
/// the merge with the height nearest to `threshold` first; of equals the first is taken.
fn closest_cut(tree: &Dendrogram, threshold: f64, min_size: usize, requested: usize) -> Cut {
    let mut order: Vec<usize> = (0..tree.merges.len()).collect();
    let distance = |merge: &usize| (tree.merges[*merge].height - threshold).abs();
    order.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    // All embeddings in one cluster.
    let mut best = (1_usize, tree.merges.len());
    for merge in order {
        if tree.merges[merge].size < min_size {
            continue;
        }
        let cut = Cut::new(tree.cut_after(merge), min_size);
        let large = cut.large.len();
        if large == requested {
            return cut;
        }
        if large.abs_diff(requested) < best.0.abs_diff(requested) {
            best = (large, merge);
        }
    }
    Cut::new(tree.cut_after(best.1), min_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clustering::Merge;

    /// Observations 0 and 1 merge, then 2 and 3, then 4 joins those, and all are one.
    #[test]
    fn of_equally_near_cuts_the_one_at_the_threshold_is_taken() {
        let merge = |left, right, height, size| Merge {
            left,
            right,
            height,
            size,
        };
        let tree = Dendrogram {
            merges: vec![
                merge(0, 1, 0.1, 2),
                merge(2, 3, 0.2, 2),
                merge(4, 6, 0.35, 3),
                merge(5, 7, 0.9, 5),
            ],
        };
        // Three large clusters are nowhere; two are after the second merge and after the third.
        for (threshold, small) in [(0.2, 1), (0.4, 0)] {
            let cut = closest_cut(&tree, threshold, 2, 3);
            assert_eq!(
                (cut.large.len(), cut.small.len()),
                (2, small),
                "{threshold}"
            );
        }
    }
}
