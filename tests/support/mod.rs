//! Running the program as a user does, and the recordings that it is given.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use soundalike_metrics::{Annotation, DiarizationErrorRate, rttm};

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    /// The exit code; None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// stdout of a run that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Why this is not a refusal as it should be: exit code 1, nothing on stdout, and one line on stderr
    /// that has all of `parts`.
    pub(crate) fn no_refusal(&self, parts: &[&str]) -> Option<String> {
        let line = self.stderr.strip_suffix('\n').unwrap_or_default();
        let problem = if self.code != Some(1) {
            format!("exit code {:?}", self.code)
        } else if !self.stdout.is_empty() {
            format!("says on stdout: {}", self.stdout)
        } else if line.contains('\n') || !line.starts_with("error: ") {
            "not one line that begins with `error: `".to_owned()
        } else if let Some(part) = parts.iter().find(|part| !line.contains(**part)) {
            format!("does not say `{part}`")
        } else if repeats(line) {
            "says something twice".to_owned()
        } else {
            return None;
        };
        Some(format!("{problem}\n    {}", self.stderr))
    }
}

/// Whether a part of the line between colons stands in it twice, as where an error tells its cause and the
/// cause is told again.
fn repeats(line: &str) -> bool {
    let parts: Vec<_> = line.split(": ").map(str::trim).collect();
    (1..parts.len()).any(|at| parts[..at].contains(&parts[at]))
}

/// The program, with these arguments. A backtrace is asked for: no user should ever see one.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soundalike"));
    command
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    at_home(
        &mut command,
        &Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-home"),
    );
    command
}

/// Gives a command this home, which need not exist, in place of the user's: no model that lies there is found.
pub(crate) fn at_home(command: &mut Command, home: &Path) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let settings = [
            "HF_",
            "HUGGING",
            "XDG_",
            "SOUNDALIKE_MODELS",
            "SOUNDALIKE_REGISTRY",
        ];
        if settings.iter().any(|prefix| text.starts_with(prefix))
            || text.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("HF_HOME", home.join("huggingface"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"));
}

/// Runs the program with these arguments.
pub(crate) fn soundalike<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    command(arguments).output().unwrap().into()
}

/// Runs the program with these words, separated by spaces, in a directory.
pub(crate) fn soundalike_in(directory: &Path, words: &str) -> Run {
    command(words.split(' '))
        .current_dir(directory)
        .output()
        .unwrap()
        .into()
}

/// A named pipe.
#[cfg(unix)]
pub(crate) fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Names of what is in a directory, in order.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All cases that failed, at once.
#[track_caller]
pub(crate) fn all_pass(failures: Vec<String>) {
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// A file of tests/data.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data")
        .join(name)
}

/// `diarize tests/data/sample.wav`, run once.
pub(crate) fn sample_run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| soundalike(["diarize".into(), data("sample.wav")]))
}

/// The only recording of an RTTM; without turns where the RTTM is empty.
#[track_caller]
pub(crate) fn annotation(text: &str) -> Annotation {
    let mut annotations = rttm::parse(text, "stdout").unwrap();
    assert!(annotations.len() < 2, "{text}");
    annotations.pop().unwrap_or_else(|| Annotation::new(""))
}

/// Diarization error rate of an RTTM against another.
#[track_caller]
pub(crate) fn der(reference: &str, hypothesis: &str) -> f64 {
    DiarizationErrorRate::default()
        .components(&annotation(reference), &annotation(hypothesis), None)
        .rate()
}

/// Samples per second of tests/data/sample.wav.
pub(crate) const RATE: u32 = 16_000;

/// tests/data/sample.wav from second `from` to second `to`.
pub(crate) fn sample(from: f64, to: f64) -> Vec<f32> {
    let bytes = std::fs::read(data("sample.wav")).unwrap();
    // make_sample.py writes the shortest header there is: 16 bits, mono.
    let (header, data) = bytes.split_at(44);
    assert_eq!(&header[36..40], b"data");
    let index = |seconds: f64| (seconds * f64::from(RATE)).round() as usize;
    let (samples, _) = data.as_chunks();
    samples[index(from)..index(to)]
        .iter()
        .map(|&sample| f32::from(i16::from_le_bytes(sample)) / 32768.0)
        .collect()
}

/// How a WAV file holds its samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Encoding {
    U8,
    I16,
    I24,
    F32,
}

/// A WAV file of interleaved samples.
pub(crate) fn wav(encoding: Encoding, rate: u32, channels: u16, samples: &[f32]) -> Vec<u8> {
    let (tag, bytes_per_sample) = match encoding {
        Encoding::U8 => (1_u16, 1_u16),
        Encoding::I16 => (1, 2),
        Encoding::I24 => (1, 3),
        Encoding::F32 => (3, 4),
    };
    let scaled = |sample: f32, bits: u32| {
        let scale = f64::from(1_u32 << (bits - 1));
        (f64::from(sample) * scale)
            .round()
            .clamp(-scale, scale - 1.0) as i32
    };
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|&sample| match encoding {
            Encoding::U8 => vec![(scaled(sample, 8) + 128) as u8],
            Encoding::I16 => scaled(sample, 16).to_le_bytes()[..2].to_vec(),
            Encoding::I24 => scaled(sample, 24).to_le_bytes()[..3].to_vec(),
            Encoding::F32 => sample.to_le_bytes().to_vec(),
        })
        .collect();
    let block = channels * bytes_per_sample;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend((bytes_per_sample * 8).to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

/// A WAV file of 16 bits at [`RATE`] with a part of the sample.
pub(crate) fn clip(from: f64, to: f64) -> Vec<u8> {
    wav(Encoding::I16, RATE, 1, &sample(from, to))
}
