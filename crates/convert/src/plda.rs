//! The PLDA: `plda.npz` and `xvec_transform.npz`. pyannote `PLDA`, `vbx_setup`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::architecture::{Architecture, Plda};
use crate::bundle::{Draft, Header};
use crate::error::{Error, ErrorKind};
use crate::npz::{self, Array, NpzError};
use crate::source::{CONVERTER, Format, sha256};
use crate::{Bundle, Conversion, Origin, Source, files};

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
    let mut arrays: Vec<(&str, Array<'_>)> = Vec::new();
    let paths = FILES.map(|file| (file, directory.join(file)));
    let mut bytes = Vec::new();
    for (_, path) in &paths {
        bytes.push(files::read(path)?);
    }
    for ((file, path), bytes) in paths.iter().zip(&bytes) {
        let read = npz::read(bytes).map_err(|kind| kind.at(path))?;
        arrays.extend(read.into_iter().map(|array| (*file, array)));
    }
    assemble(&arrays, sha256(bytes.iter().map(Vec::as_slice))).map_err(|kind| kind.at(directory))
}

fn assemble(arrays: &[(&str, Array<'_>)], sha256: String) -> Result<Conversion, ErrorKind> {
    let lda = arrays
        .iter()
        .map(|(_, array)| array)
        .find(|array| array.name == "lda");
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
        .map(|(_, array)| (&*array.name, array.dtype, &*array.shape));
    header.architecture.check_tensors(found)?;

    let mut drafts = Vec::new();
    let mut origins = BTreeMap::new();
    for (file, array) in arrays {
        drafts.push(Draft {
            name: array.name.clone(),
            dtype: array.dtype,
            shape: array.shape.clone(),
            elements: Box::new(|| array.elements()),
        });
        let entry = format!("{}.npy", array.name);
        origins.insert(
            array.name.clone(),
            Origin::Array {
                file: (*file).into(),
                entry,
            },
        );
    }
    let bundle = Bundle::assemble(&header, &drafts)?;
    Ok(Conversion {
        bundle,
        origins,
        foreign_globals: Vec::new(),
    })
}
