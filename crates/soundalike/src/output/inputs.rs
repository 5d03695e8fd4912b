//! What a command reads, known by the files themselves and not by the paths that lead to them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use soundalike_convert::model_files;

/// One and the same for all paths that lead to a file, by symbolic and hard links too.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);
#[cfg(not(unix))]
pub(super) type Identity = same_file::Handle;

/// Which file is at `path`; `None` where none is, or a directory, a device or a pipe: these are not replaced.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    let found = path.metadata().ok().filter(fs::Metadata::is_file)?;
    of(path, &found)
}

/// Not opened: it need not be readable.
#[cfg(unix)]
fn of(_: &Path, found: &fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn of(path: &Path, _: &fs::Metadata) -> Option<Identity> {
    same_file::Handle::from_path(path).ok()
}

/// All files that a command reads. One that does not exist is no input; whoever reads it will report it.
#[derive(Default)]
pub(crate) struct Inputs {
    /// With what each is to the command: "the recording itself".
    files: HashMap<Identity, String>,
}

impl Inputs {
    /// With the files at `paths`, each of which is `what`.
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

    /// With all files of the model at each of `paths`, a file or a directory. `what` it is called.
    pub(crate) fn models<'a>(
        mut self,
        paths: impl IntoIterator<Item = &'a PathBuf>,
        what: &str,
    ) -> Self {
        for path in paths {
            self = match path.is_dir() {
                true => self.files(model_files(path), &format!("a file of the {what}")),
                false => self.files([path], &format!("the {what} itself")),
            };
        }
        self
    }

    /// With the files in each of `directories` whose names have one of `extensions`, each of which is `what`.
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

    /// What `file` is to the command, if it reads it.
    pub(super) fn what(&self, file: &Identity) -> Option<&str> {
        self.files.get(file).map(String::as_str)
    }
}
