//! k-means, with the random numbers of scikit-learn.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use rand_mt::Mt;

use super::first_best;

/// Seed of the generator. pyannote.audio `KMeans(random_state=42)`.
const SEED: u32 = 42;
/// Runs, of which the best is taken. `KMeans(n_init=3)`.
const RUNS: usize = 3;
/// Most iterations of a run. `KMeans(max_iter=300)`.
const MAX_ITERATIONS: usize = 300;
/// Squared movement of the centres, relative to the mean variance, at which a run has converged. `KMeans(tol=1e-4)`.
const TOLERANCE: f32 = 1e-4;

/// The cluster, 0 to `clusters` - 1, of each of `points` `[point, dimension]`, at least `clusters` of them. If points are
/// equal, some clusters may stay empty.
/// `sklearn.cluster.KMeans(clusters, n_init=3, random_state=42).fit_predict(points)`, in f32.
#[must_use]
pub fn kmeans(points: ArrayView2<'_, f32>, clusters: usize) -> Vec<usize> {
    let samples = points.nrows() as f32;
    let mean = sum_of_rows(points) / samples;
    let points = &points - &mean;
    let variance = sum_of_rows(points.mapv(|x| x * x).view()) / samples;
    let tolerance = variance.sum() / variance.len() as f32 * TOLERANCE;
    let mut random = Random(Mt::new(SEED));
    let mut best: Option<(Vec<usize>, f32)> = None;
    for _ in 0..RUNS {
        let centres = plus_plus(points.view(), clusters, &mut random);
        let (labels, inertia) = lloyd(points.view(), centres, tolerance);
        let better = best.as_ref().is_none_or(|(best, least)| {
            inertia < *least && !same_partition(&labels, best, clusters)
        });
        if better {
            best = Some((labels, inertia));
        }
    }
    best.unwrap_or_default().0
}

/// numpy's legacy `RandomState`.
struct Random(Mt);

impl Random {
    /// Uniform in [0, 1), 53 bits. `random_sample`.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (self.0.next_u32() >> 5, self.0.next_u32() >> 6);
        (f64::from(high) * f64::from(1 << 26) + f64::from(low)) / (1_u64 << 53) as f64
    }

    /// One of `0..n`, `choice(n, p=[1/n, ...])`, with numpy's rounding: probabilities in f32, their sums in f64.
    fn choice(&mut self, n: usize) -> usize {
        let probability = f64::from(1.0 / n as f32);
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..n)
            .map(|_| {
                sum += probability;
                sum
            })
            .collect();
        let drawn = self.uniform();
        sums.partition_point(|below| below / sum <= drawn)
    }
}

/// Initial centres, `[cluster, dimension]`: points drawn with a probability proportional to the squared distance to the
/// nearest earlier centre, the best of several draws for each, the first of equals. `_kmeans_plusplus`.
///
/// Equally good draws are common: of two points far from all others, either one leaves the other. The original then
/// depends on the rounding of its BLAS; here sums are rounded once.
fn plus_plus(points: ArrayView2<'_, f32>, clusters: usize, random: &mut Random) -> Array2<f32> {
    let draws = 2 + (clusters as f64).ln() as usize;
    // Squared distances from all points to one, computed in f64 and rounded to f32.
    // `sklearn.metrics.pairwise._euclidean_distances_upcast`.
    let wide = points.mapv(f64::from);
    let squares = wide.map_axis(Axis(1), |point| point.dot(&point));
    let distances_to = |index: usize| {
        let products = wide.dot(&wide.row(index));
        let distances = Zip::from(&products).and(&squares);
        distances.map_collect(|product, square| {
            let squared = -2.0 * product + squares[index] + square;
            (squared as f32).max(0.0)
        })
    };
    let first = random.choice(points.nrows());
    let mut chosen = vec![first];
    let mut closest = distances_to(first);
    let mut potential = sum(&closest);
    while chosen.len() < clusters {
        let drawn: Vec<f64> = (0..draws)
            .map(|_| random.uniform() * f64::from(potential))
            .collect();
        let mut total = 0.0_f32;
        let totals: Vec<f32> = closest
            .iter()
            .map(|distance| {
                total += distance;
                total
            })
            .collect();
        let mut best: Option<(f32, usize, Array1<f32>)> = None;
        for value in drawn {
            let found = totals.partition_point(|total| f64::from(*total) < value);
            // Rounding can draw beyond the last point.
            let candidate = found.min(points.nrows() - 1);
            let mut distances = distances_to(candidate);
            distances.zip_mut_with(&closest, |new, old| *new = new.min(*old));
            let potential = sum(&distances);
            if best.as_ref().is_none_or(|best| potential < best.0) {
                best = Some((potential, candidate, distances));
            }
        }
        if let Some((least, candidate, distances)) = best {
            (potential, closest) = (least, distances);
            chosen.push(candidate);
        }
    }
    points.select(Axis(0), &chosen)
}

