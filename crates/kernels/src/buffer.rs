//! Memory for activations, aligned, and used again.

use std::{
    fmt,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Values of one cache line, which is the widest register as well.
pub(crate) const LINE: usize = 16;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values that start at a cache line.
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

    /// Makes it `len` long; what was there stays, what is added is 0 or what was there before.
    pub(crate) fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if lines > self.lines.capacity() {
            self.lines.reserve_exact(lines - self.lines.len());
            in_large_pages(self.lines.spare_capacity_mut());
        }
        // Never fewer: what is longer again later need not be written again.
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        self.len = len;
    }

    /// Values there is room for.
    fn capacity(&self) -> usize {
        self.lines.capacity() * LINE
    }
}

/// Asks the system for large pages behind memory that was not touched yet. With small ones, looking up where they are
/// takes a tenth of the time of a convolution over images that are larger than a cache.
#[cfg(target_os = "linux")]
fn in_large_pages(memory: &mut [MaybeUninit<Line>]) {
    /// Of the page tables of x86-64, and of 64-bit ARM with pages of 4 KiB.
    const LARGE_PAGE: usize = 2 << 20;
    let bytes = std::mem::size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(LARGE_PAGE);
    let Some(inside) = bytes.checked_sub(before) else {
        return;
    };
    let inside = inside / LARGE_PAGE * LARGE_PAGE;
    if inside > 0 {
        // SAFETY: the range is whole pages of memory that is ours; the advice does not change what is in it. A system
        // that knows no such advice refuses it, which costs nothing but time.
        unsafe { libc::madvise(start.add(before).cast(), inside, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages(_: &mut [MaybeUninit<Line>]) {}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and there are at least `len / 16` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, borrowed exclusively.
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

/// Buffers nobody uses at the moment: fresh memory costs the system as much time as a convolution.
///
/// It keeps as many as were ever in use at once, each as large as it was ever needed.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Buffer>>>);

impl Pool {
    /// A buffer of `len` values, whatever they are.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, so that the large ones stay for those who need them.
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

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Buffer) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(buffer);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
