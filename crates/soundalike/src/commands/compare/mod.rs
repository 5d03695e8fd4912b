//! `soundalike compare`: is it the original, and where not?

mod files;
mod gates;
mod github;
mod junit;
pub(super) mod masks;
pub(super) mod model;
mod report;
pub(super) mod side;
mod subject;
pub(super) mod truth;
mod weights;
pub(super) mod windows;
pub(super) mod words;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use soundalike_compare::Names;
use soundalike_model::DType;

use self::{
    gates::BuiltIn,
    masks::MaskChoice,
    model::WhichNetwork,
    side::{CandidateSide, ReferenceSide},
    subject::Subject,
    windows::Recordings,
};

use crate::{
    commands::precision::Precision,
    document::{
        html, markdown,
        terminal::{self, Screen},
    },
    terminal::Terminal,
};

/// Compare a network with the original, stage by stage: a bug or rounding, and where
///
/// The reference is what the official pyannote.audio computed: without arguments, one second of the
/// project's sample through the embedded segmentation-3.0; else a trace that reference/capture.py wrote, or the
/// reference engine on libtorch, live, which was verified against such traces. Errors are measured in R: units of PyTorch's own f32 rounding on this very input. Each stage is
/// compared twice: fed by the reference (whose error it is) and by the candidate itself (what a user gets). Two traces, of
/// any network, are compared without a model.
///
/// Exit code 0: every limit of the gate is kept. 3: not, or nothing could be compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare all stages of the network: what this command does, with this option or without
    #[arg(long, hide = true)]
    layers: bool,
    /// The truth: torch (the reference engine, live) or trace:FILE.npz [default: the built-in trace, or
    /// torch for other recordings and models]
    #[arg(long, value_name = "ENGINE")]
    reference: Option<String>,
    /// What is on trial: candle-cpu, candle-cpu-portable (every stage by itself), candle-metal, candle-cuda,
    /// candle-metal-ops (on the CPU what a Mac's GPU gets), or trace:FILE.npz with another engine's activations
    #[arg(long, value_name = "ENGINE", default_value = "candle-cpu")]
    candidate: String,
    /// With the kernels for Metal that no Mac was seen to run (candle-metal, candle-metal-ops)
    #[arg(long)]
    experimental_kernels: bool,
    /// The model of both: a bundle, a checkpoint or a pipeline directory [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "FILE|DIR")]
    model: Option<PathBuf>,
    /// Which network of a pipeline directory
    #[arg(long, value_enum, default_value_t)]
    network: WhichNetwork,
    /// Other weights for the candidate: a converted, quantised or foreign file of the same network
    #[arg(long, value_name = "FILE")]
    candidate_model: Option<PathBuf>,
    /// Precision of the candidate's weights and activations; the reference is in f64 and f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    #[command(flatten)]
    recordings: Recordings,
    /// By what frames embeddings are pooled, each an input of its own [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    masks: Vec<MaskChoice>,
    /// Measure what the errors of the stages come to at the output: is it rounding? (some 10 s for each window)
    #[arg(long)]
    budget: bool,
    /// Which entry of the candidate's trace is which stage, a TOML file: "their name" = "ours", or
    /// { name = "ours", transpose = [0, 2, 1] } [default: they are called as ours]
    #[arg(long, value_name = "NAMES.toml")]
    map: Option<PathBuf>,
    /// Limits that must be kept, a TOML file [default: the project's own, of f32: R < 4
    /// everywhere, all decisions equal]
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// For GitHub Actions: failures as annotations, and the report in the summary of the step
    #[arg(long)]
    github: bool,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where to print it [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Put a fault into the candidate, to see it found
    #[arg(long, value_name = "FAULT", hide = true)]
    inject: Option<String>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For pull requests
    Markdown,
    /// One page with pictures, nothing outside of it
    Html,
    /// For CI servers: a test case for each limit of the gate at each stage
    Junit,
}

