//! Consecutive rows of an image.

/// Consecutive rows of a result, and their inputs. All rows are `[column, channel]`.
pub(crate) struct Strip<'a> {
    /// Rows of the input, with their border: from the one above the first result to the one below the last, and as many
    /// more as whole tiles need.
    pub(crate) lines: Vec<&'a [f32]>,
    /// The residual of each row of the result; empty if there is none.
    pub(crate) residual: Vec<&'a [f32]>,
    /// The rows of the result, at least one.
    pub(crate) out: Vec<&'a mut [f32]>,
}
