//! `soundalike compare`: is it the original, and where not?

mod table;

use std::{
    io::{Read, Seek},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, ensure};
use soundalike_convert::{Bundle, Inspection};
use soundalike_diarize::segmentation::Segmenter;
use soundalike_harness::{
    CompareError, Decoding, Fault, Gate, ReferenceTrace, Report, activations, compare_activations,
    compare_network,
};
use soundalike_model::{DType, Device, PyanNet};

use crate::{output, terminal::Terminal};

/// The project's own gate.
const DEFAULT_GATE: &str = include_str!("../../../gates/exact.toml");

/// Compare a network with the original, stage by stage: a bug or rounding, and where
///
/// The reference is what the official pyannote.audio computed: without arguments, one second of the
/// project's sample through the embedded segmentation-3.0; else a trace that reference/capture.py wrote.
/// Errors are measured in R: units of PyTorch's own f32 rounding on this very input. Each stage is
/// compared twice: fed by the reference (whose error it is) and by the candidate itself (what a user gets).
///
/// Exit code 0: every limit of the gate is kept. 3: not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare all stages of the network
    #[arg(long, required = true)]
    layers: bool,
    /// The truth: trace:FILE.npz [default: the built-in trace]
    #[arg(long, value_name = "TRACE")]
    reference: Option<Side>,
    /// What is on trial: candle-cpu, or trace:FILE.npz with another engine's activations
    #[arg(long, value_name = "ENGINE", default_value = "candle-cpu")]
    candidate: Side,
    /// The model of both: a bundle or a checkpoint [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Limits that must be kept, a TOML file [default: the project's own: R < 4 everywhere, all decisions equal]
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where to print it [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Put a fault into the candidate, to see it found
    #[arg(long, value_name = "FAULT", hide = true, value_parser = fault)]
    inject: Option<Fault>,
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
}

/// One side of a comparison.
#[derive(Debug, Clone)]
enum Side {
    /// Our network, as `diarize` runs it.
    Candle,
    /// Activations in a file.
    Trace(PathBuf),
}

impl FromStr for Side {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match (name, name.strip_prefix("trace:")) {
            (_, Some(file)) => Ok(Self::Trace(file.into())),
            ("candle-cpu", _) => Ok(Self::Candle),
            _ => Err("expected candle-cpu or trace:FILE.npz".to_owned()),
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Candle => f.write_str("candle-cpu"),
            Self::Trace(path) => write!(f, "trace:{}", path.display()),
        }
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    let known = Fault::ALL.map(Fault::name).join(", ");
    Fault::ALL
        .into_iter()
        .find(|fault| fault.name() == name)
        .ok_or(format!("expected one of {known}"))
}

/// Runs the command; whether the gate was passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let (gate, origin) = match &args.gate {
        None => (
            Gate::parse(DEFAULT_GATE, "the built-in gate")?,
            "the built-in gate".to_owned(),
        ),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{}: cannot be read", path.display()))?;
            let origin = path.display().to_string();
            (Gate::parse(&text, &origin)?, origin)
        }
    };
    let bundle = match &args.model {
        Some(path) => soundalike_convert::load(path)?,
        None => soundalike_weights::segmentation()?,
    };
    let mut report = match &args.reference {
        None => compare(args, &bundle, ReferenceTrace::embedded()?)?,
        Some(Side::Trace(path)) => {
            check_trace(path)?;
            compare(args, &bundle, ReferenceTrace::open(path)?)?
        }
        Some(Side::Candle) => {
            anyhow::bail!("the reference cannot be candle-cpu: give a trace of the original")
        }
    };
    report.candidate = args.candidate.to_string();
    if let Some(fault) = args.inject {
        report.candidate += &format!(" with {}", fault.name());
    }
    report.gate = Some(gate.judge(&report, &origin)?);
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Table => table::terminal(&report, terminal.is_verbose()),
        Format::Markdown => table::markdown(&report),
    };
    match &args.output {
        Some(path) => output::to_file(path, text.as_bytes())?,
        None => output::to_stdout(text.as_bytes())?,
    }
    Ok(report.gate.is_some_and(|gate| gate.passed))
}

/// A file's arrays are no larger than the file says, and it says no more than it holds.
fn check_trace(path: &Path) -> anyhow::Result<()> {
    let inspection = Inspection::of(path)?;
    ensure!(
        inspection.format == soundalike_convert::Format::Npz,
        "{}: is a {}, expected a trace (.npz)",
        path.display(),
        inspection.format
    );
    Ok(())
}

fn compare<R: Read + Seek>(
    args: &Args,
    bundle: &Bundle,
    mut reference: ReferenceTrace<R>,
) -> anyhow::Result<Report> {
    let (theirs, ours) = (reference.manifest().model.origin(), &bundle.source().sha256);
    if theirs != ours {
        Err(CompareError::OtherModel {
            reference: theirs.to_owned(),
            candidate: ours.clone(),
        })?;
    }
    // What a network that is not a powerset one is decoded to depends on a threshold.
    let decoding = Segmenter::new(bundle, DType::F32, &Device::Cpu)
        .ok()
        .map(|segmenter| Decoding {
            powerset: segmenter.powerset().clone(),
            grid: segmenter.grid(),
        });
    match &args.candidate {
        Side::Candle => {
            let network = PyanNet::load(bundle, DType::F32, &Device::Cpu)?;
            Ok(compare_network(
                &network,
                &mut reference,
                decoding.as_ref(),
                args.inject,
            )?)
        }
        Side::Trace(path) => {
            ensure!(
                args.inject.is_none(),
                "--inject puts faults into our own network, not into a trace"
            );
            check_trace(path)?;
            Ok(compare_activations(
                &activations(path)?,
                &mut reference,
                decoding.as_ref(),
            )?)
        }
    }
}
