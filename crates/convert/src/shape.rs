//! Sizes of tensors, and the order of their elements.

/// Number of elements of a tensor that is not larger than its file. A dimension of 0 may stand beside any other.
pub(crate) fn len_of(shape: &[usize]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().product()
}

/// The elements of a tensor in row-major order. `strides` are the elements between neighbours, for each dimension;
/// an element has `size` bytes.
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
