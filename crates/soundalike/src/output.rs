//! Writing results: whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// Writes `bytes` to stdout.
pub(crate) fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("stdout cannot be written")
}

/// Writes `bytes` to a temporary file beside `path` and renames it, so that a crash leaves no half of it.
/// A device or a pipe is written to, not replaced.
pub(crate) fn to_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if is_special(path) {
        return fs::write(path, bytes)
            .with_context(|| format!("{}: cannot be written", path.display()));
    }
    stream_to_file(path, |file| {
        let written = file.write_all(bytes);
        written.with_context(|| format!("{}: cannot be written", path.display()))
    })
}

/// As [`to_file`], for what is too large to be held in memory: `write` is given the temporary file. A device or a
/// pipe is refused.
pub(crate) fn stream_to_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cannot = || format!("{}: cannot be written", path.display());
    ensure!(
        !is_special(path),
        "{}: is no file; give a file with -o",
        path.display()
    );
    let mut builder = tempfile::Builder::new();
    builder.prefix(".soundalike-");
    // As any other new file: readable by those whom the umask lets, not by its owner only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory(path)).with_context(cannot)?;
    write(file.as_file_mut())?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Checks, before there is anything to write, that `path` has a directory to be in.
pub(crate) fn check_directory_of(path: &Path) -> anyhow::Result<()> {
    let directory = directory(path);
    ensure!(
        directory.is_dir(),
        "{}: cannot be written: {} is not a directory",
        path.display(),
        directory.display()
    );
    Ok(())
}

/// Checks that writing to `path` would not replace `source`, which is `what` we were given.
pub(crate) fn check_not_source(path: &Path, source: &Path, what: &str) -> anyhow::Result<()> {
    let same = path
        .canonicalize()
        .is_ok_and(|found| source.canonicalize().is_ok_and(|source| source == found));
    ensure!(
        !same,
        "{}: is the {what} itself; give another file with -o",
        path.display()
    );
    Ok(())
}

/// Whether `path` is a device, a pipe or a socket.
pub(crate) fn is_special(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether `error` only says that the reader of our stdout went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
