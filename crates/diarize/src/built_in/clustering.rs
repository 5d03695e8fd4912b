//! Which local speakers are one person, by the built-in embeddings.
//!
//! Two things are known of two local speakers: how alike they sound, and, where their windows overlap,
//! whether they speak at the same times. The second is the surer, so it overrides the first.

use kodama::{Dendrogram, Method, Step, linkage};
use ndarray::{ArrayView1, ArrayView3, s};

use super::embedding::Embeddings;
use crate::{clustering::SpeakerBounds, frames::FrameGrid, reconstruction::Assignment};

/// Average cosine distance up to which clusters are joined. The lowest DER over a set of clips of two to
/// twelve speakers lay between 0.35 and 0.5.
pub const DEFAULT_THRESHOLD: f64 = 0.4;
/// Part of a window in which a local speaker must talk alone for their embedding to found a cluster.
/// pyannote.audio `pipelines/clustering.py`, `filter_embeddings(min_active_ratio=0.2)`.
const MIN_ALONE_RATIO: f64 = 0.2;
/// Agreement (intersection over union) of two activities above which they are one person's.
const SAME_ACTIVITY: f64 = 0.7;
/// Frames of activity, half a second, below which agreement is chance.
const MIN_SHARED_FRAMES: usize = 30;
/// Distance of two local speakers of one window, who are two people by definition: so large that a single
/// such pair keeps apart clusters of any size, whose average dilutes it; finite, also times their size, so
/// that a forced number of speakers joins those with the fewest such pairs first.
const SAME_WINDOW: f32 = 1e30;

/// One local speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Local {
    window: usize,
    speaker: usize,
    /// Frames in which they talk alone.
    alone: usize,
}

/// The local speakers of a recording, ready to be cut into any number of people.
///
/// Local speakers who talk alone long enough found clusters (average linkage); each of the others joins the
/// nearest cluster that nobody else of their window is in, or is dropped where there is none.
#[derive(Debug)]
pub struct Clustering<'a> {
    evidence: Evidence<'a>,
    founders: Vec<Local>,
    others: Vec<Local>,
    tree: Dendrogram<f32>,
}

impl<'a> Clustering<'a> {
    /// Compares all local speakers. `activity` is `[window, frame, local speaker]` of 0 and 1.
    #[must_use]
    pub fn new(
        activity: ArrayView3<'a, f32>,
        embeddings: &Embeddings,
        grid: &'a FrameGrid,
        bounds: SpeakerBounds,
    ) -> Self {
        let (founders, others) = split(activity, embeddings, bounds);
        let evidence = Evidence {
            activity,
            vectors: unit_vectors(embeddings),
            grid,
        };
        let mut distances =
            Vec::with_capacity(founders.len() * founders.len().saturating_sub(1) / 2);
        for (index, a) in founders.iter().enumerate() {
            distances.extend(
                founders[index + 1..]
                    .iter()
                    .map(|b| evidence.distance(*a, *b)),
            );
        }
        let tree = linkage(&mut distances, founders.len(), Method::Average);
        Self {
            evidence,
            founders,
            others,
            tree,
        }
    }

    /// The most clusters there can be.
    #[must_use]
    pub fn max_clusters(&self) -> usize {
        self.founders.len()
    }

    /// Clusters that are left when all those at most `threshold` (0 to 2) apart on average are joined.
    #[must_use]
    pub fn clusters_at(&self, threshold: f64) -> usize {
        let joined = |step: &&Step<f32>| f64::from(step.dissimilarity) <= threshold;
        self.founders.len() - self.tree.steps().iter().filter(joined).count()
    }

    /// Which of `clusters` people each local speaker is.
    #[must_use]
    pub fn cut(&self, clusters: usize) -> Assignment {
        let (windows, _, speakers) = self.evidence.activity.dim();
        let mut assignment = Assignment::from_elem((windows, speakers), None);
        let labels = self.labels(clusters);
        for (local, cluster) in self.founders.iter().zip(&labels) {
            assignment[[local.window, local.speaker]] = Some(*cluster);
        }
        for local in &self.others {
            let nearest = self.nearest(*local, &labels, assignment.row(local.window));
            assignment[[local.window, local.speaker]] = nearest;
        }
        assignment
    }

