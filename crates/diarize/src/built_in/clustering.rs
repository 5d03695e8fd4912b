//! Clustering local speakers by the built-in embeddings.
//!
//! Two local speakers have a distance, that of their embeddings. If their windows overlap, their activities also
//! show whether they are the same speaker. That is more reliable, so it overrides the distance.

use std::cmp::Reverse;

use ndarray::{Array2, Array3, ArrayView1, ArrayView3, Axis, s};

use crate::{
    clustering::{
        Merge, SpeakerBounds, cluster_count, linkage::average_linkage, training::MIN_ALONE_RATIO,
    },
    count,
    frames::FrameGrid,
    reconstruction::Assignment,
};

/// Average cosine distance up to which clusters are merged. The lowest DER over a set of clips of two to twelve speakers
/// was between 0.35 and 0.5.
pub(crate) const DEFAULT_THRESHOLD: f64 = 0.4;
/// Agreement (intersection over union) of two activities above which they are the same speaker.
const SAME_ACTIVITY: f64 = 0.7;
/// Fewest frames of activity, half a second, for an agreement that is not chance.
const MIN_SHARED_FRAMES: usize = 30;
/// Distance of two local speakers of one window, who are different speakers by definition. It is so large that one such
/// pair separates clusters of any size, although their average dilutes it; it is finite, also times their size, so that a
/// forced number of speakers merges those with the fewest such pairs first.
const SAME_WINDOW: f64 = 1e30;

/// One local speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Local {
    window: usize,
    speaker: usize,
    /// Frames in which the speaker talks alone.
    alone: usize,
}

/// The local speakers of a recording, ready to be cut into any number of clusters.
///
/// Local speakers who talk alone for long enough are seeds, clustered by average linkage. Each of the others is assigned
/// to the nearest cluster without another speaker of the same window, or dropped if there is none.
#[derive(Debug)]
pub(crate) struct Clustering<'a> {
    evidence: Evidence<'a>,
    seeds: Vec<Local>,
    others: Vec<Local>,
    merges: Vec<Merge>,
}

impl<'a> Clustering<'a> {
    /// Compares all local speakers. `activity` is `[window, frame, local speaker]` of 0 and 1, `embeddings`
    /// `[window, local speaker, feature]`.
    pub(crate) fn new(
        activity: ArrayView3<'a, f32>,
        embeddings: ArrayView3<'_, f32>,
        grid: &'a FrameGrid,
        bounds: SpeakerBounds,
    ) -> Self {
        let (seeds, others) = split(activity, bounds);
        let evidence = Evidence {
            activity,
            vectors: unit_vectors(embeddings),
            grid,
        };
        let merges = if seeds.is_empty() {
            Vec::new()
        } else {
            let vectors = seeds.iter().map(|local| evidence.vector(*local));
            let overrides = seeds.iter().enumerate().flat_map(|(index, local)| {
                let later = evidence.overrides(*local, &seeds, index + 1);
                later.map(move |(other, distance)| ([index, other], distance))
            });
            average_linkage(vectors, overrides).merges
        };
        Self {
            evidence,
            seeds,
            others,
            merges,
        }
    }

    /// The most clusters possible.
    pub(crate) fn max_clusters(&self) -> usize {
        self.seeds.len()
    }

    /// Number of clusters after all merges up to an average distance of `threshold` (0 to 2).
    pub(crate) fn clusters_at(&self, threshold: f64) -> usize {
        let merged = |merge: &&Merge| merge.height <= threshold;
        self.seeds.len() - self.merges.iter().filter(merged).count()
    }

