//! Inputs and outputs of a command: checked before its work, written whole or not at all.
//!
//! A command lists its [`Inputs`], then opens its [`Outputs`]. Opening fails for a path that is an input, that is another
//! output, or that cannot be written. The opened [`Output`] takes the result at the end.

mod inputs;

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use soundalike_convert::{AtomicFile, FILE_NAME_RULE, is_file_name, quoted_name};

pub(crate) use self::inputs::Inputs;
use self::inputs::{Identity, identity};

pub(crate) struct Outputs {
    inputs: Inputs,
    /// Files that exist and will be replaced.
    replaced: HashSet<Identity>,
    /// Canonical paths of the opened files.
    places: HashSet<PathBuf>,
    /// Directories in which a file can be created.
    writable: HashSet<PathBuf>,
}

impl Outputs {
    /// No outputs yet, for a command that reads `inputs`.
    pub(crate) fn new(inputs: Inputs) -> Self {
        Self {
            inputs,
            replaced: HashSet::new(),
            places: HashSet::new(),
            writable: HashSet::new(),
        }
    }

    /// Opens `path`, the value of `option`, or stdout, which `-` names as well. A device or a pipe is appended to, not replaced.
    pub(crate) fn open(&mut self, path: Option<&Path>, option: &str) -> anyhow::Result<Output> {
        match path {
            None => Ok(Output::Stdout),
            Some(path) if is_standard(path) => Ok(Output::Stdout),
            Some(path) if is_special(path) => special(path),
            Some(path) => self.open_file(path, option),
        }
    }

    /// As [`Self::open`], for a file that is read back or streamed. Refuses a device or a pipe.
    pub(crate) fn open_file(&mut self, path: &Path, option: &str) -> anyhow::Result<Output> {
        let shown = path.display();
        if is_special(path) {
            bail!("{shown}: is a device or a pipe; give a file with {option}");
        }
        if path.is_dir() || names_directory(path) {
            bail!("{shown}: is a directory; give a file with {option}");
        }
        let directory = directory(path);
        ensure!(
            directory.is_dir(),
            "{shown}: cannot be written: {} is not a directory",
            directory.display()
        );
        self.take(path, option)?;
        Ok(Output::File(path.to_owned()))
    }

    /// Opens `file` in `directory`, the value of `option`. The directory is created when the file is written.
    pub(crate) fn open_in(
        &mut self,
        directory: &Path,
        file: &str,
        option: &str,
    ) -> anyhow::Result<Output> {
        ensure!(
            is_file_name(file),
            "{}: {} is not a valid file name, expected {FILE_NAME_RULE}",
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

    /// Opens `path`, the value of `option`, to append to it.
    pub(crate) fn appended(&mut self, path: &Path, option: &str) -> anyhow::Result<Output> {
        if !is_special(path) {
            self.refuse_input(path, option)?;
            append(path)?;
            self.take_place(path, option)?;
        }
        Ok(Output::Appended(path.to_owned()))
    }

    /// Refuses an input, another output, and a path that cannot be written.
    fn take(&mut self, path: &Path, option: &str) -> anyhow::Result<()> {
        let cannot = || cannot_be_written(path);
        self.refuse_input(path, option)?;
        self.take_place(path, option)?;
        // Fails if the name is too long, too.
        if let Err(error) = path.symlink_metadata()
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(cannot);
        }
        let (existing, _) = existing(path).with_context(cannot)?;
        if !self.writable.contains(&existing) {
            // Removed at once: kept, it would survive an interrupt, and a thousand recordings would hold a thousand
            // open files.
            AtomicFile::create(&existing.join("a")).with_context(cannot)?;
            self.writable.insert(existing);
        }
        Ok(())
    }

    fn refuse_input(&self, path: &Path, option: &str) -> anyhow::Result<()> {
        if let Some(what) = identity(path).and_then(|file| self.inputs.what(&file)) {
            bail!(
                "{}: is an input ({what}) and would be overwritten; give another file with {option}",
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

/// The destination of a result.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Stdout,
    /// A device, a pipe, or a file that is appended to.
    Appended(PathBuf),
    /// A file; its directory is created if it is missing.
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

    /// As [`Self::write`], for a result that is too large for memory: `write` fills the temporary file. The output must be
    /// a file.
    pub(crate) fn stream(
        &self,
        write: impl FnOnce(&mut File) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Self::File(path) = self else {
            bail!("{self}: is not a file; give one with -o");
        };
        let directory = directory(path);
        fs::create_dir_all(directory)
            .with_context(|| format!("{}: cannot be created", directory.display()))?;
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

pub(crate) fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.context("stdout cannot be written")
}

/// Whether the reader of our stdout closed it.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether `path` names a directory, existing or not: it ends in a separator, `.` or `..`.
pub(crate) fn names_directory(path: &Path) -> bool {
    let text = path.as_os_str().to_string_lossy();
    text.ends_with(MAIN_SEPARATOR) || text.ends_with("/.") || path.file_name().is_none()
}

/// Whether `path` is a device, a pipe, a socket, or a descriptor of this process.
fn is_special(path: &Path) -> bool {
    let standard = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    let descriptors = ["/dev/fd", "/proc/self/fd"].map(Path::new);
    let special = |found: fs::Metadata| !found.is_file() && !found.is_dir();
    let parent = path.parent();
    standard.contains(&path)
        || parent.is_some_and(|parent| descriptors.contains(&parent))
        || path.metadata().is_ok_and(special)
}

/// Opens a device. A pipe is opened when it is written: its reader may start later.
fn special(path: &Path) -> anyhow::Result<Output> {
    if !is_pipe(path) {
        append(path)?;
    }
    Ok(Output::Appended(path.to_owned()))
}

/// Whether `path` stands for stdin or stdout.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(unix)]
pub(crate) fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(not(unix))]
pub(crate) fn is_pipe(_: &Path) -> bool {
    false
}

/// Opens `path` to append to it.
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

/// The nearest existing directory above `path`, without symbolic links, and the rest of `path`.
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
    fn a_directory_is_created_when_a_file_is_written_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/b");
        let mut outputs = Outputs::new(Inputs::default());
        let output = outputs.open_in(&new, "c", "-o").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        output.write(b"text").unwrap();
        assert_eq!(fs::read(new.join("c")).unwrap(), b"text");
    }

    #[test]
    fn an_invalid_name_makes_no_path() {
        let mut outputs = Outputs::new(Inputs::default());
        for name in ["../a", "/a", "..", "", "a\0", "a/b"] {
            let error = outputs.open_in(Path::new("."), name, "-o").unwrap_err();
            assert!(
                error.to_string().contains("is not a valid file name"),
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
