//! Installed models: `NAME/REVISION` with bundles, licence, citation and a record.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use soundalike_convert::is_file_name;

use crate::{
    error::Error,
    file_hash::size_and_sha256,
    lock::Lock,
    registry::{Kind, Model},
};

/// The record of an installed model, written last.
pub(crate) const RECORD: &str = "installed.json";
/// Version of the layout. A model with another version counts as not installed.
pub(crate) const RECORD_FORMAT: u32 = 1;
/// Largest record, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 1000;

/// The directory of installed models.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// An installed model.
#[derive(Debug, Clone)]
pub struct Installed {
    directory: PathBuf,
    record: Record,
}

/// `installed.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) kind: Kind,
    pub(crate) licence: String,
    /// The files here.
    pub(crate) files: Vec<InstalledFile>,
    /// The files from which they were converted.
    pub(crate) sources: Vec<InstalledFile>,
}

/// A file of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Its path in the model's directory.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// A file that is not as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It cannot be read.
    #[error("{}: cannot be read ({reason})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// It has other contents.
    #[error("{}: has SHA-256 {found}, expected {expected}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
        /// SHA-256 at the installation.
        expected: String,
    },
}

impl Store {
    /// The models in a directory, which need not exist.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `NAME/REVISION`.
    pub(crate) fn directory(&self, model: &Model) -> PathBuf {
        self.root.join(&model.name).join(&model.revision)
    }

    /// The model of a registry, if it is installed with the registry's revision and files. The contents of files are not
    /// verified.
    #[must_use]
    pub fn find(&self, model: &Model) -> Option<Installed> {
        let installed = Installed::read(&self.directory(model))?;
        let same = |(source, file): (&InstalledFile, &crate::ModelFile)| {
            source.path == file.path && source.sha256 == file.sha256
        };
        let sources = &installed.record.sources;
        let fits = sources.len() == model.files.len() && sources.iter().zip(&model.files).all(same);
        (fits && installed.is_complete()).then_some(installed)
    }

    /// All installed models, by name and revision, also those that no registry has.
    #[must_use]
    pub fn all(&self) -> Vec<Installed> {
        let names = directories(&self.root).into_iter();
        let revisions = names.flat_map(|name| directories(&name));
        revisions
            .filter_map(|path| Installed::read(&path))
            .collect()
    }

    /// Removes all revisions of a model, and its unfinished downloads. Returns the bytes that are free now.
    ///
    /// # Errors
    /// If there is none, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<u64, Error> {
        let directory = self.root.join(name);
        let is_here = || is_file_name(name) && !name.starts_with('.') && directory.is_dir();
        let nothing = || Error::NothingInstalled(name.to_owned());
        if !is_here() {
            return Err(nothing());
        }
        let _lock = Lock::acquire(&self.root, name, || {})?;
        // Another process may have removed it meanwhile.
        if !is_here() {
            return Err(nothing());
        }
        let size = size_below(&directory, 3);
        fs::remove_dir_all(&directory).map_err(Error::io("removing", &directory))?;
        Ok(size)
    }
}

impl Installed {
    /// The model in a directory with a record.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let path = directory.join(RECORD);
        let small = path.metadata().ok()?.len() <= MAX_RECORD_BYTES;
        let text = small.then(|| fs::read(&path).ok())??;
        let record: Record = serde_json::from_slice(&text).ok()?;
        // The record makes paths. One that was moved or edited makes none outside of its directory.
        let mut place = directory.iter().rev();
        let here = place.next() == Some(OsStr::new(&record.revision))
            && place.next() == Some(OsStr::new(&record.name))
            && record.files.iter().all(|file| is_file_name(&file.path));
        (here && record.format == RECORD_FORMAT).then(|| Self {
            directory: directory.to_owned(),
            record,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its revision.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.record.revision
    }

    /// Names of its licences.
    #[must_use]
    pub fn licence(&self) -> &str {
        &self.record.licence
    }

    /// What `--model` takes: the directory of a pipeline, or the bundle of a network.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self.record.kind {
            Kind::Pipeline => self.directory.clone(),
            Kind::Network => self.directory.join(network_file(&self.record.name)),
        }
    }

    /// The directory with its licence, citation and record.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files on disk.
    #[must_use]
    pub fn files(&self) -> &[InstalledFile] {
        &self.record.files
    }

    /// Size on disk, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files().iter().map(|file| file.size).sum()
    }

    /// Whether each file is here with its size.
    fn is_complete(&self) -> bool {
        self.files().iter().all(|file| {
            let found = self.directory.join(&file.path).metadata();
            found.is_ok_and(|found| found.len() == file.size)
        })
    }

    /// Whether [`Self::verify`] finds no damage.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.verify().is_empty()
    }

    /// Hashes every file again. Returns those that changed.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        let damage = |file: &InstalledFile| {
            let path = self.directory.join(&file.path);
            match size_and_sha256(&path) {
                Ok((_, found)) if found == file.sha256 => None,
                Ok((_, found)) => Some(Damage::Changed {
                    path,
                    found,
                    expected: file.sha256.clone(),
                }),
                Err(error) => Some(Damage::Unreadable {
                    path,
                    reason: error.to_string(),
                }),
            }
        };
        self.files().iter().filter_map(damage).collect()
    }
}

/// The bundle of a network.
pub(crate) fn network_file(name: &str) -> String {
    format!("{name}.safetensors")
}

/// The directories in a directory, in order, without hidden ones.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let shown = entries.take(MAX_ENTRIES).filter(|entry| {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        !hidden && entry.path().is_dir()
    });
    let mut found: Vec<_> = shown.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Size of all files below a directory.
fn size_below(directory: &Path, depth: usize) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => size_below(&entry.path(), depth - 1),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
