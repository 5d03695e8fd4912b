//! `soundalike compare`: is it the original, and where not?

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

use anyhow::ensure;
use soundalike_compare::Names;

use self::{
    masks::MaskChoice,
    side::{CandidateSide, ReferenceSide},
    subject::Subject,
    truth::SubjectArgs,
};
use super::{precision::Precision, read_text};
use crate::{
    document::{
        html, markdown,
        terminal::{self, Screen},
    },
    output::Outputs,
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
    #[command(flatten)]
    subject: SubjectArgs,
    /// What is on trial: candle-cpu, candle-cpu-portable (every stage by itself), candle-metal, candle-cuda,
    /// candle-metal-ops (on the CPU what a Mac's GPU gets), or trace:FILE.npz with another engine's activations
    #[arg(long, value_name = "ENGINE", default_value = "candle-cpu")]
    candidate: String,
    /// With the kernels for Metal that no Mac was seen to run (candle-metal, candle-metal-ops)
    #[arg(long)]
    experimental_kernels: bool,
    /// Other weights for the candidate: a converted, quantised or foreign file of the same network
    #[arg(long, value_name = "FILE")]
    candidate_model: Option<PathBuf>,
    /// Precision of the candidate's weights and activations; the reference is in f64 and f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
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
struct Request<'a> {
    args: &'a Args,
    reference: Option<ReferenceSide>,
    candidate: CandidateSide,
    names: Names,
}

impl<'a> Request<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let mut candidate: CandidateSide = args.candidate.parse()?;
        if args.experimental_kernels {
            candidate = candidate.with_experimental_kernels()?;
        }
        let is_trace = matches!(candidate, CandidateSide::Trace(_));
        if args.inject.is_some() && !is_trace {
            // Faults take the place of single stages.
            candidate = "candle-cpu-portable".parse()?;
        }
        let reference = args.subject.reference()?;
        if let Some(ReferenceSide::Trace(_)) = reference {
            ensure!(
                args.subject.audio.is_empty() && args.masks.is_empty(),
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
                Names::parse(&read_text(path)?, &path.display().to_string())?
            }
        };
        Ok(Self {
            args,
            reference,
            candidate,
            names,
        })
    }

    /// Whether the built-in trace can answer it: it is of one window, in f32, and cannot be run again.
    fn is_plain(&self) -> bool {
        let args = self.args;
        let plain = args.subject.audio.is_empty() && args.masks.is_empty() && !args.budget;
        plain && args.dtype == Precision::F32
    }

    /// The candidate as the report calls it.
    fn candidate_name(&self) -> String {
        let mut name = self.candidate.to_string();
        if let Some(path) = &self.args.candidate_model {
            name += &format!(" with {}", path.display());
        }
        if let Some(fault) = &self.args.inject {
            name += &format!(" with {fault}");
        }
        name
    }
}

/// Runs the command; whether the gate was passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let trace = args.candidate.strip_prefix("trace:");
    let inputs = args.subject.inputs();
    let inputs = inputs
        .files(trace, "one of the traces that are compared")
        .files(&args.map, "the map of names itself")
        .files(&args.gate, "the gate itself")
        .models(&args.candidate_model, "candidate's model");
    let mut outputs = Outputs::new(inputs);
    let summary = github::summary().filter(|_| args.github);
    let summary = summary.map(|path| outputs.appended(&path, github::SUMMARY));
    let summary = summary.transpose()?;
    let output = outputs.open(args.output.as_deref(), "-o")?;
    let request = Request::new(args)?;
    let subject = Subject::find(&request)?;
    let built_in = match args.dtype {
        Precision::F16 | Precision::Bf16 => gates::LOW_PRECISION,
        Precision::F32 if subject.is_foreign() => gates::ANY_NETWORK,
        Precision::F32 => gates::EXACT,
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
        github::publish(&report, summary, terminal)?;
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
