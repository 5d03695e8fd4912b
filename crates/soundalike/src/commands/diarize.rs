//! `soundalike diarize`: who spoke when.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use soundalike_convert::{Part, PipelineDirectory, is_file_name};
use soundalike_diarize::{
    Diarization, Diarizer, Error, Options, Overrides, Recording, Run, SetupError,
};
use soundalike_model::{DeviceChoice, Engine, Kernels};

use super::{
    clustering_args::{ClusteringArgs, of_option},
    cpu_args::CpuArgs,
    load,
    precision::Precision,
    turns_output::{OutputArgs, Sink},
};
use crate::{
    output::{Inputs, Outputs, is_broken_pipe},
    terminal::Terminal,
};

/// What is said of turns without a speaker embedding network.
pub(crate) const BUILT_IN: &str = "note: voices are told apart by built-in embeddings, a fallback that knows them within one recording only";

/// Say who spoke when in audio files, as RTTM or in other formats
///
/// A pyannote pipeline directory (config.yaml and its models, such as speaker-diarization-community-1) goes to
/// --model, as it was downloaded or converted. Without, the embedded segmentation-3.0 listens, and its own
/// features tell the voices apart: a fallback that knows a voice within one recording only. A file that cannot
/// be read is reported, and the others are done all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Audio files: WAV, FLAC, MP3, OGG, M4A, ...; any sample rate, channels are averaged
    #[arg(required = true)]
    audio: Vec<PathBuf>,
    /// Pipeline directory; or a segmentation network alone, a bundle or a checkpoint
    /// [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "DIR|FILE")]
    model: Option<PathBuf>,
    /// Where to run the networks: auto, cpu, metal or cuda
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Precision the networks compute in
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    #[command(flatten)]
    cpu: CpuArgs,
    /// On Metal, compute with kernels that no Mac was seen to run, in a hundredth of the launches
    #[arg(long, conflicts_with = "portable")]
    experimental_kernels: bool,
    /// Time between two windows, as a part of their length, at most 1: higher is faster and less exact
    /// [default: the pipeline's; 0.1 without one]
    #[arg(long, value_name = "X")]
    step: Option<f64>,
    #[command(flatten)]
    clustering: ClusteringArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Also keep what the networks said of the recording, for `recluster`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save_run: Option<PathBuf>,
}

/// Runs the command. A file that cannot be diarized is reported and the others are done all the same.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let options = args.clustering.options()?;
    let recordings = recordings(&args.audio)?;
    ensure!(
        args.save_run.is_none() || recordings.len() == 1,
        "--save-run keeps one recording, and there are {}; diarize them one by one",
        recordings.len()
    );
    let inputs = Inputs::default()
        .files(&args.audio, "the recording itself")
        .models(&args.model, "model");
    let mut outputs = Outputs::new(inputs);
    let uris: Vec<&str> = recordings.iter().map(|(uri, _)| uri.as_str()).collect();
    let sink = Sink::open(&args.output, &mut outputs, &uris)?;
    let save = |path: &PathBuf| outputs.open(Some(path), "--save-run");
    let save = args.save_run.as_ref().map(save).transpose()?;
    args.cpu.start_threads()?;
    let diarizer = diarizer(args, terminal)?;

    let mut last = None;
    let written = diarize_all(&diarizer, &recordings, &options, sink, &mut last, terminal);
    // Neither is lost with the other.
    let saved = match (save, last) {
        (Some(output), Some(run)) => run
            .to_bytes()
            .with_context(|| output.to_string())
            .and_then(|bytes| output.write(&bytes)),
        _ => Ok(()),
    };
    match (written, saved) {
        (Err(written), Err(saved)) if !is_broken_pipe(&written) => {
            terminal.error(&written);
            Err(saved)
        }
        (Ok(()), saved) | (Err(_), saved @ Err(_)) => saved,
        (written, Ok(())) => written,
    }
}

/// Finds the turns of all recordings and writes them; the run of the last one is left in `last`.
fn diarize_all(
    diarizer: &Diarizer,
    recordings: &[(String, &Path)],
    options: &Options,
    mut sink: Sink<'_>,
    last: &mut Option<Run>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    for (uri, path) in recordings {
        // Two runs at a time would take twice the memory.
        *last = None;
        match diarize(diarizer, uri, path, last, options, terminal) {
            Ok(diarization) => sink.add(&diarization)?,
            Err(error) if recordings.len() > 1 => terminal.error(&error),
            Err(error) => return Err(error),
        }
    }
    if sink.done() > 0 && diarizer.is_built_in() {
        terminal.note(BUILT_IN);
    }
    sink.finish(recordings.len())
}

