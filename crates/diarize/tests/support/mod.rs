//! Where the real recordings and pyannote's results are.

#![allow(
    dead_code,
    clippy::panic,
    clippy::print_stdout,
    reason = "each test program uses a part of it, and helpers may panic and print like the tests themselves"
)]

#[path = "../../../../tests/support/assets.rs"]
pub(crate) mod data;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::{Array, Dimension};
use ndarray_npy::{NpzReader, ReadNpyExt, ReadableElement};

pub(crate) use data::assets;

/// What pyannote.audio computed with the real community-1 pipeline on one recording, stage by stage.
pub(crate) struct Capture {
    directory: PathBuf,
}

impl Capture {
    pub(crate) fn new(assets: &Path, name: &str) -> Self {
        let directory = assets.join("pyannote-captures").join(name);
        Self { directory }
    }

    /// A file of it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The array `name` of `file`.
    pub(crate) fn array<T: ReadableElement, D: Dimension>(
        &self,
        file: &str,
        name: &str,
    ) -> Array<T, D> {
        let open = File::open(self.path(file)).expect("a capture");
        let mut npz = NpzReader::new(open).expect("an npz file");
        let read = npz.by_name(name);
        read.unwrap_or_else(|error| panic!("{name} of {}: {error}", self.path(file).display()))
    }

    /// The only array of `file`.
    pub(crate) fn npy<T: ReadableElement, D: Dimension>(&self, file: &str) -> Array<T, D> {
        let open = File::open(self.path(file)).expect("a capture");
        Array::read_npy(open).expect("an npy file")
    }
}
