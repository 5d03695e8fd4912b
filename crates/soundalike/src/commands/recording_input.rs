//! Recordings as the command line names them: files, pipes, and `-` for stdin.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, ensure};
use soundalike_diarize::Recording;

use crate::output::{is_pipe, is_standard};

/// Most bytes of a pipe: 12 hours at 48 kHz in two channels of 32 bits, the longest recording.
const MAX_PIPE: u64 = 12 * 3600 * 48_000 * 8;

/// Opens a recording. What can be read only once is copied to a file without a name, which the system removes.
pub(crate) fn open(path: &Path, sample_rate: u32) -> anyhow::Result<Recording> {
    if is_standard(path) {
        let file = copied(io::stdin().lock(), "stdin")?;
        return Ok(Recording::of_file(file, Path::new("stdin"), sample_rate)?);
    }
    if is_pipe(path)
        && let Ok(pipe) = File::open(path)
    {
        let file = copied(pipe, &path.display().to_string())?;
        return Ok(Recording::of_file(file, path, sample_rate)?);
    }
    Ok(Recording::open(path, sample_rate)?)
}

fn copied(from: impl Read, name: &str) -> anyhow::Result<File> {
    let mut file = tempfile::tempfile().context("a temporary file cannot be made")?;
    let bytes = io::copy(&mut from.take(MAX_PIPE + 1), &mut file);
    let bytes = bytes.with_context(|| format!("{name}: cannot be copied to a temporary file"))?;
    ensure!(
        bytes <= MAX_PIPE,
        "{name}: is longer than 12 hours of audio; split it"
    );
    Ok(file)
}
