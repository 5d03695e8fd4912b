//! `soundalike diarize`: the speaker turns of recordings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use soundalike_convert::{ModelRole, is_file_name, is_pipeline};
use soundalike_diarize::{
    Diarization, DiarizeOptions, Diarizer, Error, Inference, Overrides, SetupError,
};
use soundalike_model::{DeviceChoice, Engine, Kernels};

use super::{
    clustering_args::{ClusteringArgs, option_error},
    cpu_args::CpuArgs,
    named_model::{self, Choice, Chosen},
    precision::Precision,
    recording_input,
    turns_output::{OutputArgs, Sink},
};
use crate::{
    output::{Inputs, Outputs, is_broken_pipe, is_standard},
    terminal::Terminal,
};

/// Find who spoke when in audio files, as RTTM or in other formats
///
/// After `soundalike models get community-1`, that pipeline is used. --model takes another one: a name of `models
/// list`, a name on the hub that its cache has, a directory or a configuration of pyannote, as downloaded or after
/// `convert`. Without any, the embedded segmentation-3.0 is used, and its internal features stand in for a speaker
/// embedding network: less accurate, best with few speakers. Nothing is downloaded without --download.
///
/// Exit code 0: all recordings were diarized. 1: at least one was not; the others are still written. 2: wrong
/// arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Audio files: WAV, FLAC, MP3, OGG, M4A, ...; any sample rate, channels are averaged; - for stdin
    #[arg(required = true)]
    audio: Vec<PathBuf>,
    /// Name of the recording in the output, where there is one [default: the file's, or stdin]
    #[arg(long, value_name = "NAME")]
    uri: Option<String>,
    /// Pipeline by its name, directory or configuration, or a segmentation network
    /// [default: community-1 if it is on this machine, or the embedded segmentation-3.0]
    #[arg(long, value_name = "NAME|DIR|FILE")]
    model: Option<PathBuf>,
    /// Download the model if it is not on this machine, as `models get` does
    #[arg(long)]
    download: bool,
    /// Device for the networks: cpu, metal or cuda (each GPU needs a build with that feature; neither was verified on
    /// hardware); auto takes a GPU if the build has one
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Precision of weights and activations; the measured cost of f16 and bf16 is printed
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    #[command(flatten)]
    cpu: CpuArgs,
    /// Use experimental Metal kernels (about 100 times fewer dispatches; not verified on hardware)
    #[arg(long, conflicts_with = "portable")]
    experimental_kernels: bool,
    /// Step between windows as a fraction of their length, at most 1; higher is faster and less accurate
    /// [default: from the pipeline, or 0.1]
    #[arg(long, value_name = "X")]
    step: Option<f64>,
    #[command(flatten)]
    clustering: ClusteringArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Also save the outputs of the networks, for `recluster`; for one recording
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save_run: Option<PathBuf>,
}

/// Runs the command. An error of one file is printed, and the other files are still diarized.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let options = args.clustering.options()?;
    let recordings = recordings(&args.audio, args.uri.as_deref())?;
    ensure!(
        args.save_run.is_none() || recordings.len() == 1,
        "--save-run saves one recording, found {}; diarize them one at a time",
        recordings.len()
    );
    let model = Choice::of(args.model.as_deref(), args.download, terminal)?;
    let inputs = Inputs::default()
        .files(&args.audio, "recording")
        .models(model.path(), "model");
    let mut outputs = Outputs::new(inputs);
    let uris: Vec<&str> = recordings.iter().map(|(uri, _)| uri.as_str()).collect();
    let sink = Sink::open(&args.output, &mut outputs, &uris)?;
    let save = |path: &PathBuf| outputs.open(Some(path), "--save-run");
    let save = args.save_run.as_ref().map(save).transpose()?;
    args.cpu.start_threads()?;
    let model = model.obtained(terminal)?;
    let diarizer = diarizer(args, &model, terminal)?;

    let mut last = None;
    let advice = diarizer.is_built_in().then_some(&*model.advice);
    let written = diarize_all(
        &diarizer,
        &recordings,
        &options,
        sink,
        advice,
        &mut last,
        terminal,
    );
    // An error of one does not lose the other.
    let saved = match (save, last) {
        (Some(output), Some(run)) => {
            let bytes = run.to_bytes().with_context(|| output.to_string());
            bytes.and_then(|bytes| output.write(&bytes))
        }
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

/// Finds and writes the turns of all recordings, then notes `advice`; leaves the run of the last one in `last`.
fn diarize_all(
    diarizer: &Diarizer,
    recordings: &[(String, &Path)],
    options: &DiarizeOptions,
    mut sink: Sink<'_>,
    advice: Option<&str>,
    last: &mut Option<Inference>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    for (uri, path) in recordings {
        // Two runs would take twice the memory.
        *last = None;
        match diarize(diarizer, uri, path, last, options, terminal) {
            Ok(diarization) => sink.add(&diarization)?,
            Err(error) if recordings.len() > 1 => terminal.error(&error),
            Err(error) => return Err(error),
        }
    }
    if let Some(advice) = advice.filter(|_| sink.done() > 0) {
        terminal.note(advice);
    }
    sink.finish(recordings.len())
}

/// Each file with its uri, in the order given. The uri is the file name without extension, with `_` for white space,
/// which would end a field of RTTM, and for characters that a file name cannot hold on some systems. `name` takes its place.
fn recordings<'a>(
    audio: &'a [PathBuf],
    name: Option<&str>,
) -> anyhow::Result<Vec<(String, &'a Path)>> {
    ensure!(
        name.is_none() || audio.len() == 1,
        "--uri names one recording, found {}",
        audio.len()
    );
    let mut seen = BTreeMap::new();
    let mut recordings = Vec::with_capacity(audio.len());
    for path in audio {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let stem = match name {
            Some(name) => name,
            None if is_standard(path) => "stdin",
            None => &stem,
        };
        let uri = stem.split_whitespace().collect::<Vec<_>>().join("_");
        let uri = uri.replace(|c: char| c == '\\' || c.is_control(), "_");
        ensure!(
            is_file_name(&uri),
            "{}: has no name for its turns; rename it, or give a file",
            path.display()
        );
        if let Some(other) = seen.insert(uri.clone(), path) {
            bail!(
                "{} and {} would both be called `{uri}` in the output; rename one, or diarize them one at a time",
                other.display(),
                path.display()
            );
        }
        recordings.push((uri, path.as_path()));
    }
    Ok(recordings)
}