    /// A cluster for each founder, numbered by first member.
    fn labels(&self, clusters: usize) -> Vec<usize> {
        let founders = self.founders.len();
        // A step joins two earlier clusters: a founder each, or what step `cluster - founders` made.
        let mut members: Vec<Vec<usize>> = (0..founders).map(|founder| vec![founder]).collect();
        for step in &self.tree.steps()[..founders.saturating_sub(clusters.max(1))] {
            let mut joined = std::mem::take(&mut members[step.cluster1]);
            joined.append(&mut members[step.cluster2]);
            members.push(joined);
        }
        members.retain(|members| !members.is_empty());
        members.sort_by_key(|members| members.iter().min().copied());
        let mut labels = vec![0; founders];
        for (label, members) in members.iter().enumerate() {
            for founder in members {
                labels[*founder] = label;
            }
        }
        labels
    }

    /// The cluster whose founders are nearest to `local` on average, of those not `taken` by somebody else
    /// of their window.
    fn nearest(
        &self,
        local: Local,
        labels: &[usize],
        taken: ArrayView1<'_, Option<usize>>,
    ) -> Option<usize> {
        let clusters = labels.iter().max().map_or(0, |last| last + 1);
        let mut sums = vec![(0.0_f64, 0_u32); clusters];
        for (founder, cluster) in self.founders.iter().zip(labels) {
            let (sum, members) = &mut sums[*cluster];
            *sum += f64::from(self.evidence.distance(local, *founder));
            *members += 1;
        }
        sums.iter()
            .map(|(sum, members)| sum / f64::from(*members))
            .enumerate()
            .filter(|(cluster, _)| !taken.iter().any(|taken| *taken == Some(*cluster)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(cluster, _)| cluster)
    }
}

/// Those who talk alone long enough, and the others, longest alone first. All are founders where those
/// are too few for the number of speakers asked for.
fn split(
    activity: ArrayView3<'_, f32>,
    embeddings: &Embeddings,
    bounds: SpeakerBounds,
) -> (Vec<Local>, Vec<Local>) {
    let (windows, frames, speakers) = activity.dim();
    let active: Vec<Local> = (0..windows)
        .flat_map(|window| (0..speakers).map(move |speaker| (window, speaker)))
        .filter(|(window, speaker)| activity.slice(s![*window, .., *speaker]).sum() > 0.0)
        .map(|(window, speaker)| Local {
            window,
            speaker,
            alone: embeddings.alone[window][speaker],
        })
        .collect();
    let (founders, mut others): (Vec<Local>, Vec<Local>) = active
        .iter()
        .partition(|local| local.alone as f64 >= MIN_ALONE_RATIO * frames as f64);
    if founders.len() < bounds.min() {
        return (active, Vec::new());
    }
    others.sort_by_key(|local| std::cmp::Reverse(local.alone));
    (founders, others)
}

/// The embeddings at length 1, so that a dot product is a cosine.
fn unit_vectors(embeddings: &Embeddings) -> ndarray::Array3<f32> {
    let mut vectors = embeddings.vectors.clone();
    for mut vector in vectors.rows_mut() {
        let length = vector.dot(&vector).sqrt();
        if length > 0.0 {
            vector /= length;
        }
    }
    vectors
}

/// What is known of the local speakers of a recording.
#[derive(Debug)]
struct Evidence<'a> {
    activity: ArrayView3<'a, f32>,
    vectors: ndarray::Array3<f32>,
    grid: &'a FrameGrid,
}

impl Evidence<'_> {
    /// How far apart two local speakers are, 0 to 2, or [`SAME_WINDOW`].
    fn distance(&self, a: Local, b: Local) -> f32 {
        if a.window == b.window {
            SAME_WINDOW
        } else if self.speak_together(a, b) {
            0.0
        } else {
            let vector = |local: Local| self.vectors.slice(s![local.window, local.speaker, ..]);
            // Rounding can push the cosine of a vector with itself above 1.
            (1.0 - vector(a).dot(&vector(b))).max(0.0)
        }
    }

    /// Whether two local speakers of overlapping windows speak at the same times there.
    fn speak_together(&self, a: Local, b: Local) -> bool {
        let (early, late) = if a.window < b.window { (a, b) } else { (b, a) };
        let offset = self.grid.first_frame(late.window) - self.grid.first_frame(early.window);
        let frames = self.activity.dim().1;
        if offset >= frames {
            return false;
        }
        let early = self
            .activity
            .slice(s![early.window, offset.., early.speaker]);
        let late = self
            .activity
            .slice(s![late.window, ..frames - offset, late.speaker]);
        let (both, either) = overlap(early, late);
        either >= MIN_SHARED_FRAMES && both as f64 > SAME_ACTIVITY * either as f64
    }
}

