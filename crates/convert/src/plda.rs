//! The PLDA: `plda.npz` and `xvec_transform.npz`. pyannote `PLDA`, `vbx_setup`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use crate::bundle::{Draft, Header};
use crate::error::{Error, ErrorKind};
use crate::npz::{Npz, NpzError};
use crate::source::{CONVERTER, Format, sha256};
use crate::{Bundle, Conversion, Dtype, Origin, Source, files};
use soundalike_network::{Architecture, Plda};

/// Mean, transform and variances of the PLDA.
pub(crate) const PLDA_FILE: &str = "plda.npz";
/// Means and matrix of the linear discriminant analysis.
pub(crate) const TRANSFORM_FILE: &str = "xvec_transform.npz";

/// Both.
pub(crate) const FILES: [&str; 2] = [PLDA_FILE, TRANSFORM_FILE];

/// Whether a directory holds a PLDA.
pub(crate) fn is_plda(directory: &Path) -> bool {
    FILES.iter().all(|file| directory.join(file).is_file())
}

/// Converts the two files in a directory.
pub(crate) fn convert(directory: &Path) -> Result<Conversion, Error> {
    let paths = FILES.map(|file| (file, directory.join(file)));
    let mut bytes = Vec::new();
    for (_, path) in &paths {
        bytes.push(files::read(path)?);
    }
    let mut arrays = Vec::new();
    for ((file, path), bytes) in paths.iter().zip(&bytes) {
        arrays.extend(list(file, bytes).map_err(|kind| kind.at(path))?);
    }
    let sha256 = sha256(bytes.iter().map(Vec::as_slice));
    let header = header(&arrays, sha256).map_err(|kind| kind.at(directory))?;
    // Read once they are known to be small.
    let mut elements = Vec::new();
    for ((_, path), bytes) in paths.iter().zip(&bytes) {
        elements.extend(read(bytes).map_err(|kind| kind.at(path))?);
    }
    assemble(&header, &arrays, &elements).map_err(|kind| kind.at(directory))
}

/// One array of one of the files.
struct Array {
    file: &'static str,
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// All arrays of one of the files, which hold numbers.
fn list(file: &'static str, bytes: &[u8]) -> Result<Vec<Array>, ErrorKind> {
    let npz = Npz::parse(Cursor::new(bytes), 0)?;
    let arrays = npz.entries().iter().map(|entry| {
        Ok(Array {
            file,
            name: entry.name().into(),
            dtype: entry.number()?,
            shape: entry.shape().to_vec(),
        })
    });
    arrays.collect()
}

/// Their elements in row-major order.
fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ErrorKind> {
    // Trained weights hardly compress.
    let mut npz = Npz::parse(Cursor::new(bytes), 0)?;
    let entries = npz.entries().to_vec();
    entries
        .iter()
        .map(|entry| npz.elements(entry.name()))
        .collect()
}

/// The header of the bundle that these arrays make.
fn header(arrays: &[Array], sha256: String) -> Result<Header, ErrorKind> {
    let lda = arrays.iter().find(|array| array.name == "lda");
    let lda = lda.ok_or_else(|| NpzError::Missing {
        array: "lda".into(),
    })?;
    let &[embedding_dim, lda_dim] = &lda.shape[..] else {
        let (array, found) = (lda.name.clone(), lda.shape.clone());
        return Err(NpzError::Shape {
            array,
            found,
            expected: "a matrix",
        }
        .into());
    };
    let architecture = Architecture::Plda(Plda {
        embedding_dim,
        lda_dim,
    });
    let file = format!("{PLDA_FILE} + {TRANSFORM_FILE}");
    let source = Source {
        file,
        format: Format::PldaNpz,
        sha256,
        converter: CONVERTER.into(),
    };
    let header = Header::new(architecture, None, source, Vec::new());
    header.check()?;
    let found = arrays
        .iter()
        .map(|array| (&*array.name, array.dtype, &*array.shape));
    header.check_tensors(found)?;
    Ok(header)
}

fn assemble(
    header: &Header,
    arrays: &[Array],
    elements: &[Vec<u8>],
) -> Result<Conversion, ErrorKind> {
    let mut drafts = Vec::new();
    let mut origins = BTreeMap::new();
    for (array, elements) in arrays.iter().zip(elements) {
        drafts.push(Draft {
            name: array.name.clone(),
            dtype: array.dtype,
            shape: array.shape.clone(),
            elements: Box::new(|| Cow::Borrowed(elements)),
        });
        let entry = format!("{}.npy", array.name);
        origins.insert(
            array.name.clone(),
            Origin::Array {
                file: array.file.into(),
                entry,
            },
        );
    }
    let bundle = Bundle::assemble(header, &drafts)?;
    Ok(Conversion {
        bundle,
        origins,
        foreign_globals: Vec::new(),
    })
}
