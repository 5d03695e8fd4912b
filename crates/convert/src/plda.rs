//! The PLDA: `plda.npz` and `xvec_transform.npz`. pyannote `PLDA`, `vbx_setup`.

use std::{borrow::Cow, io::Cursor, path::Path};

use crate::{
    Conversion, Dtype, Origin, Source,
    bundle::{Draft, Header},
    error::{Error, ErrorKind},
    files,
    npz::{Npz, NpzEntry, NpzError},
    source::{SourceFormat, sha256},
};
use soundalike_network::{Architecture, Plda};

/// File of the mean, the transform and the variances of the PLDA.
pub(crate) const PLDA_FILE: &str = "plda.npz";
/// File of the means and the matrix of the linear discriminant analysis.
pub(crate) const TRANSFORM_FILE: &str = "xvec_transform.npz";

/// Both files.
pub(crate) const FILES: [&str; 2] = [PLDA_FILE, TRANSFORM_FILE];

/// Whether a directory holds a PLDA.
pub(crate) fn is_plda(directory: &Path) -> bool {
    FILES.iter().all(|file| directory.join(file).is_file())
}

/// Converts the two files in a directory.
pub(crate) fn convert(directory: &Path) -> Result<Conversion, Error> {
    let here = |kind: ErrorKind| kind.at(directory);
    let paths = FILES.map(|file| directory.join(file));
    let mut bytes = Vec::new();
    for path in &paths {
        bytes.push(files::read(path)?);
    }
    let mut archives = Vec::new();
    let mut arrays = Vec::new();
    for ((file, path), bytes) in FILES.iter().zip(&paths).zip(&bytes) {
        // No allowance for small archives: trained weights hardly compress.
        let npz = Npz::parse(Cursor::new(bytes), 0).map_err(|kind| kind.at(path))?;
        for entry in npz.entries() {
            let dtype = entry.number().map_err(|e| ErrorKind::from(e).at(path))?;
            arrays.push((*file, entry.clone(), dtype));
        }
        archives.push((path, npz));
    }
    let sha256 = sha256(bytes.iter().map(Vec::as_slice));
    let header = header(&arrays, sha256).map_err(here)?;
    // The header limits their size.
    let mut elements = Vec::new();
    for (path, npz) in &mut archives {
        for entry in npz.entries().to_vec() {
            let read = npz.elements(entry.name());
            elements.push(read.map_err(|kind| kind.at(*path))?);
        }
    }
    let tensors = arrays.iter().zip(&elements).map(|(array, elements)| {
        let (file, entry, dtype) = array;
        let elements = || Cow::Borrowed(&**elements);
        let origin = Origin::array(*file, entry.name());
        (
            Draft::new(entry.name(), *dtype, entry.shape(), elements),
            origin,
        )
    });
    Conversion::assemble(&header, tensors.collect()).map_err(here)
}

/// The header of a bundle of these arrays, given with their file and type.
fn header(arrays: &[(&str, NpzEntry, Dtype)], sha256: String) -> Result<Header, ErrorKind> {
    let mut entries = arrays.iter().map(|(_, entry, _)| entry);
    let lda = entries.find(|entry| entry.name() == "lda");
    let lda = lda.ok_or_else(|| NpzError::Missing("lda".into()))?;
    let &[embedding_dim, lda_dim] = lda.shape() else {
        return Err(ErrorKind::from(NpzError::Shape {
            array: lda.name().into(),
            found: lda.shape().to_vec(),
            expected: "a matrix",
        }));
    };
    let architecture = Architecture::Plda(Plda {
        embedding_dim,
        lda_dim,
    });
    let source = Source::new(FILES.join(" + "), SourceFormat::PldaNpz, sha256);
    let header = Header::new(architecture, None, source, Vec::new())?;
    let found = arrays
        .iter()
        .map(|(_, entry, dtype)| (entry.name(), *dtype, entry.shape()));
    header.check_tensors(found)?;
    Ok(header)
}
