//! `soundalike bench`: times the networks and compares their speed with the machine's peak.

mod cost;
mod report;
mod stopwatch;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use soundalike_convert::{Bundle, ModelRole};
use soundalike_diarize::{DiarizeOptions, Overrides, Recording};
use soundalike_model::{
    self as model, DType, Device, Input, InstructionSet, Kernels, NoProbe, Probe, Result, Tensor,
};
use soundalike_network::{Graph, InputShapes, Output};
use soundalike_report::document::terminal::{self, Screen};

use self::{
    report::{Machine, Network, Pipeline, Report, Stage},
    stopwatch::Stopwatch,
};
use super::{
    Format,
    cpu_args::CpuArgs,
    diarize, load,
    named_model::{self, Chosen},
    on_cpu,
};
use crate::{
    output::{Inputs, Outputs},
    terminal::Terminal,
};

const WINDOW: usize = 10;
/// Masks of a window for the speaker embedding: speakers, and frames of the segmentation.
const MASKS: [usize; 2] = [3, 589];
/// Windows per batch when stages of the speaker embedding are timed: 40 MB each.
const WATCHED: usize = 4;
/// Duration of the measurement of the machine's peak.
const PEAK: Duration = Duration::from_millis(400);

/// Time each stage of the networks, and the whole pipeline on a recording
///
/// Each network runs on windows of ten seconds, first as in `diarize`, then stage by stage. Times are medians.
/// GFLOP counts the operations in the definition of a layer; Winograd convolutions execute fewer. The peak is the rate
/// of fused multiply-adds on the same threads, measured without memory access. Run it on an idle machine: other load
/// makes the figures useless.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recording for the whole pipeline
    audio: Option<PathBuf>,
    /// Pipeline or network, by its name or path [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "NAME|DIR|FILE")]
    model: Option<PathBuf>,
    /// Windows per batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    windows: u16,
    /// Number of runs; medians are reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    #[command(flatten)]
    cpu: CpuArgs,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the report to this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let inputs = Inputs::default()
        .files(&args.audio, "recording")
        .models(&args.model, "model");
    let path = args.output.as_deref();
    let output = Outputs::new(inputs).open(path, "-o")?;
    args.cpu.start_threads()?;
    let kernels = args.cpu.kernels();
    let peak = InstructionSet::best().unwrap_or_else(InstructionSet::scalar);
    let mut report = Report {
        schema: 1,
        machine: Machine {
            kernels: kernels.to_string(),
            threads: rayon::current_num_threads(),
            peak_gflops: peak.peak(PEAK) / 1e9,
            load_average: load_average(),
        },
        networks: Vec::new(),
        pipeline: None,
    };
    // First: later work would raise its peak memory.
    if let Some(path) = &args.audio {
        terminal.note(&format!("timing {}", path.display()));
        report.pipeline = Some(time_pipeline(path, args, kernels)?);
    }
    for bundle in networks(args.model.as_deref())? {
        terminal.note(&format!("timing {}", bundle.architecture().name()));
        report.networks.push(time_network(&bundle, kernels, args)?);
    }
    let text = match args.format {
        Format::Table => terminal::render(&report::document(&report), Screen::of(path)),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    output.write(text.as_bytes())
}

fn networks(model: Option<&Path>) -> anyhow::Result<Vec<Bundle>> {
    let pipeline = model.map(named_model::pipeline).transpose()?.flatten();
    Ok(match pipeline {
        Some(pipeline) => {
            let parts = [ModelRole::Segmentation, ModelRole::Embedding];
            let models = parts.iter().filter_map(|part| pipeline.model(*part));
            models.cloned().collect()
        }
        None => vec![load(model)?],
    })
}

