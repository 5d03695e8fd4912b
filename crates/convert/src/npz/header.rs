//! The header of a `.npy` file: magic number, length, and a Python dictionary as text.

use std::io::Read;

use super::NpzError;
use crate::{Dtype, error::ErrorKind, name::shown};

/// First bytes of an array.
const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest dictionary in bytes. numpy refuses more than 10,000.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Most dimensions of numpy.
const MAX_DIMENSIONS: usize = 64;

/// The header of an array.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// The element type under numpy's name.
    pub(super) descr: String,
    /// `None` for elements that are not real numbers.
    pub(super) dtype: Option<Dtype>,
    /// Whether the bytes of an element are in the order of its digits.
    pub(super) big_endian: bool,
    pub(super) shape: Vec<usize>,
    /// Whether the elements are in column-major order.
    pub(super) fortran_order: bool,
    /// First byte of the data.
    pub(super) start: u64,
}

impl Header {
    /// Reads the header of a `.npy` file, and nothing beyond it. `failed` converts the errors of `file`.
    pub(super) fn read(
        name: &str,
        file: &mut impl Read,
        failed: impl Fn(std::io::Error) -> ErrorKind,
    ) -> Result<Self, ErrorKind> {
        let not = || NpzError::NotAnArray(name.into());
        let mut take = |len: usize| -> Result<Vec<u8>, ErrorKind> {
            let mut bytes = Vec::new();
            file.take(len as u64)
                .read_to_end(&mut bytes)
                .map_err(&failed)?;
            if bytes.len() == len {
                Ok(bytes)
            } else {
                Err(not().into())
            }
        };
        let before = take(MAGIC.len() + 2)?;
        // The length has two bytes in version 1, four in versions 2 and 3.
        let width = match before.strip_prefix(MAGIC) {
            Some([1, _]) => 2,
            Some([2 | 3, _]) => 4,
            _ => return Err(not().into()),
        };
        let digits = take(width)?;
        let len = digits
            .iter()
            .rev()
            .fold(0, |len, &digit| len << 8 | usize::from(digit));
        if len > MAX_HEADER_BYTES {
            return Err(NpzError::Header {
                array: name.into(),
                part: "length",
                found: format!("{len} bytes"),
            }
            .into());
        }
        let text = String::from_utf8(take(len)?).map_err(|_| not())?;
        let start = (before.len() + width + len) as u64;
        Ok(Self::parse(name, &text, start)?)
    }

    /// Parses the dictionary.
    fn parse(name: &str, header: &str, start: u64) -> Result<Self, NpzError> {
        let broken = |part| NpzError::Header {
            array: name.into(),
            part,
            found: shown(header.trim()),
        };
        let descr = value(header, "descr").ok_or_else(|| broken("descr"))?;
        let descr = descr
            .trim_start()
            .strip_prefix(['\'', '"'])
            .and_then(|rest| rest.split(['\'', '"']).next())
            .unwrap_or("a structure");
        let big_endian = descr.starts_with('>');
        let little = match (descr.strip_prefix('>'), descr) {
            (Some(kind), _) => format!("<{kind}"),
            // Two bytes of no type: ml_dtypes writes bfloat16 so.
            (None, "<V2") => "|V2".to_owned(),
            (None, descr) => descr.to_owned(),
        };
        let dtype = Dtype::find(|names| !descr.is_empty() && names.numpy == little);
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
            .map(str::parse)
            .collect::<Result<Vec<usize>, _>>()
            .ok()
            .filter(|shape| shape.len() <= MAX_DIMENSIONS)
            .ok_or_else(|| broken("shape"))?;
        Ok(Self {
            descr: descr.into(),
            dtype,
            big_endian,
            shape,
            fortran_order,
            start,
        })
    }

    /// Compares the length of the file with the shape, if the elements are numbers.
    pub(super) fn check_len(&self, name: &str, file: u64) -> Result<(), NpzError> {
        let Some(dtype) = self.dtype else {
            return Ok(());
        };
        let expected = dtype.bytes_of(&self.shape);
        let expected = expected.map_or(u64::MAX, |len| len as u64);
        let found = file.saturating_sub(self.start);
        if found != expected {
            return Err(NpzError::Length {
                array: name.into(),
                found,
                expected,
            });
        }
        Ok(())
    }
}

/// The text after `'key':` in the dictionary.
fn value<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let rest = quoted
        .iter()
        .find_map(|key| header.split_once(key.as_str()))?
        .1;
    rest.trim_start().strip_prefix(':')
}
