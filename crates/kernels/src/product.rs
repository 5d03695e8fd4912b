//! The product that all kernels use: a few rows times packed columns.

use std::hint::black_box;

use pulp::Simd;
use rayon::prelude::*;

use crate::{InstructionSet, buffer::Buffer};

/// Registers of columns in most tiles.
pub(crate) const REGISTERS: usize = 2;

/// Products that are summed in one chain. The sums of these runs are then added: a chain of hundreds rounds hundreds of
/// times at its full size, runs some dozens of times at a fraction of it. In the padding after a recording all frames are
/// equal, and errors do not average out: R 4.4 becomes 2.9. In Winograd's convolutions R 6.1 becomes 3.1.
const RUN: usize = 32;

/// Rows of `len` values, `stride` values from one to the next; they may overlap.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) len: usize,
}

/// A matrix `[depth, columns]` in panels of as many columns as a tile, each `[depth, width]`; the last one padded with
/// zeros.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    values: Buffer,
    depth: usize,
    columns: usize,
    width: usize,
}

impl Panels {
    /// Packs the matrix with the values `at(row, column)`, for tiles of [`REGISTERS`] registers.
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
        Self::by_panel(width, depth, columns, |first, columns, panel| {
            for (row, values) in panel.chunks_exact_mut(width).enumerate() {
                for (lane, value) in values[..columns].iter_mut().enumerate() {
                    *value = at(row, first + lane);
                }
            }
        })
    }

    /// As [`Self::with_width`]; `fill` gets the first column of each panel, its number of columns, and the panel, all
    /// zeros.
    pub(crate) fn by_panel(
        width: usize,
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut values = Buffer::zeros(columns.div_ceil(width) * depth * width);
        let panels = values.par_chunks_exact_mut((depth * width).max(1));
        panels.enumerate().for_each(|(panel, values)| {
            let first = panel * width;
            fill(first, width.min(columns - first), values);
        });
        Self {
            values,
            depth,
            columns,
            width,
        }
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of one panel.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One panel.
    pub(crate) fn panel(&self, index: usize) -> &[f32] {
        let len = self.depth * self.width;
        &self.values[index * len..][..len]
    }
}

/// The most rows of a tile whose sums fit into registers, with [`REGISTERS`] registers for each row.
pub(crate) const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
}

/// The product of `R` rows with the `C` registers of columns of one panel: fused multiply-adds in runs of at most [`RUN`]
/// values of one segment, in the order of the values.
///
/// The values of a row are split into `segments`, in the order of the panel; each must have `R` rows.
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
    if depth <= RUN {
        let mut sums = zeros;
        for rows in segments {
            // SAFETY: `rows.values` has `(R - 1) * stride + len` values, asserted above. `columns` has advanced by `C`
            // registers for each value of the segments before, and the panel has as many for all of them, asserted above.
            unsafe {
                sums = run(
                    simd,
                    rows.values.as_ptr(),
                    rows.stride,
                    columns,
                    rows.len,
                    sums,
                );
                columns = columns.add(rows.len * C);
            }
        }
        return sums;
    }
    let mut total = InMemory(zeros);
    let mut first_run = true;
    for rows in segments {
        for first in (0..rows.len).step_by(RUN) {
            let steps = RUN.min(rows.len - first);
            // SAFETY: as above, with `first + steps <= rows.len`; `columns` has also advanced by the runs before.
            let sums = unsafe {
                let left = rows.values.as_ptr().add(first);
                let sums = run(simd, left, rows.stride, columns, steps, zeros);
                columns = columns.add(steps * C);
                sums
            };
            if first_run {
                total.0 = sums;
            } else {
                for (total, sums) in total.0.iter_mut().zip(sums) {
                    for (total, sum) in total.iter_mut().zip(sums) {
                        *total = simd.add_f32s(*total, sum);
                    }
                }
            }
            first_run = false;
            // The total does not fit into registers. Without this, the compiler copies it on the stack for each run, which
            // takes longer than the additions.
            black_box(&mut total);
        }
    }
    total.0
}

/// Aligned to a cache line, so that no register crosses two.
#[repr(align(64))]
struct InMemory<T>(T);

/// Adds the products of `steps` values of `R` rows, `stride` apart, with as many times `C` registers of columns.
///
/// # Safety
/// `left` must be valid for reads of `(R - 1) * stride + steps` f32s and `columns` of `steps * C` registers. `columns` needs
/// only the alignment of an f32.
#[inline(always)]
unsafe fn run<S: Simd, const R: usize, const C: usize>(
    simd: S,
    left: *const f32,
    stride: usize,
    columns: *const S::f32s,
    steps: usize,
    mut sums: [[S::f32s; C]; R],
) -> [[S::f32s; C]; R] {
    // Every third row has a pointer; the addresses of the two rows after it are one and two strides behind it.
    let mut rows: [*const f32; 4] =
        std::array::from_fn(|base| left.wrapping_add(3 * base * stride));
    for step in 0..steps {
        rows[..R.div_ceil(3)].iter_mut().for_each(forget_origin);
        // SAFETY: `step < steps` and `column < C`, so the index is below `steps * C`.
        let right: [_; C] = std::array::from_fn(|column| unsafe {
            columns.add(step * C + column).read_unaligned()
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the pointer is `left + row * stride + step` with `row < R` and `step < steps`, within the
            // `(R - 1) * stride + steps` values.
            let value = simd.splat_f32s(unsafe { *rows[row / 3].add(row % 3 * stride) });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(value, right, *sum);
            }
        }
        for row in &mut rows {
            *row = row.wrapping_add(1);
        }
    }
    sums
}

/// Hides the origin of `pointer` from the compiler, which would otherwise compute each row's address by an addition, one
/// more instruction for each load, or keep one address for each row, more than there are registers.
#[inline(always)]
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "the pointer is returned, and nothing is read through it"
)]
fn forget_origin(pointer: &mut *const f32) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: the assembly is a comment: it has no instruction, and leaves the register unchanged.
    unsafe {
        std::arch::asm!(
            "/* {} */",
            inout(reg) * pointer,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// Runs `$body` for tiles that together have `$rows` rows, with the constant number of rows `$R` and the first row
/// `$first` of each.
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
