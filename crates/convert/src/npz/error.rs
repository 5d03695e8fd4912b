//! Errors of numpy archives.

use crate::{Dtype, name::quoted_name};

/// An error of a numpy archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not a zip archive. Its first bytes are shown.
    #[error("is not a numpy archive (.npz): starts with {0}")]
    NotAnArchive(String),
    /// Not a safetensors file. Its first bytes are shown.
    #[error("is not a safetensors file: starts with {0}")]
    NotSafetensors(String),
    /// A folder without arrays.
    #[error("is a folder without .npy files")]
    NoArrays,
    /// An entry that is not an array.
    #[error("{} is not a numpy array; the file is damaged", quoted_name(.0))]
    NotAnArray(String),
    /// An unreadable header.
    #[error("{} has a header without a readable {part}: {found}", quoted_name(.array))]
    Header {
        /// Its name in the archive.
        array: String,
        /// `length`, `descr`, `fortran_order` or `shape`.
        part: &'static str,
        /// The start of the header, or its length.
        found: String,
    },
    /// Python objects, text or complex numbers.
    #[error(
        "{} has elements of type {found}, expected numbers; nothing was run",
        quoted_name(.array)
    )]
    ElementType {
        /// Its name in the archive.
        array: String,
        /// The type under numpy's name.
        found: String,
    },
    /// Numbers that the requested type does not represent exactly.
    #[error("{} has elements of type {found}, expected {expected}", quoted_name(.array))]
    OtherType {
        /// Its name in the archive.
        array: String,
        /// The type in the file.
        found: Dtype,
        /// The types that can be read as the requested type.
        expected: &'static str,
    },
    /// Arrays that are too large for the size of the file: a zip bomb.
    #[error("numpy archive declares {found} bytes of arrays, the limit is {limit}")]
    TooLarge {
        /// Bytes of all entries.
        found: u64,
        /// Most bytes accepted.
        limit: u64,
    },
    /// An array with another length than its shape.
    #[error("{} has {found} bytes of data, {expected} expected; the file is damaged", quoted_name(.array))]
    Length {
        /// Its name in the archive.
        array: String,
        /// Bytes in the file.
        found: u64,
        /// Bytes required by its shape.
        expected: u64,
    },
    /// A missing array.
    #[error("has no array {}", quoted_name(.0))]
    Missing(String),
    /// An array with another number of dimensions.
    #[error("{} has shape {found:?}, expected {expected}", quoted_name(.array))]
    Shape {
        /// Its name in the archive.
        array: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// The required dimensions.
        expected: &'static str,
    },
}
