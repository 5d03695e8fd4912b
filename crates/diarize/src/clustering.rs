//! Which local speakers are one person, by the built-in embeddings.
//!
//! Two things are known of two local speakers: how alike they sound, and, where their windows overlap,
//! whether they speak at the same times. The second is the surer, so it overrides the first.

use kodama::{Method, linkage};
use ndarray::{ArrayView1, ArrayView3, s};

use crate::{embedding::Embeddings, frames::FrameGrid, reconstruction::Assignment};

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
/// Distance of two local speakers of one window, who are two people by definition: large enough to keep
/// clusters apart, finite so that a forced number of speakers joins those with the fewest such pairs first.
const SAME_WINDOW: f32 = 1e6;

/// How many speakers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeakerBounds {
    min: usize,
    max: usize,
}

/// Why numbers of speakers make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// No speakers at all.
    #[error("the number of speakers must be at least 1")]
    Zero,
    /// Less at most than at least.
    #[error("at least {min} and at most {max} speakers is a contradiction")]
    Contradiction {
        /// The lower bound.
        min: usize,
        /// The upper bound.
        max: usize,
    },
}

impl Default for SpeakerBounds {
    fn default() -> Self {
        Self {
            min: 1,
            max: usize::MAX,
        }
    }
}

impl SpeakerBounds {
    /// From at least `min` to at most `max` speakers.
    ///
    /// # Errors
    /// [`BoundsError`] where no number lies between them.
    pub fn new(min: usize, max: usize) -> Result<Self, BoundsError> {
        match (min, max) {
            (0, _) | (_, 0) => Err(BoundsError::Zero),
            _ if min > max => Err(BoundsError::Contradiction { min, max }),
            _ => Ok(Self { min, max }),
        }
    }

    /// The fewest speakers.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// The most speakers.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

/// One local speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Local {
    window: usize,
    speaker: usize,
    /// Frames in which they talk alone.
    alone: usize,
}

/// Which person each local speaker is, and how many people there are. `activity` is
/// `[window, frame, local speaker]` of 0 and 1; `threshold` the average distance (0 to 2) up to which
/// clusters are joined, within `bounds`.
///
/// Local speakers who talk alone long enough are clustered (average linkage); each of the others then joins
/// the nearest cluster that nobody else of their window is in, or is dropped where there is none.
#[must_use]
pub fn cluster(
    activity: ArrayView3<'_, f32>,
    embeddings: &Embeddings,
    grid: &FrameGrid,
    threshold: f64,
    bounds: SpeakerBounds,
) -> (Assignment, usize) {
    let (windows, frames, speakers) = activity.dim();
    let mut assignment = Assignment::from_elem((windows, speakers), None);
    let (founders, others) = split(activity, embeddings, bounds);
    let evidence = Evidence {
        activity,
        vectors: unit_vectors(embeddings),
        grid,
        frames,
    };
    let labels = evidence.average_linkage(&founders, threshold, bounds);
    let clusters = labels.iter().max().map_or(0, |last| last + 1);
    for (local, cluster) in founders.iter().zip(&labels) {
        assignment[[local.window, local.speaker]] = Some(*cluster);
    }
    for local in others {
        let taken = assignment.row(local.window).to_owned();
        let mut sums = vec![(0.0_f64, 0_u32); clusters];
        for (founder, cluster) in founders.iter().zip(&labels) {
            let (sum, members) = &mut sums[*cluster];
            *sum += f64::from(evidence.distance(local, *founder));
            *members += 1;
        }
        assignment[[local.window, local.speaker]] = sums
            .iter()
            .map(|(sum, members)| sum / f64::from(*members))
            .enumerate()
            .filter(|(cluster, _)| !taken.iter().any(|taken| *taken == Some(*cluster)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(cluster, _)| cluster);
    }
    (assignment, clusters)
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
    if founders.len() < bounds.min {
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
struct Evidence<'a> {
    activity: ArrayView3<'a, f32>,
    vectors: ndarray::Array3<f32>,
    grid: &'a FrameGrid,
    frames: usize,
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
        if offset >= self.frames {
            return false;
        }
        let early = self
            .activity
            .slice(s![early.window, offset.., early.speaker]);
        let late = self
            .activity
            .slice(s![late.window, ..self.frames - offset, late.speaker]);
        let (both, either) = overlap(early, late);
        either >= MIN_SHARED_FRAMES && both as f64 > SAME_ACTIVITY * either as f64
    }

    /// A cluster number for each of `locals`, numbered by first member.
    fn average_linkage(
        &self,
        locals: &[Local],
        threshold: f64,
        bounds: SpeakerBounds,
    ) -> Vec<usize> {
        let mut distances: Vec<f32> =
            Vec::with_capacity(locals.len() * locals.len().saturating_sub(1) / 2);
        for (index, a) in locals.iter().enumerate() {
            distances.extend(locals[index + 1..].iter().map(|b| self.distance(*a, *b)));
        }
        let tree = linkage(&mut distances, locals.len(), Method::Average);
        let wanted = tree
            .steps()
            .iter()
            .filter(|step| f64::from(step.dissimilarity) <= threshold)
            .count();
        let clusters =
            (locals.len() - wanted).clamp(bounds.min.min(locals.len()), bounds.max.max(1));
        let steps = locals.len().saturating_sub(clusters);

        // A step joins two earlier clusters: a local speaker each, or what step `cluster - locals` made.
        let mut members: Vec<Vec<usize>> = (0..locals.len()).map(|local| vec![local]).collect();
        for step in &tree.steps()[..steps] {
            let mut joined = std::mem::take(&mut members[step.cluster1]);
            joined.append(&mut members[step.cluster2]);
            members.push(joined);
        }
        let mut groups: Vec<_> = members
            .into_iter()
            .filter(|group| !group.is_empty())
            .collect();
        groups.sort_by_key(|group| group.iter().min().copied());
        let mut labels = vec![0; locals.len()];
        for (label, group) in groups.iter().enumerate() {
            for local in group {
                labels[*local] = label;
            }
        }
        labels
    }
}

/// Frames in which both are active, and in which at least one is.
fn overlap(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> (usize, usize) {
    a.iter().zip(b).fold((0, 0), |(both, either), (a, b)| {
        let (a, b) = (*a > 0.0, *b > 0.0);
        (both + usize::from(a && b), either + usize::from(a || b))
    })
}
