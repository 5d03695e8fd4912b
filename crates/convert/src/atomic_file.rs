//! A file that appears whole or not at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// First characters of the names of temporary files.
const PREFIX: &str = ".soundalike-";

/// A file that appears at its destination whole or not at all.
///
/// It is written under a temporary name in the directory of the destination and renamed by [`Self::persist`]. The
/// temporary name is random and the file is created by this call or not at all: other programs that write to the same
/// destination, and what a killed one left behind, are never in the way and never removed. Dropped before it is
/// persisted, the temporary file is removed and the destination stays as it is.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    destination: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// What the system says where there can be no new file in the directory of `destination`.
    pub fn create(destination: &Path) -> io::Result<Self> {
        let directory = match destination.parent() {
            Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
            _ => Path::new("."),
        };
        // As any other new file: readable by those whom the umask lets, not by its owner only.
        let create = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).open(path)
        };
        let mut builder = tempfile::Builder::new();
        let temporary = builder.prefix(PREFIX).make_in(directory, create)?;
        Ok(Self {
            temporary,
            destination: destination.to_owned(),
        })
    }

    /// The temporary file once more, from its start.
    ///
    /// # Errors
    /// What the system says.
    pub fn reopen(&self) -> io::Result<File> {
        self.temporary.reopen()
    }

    /// Puts the file in its place, on disk before it gets its name. What was there under this name is replaced.
    ///
    /// # Errors
    /// What the system says. The temporary file is removed, and the destination is as it was.
    pub fn persist(self) -> io::Result<()> {
        self.temporary.as_file().sync_all()?;
        self.temporary.persist(self.destination)?;
        Ok(())
    }
}

impl Deref for AtomicFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.temporary.as_file()
    }
}

impl DerefMut for AtomicFile {
    fn deref_mut(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_when_it_is_persisted_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut dropped = AtomicFile::create(&path).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);

        // Two that write to one place: neither knows of the other, and the last one stays.
        let mut first = AtomicFile::create(&path).unwrap();
        let mut second = AtomicFile::create(&path).unwrap();
        first.write_all(b"first").unwrap();
        second.write_all(b"second").unwrap();
        second.persist().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        first.persist().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn an_error_is_the_systems_and_names_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a");
        let error = AtomicFile::create(&path).unwrap_err().to_string();
        assert!(error.starts_with("No such file"), "{error}");
        assert!(!error.contains(PREFIX), "{error}");
        fs::create_dir(folder.path().join("b")).unwrap();
        let file = AtomicFile::create(&folder.path().join("b")).unwrap();
        assert!(file.persist().is_err());
        assert_eq!(names(folder.path()), ["b"]);
    }
}