/// Alternates between assigning points to the nearest centre and moving centres to the mean of their points.
/// Returns the centre of each point and the inertia, the sum of the squared distances to it. `_kmeans_single_lloyd`.
fn lloyd(
    points: ArrayView2<'_, f32>,
    mut centres: Array2<f32>,
    tolerance: f32,
) -> (Vec<usize>, f32) {
    let mut labels = Vec::new();
    let mut settled = false;
    for _ in 0..MAX_ITERATIONS {
        let new = nearest(points, centres.view());
        let moved = move_centres(points, centres.view(), &new);
        let shift = (&moved - &centres).mapv(|x| x * x).sum();
        settled = new == labels;
        (centres, labels) = (moved, new);
        if settled || shift <= tolerance {
            break;
        }
    }
    if !settled {
        labels = nearest(points, centres.view());
    }
    let inertia = own_distances(points, centres.view(), &labels).sum();
    (labels, inertia)
}

/// The nearest centre of each point, the first of equals. `_update_chunk_dense`.
fn nearest(points: ArrayView2<'_, f32>, centres: ArrayView2<'_, f32>) -> Vec<usize> {
    let squares = centres.map_axis(Axis(1), |centre| centre.dot(&centre));
    let scores = points.dot(&centres.t()) * -2.0 + squares;
    let least =
        |scores: ArrayView1<'_, f32>| first_best(scores.len(), |a, b| scores[a] < scores[b]);
    scores.outer_iter().map(least).collect()
}

/// The mean of the points of each centre. A centre without points takes the point farthest from its own centre.
/// `_relocate_empty_clusters_dense`, `_average_centers`.
fn move_centres(
    points: ArrayView2<'_, f32>,
    centres: ArrayView2<'_, f32>,
    labels: &[usize],
) -> Array2<f32> {
    let mut sums = Array2::<f32>::zeros(centres.dim());
    let mut members = vec![0.0_f32; centres.nrows()];
    for (point, label) in points.outer_iter().zip(labels) {
        let mut sum = sums.row_mut(*label);
        sum += &point;
        members[*label] += 1.0;
    }
    let empty: Vec<usize> = (0..members.len()).filter(|k| members[*k] == 0.0).collect();
    if !empty.is_empty() {
        let distances = own_distances(points, centres, labels);
        let mut farthest: Vec<usize> = (0..labels.len()).collect();
        farthest.sort_by(|a, b| distances[*b].total_cmp(&distances[*a]));
        // If all points lie on their centres, there are more clusters than different points.
        if farthest
            .first()
            .is_some_and(|point| distances[*point] > 0.0)
        {
            for (new, point) in empty.into_iter().zip(farthest) {
                let old = labels[point];
                let mut sum = sums.row_mut(old);
                sum -= &points.row(point);
                sums.row_mut(new).assign(&points.row(point));
                members[old] -= 1.0;
                members[new] = 1.0;
            }
        }
    }
    // A centre that is still without points becomes that of the largest cluster: its mean if that has the lower index,
    // else its sum.
    let largest = first_best(members.len(), |a, b| members[a] > members[b]);
    for (index, members) in members.iter().enumerate() {
        if *members > 0.0 {
            let mut sum = sums.row_mut(index);
            sum *= 1.0 / members;
        } else {
            let centre = sums.row(largest).to_owned();
            sums.row_mut(index).assign(&centre);
        }
    }
    sums
}

