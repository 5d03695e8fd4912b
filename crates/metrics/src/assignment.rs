//! The mapping of hypothesis speakers to reference speakers.
//!
//! The optimal assignment is that of the `lsap` crate, the shortest augmenting path algorithm of scipy's
//! `linear_sum_assignment`: O(n³) and exact on f64. Equal speaking times are common (whole milliseconds), and then
//! several mappings are optimal; the Jaccard error rate depends on the choice. To choose as pyannote does, the matrix
//! is summed in pyannote's order, and so are its rows and columns.

use crate::{Segment, annotation::track_name, segment::PRECISION, tracks::Tracks};
use serde::Serialize;

/// How hypothesis speakers are mapped to reference speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// One-to-one, with as much speaking time in common as possible (Hungarian).
    #[default]
    Optimal,
    /// One-to-one, taking the pair with most time in common first, then the next.
    Greedy,
}

/// Seconds in common, `[rows, columns]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<f64>,
}

impl Matrix {
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            values: vec![0.0; rows * columns],
        }
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    pub(crate) fn at_mut(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.values[row * self.columns + column]
    }

    /// With the rows and columns in these orders.
    fn permuted(&self, rows: &[usize], columns: &[usize]) -> Matrix {
        let values = rows
            .iter()
            .flat_map(|&r| columns.iter().map(move |&c| self.at(r, c)))
            .collect();
        Matrix {
            rows: rows.len(),
            columns: columns.len(),
            values,
        }
    }

    /// The pairs of rows and columns with the largest sum.
    pub(crate) fn most(&self) -> Vec<(usize, usize)> {
        let cost: Vec<f64> = self.values.iter().map(|v| -v).collect();
        least(self.rows, self.columns, &cost)
    }

    /// The pairs of rows and columns by descending entry; of equal entries the first in row order.
    fn greedy(&self) -> Vec<(usize, usize)> {
        let mut order: Vec<usize> = (0..self.values.len())
            .filter(|&i| self.values[i] > 0.0)
            .collect();
        order.sort_by(|&a, &b| self.values[b].total_cmp(&self.values[a]).then(a.cmp(&b)));
        let (mut row_free, mut column_free) = (vec![true; self.rows], vec![true; self.columns]);
        let mut pairs = Vec::new();
        for i in order {
            let (row, column) = (i / self.columns, i % self.columns);
            if row_free[row] && column_free[column] {
                (row_free[row], column_free[column]) = (false, false);
                pairs.push((row, column));
            }
        }
        pairs
    }
}

/// The pairs of rows and columns with the least cost.
pub(crate) fn least(rows: usize, columns: usize, cost: &Vec<f64>) -> Vec<(usize, usize)> {
    // The crate rejects NaN and infinity, which come only from an overflow of times; then no speaker is mapped.
    let (rows, columns) = lsap::solve(rows, columns, cost, false).unwrap_or_default();
    rows.into_iter().zip(columns).collect()
}

/// For each label of `from` (rows), the label of `to` (columns) that it is mapped to. Equally good mappings are chosen by the
/// order of the [`Names`].
pub(crate) fn map(
    from: &Tracks,
    from_names: Names,
    to: &Tracks,
    to_names: Names,
    how: Mapping,
) -> Vec<Option<usize>> {
    let rows = from_names.order(from.labels.len());
    let columns = to_names.order(to.labels.len());
    let matrix = cooccurrence(from, to).permuted(&rows, &columns);
    let pairs = match how {
        Mapping::Optimal => matrix.most(),
        Mapping::Greedy => matrix.greedy(),
    };
    let mut mapping = vec![None; rows.len()];
    for (row, column) in pairs {
        if matrix.at(row, column) > 0.0 {
            mapping[rows[row]] = Some(columns[column]);
        }
    }
    mapping
}

/// The names that pyannote gives the labels of a side before it sorts and maps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// A, B, ..., Z, AA, AB, ...: the reference. Sorted: A, AA, AB, ..., B, BA, ...
    Letters,
    /// 0, 1, 2, ...: the hypothesis. Sorted: 0, 1, 10, 11, ..., 2, 20, ...
    Digits,
}

impl Names {
    /// The labels 0..n in the order of their names as text.
    fn order(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_cached_key(|&label| match self {
            Names::Digits => label.to_string(),
            Names::Letters => track_name(label),
        });
        order
    }
}

/// Most repeats of a pair of equal turns that are added one by one, a bound of the time for odd files.
const MAX_REPEATS: f64 = 1000.0;

/// The distinct segments of a label, each with its number of repeats, and the largest end up to each.
#[derive(Clone, Default)]
struct Lane {
    segments: Vec<(Segment, f64)>,
    ends: Vec<f64>,
}

/// Seconds in common of each label of `a` (rows) with each label of `b` (columns); repeated tracks count repeatedly.
/// pyannote.core `Annotation.__mul__`, with the same order of summation.
pub(crate) fn cooccurrence(a: &Tracks, b: &Tracks) -> Matrix {
    let (rows, columns) = (lanes(a), lanes(b));
    let mut matrix = Matrix::zeros(rows.len(), columns.len());
    for (row, lane) in rows.iter().enumerate() {
        for &(segment, times) in &lane.segments {
            for (column, other) in columns.iter().enumerate() {
                let first = other.ends.partition_point(|&end| end <= segment.start);
                for (candidate, other_times) in &other.segments[first..] {
                    if candidate.start > segment.end {
                        break;
                    }
                    let shared = segment.intersection(candidate);
                    let duration = shared.end - shared.start;
                    if duration <= PRECISION || !segment.intersects(candidate) {
                        continue;
                    }
                    let entry = matrix.at_mut(row, column);
                    let repeats = times * other_times;
                    if repeats <= MAX_REPEATS {
                        // One by one, with the rounding of pyannote's sum.
                        for _ in 0..repeats as u32 {
                            *entry += duration;
                        }
                    } else {
                        *entry += duration * repeats;
                    }
                }
            }
        }
    }
    matrix
}

fn lanes(tracks: &Tracks) -> Vec<Lane> {
    let mut lanes = vec![Lane::default(); tracks.labels.len()];
    for track in &tracks.tracks {
        let lane = &mut lanes[track.label];
        match lane.segments.last_mut() {
            Some((segment, times)) if *segment == track.segment => *times += 1.0,
            _ => {
                let before = lane.ends.last().copied().unwrap_or(f64::NEG_INFINITY);
                lane.segments.push((track.segment, 1.0));
                lane.ends.push(before.max(track.segment.end));
            }
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_text() {
        assert_eq!(
            Names::Digits.order(12),
            [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        let order = Names::Letters.order(28);
        assert_eq!(order[..4], [0, 26, 27, 1]);
    }

    #[test]
    fn optimal_beats_greedy_where_the_largest_pair_is_a_trap() {
        let matrix = Matrix {
            rows: 2,
            columns: 2,
            values: vec![5.0, 4.0, 4.0, 0.0],
        };
        assert_eq!(matrix.most(), [(0, 1), (1, 0)]);
        assert_eq!(matrix.greedy(), [(0, 0)]);
    }
}
