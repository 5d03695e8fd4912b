//! Shapes and strides.

/// Number of elements of a tensor. Its size was compared with the file, except that a dimension of 0 allows any others.
pub(crate) fn len_of(shape: &[usize]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().product()
}

/// The elements of a strided tensor in row-major order. Strides are in elements of `size` bytes.
pub(crate) fn row_major(data: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let len = len_of(shape);
    let mut elements = Vec::with_capacity(len * size);
    for mut index in 0..len {
        let mut at = 0;
        for (&dimension, stride) in shape.iter().zip(strides).rev() {
            at += index % dimension * stride;
            index /= dimension;
        }
        elements.extend_from_slice(&data[at * size..][..size]);
    }
    elements
}
