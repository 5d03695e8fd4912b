//! What can be wrong with a numpy archive.

use crate::Dtype;
use crate::name::quoted_name;

/// What is wrong with a numpy array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not a zip archive at all.
    #[error("is not a numpy archive (.npz): starts with {0}")]
    NotAnArchive(String),
    /// Not an array at all.
    #[error("{} is not a numpy array; the file is damaged", quoted_name(.0))]
    NotAnArray(String),
    /// A header that cannot be read.
    #[error("{} has a header without a readable {part}: {found}", quoted_name(.array))]
    Header {
        /// Its name in the archive.
        array: String,
        /// `length`, `descr`, `fortran_order` or `shape`.
        part: &'static str,
        /// The start of the header, or its length.
        found: String,
    },
    /// Elements that are Python objects, text, complex or big-endian numbers.
    #[error(
        "{} has elements of type {found}, expected little-endian numbers; nothing was run",
        quoted_name(.array)
    )]
    ElementType {
        /// Its name in the archive.
        array: String,
        /// numpy's name of the type.
        found: String,
    },
    /// Numbers of another type than was asked for, which it does not hold exactly.
    #[error("{} has elements of type {found}, expected {expected}", quoted_name(.array))]
    OtherType {
        /// Its name in the archive.
        array: String,
        /// The type in the file.
        found: Dtype,
        /// The types that can be read as what was asked for.
        expected: &'static str,
    },
    /// Column-major order.
    #[error("{} is in Fortran order; save numpy.ascontiguousarray of it", quoted_name(.0))]
    FortranOrder(String),
    /// More bytes in all arrays together than a file of this length is meant to hold: a zip bomb.
    #[error(
        "numpy archive declares {found} bytes of arrays, more than the {limit} that can be meant"
    )]
    TooLarge {
        /// Bytes of all its entries.
        found: u64,
        /// Bytes that are read.
        limit: u64,
    },
    /// More or fewer bytes than the shape says.
    #[error("{} has {found} bytes of data, {expected} expected; the file is damaged", quoted_name(.array))]
    Length {
        /// Its name in the archive.
        array: String,
        /// Bytes in the file.
        found: u64,
        /// Bytes of its shape.
        expected: u64,
    },
    /// An array that should be there.
    #[error("lacks the array {}", quoted_name(.0))]
    Missing(String),
    /// An array of another number of dimensions.
    #[error("{} has shape {found:?}, expected {expected}", quoted_name(.array))]
    Shape {
        /// Its name in the archive.
        array: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// What they have to be.
        expected: &'static str,
    },
}
