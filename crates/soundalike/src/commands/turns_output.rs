//! Writes turns to stdout, a file, or a file per recording, in one or several formats.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use soundalike_diarize::{
    Diarization,
    writers::{Document, Format},
};

use crate::output::{Output, Outputs, names_directory};

/// Options of the output.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write at most one speaker at a time: in overlaps, keep the one that most windows detect
    #[arg(long)]
    exclusive: bool,
    /// Also write two pseudo-speakers: SPEECH (at least one speaker) and OVERLAP (at least two)
    #[arg(long)]
    tracks: bool,
    /// Formats, separated by commas [default: from the extension of PATH, else rttm]
    #[arg(
        long,
        value_name = "FORMAT",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>())
    )]
    format: Vec<Format>,
    /// Write to this file, or to one file per recording in this directory (end the name of a new one with /). Several
    /// formats each replace the extension of PATH by their own [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Writes turns.
pub(crate) struct Sink<'a> {
    args: &'a OutputArgs,
    formats: Vec<Format>,
    destination: Destination,
    /// Recordings written so far.
    done: usize,
}

enum Destination {
    Stdout(Output),
    /// All recordings in one file per format, with its text so far.
    Files(Vec<(Output, String)>),
    /// One file per recording and format, by uri.
    Directory(BTreeMap<String, Vec<Output>>),
}

impl<'a> Sink<'a> {
    /// Opens the outputs for the recordings `uris`.
    pub(crate) fn open(
        args: &'a OutputArgs,
        outputs: &mut Outputs,
        uris: &[&str],
    ) -> anyhow::Result<Self> {
        let mut formats: Vec<Format> = Vec::new();
        for format in &args.format {
            if !formats.contains(format) {
                formats.push(*format);
            }
        }
        if formats.is_empty() {
            let extension = args.output.as_deref().and_then(Path::extension);
            let extension = extension.map(|extension| extension.to_string_lossy());
            let by_extension = extension.and_then(|extension| Format::of_extension(&extension));
            formats.push(by_extension.unwrap_or(Format::Rttm));
        }
        let destination = destination(args.output.as_deref(), &formats, outputs, uris)?;
        let shared = !matches!(destination, Destination::Directory(_)) && uris.len() > 1;
        let mut of_one = formats.iter().filter(|format| format.header().is_none());
        if let Some(format) = of_one.next().filter(|_| shared) {
            bail!(
                "{format} holds one recording, found {}; give a directory with -o",
                uris.len()
            );
        }
        Ok(Self {
            args,
            formats,
            destination,
            done: 0,
        })
    }

    /// Adds the turns of the next recording; writes them at once unless several recordings share a file.
    pub(crate) fn add(&mut self, diarization: &Diarization) -> anyhow::Result<()> {
        let document = Document {
            diarization,
            exclusive: self.args.exclusive,
            tracks: self.args.tracks,
        };
        for (index, format) in self.formats.iter().enumerate() {
            let text = format.render(&document)?;
            let header = format.header().unwrap_or_default();
            let begun = if self.done == 0 { header } else { "" };
            match &mut self.destination {
                Destination::Stdout(output) => output.write(format!("{begun}{text}").as_bytes())?,
                Destination::Files(files) => files[index].1 += &format!("{begun}{text}"),
                Destination::Directory(files) => {
                    let uri = diarization.uri();
                    let outputs = files.get(uri);
                    let outputs = outputs.with_context(|| format!("`{uri}` has no output"))?;
                    outputs[index].write(format!("{header}{text}").as_bytes())?;
                }
            }
        }
        self.done += 1;
        Ok(())
    }

    /// Number of recordings added.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Writes the shared files if all of the `total` recordings were added; never half a result.
    pub(crate) fn finish(self, total: usize) -> anyhow::Result<()> {
        let failed = total - self.done;
        match &self.destination {
            Destination::Files(files) if failed == 0 => {
                for (output, text) in files {
                    output.write(text.as_bytes())?;
                }
            }
            Destination::Files(files) => {
                let paths = files.iter().map(|(output, _)| output.to_string());
                bail!(
                    "{failed} of {total} files failed, so {} was not written; omit them, or give a directory with -o",
                    paths.collect::<Vec<_>>().join(", ")
                );
            }
            _ => ensure!(failed == 0, "{failed} of {total} files failed"),
        }
        Ok(())
    }
}

fn destination(
    output: Option<&Path>,
    formats: &[Format],
    outputs: &mut Outputs,
    uris: &[&str],
) -> anyhow::Result<Destination> {
    let Some(path) = output else {
        ensure!(
            formats.len() < 2,
            "stdout takes one format, found several; give a file or a directory with -o"
        );
        return Ok(Destination::Stdout(outputs.open(None, "-o")?));
    };
    if path.is_dir() || names_directory(path) {
        let mut files = BTreeMap::new();
        for uri in uris {
            let of_recording = formats.iter().map(|format| {
                let name = format!("{uri}.{}", format.extension());
                outputs.open_in(path, &name, "-o")
            });
            files.insert((*uri).to_owned(), of_recording.collect::<Result<_, _>>()?);
        }
        return Ok(Destination::Directory(files));
    }
    let paths = match formats {
        [_] => vec![path.to_owned()],
        several => {
            ensure!(
                path.extension().is_some(),
                "{}: several formats need a file name with an extension, which each replaces by its own, or a directory",
                path.display()
            );
            let paths = several.iter();
            let paths = paths.map(|format| path.with_extension(format.extension()));
            paths.collect()
        }
    };
    let files = paths.iter().map(|path| {
        let output = outputs.open(Some(path), "-o")?;
        Ok((output, String::new()))
    });
    Ok(Destination::Files(files.collect::<anyhow::Result<_>>()?))
}
