//! Some rows of an image at a time.

/// Rows of a result, one below the other, and what they are made of. All rows are `[column, channel]`.
pub(crate) struct Strip<'a> {
    /// Rows of the input, with their border: from the one above what the first result lies over, to the one below what
    /// the last does, and as many more as whole tiles take.
    pub(crate) lines: Vec<&'a [f32]>,
    /// What is added to each row of the result, or nothing.
    pub(crate) residual: Vec<&'a [f32]>,
    /// The rows, at least one.
    pub(crate) out: Vec<&'a mut [f32]>,
}
