//! Trees of clusters, and cutting them.

/// Two clusters that become one. Clusters are numbered as in scipy: first the observations, then the results of the
/// merges, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The cluster with the lower number.
    pub left: usize,
    /// The other cluster.
    pub right: usize,
    /// Distance between the two.
    pub height: f64,
    /// Observations in the new cluster.
    pub size: usize,
}

/// The merges of `merges.len() + 1` observations into one cluster. `scipy.cluster.hierarchy.linkage`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    /// The merges, in order. Heights may fall: a merge can move a centroid nearer to others.
    pub merges: Vec<Merge>,
}

impl Dendrogram {
    /// The cluster of each observation, where subtrees without a merge above `threshold` are clusters.
    /// `scipy.cluster.hierarchy.fcluster(criterion="distance")`, minus 1.
    pub fn cut(&self, threshold: f64) -> Vec<usize> {
        let leaves = self.merges.len() + 1;
        let mut highest: Vec<f64> = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            let below = [merge.left, merge.right]
                .into_iter()
                .filter_map(|node| node.checked_sub(leaves))
                .map(|node| highest[node]);
            highest.push(below.fold(merge.height, f64::max));
        }
        self.walk(|merge| highest[merge] <= threshold)
    }

    /// The cluster of each observation after the merges up to index `last`.
    pub(super) fn cut_after(&self, last: usize) -> Vec<usize> {
        self.walk(|merge| merge <= last)
    }

    /// Numbers clusters in scipy's order, `_hierarchy.cluster_monocrit`: depth first and left to right, a `joined` subtree
    /// when the walk enters it, single observations after the subtrees beside them.
    fn walk(&self, joined: impl Fn(usize) -> bool) -> Vec<usize> {
        let leaves = self.merges.len() + 1;
        let mut labels = vec![0; leaves];
        let mut clusters = 0;
        let mut number = || {
            clusters += 1;
            clusters - 1
        };
        // Merges to visit, each with the cluster of the joined subtree around it: first to enter the subtrees below, then
        // to label the observations below.
        let mut steps = Vec::new();
        steps.extend(
            self.merges
                .len()
                .checked_sub(1)
                .map(|root| (root, None, true)),
        );
        while let Some((merge, cluster, enter)) = steps.pop() {
            let Merge { left, right, .. } = self.merges[merge];
            if enter {
                let cluster = cluster.or_else(|| joined(merge).then(&mut number));
                steps.push((merge, cluster, false));
                let below = [right, left].into_iter();
                let below = below.filter_map(|node| node.checked_sub(leaves));
                steps.extend(below.map(|merge| (merge, cluster, true)));
            } else {
                for leaf in [left, right].into_iter().filter(|node| *node < leaves) {
                    labels[leaf] = cluster.unwrap_or_else(&mut number);
                }
            }
        }
        labels
    }
}
