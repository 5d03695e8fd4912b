//! `soundalike compare`: compares a network with the original, stage by stage.

mod github;
pub(super) mod masks;
pub(super) mod model;
mod official;
mod production;
mod python;
pub(super) mod side;
mod subject;
pub(super) mod truth;
pub(super) mod windows;

use std::path::PathBuf;

use anyhow::ensure;
use soundalike_compare::{BuiltInGate, Gate, Match, NameMap, Report};
use soundalike_report::{
    comparison::{self, junit, sarif},
    document::{
        html, markdown,
        terminal::{self, Screen},
    },
};

use self::{
    masks::MaskChoice,
    side::{CandidateSide, ReferenceSide},
    subject::Subject,
    truth::SubjectArgs,
};
use super::{precision::Precision, read_text};
use crate::{output::Outputs, terminal::Terminal};

/// Compare two implementations of a network, stage by stage: tell a bug from rounding
///
/// Without arguments, the reference is a built-in trace of the official pyannote.audio: segmentation-3.0 on one
/// second of audio. Otherwise it is a trace written by reference/capture.py, or libtorch, which is verified against such
/// traces. R is the candidate's error divided by that of PyTorch's own f32, both against f64 on the same input. Each
/// stage is compared twice: with the reference's input (shows which stage is wrong) and with the candidate's own input
/// (shows the error a user gets). Two traces, of any network, are compared without a model.
///
/// Exit code 0: every limit of the gate is met. 3: a limit is not met, or nothing could be compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare all stages, which is the default
    #[arg(long, hide = true)]
    layers: bool,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Candidate: candle-cpu (what `diarize` runs), candle-cpu-portable (no hand-written kernels: every stage is
    /// observed), candle-metal, candle-cuda, candle-metal-ops (the operations for Metal, on the CPU), or trace:FILE.npz
    /// with the outputs of another engine
    #[arg(long, value_name = "ENGINE", default_value = "candle-cpu")]
    candidate: String,
    /// Use experimental Metal kernels, not verified on hardware (candle-metal, candle-metal-ops)
    #[arg(long)]
    experimental_kernels: bool,
    /// Weights of the candidate, if they are not those of --model: a converted or quantised file, or one of another tool
    #[arg(long, value_name = "FILE")]
    candidate_model: Option<PathBuf>,
    /// Precision of the candidate; the reference is in f64 and f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Frames that embeddings are pooled over, separated by commas; each choice is an input of its own
    /// [default: speakers,one-frame,none]
    #[arg(long, value_enum, value_delimiter = ',')]
    masks: Vec<MaskChoice>,
    /// Print an error budget: how the error of each stage propagates to the output (about 10 s per window)
    #[arg(long)]
    budget: bool,
    /// TOML file that maps entries of the candidate's trace to stages: "their name" = "our name", or
    /// { name = "our name", transpose = [0, 2, 1] } [default: equal names, and for the
    /// rest similar names, equal values in any order of axes, or the order]
    #[arg(long, value_name = "NAMES.toml")]
    map: Option<PathBuf>,
    /// Write a map of names with the stages that were found in the candidate's trace
    #[arg(long, value_name = "NAMES.toml")]
    map_out: Option<PathBuf>,
    /// Read unsigned integers of 16 bits in the candidate's trace as bf16, a type that numpy lacks
    #[arg(long)]
    u2_as_bf16: bool,
    /// TOML file of limits [default: the built-in gate, R < 4 and equal decisions for f32]
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// Report to GitHub Actions: failures as annotations, the report in the summary of the step
    #[arg(long)]
    github: bool,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the report to this file [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Inject a fault into the candidate
    #[arg(long, value_name = "FAULT", hide = true)]
    inject: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// For programs
    Json,
    /// For pull requests
    Markdown,
    /// One self-contained page with pictures
    Html,
    /// For CI servers: a test case per limit and stage
    Junit,
    /// For code scanning
    Sarif,
}

struct Request<'a> {
    args: &'a Args,
    reference: Option<ReferenceSide>,
    candidate: CandidateSide,
    names: NameMap,
}