/// What the arguments ask for, checked.
struct Request {
    reference: Option<ReferenceSide>,
    candidate: CandidateSide,
    model: Option<PathBuf>,
    network: WhichNetwork,
    candidate_model: Option<PathBuf>,
    dtype: DType,
    recordings: Recordings,
    masks: Vec<MaskChoice>,
    budget: bool,
    names: Names,
    inject: Option<String>,
}

impl Request {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let mut candidate: CandidateSide = args.candidate.parse()?;
        if args.experimental_kernels {
            candidate = candidate.with_experimental_kernels()?;
        }
        let is_trace = matches!(candidate, CandidateSide::Trace(_));
        if args.inject.is_some() && !is_trace {
            // Faults take the place of single stages.
            candidate = CandidateSide::Portable;
        }
        let reference = args.reference.as_deref().map(str::parse).transpose()?;
        if let Some(ReferenceSide::Trace(_)) = reference {
            ensure!(
                args.recordings.audio.is_empty() && args.masks.is_empty(),
                "a trace has its own window and masks: leave --audio and --masks out, or give --reference torch"
            );
            ensure!(
                args.dtype == Precision::F32,
                "a trace has no reference of so few bits: give --reference torch"
            );
        }
        ensure!(
            !is_trace || (args.inject.is_none() && args.candidate_model.is_none()),
            "--inject and --candidate-model change our own network, not a trace"
        );
        let names = match &args.map {
            None => Names::default(),
            Some(path) => {
                ensure!(
                    is_trace,
                    "--map says what the entries of a trace are called; give one with --candidate trace:FILE.npz"
                );
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("{}: cannot be read", path.display()))?;
                Names::parse(&text, &path.display().to_string())?
            }
        };
        Ok(Self {
            reference,
            candidate,
            model: args.model.clone(),
            network: args.network,
            candidate_model: args.candidate_model.clone(),
            dtype: args.dtype.into(),
            recordings: args.recordings.clone(),
            masks: args.masks.clone(),
            budget: args.budget,
            names,
            inject: args.inject.clone(),
        })
    }

    /// Whether the built-in trace can answer it: it is of one window, in f32, and cannot be run again.
    fn is_plain(&self) -> bool {
        self.recordings.audio.is_empty()
            && self.masks.is_empty()
            && self.dtype == DType::F32
            && !self.budget
    }

    /// The candidate as the report calls it.
    fn candidate_name(&self) -> String {
        let mut name = self.candidate.to_string();
        if let Some(path) = &self.candidate_model {
            name += &format!(" with {}", path.display());
        }
        if let Some(fault) = &self.inject {
            name += &format!(" with {fault}");
        }
        name
    }
}

/// Runs the command; whether the gate was passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let output = files::open(args)?;
    let request = Request::new(args)?;
    let subject = Subject::find(&request)?;
    let built_in = match args.dtype {
        Precision::F16 | Precision::Bf16 => BuiltIn::LowPrecision,
        Precision::F32 if subject.is_foreign() => BuiltIn::AnyNetwork,
        Precision::F32 => BuiltIn::Exact,
    };
    let (gate, origin) = gates::load(args.gate.as_deref(), built_in)?;
    let mut report = subject.compare(&request)?;
    report.gate = Some(gate.judge(&report, &origin)?);
    let document = report::document(&report);
    let text = match args.format {
        Format::Table => {
            let unfolded = terminal.is_verbose();
            let screen = Screen::of(args.output.as_deref());
            terminal::render(&document, Screen { unfolded, ..screen })
        }
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Markdown => markdown::render(&document, 2),
        Format::Html => html::render(&document),
        Format::Junit => junit::render(&report)?,
    };
    output.write(text.as_bytes())?;
    if args.github {
        github::publish(&report, terminal)?;
    }
    Ok(report.gate.is_some_and(|gate| gate.passed))
}

/// What the user typed, as a shell would take it.
pub(super) fn command_line() -> String {
    let quoted = |argument: String| {
        let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    format!("soundalike {}", arguments.collect::<Vec<_>>().join(" "))
}
