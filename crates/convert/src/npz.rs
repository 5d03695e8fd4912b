//! numpy's `.npz`: a zip of `.npy` arrays.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::borrow::Cow;

use crate::Dtype;
use crate::archive::Archive;
use crate::error::ErrorKind;

/// What is wrong with a numpy array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not an array at all.
    #[error("`{array}` is not a numpy array; the file is damaged")]
    NotAnArray {
        /// Its name in the archive.
        array: String,
    },
    /// A header that cannot be read.
    #[error("`{array}` has a header without a readable {part}: {found}")]
    Header {
        /// Its name in the archive.
        array: String,
        /// `descr`, `fortran_order` or `shape`.
        part: &'static str,
        /// The start of the header.
        found: String,
    },
    /// Elements that are Python objects, text, complex or big-endian numbers.
    #[error(
        "`{array}` has elements of type {found}, expected little-endian numbers; nothing was run"
    )]
    ElementType {
        /// Its name in the archive.
        array: String,
        /// numpy's name of the type.
        found: String,
    },
    /// More or fewer bytes than the shape says.
    #[error("`{array}` has {found} bytes of data, {expected} expected; the file is damaged")]
    Length {
        /// Its name in the archive.
        array: String,
        /// Bytes in the file.
        found: usize,
        /// Bytes of its shape.
        expected: usize,
    },
    /// An array that should be there.
    #[error("lacks the array `{array}`")]
    Missing {
        /// Its name in the archive.
        array: String,
    },
    /// An array of another number of dimensions.
    #[error("`{array}` has shape {found:?}, expected {expected}")]
    Shape {
        /// Its name in the archive.
        array: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// What they have to be.
        expected: &'static str,
    },
}

/// One array.
#[derive(Debug, Clone)]
pub(crate) struct Array<'a> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// First dimension fastest.
    fortran_order: bool,
    data: Cow<'a, [u8]>,
}

/// First bytes of an array.
const MAGIC: &[u8] = b"\x93NUMPY";
/// Most dimensions numpy can have.
const MAX_DIMENSIONS: usize = 64;

/// All arrays, in the order of the archive.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Array<'_>>, ErrorKind> {
    let mut archive = Archive::open(bytes)?;
    let mut arrays = Vec::new();
    for entry in archive.names() {
        let Some(name) = entry.strip_suffix(".npy") else {
            continue;
        };
        let data = archive.read(&entry, u64::MAX)?;
        arrays.push(Array::read(name, data)?);
    }
    Ok(arrays)
}

/// Whether a zip archive is one of numpy's: arrays and nothing else.
pub(crate) fn is_npz(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.ends_with(".npy"))
}

impl<'a> Array<'a> {
    fn read(name: &str, file: Cow<'a, [u8]>) -> Result<Self, NpzError> {
        let array = || name.to_owned();
        let not = || NpzError::NotAnArray { array: array() };
        let rest = file.strip_prefix(MAGIC).ok_or_else(not)?;
        // Version 1 has two bytes of length, 2 and 3 have four.
        let (header, data) = match *rest {
            [1, _, a, b, ref rest @ ..] => rest
                .split_at_checked(u16::from_le_bytes([a, b]).into())
                .ok_or_else(not)?,
            [2 | 3, _, a, b, c, d, ref rest @ ..] => {
                let len = u32::from_le_bytes([a, b, c, d]) as usize;
                rest.split_at_checked(len).ok_or_else(not)?
            }
            _ => return Err(not()),
        };
        let header = std::str::from_utf8(header).map_err(|_| not())?;
        let broken = |part| NpzError::Header {
            array: array(),
            part,
            found: header.chars().take(80).collect::<String>().trim().into(),
        };

        let descr = value(header, "descr").ok_or_else(|| broken("descr"))?;
        let descr = descr
            .trim_start()
            .strip_prefix(['\'', '"'])
            .and_then(|rest| rest.split(['\'', '"']).next());
        let descr = descr.ok_or_else(|| NpzError::ElementType {
            array: array(),
            found: "a structure".into(),
        })?;
        let dtype = match descr {
            "|b1" => Dtype::Bool,
            "|u1" => Dtype::U8,
            "|i1" => Dtype::I8,
            "<i2" => Dtype::I16,
            "<i4" => Dtype::I32,
            "<i8" => Dtype::I64,
            "<f2" => Dtype::F16,
            "<f4" => Dtype::F32,
            "<f8" => Dtype::F64,
            found => {
                return Err(NpzError::ElementType {
                    array: array(),
                    found: found.into(),
                });
            }
        };
        let order = value(header, "fortran_order").ok_or_else(|| broken("fortran_order"))?;
        let fortran_order = order.trim_start().starts_with("True");
        let shape = value(header, "shape")
            .and_then(|rest| rest.trim_start().strip_prefix('(')?.split_once(')'))
            .ok_or_else(|| broken("shape"))?
            .0;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|size| !size.is_empty())
            .take(MAX_DIMENSIONS)
            .map(str::parse)
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|_| broken("shape"))?;
        let expected = shape
            .iter()
            .try_fold(dtype.size(), |len, &size| len.checked_mul(size))
            .unwrap_or(usize::MAX);
        if data.len() != expected {
            return Err(NpzError::Length {
                array: array(),
                found: data.len(),
                expected,
            });
        }

        let start = file.len() - expected;
        let data = match file {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..]),
            Cow::Owned(mut bytes) => {
                bytes.drain(..start);
                Cow::Owned(bytes)
            }
        };
        Ok(Self {
            name: name.into(),
            dtype,
            shape,
            fortran_order,
            data,
        })
    }

    /// The elements in row-major order.
    pub(crate) fn elements(&self) -> Cow<'_, [u8]> {
        if !self.fortran_order || self.shape.len() < 2 || self.data.is_empty() {
            return Cow::Borrowed(&self.data);
        }
        // Column-major is row-major with the dimensions reversed.
        let size = self.dtype.size();
        let mut strides = Vec::with_capacity(self.shape.len());
        let mut stride = 1;
        for &dimension in &self.shape {
            strides.push(stride);
            stride *= dimension;
        }
        let mut gathered = Vec::with_capacity(self.data.len());
        for mut i in 0..self.data.len() / size {
            let mut at = 0;
            for (&dimension, stride) in self.shape.iter().zip(&strides).rev() {
                at += i % dimension * stride;
                i /= dimension;
            }
            gathered.extend_from_slice(&self.data[at * size..][..size]);
        }
        Cow::Owned(gathered)
    }
}

/// What follows `'key':` in the header, a Python dictionary.
fn value<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let rest = quoted
        .iter()
        .find_map(|key| header.split_once(key.as_str()))?
        .1;
    rest.trim_start().strip_prefix(':')
}
