//! `soundalike bench`: how long the networks take, and how far that is from what the machine could do.

mod cost;
mod report;
mod stopwatch;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use soundalike_convert::{Bundle, Part, PipelineDirectory};
use soundalike_diarize::{Options, Overrides, Recording};
use soundalike_model::{
    self as model, DType, Device, Input, InstructionSet, Kernels, Probe, Result, Silent, Tensor,
};
use soundalike_network::{Graph, InputShapes, Output};

use self::{
    report::{Machine, Network, Pipeline, Report, Stage},
    stopwatch::Stopwatch,
};
use super::{Format, cpu_args::CpuArgs, diarize, load, on_cpu};
use crate::{
    document::terminal::{self, Screen},
    output::{Inputs, Outputs},
    terminal::Terminal,
};

/// Seconds of a window.
const WINDOW: usize = 10;
/// Speakers whose embeddings are taken of each window, and frames of the segmentation that says where they are.
const MASKS: [usize; 2] = [3, 589];
/// Windows that go through each stage of the speaker embedding before the next: 40 MB each.
const WATCHED: usize = 4;
/// How long the machine is asked for its best.
const PEAK: Duration = Duration::from_millis(400);

/// Time the networks, stage by stage, and a recording through the whole pipeline
///
/// Windows of ten seconds go through each network, all stages of a window before the next window as in `diarize`,
/// and then stage by stage. Times are medians. GFLOP counts multiplications and additions as the layers are defined
/// (convolutions by transforms need fewer); the share of the peak is that of fused multiply-adds on values in
/// registers by the same threads, measured before. On a machine that does something else as well, all of it
/// means little.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recording to put through the whole pipeline
    audio: Option<PathBuf>,
    /// Pipeline directory, or one network, a bundle or a checkpoint [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "DIR|FILE")]
    model: Option<PathBuf>,
    /// Windows that go through a network together
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    windows: u16,
    /// Runs of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    #[command(flatten)]
    cpu: CpuArgs,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where to write it [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let inputs = Inputs::default()
        .files(&args.audio, "the recording itself")
        .models(&args.model, "model");
    let output = Outputs::new(inputs).open(args.output.as_deref(), "-o")?;
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
    // First, so that its peak of memory is its own.
    if let Some(path) = &args.audio {
        terminal.note(&format!("timing {}", path.display()));
        report.pipeline = Some(whole(path, args, kernels)?);
    }
    for bundle in networks(args.model.as_deref())? {
        terminal.note(&format!("timing {}", bundle.architecture().name()));
        report.networks.push(network(&bundle, kernels, args)?);
    }
    let text = match args.format {
        Format::Table => {
            let screen = Screen::of(args.output.as_deref());
            terminal::render(&report::document(&report), screen)
        }
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    output.write(text.as_bytes())
}

/// The networks of what `--model` names.
fn networks(model: Option<&Path>) -> anyhow::Result<Vec<Bundle>> {
    Ok(match model {
        Some(path) if soundalike_convert::is_pipeline(path) => {
            let pipeline = PipelineDirectory::read(path)?;
            let parts = [Part::Segmentation, Part::Embedding];
            let models = parts.iter().filter_map(|part| pipeline.model(*part));
            models.cloned().collect()
        }
        model => vec![load(model)?],
    })
}

/// Times one network on windows of ten seconds: all of them as in `diarize`, then stage by stage.
fn network(bundle: &Bundle, kernels: Kernels, args: &Args) -> anyhow::Result<Network> {
    let architecture = bundle.architecture();
    let network = model::load(bundle, &on_cpu(kernels))?;
    let rate = architecture.sample_rate();
    let rate = rate.with_context(|| format!("a {} takes no audio", architecture.name()))?;
    let samples = WINDOW * rate as usize;
    let windows = usize::from(args.windows);
    // An embedding is taken of each of some speakers, and its images are large.
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
    // Those of one layer are one row.
    let stages = stages.into_iter().map(|(name, ms)| Stage {
        gflop: costs.get(&name).map(|adds| 2e-9 * *adds as f64),
        ms,
        name: graph.get(&name).map_or(name, |stage| stage.layer.clone()),
    });
    Ok(Network {
        name: architecture.name(),
        windows,
        stages: report::grouped(stages),
        ms: together,
        gflop: costs.values().map(|adds| 2e-9 * *adds as f64).sum(),
    })
}

/// Milliseconds that `forward` takes for one window of `samples` samples: with `windows[0]` of them as in `diarize`, and
/// with `windows[1]` at each stage.
fn timed(
    graph: &Graph,
    samples: usize,
    [windows, watched]: [usize; 2],
    runs: u16,
    forward: impl Fn(&Tensor, &mut dyn Probe) -> Result<()>,
) -> anyhow::Result<(f64, Vec<(String, f64)>)> {
    let input = |windows: usize| {
        // Two tones that come and go: the arithmetic takes as long for anything.
        let sample = |i: usize| (i as f32 * 0.05).sin() * (i as f32 * 0.0003).sin() * 0.3;
        let samples_of_all = (0..windows * samples).map(sample).collect::<Vec<_>>();
        Tensor::from_vec(samples_of_all, (windows, 1, samples), &Device::Cpu)
    };
    let x = input(windows)?;
    forward(&x, &mut Silent)?;
    let together = (0..runs).map(|_| {
        let start = Instant::now();
        forward(&x, &mut Silent).map(|()| start.elapsed())
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
fn whole(path: &Path, args: &Args, kernels: Kernels) -> anyhow::Result<Pipeline> {
    let (model, engine) = (args.model.as_deref(), on_cpu(kernels));
    let started = Instant::now();
    let (_, diarizer) = diarize::pipeline(model, &Overrides::default(), &engine)?;
    let ready = started.elapsed();
    let mut recording = Recording::open(path, diarizer.sample_rate())?;
    let decoded = started.elapsed();
    let (mut segmentation, mut embedding) = (Duration::ZERO, Duration::ZERO);
    let mut before = Instant::now();
    let run = diarizer.listen("bench", &mut recording, &mut |progress| {
        let of_part = match progress.part {
            Part::Segmentation => &mut segmentation,
            _ => &mut embedding,
        };
        *of_part += before.elapsed();
        before = Instant::now();
    })?;
    let clustering = Instant::now();
    let diarization = run.diarize(&Options::default())?;
    let clustering = clustering.elapsed();
    let stages = [
        ("model", ready),
        ("decoding", decoded - ready),
        ("segmentation", segmentation),
        ("embedding", embedding),
        ("clustering", clustering),
    ];
    let seconds = |(name, time): (&str, Duration)| (name.to_owned(), time.as_secs_f64());
    Ok(Pipeline {
        duration: run.duration(),
        speakers: diarization.speakers.len(),
        stages: stages.map(seconds).to_vec(),
        seconds: started.elapsed().as_secs_f64(),
        peak_mb: peak_memory(),
    })
}

/// Of the last minute, where the system says it.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The most memory this process has had, in MB, where the system says it.
fn peak_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
