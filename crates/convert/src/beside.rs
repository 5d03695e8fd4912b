//! Files beside a file of weights that belong to it.

use std::path::{Path, PathBuf};

use crate::{
    error::Error,
    files,
    onnx::{self, Outside},
    told::Told,
};

/// What is beside a file.
#[derive(Default)]
pub(crate) struct Beside {
    /// What a `config.json` says of the network.
    pub(crate) told: Told,
    /// The files in which an ONNX export keeps its weights.
    pub(crate) weights: Outside,
}

impl Beside {
    /// What is beside the file `path` with these contents.
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let read = weights(path, bytes).map(|file| Ok((files::name(&file), files::read(&file)?)));
        Ok(Self {
            told: Told::beside(path),
            weights: read.collect::<Result<_, _>>()?,
        })
    }
}

/// The existing files beside an ONNX export in which it keeps its weights.
pub(crate) fn weights(path: &Path, bytes: &[u8]) -> impl Iterator<Item = PathBuf> {
    let names = match onnx::is_onnx(bytes) {
        true => onnx::outside(bytes),
        false => Default::default(),
    };
    let files = names.into_iter().map(|name| path.with_file_name(name));
    files.filter(|file| file.is_file())
}
