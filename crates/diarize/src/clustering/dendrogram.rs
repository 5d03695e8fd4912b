//! Trees of clusters, and cutting them.

/// Two clusters that become one. Clusters are numbered as scipy does: the observations first, then what the
/// merges make, in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The cluster with the lower number.
    pub left: usize,
    /// The other one.
    pub right: usize,
    /// Distance between the two.
    pub height: f64,
    /// Observations in the new cluster.
    pub size: usize,
}

/// How `merges.len() + 1` observations become one cluster. `scipy.cluster.hierarchy.linkage`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    /// The merges, first to last. Heights need not grow: centroids come closer when clusters grow.
    pub merges: Vec<Merge>,
}

/// A step of the walk through a tree. `cluster` is that of the joined subtree that the walk is in.
enum Step {
    Enter {
        merge: usize,
        cluster: Option<usize>,
    },
    Leaves {
        merge: usize,
        cluster: Option<usize>,
    },
}

impl Dendrogram {
    /// The cluster of each observation when subtrees without a merge above `threshold` are joined.
    /// `scipy.cluster.hierarchy.fcluster(criterion="distance")`, less 1.
    #[must_use]
    pub fn cut(&self, threshold: f64) -> Vec<usize> {
        let leaves = self.observations();
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

    /// The cluster of each observation after the merges up to the one with index `last`.
    #[must_use]
    pub fn cut_after(&self, last: usize) -> Vec<usize> {
        self.walk(|merge| merge <= last)
    }

    fn observations(&self) -> usize {
        self.merges.len() + 1
    }

    /// Numbers clusters in scipy's order, `_hierarchy.cluster_monocrit`: depth first and left to right, a
    /// joined subtree when it is entered, single observations after the subtrees beside them.
    fn walk(&self, joined: impl Fn(usize) -> bool) -> Vec<usize> {
        let leaves = self.observations();
        let mut labels = vec![0; leaves];
        let mut clusters = 0;
        let mut number = || {
            clusters += 1;
            clusters - 1
        };
        let mut steps = Vec::new();
        steps.extend(self.merges.len().checked_sub(1).map(|merge| Step::Enter {
            merge,
            cluster: None,
        }));
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter { merge, cluster } => {
                    let cluster = cluster.or_else(|| joined(merge).then(&mut number));
                    let Merge { left, right, .. } = self.merges[merge];
                    steps.push(Step::Leaves { merge, cluster });
                    for node in [right, left] {
                        if let Some(merge) = node.checked_sub(leaves) {
                            steps.push(Step::Enter { merge, cluster });
                        }
                    }
                }
                Step::Leaves { merge, cluster } => {
                    let Merge { left, right, .. } = self.merges[merge];
                    for leaf in [left, right].into_iter().filter(|node| *node < leaves) {
                        labels[leaf] = cluster.unwrap_or_else(&mut number);
                    }
                }
            }
        }
        labels
    }
}
