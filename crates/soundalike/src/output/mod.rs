//! What a command reads and what it writes: declared before its work, written whole or not at all.
//!
//! A command names all its [`Inputs`], then opens its [`Outputs`]. An output that is an input, that is another output,
//! or that cannot be written is refused then, before anything is computed. An [`Output`] that was opened is written
//! once the result is known.

mod inputs;

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use soundalike_convert::{AtomicFile, FILE_NAME, is_file_name, quoted_name};

pub(crate) use self::inputs::Inputs;
use self::inputs::{Identity, identity};

/// What may be written, and what must not be overwritten.
pub(crate) struct Outputs {
    inputs: Inputs,
    /// Files that exist and will be replaced.
    replaced: HashSet<Identity>,
    /// Where files will be, by whatever path they were given.
    places: HashSet<PathBuf>,
    /// Directories in which a file was created, to see whether it can be.
    writable: HashSet<PathBuf>,
}

impl Outputs {
    /// None yet, of a command that reads `inputs`.
    pub(crate) fn new(inputs: Inputs) -> Self {
        Self {
            inputs,
            replaced: HashSet::new(),
            places: HashSet::new(),
            writable: HashSet::new(),
        }
    }

    /// Opens `path`, which was given by `option`; stdout where there is none. A device or a pipe is written to, not
    /// replaced.
    pub(crate) fn open(&mut self, path: Option<&Path>, option: &str) -> anyhow::Result<Output> {
        match path {
            None => Ok(Output::Stdout),
            Some(path) if is_special(path) => special(path),
            Some(path) => self.open_file(path, option),
        }
    }

    /// As [`Self::open`], of what is read back while it is written. A device or a pipe is refused.
    pub(crate) fn open_file(&mut self, path: &Path, option: &str) -> anyhow::Result<Output> {
        let shown = path.display();
        ensure!(
            !is_special(path),
            "{shown}: is a device or a pipe; give a file with {option}"
        );
        ensure!(
            !path.is_dir() && !names_directory(path),
            "{shown}: is a directory; give a file with {option}"
        );
        let directory = directory(path);
        ensure!(
            directory.is_dir(),
            "{shown}: cannot be written: {} is not a directory",
            directory.display()
        );
        self.take(path, option)?;
        Ok(Output::File(path.to_owned()))
    }

    /// Opens `file` in `directory`, which was given by `option` and is made when the file is written.
    pub(crate) fn open_in(
        &mut self,
        directory: &Path,
        file: &str,
        option: &str,
    ) -> anyhow::Result<Output> {
        ensure!(
            is_file_name(file),
            "{}: no file can be called {}, expected {FILE_NAME}",
            directory.display(),
            quoted_name(file)
        );
        let path = directory.join(file);
        ensure!(
            !path.is_dir(),
            "{}: is a directory; move it, or give another directory with {option}",
            path.display()
        );
        self.take(&path, option)?;
        Ok(Output::File(path))
    }

    /// Opens `path`, which was given by `option` and is appended to.
    pub(crate) fn appended(&mut self, path: &Path, option: &str) -> anyhow::Result<Output> {
        if !is_special(path) {
            self.refuse_input(path, option)?;
            append(path)?;
            self.take_place(path, option)?;
        }
        Ok(Output::Appended(path.to_owned()))
    }

    /// Refuses an input, another output, and what cannot be written.
    fn take(&mut self, path: &Path, option: &str) -> anyhow::Result<()> {
        let cannot = || cannot_be_written(path);
        self.refuse_input(path, option)?;
        self.take_place(path, option)?;
        // Says, too, whether the name is too long.
        if let Err(error) = path.symlink_metadata()
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(cannot);
        }
        let (existing, _) = existing(path).with_context(cannot)?;
        if !self.writable.contains(&existing) {
            // Removed at once. Kept, it would be left behind by whoever interrupts the work, and of a thousand
            // recordings there would be a thousand open files.
            AtomicFile::create(&existing.join("a")).with_context(cannot)?;
            self.writable.insert(existing);
        }
        Ok(())
    }

    fn refuse_input(&self, path: &Path, option: &str) -> anyhow::Result<()> {
        if let Some(what) = identity(path).and_then(|file| self.inputs.what(&file)) {
            bail!(
                "{}: is {what}; give another file with {option}",
                path.display()
            );
        }
        Ok(())
    }

    fn take_place(&mut self, path: &Path, option: &str) -> anyhow::Result<()> {
        let (existing, rest) = existing(path).with_context(|| cannot_be_written(path))?;
        let new_place = self.places.insert(existing.join(rest));
        let new_file = identity(path).is_none_or(|file| self.replaced.insert(file));
        ensure!(
            new_place && new_file,
            "{}: would be written twice; give another file with {option}",
            path.display()
        );
        Ok(())
    }
}