/// Each file under the name that its turns will carry: its own without extension, white space, which would end a
/// field of RTTM, and what no name of a file has on any system. In the order given.
fn recordings(audio: &[PathBuf]) -> anyhow::Result<Vec<(String, &Path)>> {
    let mut seen = BTreeMap::new();
    let mut recordings = Vec::with_capacity(audio.len());
    for path in audio {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let uri = stem.split_whitespace().collect::<Vec<_>>().join("_");
        let uri = uri.replace(|c: char| c == '\\' || c.is_control(), "_");
        ensure!(
            is_file_name(&uri),
            "{}: has no name to call its turns by; rename it, or give a file",
            path.display()
        );
        if let Some(other) = seen.insert(uri.clone(), path) {
            bail!(
                "{} and {} would both be called `{uri}` in the output; diarize them one by one, or rename one",
                other.display(),
                path.display()
            );
        }
        recordings.push((uri, path.as_path()));
    }
    Ok(recordings)
}

/// The pipeline asked for.
fn diarizer(args: &Args, terminal: &Terminal) -> anyhow::Result<Diarizer> {
    let started = Instant::now();
    let overrides = Overrides {
        step: args.step,
        ..args.clustering.overrides()
    };
    let engine = Engine {
        dtype: args.dtype.into(),
        device: args.device.open()?,
        kernels: match args.experimental_kernels {
            true => Kernels::Experimental,
            false => args.cpu.kernels(),
        },
    };
    let device = DeviceChoice::of(&engine.device);
    ensure!(
        engine.device.is_metal() || !args.experimental_kernels,
        "--experimental-kernels are for Metal, and the networks run on {device}; leave the option out, or see --device"
    );
    if args.device == DeviceChoice::Auto && device != DeviceChoice::Cpu {
        terminal.note(&format!("note: on {device}; --device cpu takes the CPU"));
    }
    if let Some(cost) = args.dtype.cost(engine.device.is_cpu())? {
        terminal.note(&cost);
    }
    let (name, diarizer) = pipeline(args.model.as_deref(), &overrides, &engine)?;
    terminal.detail(&format!(
        "{name} ({}) on {device}, {}, ready after {:.2?}",
        engine.dtype.as_str(),
        engine.used_kernels(),
        started.elapsed()
    ));
    Ok(diarizer)
}

/// The pipeline of `model`, or around the network it is, and its name.
pub(crate) fn pipeline(
    model: Option<&Path>,
    overrides: &Overrides,
    engine: &Engine,
) -> anyhow::Result<(String, Diarizer)> {
    let name = match model {
        None => "the embedded segmentation-3.0".to_owned(),
        Some(path) => path.display().to_string(),
    };
    let diarizer = match model {
        Some(path) if soundalike_convert::is_pipeline(path) => {
            Diarizer::from_pipeline(&PipelineDirectory::read(path)?, overrides, engine)
        }
        model => Diarizer::built_in(&load(model)?, overrides, engine),
    };
    match diarizer {
        Err(SetupError::Parameter(error)) => Err(of_option(error)),
        other => Ok((name.clone(), other.context(name)?)),
    }
}

/// Who spoke when in one recording, whose run is left in `last`.
fn diarize(
    diarizer: &Diarizer,
    uri: &str,
    path: &Path,
    last: &mut Option<Run>,
    options: &Options,
    terminal: &Terminal,
) -> anyhow::Result<Diarization> {
    let started = Instant::now();
    let mut recording = Recording::open(path, diarizer.sample_rate())?;
    let name = || path.display().to_string();
    if recording.skipped_packets() > 0 {
        terminal.warn(&format!(
            "{}: {} packet(s) could not be decoded and were left out",
            name(),
            recording.skipped_packets()
        ));
    }
    let bar = terminal.progress(uri);
    let run = diarizer.listen(uri, &mut recording, &mut |progress| {
        // The voices come last.
        if progress.part == Part::Embedding {
            bar.set_length(progress.windows as u64);
            bar.set_position(progress.done as u64);
        }
    });
    bar.finish_and_clear();
    let run = match run {
        // Names the file itself.
        Err(Error::Audio(error)) => return Err(error.into()),
        run => run.with_context(name)?,
    };
    let run = last.insert(run);
    let diarization = run.diarize(options).with_context(name)?;
    tell(&diarization, &name(), terminal);
    let elapsed = started.elapsed().as_secs_f64();
    terminal.detail(&format!(
        "{}: {:.1} s of audio in {elapsed:.2} s (RTF {:.3}), {} speaker(s)",
        name(),
        run.duration(),
        elapsed / run.duration(),
        diarization.speakers.len()
    ));
    Ok(diarization)
}

/// Says on stderr what is to be known of the turns of `name`.
pub(crate) fn tell(diarization: &Diarization, name: &str, terminal: &Terminal) {
    for warning in &diarization.warnings {
        terminal.warn(&format!("{name}: {warning}"));
    }
}
