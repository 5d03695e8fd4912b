//! Reads and writes whole files.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use crate::{
    AtomicFile,
    error::{Error, ErrorKind},
    not_a_model::NotAModel,
};

/// Reads a file. A directory or an empty file is an error.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_kind(path).map_err(|kind| kind.at(path))
}

fn read_kind(path: &Path) -> Result<Vec<u8>, ErrorKind> {
    if let Some(problem) = NotAModel::by_name(path).or_else(|| NotAModel::dangling(path)) {
        return Err(problem.into());
    }
    let mut file = File::open(path).map_err(ErrorKind::io("opening"))?;
    let metadata = file.metadata().map_err(ErrorKind::io("opening"))?;
    if metadata.is_dir() {
        return Err(ErrorKind::Directory);
    }
    if !metadata.is_file() {
        return Err(ErrorKind::NotAFile);
    }
    let len = usize::try_from(metadata.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    file.read_to_end(&mut bytes)
        .map_err(ErrorKind::io("reading"))?;
    if bytes.is_empty() {
        return Err(ErrorKind::Empty);
    }
    match NotAModel::of_any_file(&bytes) {
        Some(problem) => Err(problem.into()),
        None => Ok(bytes),
    }
}

/// File name without directories.
pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Writes a temporary file beside `path`, reads it back, compares it with `bytes` and renames it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_and_verify(path, bytes).map_err(|kind| kind.at(path))
}

fn write_and_verify(path: &Path, bytes: &[u8]) -> Result<(), ErrorKind> {
    let mut file = AtomicFile::create(path).map_err(ErrorKind::io("writing"))?;
    file.write_all(bytes).map_err(ErrorKind::io("writing"))?;
    file.sync_all().map_err(ErrorKind::io("writing"))?;
    verify(file.reopen().map_err(ErrorKind::io("reading back"))?, bytes)?;
    file.persist().map_err(ErrorKind::io("renaming"))
}

/// Refuses a file with other contents than `bytes`.
fn verify(mut file: File, bytes: &[u8]) -> Result<(), ErrorKind> {
    let mut buffer = vec![0; VERIFY_BYTES];
    let mut rest = bytes;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(ErrorKind::io("reading back"))?;
        let offset = bytes.len() - rest.len();
        let same = buffer[..read]
            .iter()
            .zip(rest)
            .take_while(|(a, b)| a == b)
            .count();
        if same < read || (read == 0 && !rest.is_empty()) {
            return Err(ErrorKind::ReadBack(offset + same));
        }
        if read == 0 {
            return Ok(());
        }
        rest = &rest[read..];
    }
}

/// Bytes read back at a time.
const VERIFY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_from_what_was_written_is_refused_at_the_first_byte() {
        let path = tempfile::NamedTempFile::new().unwrap();
        // More than is read back at a time.
        let written: Vec<u8> = (0..VERIFY_BYTES + 1000).map(|i| (i % 251) as u8).collect();
        let differs_at = |found: &[u8]| {
            std::fs::write(path.path(), found).unwrap();
            match verify(File::open(path.path()).unwrap(), &written) {
                Ok(()) => None,
                Err(ErrorKind::ReadBack(offset)) => Some(offset),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(differs_at(&written), None);
        for place in [0, 7, VERIFY_BYTES - 1, VERIFY_BYTES, written.len() - 1] {
            let mut flipped = written.clone();
            flipped[place] ^= 1;
            assert_eq!(differs_at(&flipped), Some(place));
            // Shorter, and longer.
            assert_eq!(differs_at(&written[..place]), Some(place));
        }
        let longer = [written.as_slice(), &[0]].concat();
        assert_eq!(differs_at(&longer), Some(written.len()));
    }
}