/// Times one network on windows of ten seconds, as in `diarize` and then stage by stage.
fn time_network(bundle: &Bundle, kernels: Kernels, args: &Args) -> anyhow::Result<Network> {
    let architecture = bundle.architecture();
    let network = model::load(bundle, &on_cpu(kernels))?;
    let (rate, name) = (architecture.sample_rate(), architecture.name());
    let no_audio = || format!("a {name} takes no audio; pass the pipeline directory");
    let rate = rate.with_context(no_audio)?;
    let samples = WINDOW * rate as usize;
    let windows = usize::from(args.windows);
    // An embedding is computed for each speaker, and its images are large.
    let (masks, watched) = match architecture.output() {
        Output::Embedding { .. } => (Some(MASKS), WATCHED.min(windows)),
        Output::Scores { .. } | Output::Comparison { .. } => (None, windows),
    };
    let forward = |x: &Tensor, probe: &mut dyn Probe| {
        let masks = masks.map(|[masks, frames]| {
            Tensor::ones((x.dim(0)?, masks, frames), DType::F32, &Device::Cpu)
        });
        let masks = masks.transpose()?;
        let input = Input {
            waveforms: x,
            masks: masks.as_ref(),
        };
        network.forward(input, probe).map(|_| ())
    };
    let graph = network.graph(masks.is_some());
    let (together, stages) = timed(graph, samples, [windows, watched], args.runs, forward)?;
    let inputs = InputShapes {
        batch: 1,
        samples,
        masks: masks.map(|[masks, frames]| (masks, frames)),
    };
    let names: Vec<String> = stages.iter().map(|(name, _)| name.clone()).collect();
    let costs = cost::of(graph, inputs, &names);
    // The stages of one layer are one row.
    let stages = stages.into_iter().map(|(name, ms)| Stage {
        gflop: costs.get(&name).map(|adds| 2e-9 * *adds as f64),
        ms,
        name: graph.get(&name).map_or(name, |stage| stage.layer.clone()),
    });
    Ok(Network {
        name,
        windows,
        stages: report::grouped(stages),
        ms: together,
        gflop: costs.values().map(|adds| 2e-9 * *adds as f64).sum(),
    })
}

/// Milliseconds of `forward` per window of `samples` samples: in all, in batches of `windows[0]` as in `diarize`, and of
/// each stage, in batches of `windows[1]`.
fn timed(
    graph: &Graph,
    samples: usize,
    [windows, watched]: [usize; 2],
    runs: u16,
    forward: impl Fn(&Tensor, &mut dyn Probe) -> Result<()>,
) -> anyhow::Result<(f64, Vec<(String, f64)>)> {
    let input = |windows: usize| {
        // Any signal will do: the time does not depend on the values.
        let sample = |i: usize| (i as f32 * 0.05).sin() * (i as f32 * 0.0003).sin() * 0.3;
        let samples_of_all = (0..windows * samples).map(sample).collect::<Vec<_>>();
        Tensor::from_vec(samples_of_all, (windows, 1, samples), &Device::Cpu)
    };
    let x = input(windows)?;
    forward(&x, &mut NoProbe)?;
    let together = (0..runs).map(|_| {
        let start = Instant::now();
        forward(&x, &mut NoProbe).map(|()| start.elapsed())
    });
    let together = together.collect::<Result<Vec<_>>>()?;
    let x = input(watched)?;
    forward(&x, &mut Stopwatch::start(graph))?;
    let mut stages: Vec<(String, Vec<Duration>)> = Vec::new();
    for _ in 0..runs {
        let mut stopwatch = Stopwatch::start(graph);
        forward(&x, &mut stopwatch)?;
        for (name, time) in stopwatch.stages() {
            match stages.iter_mut().find(|(stage, _)| *stage == name) {
                Some((_, times)) => times.push(time),
                None => stages.push((name, vec![time])),
            }
        }
    }
    let ms = |mut times: Vec<Duration>, windows: usize| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3 / windows as f64
    };
    let stages = stages.into_iter();
    let stages = stages.map(|(name, times)| (name, ms(times, watched)));
    Ok((ms(together, windows), stages.collect()))
}

/// Times a recording from its file to its turns.
fn time_pipeline(path: &Path, args: &Args, kernels: Kernels) -> anyhow::Result<Pipeline> {
    let engine = on_cpu(kernels);
    let started = Instant::now();
    let model = Chosen::given(args.model.as_deref())?;
    let diarizer = diarize::pipeline(&model, None, &Overrides::default(), &engine)?;
    let ready = started.elapsed();
    let mut recording = Recording::open(path, diarizer.sample_rate())?;
    let decoded = started.elapsed();
    let (mut segmentation, mut embedding) = (Duration::ZERO, Duration::ZERO);
    let mut before = Instant::now();
    let run = diarizer.infer("bench", &mut recording, &mut |progress| {
        let of_part = match progress.part {
            ModelRole::Segmentation => &mut segmentation,
            _ => &mut embedding,
        };
        *of_part += before.elapsed();
        before = Instant::now();
    })?;
    let clustering = Instant::now();
    let diarization = run.diarize(&DiarizeOptions::default())?;
    let clustering = clustering.elapsed();
    let stages = [
        ("model", ready),
        ("decoding", decoded - ready),
        ("segmentation", segmentation),
        ("embedding", embedding),
        ("clustering", clustering),
    ];
    let seconds = |(name, time): (_, Duration)| (name, time.as_secs_f64());
    Ok(Pipeline {
        duration: run.duration(),
        speakers: diarization.speakers.len(),
        stages: stages.map(seconds).to_vec(),
        seconds: started.elapsed().as_secs_f64(),
        peak_mb: peak_memory(),
    })
}

/// Load average of the last minute, on Linux.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Peak memory of this process in MB, on Linux.
fn peak_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