/// Where a result goes.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Stdout,
    /// A device or a pipe.
    Appended(PathBuf),
    /// In a directory that need not exist.
    File(PathBuf),
}

impl Output {
    /// Writes `bytes`. A file appears whole or not at all.
    pub(crate) fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout => to_stdout(bytes),
            Self::Appended(path) => {
                let written = append(path)?.write_all(bytes);
                written.with_context(|| cannot_be_written(path))
            }
            Self::File(path) => self.stream(|file| {
                let written = file.write_all(bytes);
                written.with_context(|| cannot_be_written(path))
            }),
        }
    }

    /// As [`Self::write`], for what is too large to be held in memory: `write` is given the temporary file. Only a
    /// file of [`Outputs::open_file`] can be.
    pub(crate) fn stream(
        &self,
        write: impl FnOnce(&mut File) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Self::File(path) = self else {
            bail!("{self}: is no file; give one with -o");
        };
        let directory = directory(path);
        fs::create_dir_all(directory)
            .with_context(|| format!("{}: cannot be made", directory.display()))?;
        let cannot = || cannot_be_written(path);
        let mut file = AtomicFile::create(path).with_context(cannot)?;
        write(&mut file)?;
        file.persist().with_context(cannot)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Appended(path) | Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Writes `bytes` to stdout.
pub(crate) fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("stdout cannot be written")
}

/// Whether `error` only says that the reader of our stdout went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether `path` is meant as a directory, which need not exist.
pub(crate) fn names_directory(path: &Path) -> bool {
    let text = path.as_os_str().to_string_lossy();
    text.ends_with(MAIN_SEPARATOR) || text.ends_with("/.") || path.file_name().is_none()
}

/// Whether `path` is a device, a pipe or a socket, or whatever a descriptor of this process is.
fn is_special(path: &Path) -> bool {
    let standard = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    let descriptors = ["/dev/fd", "/proc/self/fd"].map(Path::new);
    let special = |found: fs::Metadata| !found.is_file() && !found.is_dir();
    let parent = path.parent();
    standard.contains(&path)
        || parent.is_some_and(|parent| descriptors.contains(&parent))
        || path.metadata().is_ok_and(special)
}

/// A device or a pipe. A pipe is not opened yet: its reader need not be there.
fn special(path: &Path) -> anyhow::Result<Output> {
    if !is_pipe(path) {
        append(path)?;
    }
    Ok(Output::Appended(path.to_owned()))
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Opens `path` to write to its end.
fn append(path: &Path) -> anyhow::Result<File> {
    let opened = File::options().append(true).create(true).open(path);
    opened.with_context(|| cannot_be_written(path))
}

fn cannot_be_written(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}

/// The directory nearest to `path` that exists, without symbolic links, and what of `path` is not in it yet.
fn existing(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let mut above = directory(path);
    while !above.try_exists()? {
        above = directory(above);
    }
    let rest = match above.as_os_str().to_str() {
        Some(".") => path.strip_prefix(".").unwrap_or(path),
        _ => path.strip_prefix(above).unwrap_or(path),
    };
    Ok((above.canonicalize()?, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_when_something_is_written_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/b");
        let mut outputs = Outputs::new(Inputs::default());
        let output = outputs.open_in(&new, "c", "-o").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        output.write(b"text").unwrap();
        assert_eq!(fs::read(new.join("c")).unwrap(), b"text");
    }

    #[test]
    fn what_is_no_name_makes_no_path() {
        let mut outputs = Outputs::new(Inputs::default());
        for name in ["../a", "/a", "..", "", "a\0", "a/b"] {
            let error = outputs.open_in(Path::new("."), name, "-o").unwrap_err();
            assert!(
                error.to_string().contains("no file can be called"),
                "{error}"
            );
        }
    }

    #[test]
    fn one_place_is_taken_once_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        fs::create_dir(here.join("sub")).unwrap();
        let mut outputs = Outputs::new(Inputs::default());
        outputs.open(Some(&here.join("a")), "-o").unwrap();
        outputs.open(Some(&here.join("sub/a")), "-o").unwrap();
        outputs.open(None, "-o").unwrap();
        for path in ["a", "./a", "sub/../a", "sub/./a"] {
            let error = outputs.open(Some(&here.join(path)), "-o").unwrap_err();
            assert!(error.to_string().contains("written twice"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn descriptors_and_devices_are_no_files() {
        for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null"] {
            assert!(is_special(Path::new(path)), "{path}");
        }
        for path in ["/dev", "/dev/nothing", "stdout"] {
            assert!(!is_special(Path::new(path)), "{path}");
        }
    }
}
