//! Input files of a command, identified by file and not by path.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use soundalike_convert::input_files;

/// The same for all paths of a file, through symbolic and hard links too.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);
#[cfg(not(unix))]
pub(super) type Identity = same_file::Handle;

/// The file at `path`; `None` if there is none, and for a directory, a device or a pipe, which are not replaced.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    let found = path.metadata().ok().filter(fs::Metadata::is_file)?;
    of(path, &found)
}

/// Does not open the file, which may be unreadable.
#[cfg(unix)]
fn of(_: &Path, found: &fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn of(path: &Path, _: &fs::Metadata) -> Option<Identity> {
    same_file::Handle::from_path(path).ok()
}

/// All files that a command reads. A missing file is skipped: reading it reports the error.
#[derive(Default)]
pub(crate) struct Inputs {
    /// Each with its role: "recording".
    files: HashMap<Identity, String>,
}

impl Inputs {
    /// Adds the files at `paths`, whose role is `what`.
    pub(crate) fn files<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
        what: &str,
    ) -> Self {
        for path in paths {
            if let Some(file) = identity(path.as_ref()) {
                self.files.entry(file).or_insert_with(|| what.to_owned());
            }
        }
        self
    }

    /// Adds the model at each of `paths`, whose role is `what`: a file, or all files of a directory.
    pub(crate) fn models<'a>(
        mut self,
        paths: impl IntoIterator<Item = &'a PathBuf>,
        what: &str,
    ) -> Self {
        for path in paths {
            self = match path.is_dir() {
                true => self.files(input_files(path), &format!("file of the {what}")),
                false => self.files([path], what),
            };
        }
        self
    }

    /// Adds the files in `directories` that have one of `extensions`; their role is `what`.
    pub(crate) fn directories<'a>(
        mut self,
        directories: impl IntoIterator<Item = &'a PathBuf>,
        extensions: &[&str],
        what: &str,
    ) -> Self {
        for directory in directories {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let paths = entries.map(|entry| entry.path());
            let read = |path: &PathBuf| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                extension.is_some_and(|extension| extensions.contains(&extension))
            };
            self = self.files(paths.filter(read), what);
        }
        self
    }

    /// The role of `file`, if it is an input.
    pub(super) fn what(&self, file: &Identity) -> Option<&str> {
        self.files.get(file).map(String::as_str)
    }
}
