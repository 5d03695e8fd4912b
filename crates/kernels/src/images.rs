//! Images of many channels, in the layout of the convolutions.

use std::ops::Range;

use rayon::prelude::*;

use crate::buffer::{Buffer, Pool};

/// Rows and columns of a tile of results.
pub(crate) const TILE: usize = 4;
/// Zeros around an image: the padding of a 3x3 kernel.
pub(crate) const BORDER: usize = 1;

/// A batch of images of one size, the channels of a pixel side by side, with a border of zeros.
///
/// Rows are padded with zeros to whole tiles.
#[derive(Debug)]
pub struct Images {
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
    values: Buffer,
    pool: Pool,
}

impl Images {
    /// Takes the memory for `batch` images of `channels` x `height` x `width` from `pool`, and returns it when dropped. The
    /// border is 0; the pixels are unspecified.
    #[must_use]
    pub fn new(pool: &Pool, [batch, channels, height, width]: [usize; 4]) -> Self {
        let mut images = Self {
            batch,
            channels,
            height,
            width,
            values: Buffer::default(),
            pool: pool.clone(),
        };
        images.values = pool.take(batch * images.image_len());
        images.clear_border();
        images
    }

    /// Images of values `[batch, channel, height, width]`.
    ///
    /// # Panics
    /// If `planes` has another length.
    #[must_use]
    pub fn from_planes(pool: &Pool, shape: [usize; 4], planes: &[f32]) -> Self {
        assert_eq!(planes.len(), shape.iter().product::<usize>());
        let mut images = Self::new(pool, shape);
        let pitch = images.pitch();
        let [_, channels, height, width] = shape;
        let image_len = images.image_len();
        if planes.is_empty() {
            return images;
        }
        for (image, planes) in images
            .values
            .chunks_exact_mut(image_len)
            .zip(planes.chunks_exact(channels * height * width))
        {
            for y in 0..height {
                let row = &mut image[(y + BORDER) * pitch + BORDER * channels..];
                for (x, pixel) in row.chunks_exact_mut(channels).take(width).enumerate() {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = planes[(channel * height + y) * width + x];
                    }
                }
            }
        }
        images
    }

    /// The values `[batch, channel, height, width]`.
    #[must_use]
    pub fn to_planes(&self) -> Vec<f32> {
        let [batch, channels, height, width] = self.shape();
        let mut planes = vec![0.0; batch * channels * height * width];
        let pitch = self.pitch();
        planes
            .par_chunks_exact_mut((height * width).max(1))
            .enumerate()
            .for_each(|(index, plane)| {
                let image = self.image(index / channels);
                let channel = index % channels;
                for (y, line) in plane.chunks_exact_mut(width).enumerate() {
                    let row = &image[(y + BORDER) * pitch + BORDER * channels..];
                    for (value, pixel) in line.iter_mut().zip(row.chunks_exact(channels)) {
                        *value = pixel[channel];
                    }
                }
            });
        planes
    }

    /// Batch size, channels, height and width.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        [self.batch, self.channels, self.height, self.width]
    }

    /// The pool of its memory.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Values from one row to the next.
    fn pitch(&self) -> usize {
        (self.width.next_multiple_of(TILE) + 2 * BORDER) * self.channels
    }

    /// Values from one image to the next. The border row above serves for all rows outside.
    fn image_len(&self) -> usize {
        (BORDER + self.height) * self.pitch()
    }

    /// One image, with its border.
    fn image(&self, index: usize) -> &[f32] {
        let len = self.image_len();
        &self.values[index * len..][..len]
    }

    /// One row with its border; zeros for a row outside the image.
    pub(crate) fn line(&self, index: usize, y: isize) -> &[f32] {
        let inside = (0..self.height as isize).contains(&y);
        let line = if inside { BORDER + y as usize } else { 0 };
        &self.image(index)[line * self.pitch()..][..self.pitch()]
    }

    /// The pixels of one row.
    pub(crate) fn row(&self, index: usize, y: usize) -> &[f32] {
        let row = &self.image(index)[(BORDER + y) * self.pitch()..];
        &row[BORDER * self.channels..][..self.width * self.channels]
    }

    /// The pixels of each row, with the index of its image and of the row.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = (usize, usize, &mut [f32])> {
        let (image_len, pitch, height) = (self.image_len(), self.pitch(), self.height);
        let inside = BORDER * self.channels..(BORDER + self.width) * self.channels;
        let images = self.values.chunks_exact_mut(image_len).enumerate();
        images.flat_map(move |(index, image)| {
            let inside = inside.clone();
            let rows = image[BORDER * pitch..].chunks_exact_mut(pitch).take(height);
            rows.enumerate()
                .map(move |(y, row)| (index, y, &mut row[inside.clone()]))
        })
    }

    /// The pixels of `rows` of one image, modulo its height: the rows of a ring buffer.
    pub(crate) fn some_rows_mut(&mut self, index: usize, rows: Range<usize>) -> Vec<&mut [f32]> {
        let height = self.height;
        let of_image = self.rows_mut().filter(|(image, _, _)| *image == index);
        let mut found: Vec<_> = of_image
            .map(|(_, y, row)| ((y + height - rows.start % height) % height, row))
            .filter(|(nth, _)| *nth < rows.len())
            .collect();
        found.sort_by_key(|(nth, _)| *nth);
        found.into_iter().map(|(_, row)| row).collect()
    }

    /// Fills the border with zeros.
    fn clear_border(&mut self) {
        let (pitch, depth) = (self.pitch(), self.channels);
        let (width, len) = (self.width, self.image_len());
        if len == 0 {
            return;
        }
        self.values.par_chunks_exact_mut(len).for_each(|image| {
            for (y, row) in image.chunks_exact_mut(pitch).enumerate() {
                if y < BORDER {
                    row.fill(0.0);
                } else {
                    row[..BORDER * depth].fill(0.0);
                    row[(BORDER + width) * depth..].fill(0.0);
                }
            }
        });
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_zero_in_memory_that_was_used() {
        let pool = Pool::default();
        for (channels, width) in (1..=5).flat_map(|channels| (1..=9).map(move |w| (channels, w))) {
            let mut used = pool.take(1 << 12);
            used.fill(f32::NAN);
            pool.give(used);
            let images = Images::new(&pool, [2, channels, 3, width]);
            for (image, y) in [0, 1]
                .into_iter()
                .flat_map(|i| (-1..=3).map(move |y| (i, y)))
            {
                let line = images.line(image, y);
                let pixels = BORDER * channels..(BORDER + width) * channels;
                let inside = (0..3).contains(&y);
                for (place, value) in line.iter().enumerate() {
                    let zero = *value == 0.0;
                    assert!(
                        zero || inside && pixels.contains(&place),
                        "{channels} channels, {width} columns: line {y}, value {place}"
                    );
                }
            }
        }
    }
}