    /// Assigns one of `clusters` clusters to each local speaker.
    pub(crate) fn cut(&self, clusters: usize) -> Assignment {
        let evidence = &self.evidence;
        let (windows, _, speakers) = evidence.activity.dim();
        let mut assignment = Assignment::from_elem((windows, speakers), None);
        let labels = self.labels(clusters);
        // Sum of the vectors of each cluster, `[cluster, feature]`, and their number.
        let clusters = cluster_count(&labels);
        let mut sums = Array2::zeros((clusters, evidence.vectors.dim().2));
        let mut sizes = vec![0.0; clusters];
        for (seed, cluster) in self.seeds.iter().zip(&labels) {
            assignment[[seed.window, seed.speaker]] = Some(*cluster);
            let mut sum = sums.row_mut(*cluster);
            sum += &evidence.vector(*seed).mapv(f64::from);
            sizes[*cluster] += 1.0;
        }
        for local in &self.others {
            let vector = evidence.vector(*local).mapv(f64::from);
            let cosines = sums.dot(&vector);
            let pairs = sizes.iter().zip(&cosines);
            let mut distances: Vec<f64> = pairs.map(|(size, cosine)| size - cosine).collect();
            for (seed, distance) in evidence.overrides(*local, &self.seeds, 0) {
                let other = evidence.vector(self.seeds[seed]);
                let cosine = other.mapv(f64::from).dot(&vector);
                distances[labels[seed]] += distance - (1.0 - cosine);
            }
            // The least average distance, except to clusters taken by others of the same window.
            let taken = assignment.row(local.window);
            let nearest = distances
                .iter()
                .zip(&sizes)
                .map(|(distance, size)| distance / size)
                .enumerate()
                .filter(|(cluster, _)| !taken.iter().any(|taken| *taken == Some(*cluster)))
                .min_by(|(_, a), (_, b)| a.total_cmp(b))
                .map(|(cluster, _)| cluster);
            assignment[[local.window, local.speaker]] = nearest;
        }
        assignment
    }

    /// The cluster of each seed, numbered by first member.
    fn labels(&self, clusters: usize) -> Vec<usize> {
        let seeds = self.seeds.len();
        // Cluster `index` is a seed, or the result of merge `index - seeds`.
        let mut members: Vec<Vec<usize>> = (0..seeds).map(|seed| vec![seed]).collect();
        for merge in &self.merges[..seeds.saturating_sub(clusters.max(1))] {
            let mut merged = std::mem::take(&mut members[merge.left]);
            merged.append(&mut members[merge.right]);
            members.push(merged);
        }
        members.retain(|members| !members.is_empty());
        members.sort_by_key(|members| members.iter().min().copied());
        let mut labels = vec![0; seeds];
        for (label, members) in members.iter().enumerate() {
            for seed in members {
                labels[*seed] = label;
            }
        }
        labels
    }
}

/// The seeds, and the others by falling number of frames alone. If the seeds are fewer than the speakers requested, all
/// local speakers are seeds.
fn split(activity: ArrayView3<'_, f32>, bounds: SpeakerBounds) -> (Vec<Local>, Vec<Local>) {
    let (_, frames, speakers) = activity.dim();
    let mut active = Vec::new();
    for (window, activity) in activity.outer_iter().enumerate() {
        let alone = count::alone(activity).sum_axis(Axis(0));
        let speaking = (0..speakers).filter(|speaker| activity.column(*speaker).sum() > 0.0);
        active.extend(speaking.map(|speaker| Local {
            window,
            speaker,
            alone: alone[speaker] as usize,
        }));
    }
    let (seeds, mut others): (Vec<Local>, Vec<Local>) = active
        .iter()
        .partition(|local| local.alone as f64 >= MIN_ALONE_RATIO * frames as f64);
    if seeds.len() < bounds.min() {
        return (active, Vec::new());
    }
    others.sort_by_key(|local| Reverse(local.alone));
    (seeds, others)
}

/// The embeddings scaled to length 1, so that a dot product is a cosine.
fn unit_vectors(embeddings: ArrayView3<'_, f32>) -> Array3<f32> {
    let mut vectors = embeddings.to_owned();
    for mut vector in vectors.rows_mut() {
        let length = vector.dot(&vector).sqrt();
        if length > 0.0 {
            vector /= length;
        }
    }
    vectors
}

/// The local speakers of a recording: their activity and their unit vectors.
#[derive(Debug)]
struct Evidence<'a> {
    activity: ArrayView3<'a, f32>,
    vectors: Array3<f32>,
    grid: &'a FrameGrid,
}