impl<'a> Request<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let mut candidate: CandidateSide = args.candidate.parse()?;
        if args.experimental_kernels {
            candidate = candidate.with_experimental_kernels()?;
        }
        let is_trace = matches!(candidate, CandidateSide::Trace(_));
        if args.inject.is_some() && !is_trace {
            // A fault replaces a single stage.
            candidate = "candle-cpu-portable".parse()?;
        }
        let reference = args.subject.reference()?;
        if let Some(ReferenceSide::Trace(_)) = reference {
            ensure!(
                args.subject.audio.is_empty() && args.masks.is_empty(),
                "a trace has its own window and masks; omit --audio and --masks, or use --reference torch"
            );
            ensure!(
                args.dtype == Precision::F32,
                "a trace has no f16 or bf16 reference; use --reference torch"
            );
        }
        ensure!(
            !is_trace || (args.inject.is_none() && args.candidate_model.is_none()),
            "--inject and --candidate-model apply to our network, not to a trace; choose an engine with --candidate"
        );
        ensure!(
            is_trace || args.map_out.is_none(),
            "--map-out names the entries of a candidate's trace; use it with --candidate trace:FILE.npz"
        );
        let names = match &args.map {
            None => NameMap::default(),
            Some(path) => {
                ensure!(
                    is_trace,
                    "--map names the entries of a candidate's trace; use it with --candidate trace:FILE.npz"
                );
                NameMap::parse(&read_text(path)?, &path.display().to_string())?
            }
        };
        ensure!(
            is_trace || !args.u2_as_bf16,
            "--u2-as-bf16 is for a candidate's trace; use it with --candidate trace:FILE.npz"
        );
        Ok(Self {
            args,
            reference,
            candidate,
            names: names.with_u2_as_bf16(args.u2_as_bf16),
        })
    }

    /// Whether the built-in trace suffices: it has one window in f32 and cannot be run again.
    fn is_plain(&self) -> bool {
        let args = self.args;
        let plain = args.subject.audio.is_empty() && args.masks.is_empty() && !args.budget;
        plain && args.dtype == Precision::F32
    }

    /// The candidate's name in the report.
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

/// Runs the command. Returns whether the gate passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let trace = args.candidate.strip_prefix("trace:");
    let inputs = args.subject.inputs();
    let inputs = inputs
        .files(trace, "trace")
        .files(&args.map, "map of names")
        .files(&args.gate, "gate")
        .models(&args.candidate_model, "candidate's model");
    let mut outputs = Outputs::new(inputs);
    let summary = github::summary().filter(|_| args.github);
    let summary = summary.map(|path| outputs.appended(&path, github::SUMMARY));
    let summary = summary.transpose()?;
    let output = outputs.open(args.output.as_deref(), "-o")?;
    let map_out = args.map_out.as_deref();
    let map_out = map_out.map(|path| outputs.open(Some(path), "--map-out"));
    let map_out = map_out.transpose()?;
    let request = Request::new(args)?;
    let subject = Subject::find(&request)?;
    let built_in = match args.dtype {
        Precision::F16 | Precision::Bf16 => BuiltInGate::LowPrecision,
        Precision::F32 if subject.is_foreign() => BuiltInGate::AnyNetwork,
        Precision::F32 => BuiltInGate::Exact,
    };
    let (gate, origin) = match &args.gate {
        None => built_in.load()?,
        Some(path) => {
            let origin = path.display().to_string();
            (Gate::parse(&read_text(path)?, &origin)?, origin)
        }
    };
    let mut report = subject.compare(&request)?;
    if let Some(file) = map_out {
        file.write(names(&report).as_bytes())?;
    }
    report.gate = Some(gate.judge(&report, &origin)?);
    let document = comparison::document(&report);
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
        Format::Sarif => sarif::render(&report)?,
    };
    output.write(text.as_bytes())?;
    if args.github {
        github::publish(&report, summary, terminal)?;
    }
    Ok(report.gate.is_some_and(|gate| gate.passed))
}

/// A map of names with the stages that were found.
fn names(report: &Report) -> String {
    let stages = report.stages.iter();
    let matches = stages.filter_map(|stage| {
        let found = stage.matched.clone()?;
        Some(Match {
            stage: stage.name.clone(),
            ..found
        })
    });
    NameMap::text(&matches.collect::<Vec<_>>())
}

/// The command line, quoted for a shell.
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