/// Squared distance of each point to its centre.
fn own_distances(
    points: ArrayView2<'_, f32>,
    centres: ArrayView2<'_, f32>,
    labels: &[usize],
) -> Array1<f32> {
    let distance = |(point, label): (ArrayView1<'_, f32>, &usize)| {
        let difference = &point - &centres.row(*label);
        difference.dot(&difference)
    };
    points.outer_iter().zip(labels).map(distance).collect()
}

/// Whether two labellings differ at most in the numbers of the clusters. `_is_same_clustering`.
fn same_partition(a: &[usize], b: &[usize], clusters: usize) -> bool {
    let mut names = vec![None; clusters];
    a.iter()
        .zip(b)
        .all(|(a, b)| *names[*a].get_or_insert(*b) == *b)
}

fn sum(values: &Array1<f32>) -> f32 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() as f32
}

/// The sum of the rows, from first to last, as numpy sums along the first axis.
fn sum_of_rows(rows: ArrayView2<'_, f32>) -> Array1<f32> {
    rows.outer_iter()
        .fold(Array1::zeros(rows.ncols()), |sum, row| sum + row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_that_of_numpy_where_rounding_decides() {
        // np.random.RandomState(42).choice(n, p=np.full(n, 1 / n, dtype=np.float32)).
        for (n, expected) in [
            (6795, 2545),
            (13_590, 5090),
            (22_561, 8449),
            (27_180, 10_180),
        ] {
            assert_eq!(Random(Mt::new(SEED)).choice(n), expected, "of {n}");
        }
    }

    /// Squares of the coordinates have units of 4, distances between the two groups squares of 0.06.
    #[test]
    fn points_far_from_the_origin_are_clustered_by_their_differences() {
        let x = |i: u16| 4096.0 + 0.25 * f32::from(i % 2) + f32::from(i / 2 * (i % 3)) / 512.0;
        let points = Array2::from_shape_fn((12, 2), |(i, axis)| match axis {
            0 => x(i as u16),
            _ => 4096.0,
        });
        // By scikit-learn 1.9.1.
        assert_eq!(
            kmeans(points.view(), 2),
            [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
        );
    }

    /// Points `i * factor % modulus / modulus`, in one dimension.
    fn spread(points: u16, factor: u16, modulus: u16) -> Array2<f32> {
        Array2::from_shape_fn((points.into(), 1), |(i, _)| {
            let step = i * usize::from(factor) % usize::from(modulus);
            step as f32 / f32::from(modulus)
        })
    }

    /// By scikit-learn 1.9.1. If every run went on until no label changes, the clusters would be of 15 points each.
    #[test]
    fn a_run_ends_where_centres_move_less_than_the_tolerance() {
        let mut sizes = [0; 4];
        for label in kmeans(spread(60, 511, 1021).view(), 4) {
            sizes[label] += 1;
        }
        assert_eq!(sizes, [14, 15, 16, 15]);
    }

    /// By scikit-learn 1.9.1. A later run finds the same halves, numbers them otherwise and ends nearer to their means.
    #[test]
    fn clusters_are_numbered_by_the_first_run_that_finds_them() {
        let points = spread(300, 69, 4096);
        let upper_half_first: Vec<usize> = points.iter().map(|x| usize::from(*x < 0.495)).collect();
        assert_eq!(kmeans(points.view(), 2), upper_half_first);
    }
}