impl Evidence<'_> {
    fn vector(&self, local: Local) -> ArrayView1<'_, f32> {
        self.vectors.slice(s![local.window, local.speaker, ..])
    }

    /// The indices, from `first` on, of those `seeds` (in the order of windows) whose distance to `local` is decided by
    /// activity and not by the embeddings, with this distance.
    fn overrides(
        &self,
        local: Local,
        seeds: &[Local],
        first: usize,
    ) -> impl Iterator<Item = (usize, f64)> {
        let overlaps = move |other: &Local| self.offset(local, *other) < self.activity.dim().1;
        let start = seeds.partition_point(|other| other.window < local.window && !overlaps(other));
        let start = start.max(first);
        let near = seeds[start..]
            .iter()
            .take_while(move |other| overlaps(other));
        (start..).zip(near).filter_map(move |(index, other)| {
            let distance = if local.window == other.window {
                Some(SAME_WINDOW)
            } else {
                self.same_activity(local, *other).then_some(0.0)
            };
            distance.map(|distance| (index, distance))
        })
    }

    /// Frames between the starts of the windows of two local speakers.
    fn offset(&self, a: Local, b: Local) -> usize {
        let [a, b] = [a, b].map(|local| self.grid.first_frame(local.window));
        a.abs_diff(b)
    }

    /// Whether two local speakers, whose windows overlap, are active at the same frames of the overlap.
    fn same_activity(&self, a: Local, b: Local) -> bool {
        let (early, late) = if a.window < b.window { (a, b) } else { (b, a) };
        let (offset, frames) = (self.offset(early, late), self.activity.dim().1);
        let early = s![early.window, offset.., early.speaker];
        let late = s![late.window, ..frames - offset, late.speaker];
        let (mut both, mut either) = (0, 0);
        for (a, b) in self
            .activity
            .slice(early)
            .iter()
            .zip(self.activity.slice(late))
        {
            let (a, b) = (*a > 0.0, *b > 0.0);
            both += usize::from(a && b);
            either += usize::from(a || b);
        }
        either >= MIN_SHARED_FRAMES && both as f64 > SAME_ACTIVITY * either as f64
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// Windows of 100 frames every 10: neighbours share 90 frames.
    const GRID: FrameGrid = FrameGrid {
        duration: 1.0,
        step: 1.0,
        window_duration: 100.0,
        window_step: 10.0,
    };

    /// Activity and embeddings of windows in which each local speaker talks alone in some frames with some voice.
    fn recording(windows: &[&[(std::ops::Range<usize>, [f32; 2])]]) -> [Array3<f32>; 2] {
        let speakers = 2;
        let mut activity = Array3::zeros((windows.len(), 100, speakers));
        let mut vectors = Array3::zeros((windows.len(), speakers, 2));
        for (window, locals) in windows.iter().enumerate() {
            for (speaker, (frames, voice)) in locals.iter().enumerate() {
                activity
                    .slice_mut(s![window, frames.clone(), speaker])
                    .fill(1.0);
                vectors
                    .slice_mut(s![window, speaker, ..])
                    .assign(&array![voice[0], voice[1]]);
            }
        }
        [activity, vectors]
    }

    /// For any number of speakers.
    fn clustering([activity, embeddings]: &[Array3<f32>; 2]) -> Clustering<'_> {
        let (activity, embeddings) = (activity.view(), embeddings.view());
        Clustering::new(activity, embeddings, &GRID, SpeakerBounds::default())
    }

    #[test]
    fn similar_voices_merge_and_others_do_not() {
        // Far apart in time, so that only the voices decide.
        let silence: &[(std::ops::Range<usize>, [f32; 2])] = &[];
        let mut windows = vec![silence; 30];
        windows[0] = &[(0..40, [1.0, 0.0]), (40..80, [0.0, 1.0])];
        windows[20] = &[(0..40, [0.1, 1.0])];
        let recording = recording(&windows);
        let clustering = clustering(&recording);
        assert_eq!(clustering.clusters_at(0.4), 2);
        let assignment = clustering.cut(2);
        assert_eq!(
            (assignment[[0, 0]], assignment[[0, 1]], assignment[[20, 0]]),
            (Some(0), Some(1), Some(1))
        );
    }

    #[test]
    fn the_same_activity_overrides_the_voice() {
        let recording = recording(&[
            &[(20..60, [1.0, 0.0])],
            &[(10..50, [-1.0, 0.0])],
            &[(60..90, [1.0, 0.0])],
        ]);
        let clustering = clustering(&recording);
        let assignment = clustering.cut(2);
        assert_eq!(assignment[[0, 0]], assignment[[1, 0]]);
    }

    #[test]
    fn speakers_of_one_window_merge_only_by_force() {
        let recording = recording(&[&[(0..40, [1.0, 0.0]), (40..80, [1.0, 0.0])]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.clusters_at(2.0), 2);
        assert_eq!(clustering.cut(1), array![[Some(0), Some(0)]]);
    }

    #[test]
    fn one_shared_window_separates_large_clusters() {
        // Two large clusters, each with one voice, alone in every window except one, which they share.
        let alone: &[(std::ops::Range<usize>, [f32; 2])] = &[(0..40, [1.0, 0.0])];
        let together: &[(std::ops::Range<usize>, [f32; 2])] =
            &[(0..40, [1.0, 0.0]), (40..80, [0.6, 0.8])];
        let other: &[(std::ops::Range<usize>, [f32; 2])] = &[(40..80, [0.6, 0.8])];
        let mut windows = vec![alone; 1700];
        windows.push(together);
        windows.extend(vec![other; 1700]);
        let recording = recording(&windows);
        let clustering = clustering(&recording);
        // The voices have a distance of 0.4 and would merge without the one pair in 2.9 million that shares a window. A
        // distance of 1e6 would be diluted to 0.35 and merge them.
        assert_eq!(clustering.clusters_at(1.0), 2);
    }

    #[test]
    fn a_short_speaker_gets_no_cluster_taken_in_its_window() {
        // Both have the same voice; the first is the seed of the only cluster.
        let recording = recording(&[&[(0..40, [1.0, 0.0]), (40..45, [1.0, 0.0])]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.cut(1), array![[Some(0), None]]);
    }

    /// The cluster of a short speaker: six windows have one voice, a later one has another, and the short one is in the next
    /// window, with `beside`.
    fn of_short_speaker(
        short: (std::ops::Range<usize>, [f32; 2]),
        beside: (std::ops::Range<usize>, [f32; 2]),
    ) -> Option<usize> {
        let silence: &[(std::ops::Range<usize>, [f32; 2])] = &[];
        let mut windows = vec![silence; 60];
        windows[..6].fill(&[(0..40, [1.0, 0.0])]);
        windows[20] = &[(0..41, [0.0, 1.0])];
        let last = [short, beside];
        windows[21] = &last;
        let recording = recording(&windows);
        let clustering = clustering(&recording);
        assert_eq!(clustering.others.len(), 1);
        clustering.cut(3)[[21, 0]]
    }

    #[test]
    fn a_short_speaker_joins_the_cluster_of_the_least_average_distance() {
        // Distances of 0.2 and 0.4, of which the first has six.
        let beside = || (40..80, [-1.0, 0.0]);
        assert_eq!(of_short_speaker((90..95, [0.8, 0.6]), beside()), Some(0));
        assert_eq!(of_short_speaker((90..95, [0.6, 0.8]), beside()), Some(1));
    }

    #[test]
    fn the_same_activity_overrides_the_voice_of_a_short_speaker() {
        // Never alone. By voice in the first cluster, but active with the seed of the second while their windows overlap.
        let beside = (0..100, [-1.0, 0.0]);
        assert_eq!(of_short_speaker((0..31, [0.8, 0.6]), beside), Some(1));
    }

    #[test]
    fn another_activity_decides_nothing() {
        // Neighbours share 90 frames. The first is active in 40 of them, the other in 28, 29 or 20 of the same.
        for (frames, clusters) in [(0..29, 1), (0..28, 2), (20..60, 2)] {
            let recording = recording(&[&[(10..50, [1.0, 0.0])], &[(frames.clone(), [-1.0, 0.0])]]);
            assert_eq!(
                clustering(&recording).clusters_at(1.0),
                clusters,
                "{frames:?}"
            );
        }
    }

    #[test]
    fn a_short_speaker_is_a_seed_if_more_speakers_are_requested() {
        let recording = recording(&[&[(0..40, [1.0, 0.0]), (40..45, [0.0, 1.0])]]);
        let [activity, embeddings] = recording.each_ref().map(|array| array.view());
        let of = |min| {
            let bounds = SpeakerBounds::new(min, 2).expect("bounds");
            Clustering::new(activity, embeddings, &GRID, bounds)
        };
        assert_eq!(of(1).max_clusters(), 1);
        assert_eq!(of(2).max_clusters(), 2);
        assert_eq!(of(2).cut(2), array![[Some(0), Some(1)]]);
    }

    #[test]
    fn silence_has_no_clusters() {
        let recording = recording(&[&[], &[]]);
        let clustering = clustering(&recording);
        assert_eq!(clustering.max_clusters(), 0);
        assert_eq!(clustering.cut(1), Assignment::from_elem((2, 2), None));
    }
}
