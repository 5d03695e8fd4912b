//! The one product that everything is made of: a few rows, times packed columns.

use pulp::Simd;
use rayon::prelude::*;

use crate::{InstructionSet, buffer::Buffer};

/// Registers of columns that most tiles have.
pub(crate) const REGISTERS: usize = 2;

/// Products that are summed in one chain. The sums of the runs are then added: a chain of hundreds rounds hundreds of
/// times at its full size, this one some dozens of times at a fraction of it. Where a recording has ended, each frame is
/// as the one before, and errors do not average out: R 4.4 becomes 2.9. Of Winograd's convolutions, R 6.1 becomes 3.1.
const RUN: usize = 32;

/// Rows that lie `stride` apart (overlapping or not), `len` values of each.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) len: usize,
}

/// A matrix `[depth, columns]` in panels of as many columns as a tile has, each `[depth, panel]`; the last one
/// filled up with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    values: Buffer,
    depth: usize,
    columns: usize,
    width: usize,
}

impl Panels {
    /// Packs the matrix that has `at(row, column)`, for tiles of [`REGISTERS`] registers.
    pub(crate) fn new(
        instructions: InstructionSet,
        depth: usize,
        columns: usize,
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let width = REGISTERS * instructions.lanes();
        Self::with_width(width, depth, columns, at)
    }

    /// As [`Self::new`], for tiles of `width` columns.
    pub(crate) fn with_width(
        width: usize,
        depth: usize,
        columns: usize,
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let mut values = Buffer::zeros(columns.div_ceil(width) * depth * width);
        let panels = values.par_chunks_exact_mut((depth * width).max(1));
        panels.enumerate().for_each(|(panel, values)| {
            let columns = width.min(columns - panel * width);
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                for (lane, value) in values[..columns].iter_mut().enumerate() {
                    *value = at(row, panel * width + lane);
                }
            }
        });
        Self {
            values,
            depth,
            columns,
            width,
        }
    }

    /// Panels there are.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Columns of all.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of one panel.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One of them.
    pub(crate) fn panel(&self, index: usize) -> &[f32] {
        let len = self.depth * self.width;
        &self.values[index * len..][..len]
    }
}

/// The most rows of a tile that fit into the registers, with [`REGISTERS`] columns each.
pub(crate) const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
}

/// Sums of `R` rows times the `C` registers of one panel, from the first value of the first segment
/// to the last of the last one: fused multiply-adds in runs of [`RUN`], one after the other.
///
/// The segments follow each other down the panel; `R` rows must be there in each.
#[inline(always)]
pub(crate) fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    segments: &[Rows<'_>],
    panel: &[f32],
) -> [[S::f32s; C]; R] {
    let zeros = [[simd.splat_f32s(0.0); C]; R];
    let mut depth = 0;
    for rows in segments {
        assert!(rows.values.len() >= (R - 1) * rows.stride + rows.len);
        depth += rows.len;
    }
    assert!(panel.len() >= depth * C * S::F32_LANES);
    let mut columns = panel.as_ptr().cast::<S::f32s>();
    let (mut total, mut sums) = (zeros, zeros);
    let (mut left_over, mut runs) = (RUN, 0);
    for rows in segments {
        let (mut left, mut len) = (rows.values.as_ptr(), rows.len);
        while len > 0 {
            if left_over == 0 {
                add(simd, &mut total, &sums);
                (sums, left_over, runs) = (zeros, RUN, runs + 1);
            }
            let steps = len.min(left_over);
            for _ in 0..steps {
                // SAFETY: the panel has `depth` times `C` registers, of which these are the next; registers are
                // plain floats, aligned as such.
                let right: [_; C] =
                    std::array::from_fn(|column| unsafe { columns.add(column).read_unaligned() });
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: row `R - 1` has `len` values, asserted above, and `left` is less than that
                    // into row 0.
                    let value = simd.splat_f32s(unsafe { *left.add(row * rows.stride) });
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = simd.mul_add_f32s(value, right, *sum);
                    }
                }
                // SAFETY: at most one past the end of either.
                unsafe {
                    columns = columns.add(C);
                    left = left.add(1);
                }
            }
            (len, left_over) = (len - steps, left_over - steps);
        }
    }
    if runs > 0 {
        add(simd, &mut sums, &total);
    }
    sums
}

/// Adds `others` to `sums`.
#[inline(always)]
fn add<S: Simd, const R: usize, const C: usize>(
    simd: S,
    sums: &mut [[S::f32s; C]; R],
    others: &[[S::f32s; C]; R],
) {
    for (sums, others) in sums.iter_mut().zip(others) {
        for (sum, other) in sums.iter_mut().zip(others) {
            *sum = simd.add_f32s(*sum, *other);
        }
    }
}

/// Calls `$body` with a constant `$R` for tiles that together make `$rows` rows, and `$first` for where
/// each begins.
macro_rules! in_tiles {
    ($S:ty, $rows:expr, |$first:ident, $R:ident| $body:expr) => {{
        let (rows, mut $first) = ($rows, 0);
        while $first < rows {
            let left = rows - $first;
            if left >= 12 && $crate::product::most_rows::<$S>() >= 12 {
                const $R: usize = 12;
                $body;
                $first += $R;
            } else if left >= 8 && $crate::product::most_rows::<$S>() >= 8 {
                const $R: usize = 8;
                $body;
                $first += $R;
            } else if left >= 6 {
                const $R: usize = 6;
                $body;
                $first += $R;
            } else if left >= 4 {
                const $R: usize = 4;
                $body;
                $first += $R;
            } else if left >= 2 {
                const $R: usize = 2;
                $body;
                $first += $R;
            } else {
                const $R: usize = 1;
                $body;
                $first += $R;
            }
        }
    }};
}
pub(crate) use in_tiles;