/// Frames in which both are active, and in which at least one is.
fn overlap(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> (usize, usize) {
    a.iter().zip(b).fold((0, 0), |(both, either), (a, b)| {
        let (a, b) = (*a > 0.0, *b > 0.0);
        (both + usize::from(a && b), either + usize::from(a || b))
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    /// Windows of 100 frames every 10, so that neighbours share 90.
    const GRID: FrameGrid = FrameGrid {
        duration: 1.0,
        step: 1.0,
        window_duration: 100.0,
        window_step: 10.0,
    };

    /// Windows in which each local speaker talks alone in the frames given, with the voice given.
    fn recording(windows: &[&[(std::ops::Range<usize>, [f32; 2])]]) -> (Array3<f32>, Embeddings) {
        let speakers = 2;
        let mut activity = Array3::zeros((windows.len(), 100, speakers));
        let mut vectors = Array3::zeros((windows.len(), speakers, 2));
        let mut alone = vec![vec![0; speakers]; windows.len()];
        for (window, locals) in windows.iter().enumerate() {
            for (speaker, (frames, voice)) in locals.iter().enumerate() {
                activity
                    .slice_mut(s![window, frames.clone(), speaker])
                    .fill(1.0);
                vectors
                    .slice_mut(s![window, speaker, ..])
                    .assign(&array![voice[0], voice[1]]);
                alone[window][speaker] = frames.len();
            }
        }
        (activity, Embeddings { vectors, alone })
    }

    /// The local speakers of a recording, any number of people.
    fn clustering((activity, embeddings): &(Array3<f32>, Embeddings)) -> Clustering<'_> {
        Clustering::new(activity.view(), embeddings, &GRID, SpeakerBounds::default())
    }

    #[test]
    fn like_voices_are_joined_and_unlike_ones_kept_apart() {
        // Far apart in time, so that only the voices speak.
        let silence: &[(std::ops::Range<usize>, [f32; 2])] = &[];
        let mut windows = vec![silence; 30];
        windows[0] = &[(0..40, [1.0, 0.0]), (40..80, [0.0, 1.0])];
        windows[20] = &[(0..40, [0.1, 1.0])];
        let recording = recording(&windows);
        let clustering = clustering(&recording);
        assert_eq!(clustering.clusters_at(0.4), 2);
        let people = clustering.cut(2);
        assert_eq!(
            (people[[0, 0]], people[[0, 1]], people[[20, 0]]),
            (Some(0), Some(1), Some(1))
        );
    }

    #[test]
    fn speaking_at_the_same_times_overrides_the_voice() {
        let recording = recording(&[
            &[(20..60, [1.0, 0.0])],
            &[(10..50, [-1.0, 0.0])],
            &[(60..90, [1.0, 0.0])],
        ]);
        let clustering = clustering(&recording);
        let people = clustering.cut(2);
        assert_eq!(people[[0, 0]], people[[1, 0]]);
    }

    #[test]
    fn two_of_one_window_are_joined_only_by_force() {
        let recording = recording(&[&[(0..40, [1.0, 0.0]), (40..80, [1.0, 0.0])]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.clusters_at(2.0), 2);
        assert_eq!(clustering.cut(1), array![[Some(0), Some(0)]]);
    }

    #[test]
    fn one_conflict_keeps_large_clusters_apart() {
        // Two crowds of one voice, alone in every window but one, which they share.
        let alone: &[(std::ops::Range<usize>, [f32; 2])] = &[(0..40, [1.0, 0.0])];
        let together: &[(std::ops::Range<usize>, [f32; 2])] =
            &[(0..40, [1.0, 0.0]), (40..80, [0.6, 0.8])];
        let other: &[(std::ops::Range<usize>, [f32; 2])] = &[(40..80, [0.6, 0.8])];
        let mut windows = vec![alone; 1700];
        windows.push(together);
        windows.extend(vec![other; 1700]);
        let recording = recording(&windows);
        let clustering = clustering(&recording);
        // The voices are 0.4 apart: close enough to be one, were it not for the one pair in 2.9 million that
        // shares a window. A distance of 1e6 would be diluted to 0.35 and join them.
        assert_eq!(clustering.clusters_at(1.0), 2);
    }

    #[test]
    fn a_short_speaker_joins_the_nearest_cluster_that_is_free() {
        // The second of the window sounds like the first, who founded the cluster: nobody is left.
        let recording = recording(&[&[(0..40, [1.0, 0.0]), (40..45, [1.0, 0.0])]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.cut(1), array![[Some(0), None]]);
    }

    #[test]
    fn silence_has_nobody() {
        let recording = recording(&[&[], &[]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.max_clusters(), 0);
        assert_eq!(clustering.cut(1), Assignment::from_elem((2, 2), None));
    }
}
