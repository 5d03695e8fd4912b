//! `soundalike trace`: writes the output of every stage of a network.

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use ndarray::Array3;
use soundalike_compare::{EngineInfo, TraceSubject, Window, write_activations, write_reference};
use soundalike_convert::{Bundle, sha256};
use soundalike_diarize::audio::Audio;
use soundalike_model::Kernels;
use soundalike_selftest::{CandleEngine, torch_reference};

use super::{compare::windows::format, load, on_cpu, seconds};
use crate::{
    output::{Inputs, Output, Outputs},
    terminal::Terminal,
};

/// Run a network on a window of audio and write the output of every stage to an .npz file
///
/// The engine torch writes a reference for `compare --reference trace:OUT.npz`: each stage in f64, with PyTorch's
/// own f32 error, as reference/capture.py does. The other engines write activations in f32 for `compare
/// --candidate trace:OUT.npz` on another machine, or for use in numpy. Embeddings are pooled over the whole window.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Engine that runs the network
    #[arg(long, value_enum)]
    engine: Engine,
    /// Bundle or checkpoint, by its name or path [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<PathBuf>,
    /// Recording, at any sample rate; channels are averaged
    #[arg(long, value_name = "FILE")]
    audio: PathBuf,
    /// Start of the window, in seconds
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = seconds)]
    start: f64,
    /// Duration of the window, in seconds [default: that of the model's training, or up to the end of the
    /// recording]
    #[arg(long, value_name = "S", value_parser = seconds)]
    duration: Option<f64>,
    /// Write to this file
    #[arg(short, long, value_name = "OUT.npz")]
    output: PathBuf,
}

/// Engines that write a trace.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Engine {
    /// The network of `diarize` on the CPU
    CandleCpu,
    /// The same without hand-written kernels, so that every stage is written
    CandleCpuPortable,
    /// The reference on libtorch, in builds with --features torch
    Torch,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let inputs = Inputs::default()
        .files([&args.audio], "recording")
        .models(&args.model, "model");
    let output = Outputs::new(inputs).open_file(&args.output, "-o")?;
    let bundle = load(args.model.as_deref())?;
    let window = window(args, &bundle)?;
    let audio = std::fs::read(&args.audio)
        .with_context(|| format!("{}: cannot be read", args.audio.display()))?;
    let audio_sha256 = sha256([&*audio]);
    let subject = TraceSubject {
        bundle: &bundle,
        window: &window,
        audio_sha256: &audio_sha256,
    };
    // The network is built before the file is written: most errors arise here.
    match args.engine {
        Engine::CandleCpu => ours(&output, subject, "candle-cpu", Kernels::native())?,
        Engine::CandleCpuPortable => {
            ours(&output, subject, "candle-cpu-portable", Kernels::Portable)?
        }
        Engine::Torch => {
            let mut reference = torch_reference(&bundle, None)?;
            output.stream(|file| {
                let buffer = BufWriter::new(file);
                Ok(write_reference(buffer, &mut reference, subject)?.flush()?)
            })?;
        }
    }
    terminal.detail(&format!("wrote {}", args.output.display()));
    Ok(())
}

/// Writes the activations of our network.
fn ours(
    output: &Output,
    subject: TraceSubject<'_>,
    engine: &str,
    kernels: Kernels,
) -> anyhow::Result<()> {
    let network = CandleEngine::load(subject.bundle, &on_cpu(kernels))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let info = EngineInfo {
        versions: [("soundalike".to_owned(), version)].into(),
        ..network.info(engine, subject.bundle)
    };
    output.stream(|file| {
        let buffer = BufWriter::new(file);
        Ok(write_activations(buffer, &network, subject, &info)?.flush()?)
    })
}

/// The window that `args` names.
fn window(args: &Args, bundle: &Bundle) -> anyhow::Result<Window> {
    let (sample_rate, longest) = format(bundle)?;
    let audio = Audio::read(&args.audio, sample_rate)?;
    let rate = f64::from(sample_rate);
    let whole = audio.samples.len() as f64 / rate;
    let (shown, start) = (args.audio.display(), args.start);
    ensure!(
        start < whole,
        "{shown}: lasts {whole:.3} s, but --start is {start}"
    );
    let duration = args.duration.unwrap_or(longest.min(whole - start));
    let [from, length] = [start, duration].map(|seconds| (seconds * rate).round() as usize);
    let to = from.checked_add(length);
    let samples = to.and_then(|to| audio.samples.get(from..to));
    let samples = samples.filter(|samples| !samples.is_empty());
    let samples = samples.with_context(|| {
        format!("{shown}: has no {duration} s from {start} s on, it lasts {whole:.3} s")
    })?;
    let name = args.audio.file_name().unwrap_or_default();
    Ok(Window {
        uri: name.to_string_lossy().into_owned(),
        start,
        duration,
        waveform: Array3::from_shape_vec((1, 1, length), samples.to_vec())?.into_dyn(),
        masks: None,
    })
}
