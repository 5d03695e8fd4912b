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

/// What an array says about itself before its data.
pub(crate) struct Header {
    pub(crate) name: String,
    /// numpy's name of the element type.
    pub(crate) descr: String,
    /// `None` for elements that are not little-endian numbers.
    pub(crate) dtype: Option<Dtype>,
    pub(crate) shape: Vec<usize>,
    fortran_order: bool,
    /// First byte of the data.
    start: usize,
}

/// Longest header, with what is before it. numpy itself refuses more than 10,000 bytes.
const MAX_HEADER_BYTES: u64 = 1 << 16;

/// What the arrays say about themselves, without reading their data: a trace may be large, and one
/// of silence shrinks to almost nothing.
pub(crate) fn headers(bytes: &[u8]) -> Result<Vec<Header>, ErrorKind> {
    let mut archive = Archive::open(bytes)?;
    let mut headers = Vec::new();
    for entry in archive.names() {
        let Some(name) = entry.strip_suffix(".npy") else {
            continue;
        };
        let header = Header::read(name, &archive.start(&entry, MAX_HEADER_BYTES)?)?;
        let len = usize::try_from(archive.len(&entry)?).unwrap_or(usize::MAX);
        if header.dtype.is_some() {
            header.check_len(len)?;
        }
        headers.push(header);
    }
    Ok(headers)
}

impl Header {
    /// Reads the start of a `.npy` file.
    fn read(name: &str, file: &[u8]) -> Result<Self, NpzError> {
        let array = || name.to_owned();
        let not = || NpzError::NotAnArray { array: array() };
        let rest = file.strip_prefix(MAGIC).ok_or_else(not)?;
        // Version 1 has two bytes of length, 2 and 3 have four.
        let (header, rest) = match *rest {
            [1, _, a, b, ref rest @ ..] => rest
                .split_at_checked(u16::from_le_bytes([a, b]).into())
                .ok_or_else(not)?,
            [2 | 3, _, a, b, c, d, ref rest @ ..] => {
                let len = u32::from_le_bytes([a, b, c, d]) as usize;
                rest.split_at_checked(len).ok_or_else(not)?
            }
            _ => return Err(not()),
        };
        let start = file.len() - rest.len();
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
            .and_then(|rest| rest.split(['\'', '"']).next())
            .unwrap_or("a structure");
        let dtype = match descr {
            "|b1" => Some(Dtype::Bool),
            "|u1" => Some(Dtype::U8),
            "|i1" => Some(Dtype::I8),
            "<i2" => Some(Dtype::I16),
            "<i4" => Some(Dtype::I32),
            "<i8" => Some(Dtype::I64),
            "<f2" => Some(Dtype::F16),
            "<f4" => Some(Dtype::F32),
            "<f8" => Some(Dtype::F64),
            _ => None,
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
        let (name, descr) = (name.into(), descr.into());
        Ok(Self {
            name,
            descr,
            dtype,
            shape,
            fortran_order,
            start,
        })
    }

    /// Compares the length of the file with the shape; gives the element type.
    fn check_len(&self, file: usize) -> Result<Dtype, NpzError> {
        let dtype = self.dtype.ok_or_else(|| NpzError::ElementType {
            array: self.name.clone(),
            found: self.descr.clone(),
        })?;
        let expected = self
            .shape
            .iter()
            .try_fold(dtype.size(), |len, &size| len.checked_mul(size))
            .unwrap_or(usize::MAX);
        let found = file.saturating_sub(self.start);
        if found != expected {
            let array = self.name.clone();
            return Err(NpzError::Length {
                array,
                found,
                expected,
            });
        }
        Ok(dtype)
    }
}

impl<'a> Array<'a> {
    fn read(name: &str, file: Cow<'a, [u8]>) -> Result<Self, NpzError> {
        let header = Header::read(name, &file)?;
        let dtype = header.check_len(file.len())?;
        let data = match file {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[header.start..]),
            Cow::Owned(mut bytes) => {
                bytes.drain(..header.start);
                Cow::Owned(bytes)
            }
        };
        Ok(Self {
            name: header.name,
            dtype,
            shape: header.shape,
            fortran_order: header.fortran_order,
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