/// The pipeline that `args` names.
fn diarizer(args: &Args, model: &Chosen, terminal: &Terminal) -> anyhow::Result<Diarizer> {
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
        "--experimental-kernels is for Metal, but the networks run on {device}; omit it, or choose --device metal"
    );
    if args.device == DeviceChoice::Auto && device != DeviceChoice::Cpu {
        terminal.note(&format!(
            "note: running on {device}; use --device cpu for the CPU"
        ));
    }
    if let Some(cost) = args.dtype.cost(engine.device.is_cpu())? {
        terminal.note(&cost);
    }
    let download = args.download.then_some(terminal);
    let diarizer = pipeline(model, download, &overrides, &engine)?;
    terminal.detail(&format!(
        "{} ({}) on {device}, {}, ready after {:.2?}",
        model.name,
        engine.dtype.as_str(),
        engine.used_kernels(),
        started.elapsed()
    ));
    Ok(diarizer)
}

/// The pipeline `model`, or that around the network `model`. With a terminal, models that its configuration names are
/// downloaded.
pub(crate) fn pipeline(
    model: &Chosen,
    download: Option<&Terminal>,
    overrides: &Overrides,
    engine: &Engine,
) -> anyhow::Result<Diarizer> {
    let diarizer = match &model.path {
        Some(path) if is_pipeline(path) => {
            Diarizer::from_pipeline(&named_model::read(path, download)?, overrides, engine)
        }
        Some(path) => Diarizer::built_in(&soundalike_convert::load(path)?, overrides, engine),
        None => Diarizer::built_in(&soundalike_weights::segmentation()?, overrides, engine),
    };
    match diarizer {
        Err(SetupError::Parameter(error)) => Err(option_error(error)),
        other => other.with_context(|| model.name.clone()),
    }
}

/// Diarizes one recording; leaves its run in `last`.
fn diarize(
    diarizer: &Diarizer,
    uri: &str,
    path: &Path,
    last: &mut Option<Inference>,
    options: &DiarizeOptions,
    terminal: &Terminal,
) -> anyhow::Result<Diarization> {
    let started = Instant::now();
    let mut recording = recording_input::open(path, diarizer.sample_rate())?;
    let name = || path.display().to_string();
    if recording.skipped_packets() > 0 {
        terminal.warn(&format!(
            "{}: {} packet(s) could not be decoded and were replaced by silence",
            name(),
            recording.skipped_packets()
        ));
    }
    for note in recording.notes() {
        terminal.warn(&format!("{}: {note}", name()));
    }
    let bar = terminal.progress(uri);
    let run = diarizer.infer(uri, &mut recording, &mut |progress| {
        // Embeddings come last.
        if progress.part == ModelRole::Embedding {
            bar.set_length(progress.windows as u64);
            bar.set_position(progress.done as u64);
        }
    });
    bar.finish_and_clear();
    let run = match run {
        // The error names the file.
        Err(Error::Audio(error)) => return Err(error.into()),
        run => run.with_context(name)?,
    };
    let run = last.insert(run);
    let diarization = run.diarize(options).with_context(name)?;
    warn(&diarization, &name(), terminal);
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

/// Prints the warnings about the turns of `name`.
pub(crate) fn warn(diarization: &Diarization, name: &str, terminal: &Terminal) {
    for warning in &diarization.warnings {
        terminal.warn(&format!("{name}: {warning}"));
    }
}
