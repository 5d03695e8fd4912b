//! Which local speakers are one person, by the built-in embeddings.
//!
//! Two things are known of two local speakers: how alike they sound, and, where their windows overlap,
//! whether they speak at the same times. The second is the surer, so it overrides the first.

use ndarray::{Array2, ArrayView1, ArrayView3, s};

use super::embedding::Embeddings;
use crate::{
    clustering::{SpeakerBounds, dendrogram::Merge, linkage::average_but_for},
    frames::FrameGrid,
    reconstruction::Assignment,
};

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
const SAME_WINDOW: f64 = 1e30;

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
    merges: Vec<Merge>,
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
        let merges = if founders.is_empty() {
            Vec::new()
        } else {
            let vectors = founders.iter().map(|local| evidence.vector(*local));
            let known = founders.iter().enumerate().flat_map(|(index, local)| {
                let later = evidence.known(*local, &founders, index + 1);
                later.map(move |(other, distance)| ([index, other], distance))
            });
            average_but_for(vectors, known).merges
        };
        Self {
            evidence,
            founders,
            others,
            merges,
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
        let joined = |merge: &&Merge| merge.height <= threshold;
        self.founders.len() - self.merges.iter().filter(joined).count()
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
        let people = People::new(&self.evidence, &self.founders, labels);
        for local in &self.others {
            let nearest = people.nearest(*local, assignment.row(local.window));
            assignment[[local.window, local.speaker]] = nearest;
        }
        assignment
    }

    /// A cluster for each founder, numbered by first member.
    fn labels(&self, clusters: usize) -> Vec<usize> {
        let founders = self.founders.len();
        // Two earlier clusters merge: a founder each, or what merge `cluster - founders` made.
        let mut members: Vec<Vec<usize>> = (0..founders).map(|founder| vec![founder]).collect();
        for merge in &self.merges[..founders.saturating_sub(clusters.max(1))] {
            let mut joined = std::mem::take(&mut members[merge.left]);
            joined.append(&mut members[merge.right]);
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
}

/// The founders, as clusters.
struct People<'c, 'a> {
    evidence: &'c Evidence<'a>,
    founders: &'c [Local],
    /// The cluster of each.
    labels: Vec<usize>,
    /// Their vectors' sum, `[cluster, feature]`, and how many they are.
    sums: Array2<f64>,
    sizes: Vec<usize>,
}

impl<'c, 'a> People<'c, 'a> {
    fn new(evidence: &'c Evidence<'a>, founders: &'c [Local], labels: Vec<usize>) -> Self {
        let clusters = labels.iter().max().map_or(0, |last| last + 1);
        let mut sums = Array2::zeros((clusters, evidence.vectors.dim().2));
        let mut sizes = vec![0; clusters];
        for (founder, cluster) in founders.iter().zip(&labels) {
            let mut sum = sums.row_mut(*cluster);
            sum += &evidence.vector(*founder).mapv(f64::from);
            sizes[*cluster] += 1;
        }
        Self {
            evidence,
            founders,
            labels,
            sums,
            sizes,
        }
    }

    /// The cluster whose founders are nearest to `local` on average, of those not `taken` by somebody else
    /// of their window.
    fn nearest(&self, local: Local, taken: ArrayView1<'_, Option<usize>>) -> Option<usize> {
        let vector = self.evidence.vector(local).mapv(f64::from);
        let cosines = self.sums.dot(&vector);
        let sizes = self.sizes.iter().map(|size| *size as f64);
        let mut distances: Vec<f64> = sizes
            .zip(&cosines)
            .map(|(size, cosine)| size - cosine)
            .collect();
        for (founder, distance) in self.evidence.known(local, self.founders, 0) {
            let cosine = self
                .evidence
                .vector(self.founders[founder])
                .mapv(f64::from)
                .dot(&vector);
            distances[self.labels[founder]] += distance - (1.0 - cosine);
        }
        distances
            .iter()
            .zip(&self.sizes)
            .map(|(distance, size)| distance / *size as f64)
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
    fn vector(&self, local: Local) -> ArrayView1<'_, f32> {
        self.vectors.slice(s![local.window, local.speaker, ..])
    }

    /// Those of `founders`, in the order of windows, from `first` on of which is known whether `local` is the same
    /// person, whatever they sound like, with their distance.
    fn known(
        &self,
        local: Local,
        founders: &[Local],
        first: usize,
    ) -> impl Iterator<Item = (usize, f64)> {
        let overlaps = move |other: &Local| self.offset(local, *other) < self.activity.dim().1;
        let start =
            founders.partition_point(|other| other.window < local.window && !overlaps(other));
        let start = start.max(first);
        let near = founders[start..]
            .iter()
            .take_while(move |other| overlaps(other));
        (start..).zip(near).filter_map(move |(index, other)| {
            let distance = if local.window == other.window {
                Some(SAME_WINDOW)
            } else {
                self.speak_together(local, *other).then_some(0.0)
            };
            distance.map(|distance| (index, distance))
        })
    }

    /// Frames from the beginning of the window of the one to that of the other.
    fn offset(&self, a: Local, b: Local) -> usize {
        let [a, b] = [a, b].map(|local| self.grid.first_frame(local.window));
        a.abs_diff(b)
    }

    /// Whether two local speakers, whose windows overlap, speak at the same times there.
    fn speak_together(&self, a: Local, b: Local) -> bool {
        let (early, late) = if a.window < b.window { (a, b) } else { (b, a) };
        let (offset, frames) = (self.offset(early, late), self.activity.dim().1);
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
