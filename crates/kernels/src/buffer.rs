//! Aligned and reusable memory for activations.

use std::{
    fmt,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Values of one cache line, and of the widest register.
pub(crate) const LINE: usize = 16;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values aligned to a cache line.
#[derive(Clone, Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(len);
        buffer
    }

    /// Resizes to `len`. Existing values are kept; added values are unspecified (zero or stale).
    pub(crate) fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if lines > self.lines.capacity() {
            self.lines.reserve_exact(lines - self.lines.len());
            in_large_pages(self.lines.spare_capacity_mut());
        }
        // Lines are never removed: growing again later need not initialise them again.
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        self.len = len;
    }

    /// Values that fit without allocation.
    fn capacity(&self) -> usize {
        self.lines.capacity() * LINE
    }
}

/// Advises the system to use large pages for memory that was not touched yet. With small pages, address translation takes a
/// tenth of the time of a convolution over images larger than a cache.
#[cfg(target_os = "linux")]
fn in_large_pages(memory: &mut [MaybeUninit<Line>]) {
    /// Large page of x86-64, and of 64-bit ARM with pages of 4 KiB.
    const LARGE_PAGE: usize = 2 << 20;
    let bytes = std::mem::size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(LARGE_PAGE);
    let Some(inside) = bytes.checked_sub(before) else {
        return;
    };
    let inside = inside / LARGE_PAGE * LARGE_PAGE;
    if inside > 0 {
        // SAFETY: `before + inside <= bytes`, so the range is within `memory`, which is exclusively borrowed. The advice
        // does not change its contents, and a system that does not support it returns an error without effect.
        unsafe { libc::madvise(start.add(before).cast(), inside, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages(_: &mut [MaybeUninit<Line>]) {}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `[f32; LINE]` without padding, all `lines` are initialised, and `resize` keeps at least
        // `len.div_ceil(LINE)` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl FromIterator<f32> for Buffer {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        let values: Vec<f32> = values.into_iter().collect();
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(&values);
        buffer
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[f32; {}]", self.len)
    }
}

/// Unused buffers. Allocating fresh memory takes the system as long as a convolution.
///
/// It keeps as many buffers as were ever in use at once, each with its largest capacity.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Vec<Buffer>>>);

impl Pool {
    /// A buffer of `len` unspecified values.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, so that the large ones stay available.
        let fitting = spare
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.capacity() >= len)
            .min_by_key(|(_, buffer)| buffer.capacity());
        let taken = fitting
            .map(|(index, _)| index)
            .or(spare.len().checked_sub(1));
        let mut buffer = taken
            .map(|index| spare.swap_remove(index))
            .unwrap_or_default();
        drop(spare);
        buffer.resize(len);
        buffer
    }

    /// Returns a buffer to the pool.
    pub(crate) fn give(&self, buffer: Buffer) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Images;

    #[test]
    fn images_return_their_memory_to_the_pool_they_came_from() {
        let pool = Pool::default();
        let images = Images::new(&pool, [1, 3, 5, 7]);
        let place = images.line(0, 0).as_ptr();
        assert!(Arc::ptr_eq(&images.pool().0, &pool.0));
        drop(images);
        assert_eq!(Images::new(&pool, [1, 3, 5, 7]).line(0, 0).as_ptr(), place);
    }

    #[test]
    fn the_smallest_buffer_that_fits_is_taken_and_else_one_grows() {
        let pool = Pool::default();
        for len in [100, 1000, 10] {
            pool.give(Buffer::zeros(len));
        }
        let taken = [500, 50, 200].map(|len| pool.take(len));
        assert_eq!(taken.each_ref().map(|buffer| buffer.len()), [500, 50, 200]);
        assert_eq!(taken[0].capacity(), 1000_usize.next_multiple_of(LINE));
        assert_eq!(taken[1].capacity(), 100_usize.next_multiple_of(LINE));
        assert!(pool.0.lock().is_ok_and(|spare| spare.is_empty()));
    }
}
