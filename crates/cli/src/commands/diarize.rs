//! `soundalike diarize`: who spoke when.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use soundalike_diarize::{
    Diarizer, Options, SpeakerBounds, audio::Audio, built_in::clustering::DEFAULT_THRESHOLD,
};
use soundalike_metrics::rttm;
use soundalike_model::{DType, DeviceChoice};

use crate::{output, terminal::Terminal};

/// More threads than cores gain nothing, and a system runs out of them.
const MAX_THREADS: i64 = 1024;

/// Say who spoke when in audio files, as RTTM
///
/// Without --model, the embedded segmentation-3.0 listens. Its own features tell the voices apart, a
/// fallback that knows a voice within one recording only. A file that cannot be read is reported, and the
/// others are done all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Audio files: WAV, FLAC, MP3, OGG, M4A, ...; any sample rate, channels are averaged
    #[arg(required = true)]
    audio: Vec<PathBuf>,
    /// Segmentation network: a bundle or a checkpoint [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Where to run the network: auto, cpu, metal or cuda
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Precision the network computes in
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    /// Number of speakers, where it is known
    #[arg(long, value_name = "N", conflicts_with_all = ["min_speakers", "max_speakers"])]
    num_speakers: Option<usize>,
    /// Fewest speakers there can be
    #[arg(long, value_name = "N")]
    min_speakers: Option<usize>,
    /// Most speakers there can be
    #[arg(long, value_name = "N")]
    max_speakers: Option<usize>,
    /// Cosine distance up to which two voices are one person's, 0 to 2: lower finds more speakers
    #[arg(long, value_name = "X", default_value_t = DEFAULT_THRESHOLD)]
    threshold: f64,
    /// RTTM file, or a directory (with a / at the end if it is new) for one file per recording
    /// [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Threads of the CPU [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
}

/// Precision of weights and activations.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Precision {
    F32,
    F16,
    Bf16,
}

impl From<Precision> for DType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Bf16 => Self::BF16,
        }
    }
}

/// Where the turns go.
enum Destination<'a> {
    Stdout,
    /// All recordings in one file.
    File(&'a Path),
    /// One file per recording.
    Directory(&'a Path),
}

impl<'a> Destination<'a> {
    fn new(output: Option<&'a Path>) -> anyhow::Result<Self> {
        let Some(path) = output else {
            return Ok(Self::Stdout);
        };
        let names_directory = path
            .as_os_str()
            .to_string_lossy()
            .ends_with(std::path::MAIN_SEPARATOR);
        if path.is_dir() || names_directory {
            fs::create_dir_all(path)
                .with_context(|| format!("{}: cannot be made", path.display()))?;
            return Ok(Self::Directory(path));
        }
        output::check_directory_of(path)?;
        Ok(Self::File(path))
    }
}

/// Runs the command. A file that cannot be diarized is reported and the others are done all the same.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let options = Options {
        speakers: bounds(args)?,
        threshold: args.threshold,
    };
    ensure!(
        (0.0..=2.0).contains(&args.threshold),
        "--threshold is {}, expected a cosine distance from 0 to 2",
        args.threshold
    );
    let recordings = recordings(&args.audio)?;
    let destination = Destination::new(args.output.as_deref())?;
    if let Destination::File(path) = destination {
        for (_, audio) in &recordings {
            output::check_not_source(path, audio, "recording")?;
        }
    }
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()?;
    }
    let diarizer = diarizer(args, terminal)?;

    let mut together = Vec::new();
    let mut failed = 0;
    for (uri, path) in &recordings {
        let rttm = match diarize(&diarizer, uri, path, &options, terminal) {
            Ok(rttm) => rttm,
            Err(error) if recordings.len() > 1 => {
                terminal.error(&error);
                failed += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        match destination {
            Destination::Stdout => output::to_stdout(&rttm)?,
            Destination::File(_) => together.extend(rttm),
            Destination::Directory(directory) => {
                output::to_file(&directory.join(format!("{uri}.rttm")), &rttm)?;
            }
        }
    }
    if failed < recordings.len() {
        terminal.note(
            "note: voices are told apart by built-in embeddings, a fallback that knows them within one recording only",
        );
    }
    match destination {
        Destination::File(path) if failed == 0 => output::to_file(path, &together)?,
        Destination::File(path) => bail!(
            "{failed} of {} files failed, so {} was not written; leave them out, or give a directory",
            recordings.len(),
            path.display()
        ),
        _ if failed > 0 => bail!("{failed} of {} files failed", recordings.len()),
        _ => {}
    }
    Ok(())
}

/// The numbers of speakers asked for.
fn bounds(args: &Args) -> anyhow::Result<SpeakerBounds> {
    let min = args.num_speakers.or(args.min_speakers).unwrap_or(1);
    let max = args
        .num_speakers
        .or(args.max_speakers)
        .unwrap_or(usize::MAX);
    Ok(SpeakerBounds::new(min, max)?)
}

/// Each file under the name that its turns will carry: its own without extension, and without white space,
/// which would end a field of RTTM. In the order given.
fn recordings(audio: &[PathBuf]) -> anyhow::Result<Vec<(String, &Path)>> {
    let mut seen = BTreeMap::new();
    let mut recordings = Vec::with_capacity(audio.len());
    for path in audio {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let uri = stem.split_whitespace().collect::<Vec<_>>().join("_");
        ensure!(
            !uri.is_empty(),
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

/// The pipeline around the model asked for.
fn diarizer(args: &Args, terminal: &Terminal) -> anyhow::Result<Diarizer> {
    let started = Instant::now();
    let bundle = match &args.model {
        Some(path) => soundalike_convert::load(path)?,
        None => soundalike_weights::segmentation()?,
    };
    let device = args.device.open()?;
    let name = || match &args.model {
        Some(path) => path.display().to_string(),
        None => "the embedded segmentation-3.0".to_owned(),
    };
    let diarizer = Diarizer::new(&bundle, args.dtype.into(), &device).with_context(name)?;
    terminal.detail(&format!(
        "{} ({:?}) on {:?}, ready after {:.2?}",
        name(),
        DType::from(args.dtype),
        device.location(),
        started.elapsed()
    ));
    Ok(diarizer)
}

/// The turns of one recording, as RTTM.
fn diarize(
    diarizer: &Diarizer,
    uri: &str,
    path: &Path,
    options: &Options,
    terminal: &Terminal,
) -> anyhow::Result<Vec<u8>> {
    let started = Instant::now();
    let audio = Audio::read(path, diarizer.sample_rate())?;
    if audio.skipped_packets > 0 {
        terminal.warn(&format!(
            "{}: {} packet(s) could not be decoded and were left out",
            path.display(),
            audio.skipped_packets
        ));
    }
    let bar = terminal.progress(uri);
    let result = diarizer.diarize(uri, &audio, options, &mut |done, windows| {
        bar.set_length(windows as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let diarization = result.with_context(|| path.display().to_string())?;
    for warning in &diarization.warnings {
        terminal.warn(&format!("{}: {warning}", path.display()));
    }
    let elapsed = started.elapsed().as_secs_f64();
    terminal.detail(&format!(
        "{}: {:.1} s of audio in {elapsed:.2} s (RTF {:.3}), {} speaker(s)",
        path.display(),
        audio.duration(),
        elapsed / audio.duration(),
        diarization.annotation.labels().len()
    ));
    let mut rttm = Vec::new();
    rttm::write(&diarization.annotation, &mut rttm)?;
    Ok(rttm)
}
