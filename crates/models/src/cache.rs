//! The hub's cache, as its own library writes it.
//!
//! `models--OWNER--NAME/snapshots/COMMIT/PATH` are links to `blobs/`. The blob of a large file is named by its SHA-256, so
//! it can be verified without a request. `refs/main` holds the commit of the branch. Copies without links have no blobs.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use soundalike_convert::{is_file_name, quoted_name};

use crate::{
    error::Error,
    file_hash::size_and_sha256,
    registry::{Model, ModelFile, is_sha256},
};

/// First part of the name of a model's folder.
const PREFIX: &str = "models--";
/// Longest name of a commit in `refs/`, in bytes.
const MAX_REF_BYTES: u64 = 256;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 1000;
/// Deepest file of a snapshot.
const MAX_DEPTH: usize = 4;

/// The hub's cache.
#[derive(Debug, Clone)]
pub struct HubCache {
    root: PathBuf,
}

/// Why an entry of the cache cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A folder of a model without a snapshot.
    #[error("is a model's folder of the hub's cache without a snapshot; download the model again{}", unfinished(.0))]
    Empty(Vec<String>),
    /// A branch, tag or commit that is not there.
    #[error("has no revision {}; it has {}", quoted_name(.found), .known.join(", "))]
    Revision {
        /// What was asked for.
        found: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Several snapshots, none of which is the branch `main`.
    #[error("has several snapshots and no refs/main; give one: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// A file with other contents than its name in `blobs/` says.
    #[error(
        "has SHA-256 {found}, but its blob is named {expected}; the cache is damaged, download the model again"
    )]
    Damaged {
        /// SHA-256 of the file.
        found: String,
        /// Name of the blob.
        expected: String,
    },
}

/// The interrupted downloads of a folder, in words.
fn unfinished(blobs: &[String]) -> String {
    match blobs.first() {
        None => String::new(),
        Some(first) => format!(" ({first} is an interrupted download)"),
    }
}

impl HubCache {
    /// The cache in a directory, which need not exist.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether `path` is the folder of a model in a cache, wherever that is.
    #[must_use]
    pub fn is_folder(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(PREFIX)) && path.is_dir()
            || path.join("snapshots").is_dir() && path.join("refs").is_dir()
    }

    /// The folder of the model `OWNER/NAME`, if there is one.
    #[must_use]
    pub fn folder(&self, id: &str) -> Option<PathBuf> {
        let folder = self.root.join(format!("{PREFIX}{}", id.replace('/', "--")));
        folder.is_dir().then_some(folder)
    }

    /// The snapshot of a model's folder: that of `revision`, a branch, tag or commit; else that of `main`, else the only
    /// one.
    ///
    /// # Errors
    /// If there is none, or several without a `main`.
    pub fn snapshot(folder: &Path, revision: Option<&str>) -> Result<PathBuf, Error> {
        let wrong = |problem| Error::Cache {
            path: folder.to_owned(),
            problem,
        };
        let known = names(&folder.join("snapshots"));
        if known.is_empty() {
            let blobs = names(&folder.join("blobs")).into_iter();
            let unfinished = blobs.filter(|name| name.ends_with(".incomplete"));
            return Err(wrong(CacheError::Empty(unfinished.collect())));
        }
        let named = |revision: &str| {
            let commit = commit_of(folder, revision).unwrap_or_else(|| revision.to_owned());
            known.contains(&commit).then_some(commit)
        };
        let commit = match revision {
            Some(revision) => named(revision).ok_or_else(|| CacheError::Revision {
                found: revision.into(),
                known: known.clone(),
            }),
            None => match (named("main"), &known[..]) {
                (Some(commit), _) => Ok(commit),
                (None, [only]) => Ok(only.clone()),
                (None, _) => Err(CacheError::Ambiguous(known.clone())),
            },
        };
        Ok(folder.join("snapshots").join(commit.map_err(wrong)?))
    }

    /// A snapshot with every file of `model` as the registry has it: a cache hit that needs no request.
    #[must_use]
    pub fn verified(&self, model: &Model) -> Option<PathBuf> {
        let folders = model.hub.iter().filter_map(|id| self.folder(id));
        let mut snapshots = folders.flat_map(|folder| {
            let snapshots = folder.join("snapshots");
            names(&snapshots)
                .into_iter()
                .map(move |name| snapshots.join(name))
        });
        snapshots.find(|snapshot| {
            model
                .files
                .iter()
                .all(|file| holds(&snapshot.join(&file.path), file))
        })
    }

    /// A file of `model` in the cache, whatever model it was downloaded for. Its contents are not verified.
    pub(crate) fn file(&self, model: &Model, file: &ModelFile) -> Option<PathBuf> {
        let folders = names(&self.root)
            .into_iter()
            .filter(|name| name.starts_with(PREFIX));
        let mut blobs = folders.map(|name| self.root.join(name).join("blobs").join(&file.sha256));
        if let Some(blob) = blobs.find(|blob| blob.is_file()) {
            return Some(blob);
        }
        let folders = model.hub.iter().filter_map(|id| self.folder(id));
        let mut files = folders.flat_map(|folder| {
            let snapshots = folder.join("snapshots");
            let path = file.path.clone();
            let names = names(&snapshots).into_iter();
            names.map(move |name| snapshots.join(name).join(&path))
        });
        files.find(|found| found.metadata().is_ok_and(|found| found.len() == file.size))
    }

    /// Compares each file of a snapshot with the SHA-256 that its blob is named by, where it is.
    ///
    /// # Errors
    /// If one differs or cannot be read.
    pub fn verify_blobs(snapshot: &Path) -> Result<(), Error> {
        // A link to nothing is reported by whoever opens it.
        let files = files(snapshot, MAX_DEPTH).into_iter();
        for path in files.filter(|path| path.is_file()) {
            let Ok(target) = fs::read_link(&path) else {
                continue;
            };
            let blob = target.file_name().and_then(|name| name.to_str());
            let Some(expected) = blob.filter(|name| is_sha256(name)) else {
                continue;
            };
            let (_, found) = size_and_sha256(&path).map_err(Error::io("reading", &path))?;
            if found != expected {
                let expected = expected.to_owned();
                let problem = CacheError::Damaged { found, expected };
                return Err(Error::Cache { path, problem });
            }
        }
        Ok(())
    }
}

/// Whether `path` has the size and the SHA-256 of `file`.
pub(crate) fn holds(path: &Path, file: &ModelFile) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.len() == file.size)
        && size_and_sha256(path).is_ok_and(|(_, sha256)| sha256 == file.sha256)
}

/// The commit in `refs/REVISION`.
fn commit_of(folder: &Path, revision: &str) -> Option<String> {
    let mut path = folder.join("refs");
    for part in revision.split('/') {
        if !is_file_name(part) {
            return None;
        }
        path.push(part);
    }
    let mut text = String::new();
    let file = File::open(path).ok()?.take(MAX_REF_BYTES);
    { file }.read_to_string(&mut text).ok()?;
    let commit = text.trim();
    is_file_name(commit).then(|| commit.to_owned())
}

/// Names of what is in a directory, in order. Nothing if it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// The files below a directory that are links or plain files.
fn files(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(directory) {
        let path = directory.join(name);
        let is_directory = path.symlink_metadata().is_ok_and(|entry| entry.is_dir());
        match (is_directory, depth) {
            (false, _) => found.push(path),
            (true, 0) => {}
            (true, _) => found.extend(files(&path, depth - 1)),
        }
    }
    found
}
