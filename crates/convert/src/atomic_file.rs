//! Files that are written completely or not at all.

use std::{
    fs::File,
    io,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Prefix of the names of temporary files.
const PREFIX: &str = ".soundalike-";

/// A file that appears at its destination completely or not at all.
///
/// It is written under a temporary name in the directory of the destination; [`Self::persist`] renames it. The temporary
/// name is random and the file is always created anew, so it never collides with other programs or with the remains of
/// a killed one. A file dropped before `persist` is removed, and the destination stays unchanged.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    destination: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// The system's error if no file can be created in the directory of `destination`.
    pub fn create(destination: &Path) -> io::Result<Self> {
        // An empty path is the current directory.
        let directory = destination.parent().unwrap_or(Path::new(""));
        // With the permissions of any other new file (umask), not readable by its owner only.
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

    /// Opens the temporary file a second time, at its start.
    ///
    /// # Errors
    /// The system's error.
    pub fn reopen(&self) -> io::Result<File> {
        self.temporary.reopen()
    }

    /// Writes the file to disk and renames it. An existing file at the destination is replaced.
    ///
    /// # Errors
    /// The system's error. The temporary file is removed, and the destination stays unchanged.
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
    use std::{fs, io::Write};

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

        // Two writers of one destination do not interfere; the last one wins.
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
