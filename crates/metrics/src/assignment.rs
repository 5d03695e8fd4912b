//! Which hypothesis speaker is which reference speaker.
//!
//! The optimal assignment is that of the `lsap` crate, the shortest augmenting path algorithm of scipy's
//! `linear_sum_assignment`: O(n³) and exact on f64 without quantising. Equal speaking times are common (whole
//! milliseconds), and then several mappings are optimal; the Jaccard error rate depends on which one is taken.
//! So the matrix is summed in pyannote's order and its rows and columns stand in pyannote's order: the same
//! ties, and the same way out.

use crate::annotation::track_name;
use crate::tracks::Tracks;
use crate::{PRECISION, Segment};
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

    /// The same with the rows and columns in the given order.
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

    /// Rows and columns paired such that the sum is largest.
    pub(crate) fn most(&self) -> Vec<(usize, usize)> {
        let cost: Vec<f64> = self.values.iter().map(|v| -v).collect();
        least(self.rows, self.columns, &cost)
    }

    /// Rows and columns paired by taking the largest entry, then the next, ...; first of equals, row by row.
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

/// Rows and columns paired such that the cost is least.
pub(crate) fn least(rows: usize, columns: usize, cost: &Vec<f64>) -> Vec<(usize, usize)> {
    // The crate refuses NaN and infinity; sums of finite times hold neither short of an overflow, and then
    // nothing can be said about who is who.
    let (rows, columns) = lsap::solve(rows, columns, cost, false).unwrap_or_default();
    rows.into_iter().zip(columns).collect()
}

/// For each label of `from` the label of `to` that it is mapped to, if any.
///
/// `from` stands in the rows. The names by which pyannote sorts the labels decide ties: see [`Names`].
pub(crate) fn map(
    from: &Tracks,
    from_names: Names,
    to: &Tracks,
    to_names: Names,
    how: Mapping,
) -> Vec<Option<usize>> {
    let (rows, columns) = (
        from_names.order(from.labels.len()),
        to_names.order(to.labels.len()),
    );
    let matrix = cooccurrence(from, to).permuted(&rows, &columns);
    let pairs = match how {
        Mapping::Optimal => matrix.most(),
        Mapping::Greedy => matrix.greedy(),
    };
    let mut mapping = vec![None; from.labels.len()];
    for (row, column) in pairs {
        if matrix.at(row, column) > 0.0 {
            mapping[rows[row]] = Some(columns[column]);
        }
    }
    mapping
}

/// The names that pyannote gives labels before it maps them, and sorts them by.
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
        let mut order: Vec<(String, usize)> = (0..n).map(|i| (self.name(i), i)).collect();
        order.sort();
        order.into_iter().map(|(_, i)| i).collect()
    }

    fn name(self, i: usize) -> String {
        match self {
            Names::Digits => i.to_string(),
            Names::Letters => track_name(i),
        }
    }
}

/// Times that one pair of equal turns is added one by one; a file that repeats a turn more often is not worth the time.
const MAX_REPEATS: f64 = 1000.0;

/// One label's distinct segments with how often each stands there, and the largest end up to each.
struct Lane {
    segments: Vec<(Segment, f64)>,
    ends: Vec<f64>,
}

/// Seconds in common of each label of `a` (rows) with each label of `b` (columns), where tracks that stand
/// there several times count several times. pyannote.core `Annotation.__mul__`, entry by entry in the same
/// order of summation.
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
                    if shared.end - shared.start > PRECISION && segment.intersects(candidate) {
                        let entry = matrix.at_mut(row, column);
                        let duration = shared.end - shared.start;
                        let repeats = times * other_times;
                        if repeats <= MAX_REPEATS {
                            // One by one, as pyannote adds them: the same rounding.
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
    }
    matrix
}

fn lanes(tracks: &Tracks) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = tracks
        .labels
        .iter()
        .map(|_| Lane {
            segments: Vec::new(),
            ends: Vec::new(),
        })
        .collect();
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
