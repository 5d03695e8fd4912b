//! `soundalike compare`: is it the original, and where not?

mod gates;
mod github;
mod junit;
mod masks;
mod model;
mod report;
mod self_test;
mod side;
mod task;
mod text;
mod weights;
pub(super) mod windows;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use soundalike_convert::{Bundle, Inspection};
use soundalike_harness::{
    About, ActivationTrace, Audit, Budget, Candidate, Cause, CompareError, Decoding, Diagnostician,
    EngineInfo, Fault, Names, Network, Provenance, Reference, ReferenceTrace, Report,
    TorchReference, Window, compare,
};
use soundalike_model::DeviceChoice;
use soundalike_torch::{Narrow, variant};

use self::{
    gates::BuiltIn,
    masks::MaskChoice,
    model::Model,
    side::{CandidateSide, ReferenceSide},
    windows::Count,
};

use crate::{commands::precision::Precision, output, terminal::Terminal};

/// Compare a network with the original, stage by stage: a bug or rounding, and where
///
/// The reference is what the official pyannote.audio computed: without arguments, one second of the
/// project's sample through the embedded segmentation-3.0; else a trace that reference/capture.py wrote, or the
/// reference engine on libtorch, live, which was verified against such traces. Errors are measured in R: units of PyTorch's own f32 rounding on this very input. Each stage is
/// compared twice: fed by the reference (whose error it is) and by the candidate itself (what a user gets).
///
/// Exit code 0: every limit of the gate is kept. 3: not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare all stages of the network
    #[arg(long, required_unless_present_any = ["task", "self_test"])]
    layers: bool,
    /// What each stage of another pipeline's run costs in DER: directories with the outputs of the stages
    /// (segmentations.npz, raw_embeddings.npz, ...) of the reference and of the candidate; needs --model DIR
    #[arg(
        long, num_args = 2, value_names = ["REFERENCE", "CANDIDATE"], requires = "model",
        conflicts_with_all = ["layers", "reference", "experimental_kernels", "candidate_model", "audio", "masks", "budget", "gate", "inject"]
    )]
    task: Vec<PathBuf>,
    /// Put every known fault into the candidate, one at a time: is it noticed, at its stage, and by its name?
    #[arg(
        long,
        conflicts_with_all = ["layers", "task", "candidate", "experimental_kernels", "candidate_model", "dtype", "map", "budget", "gate", "github", "inject"]
    )]
    self_test: bool,
    /// Only these faults of the self-test
    #[arg(
        long,
        value_name = "FAULT",
        value_delimiter = ',',
        requires = "self_test"
    )]
    faults: Vec<String>,
    /// Put the mistakes of the self-test into what follows the networks, of --model DIR: directories with
    /// captured outputs of its stages, the same as for --task
    #[arg(
        long, value_name = "DIR", num_args = 1.., requires_all = ["self_test", "model"],
        conflicts_with_all = ["reference", "audio", "masks"]
    )]
    run: Vec<PathBuf>,
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
    network: model::Network,
    /// Other weights for the candidate: a converted, quantised or foreign file of the same network
    #[arg(long, value_name = "FILE")]
    candidate_model: Option<PathBuf>,
    /// Precision of the candidate's weights and activations; the reference is in f64 and f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Recordings to compare on [default: one second of the project's sample]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    audio: Vec<PathBuf>,
    /// How many windows of each recording, from its start: all whole ones, or a number
    #[arg(long, value_name = "N", default_value = "1", requires = "audio")]
    windows: Count,
    /// Compare with the reference engine even where it was never seen to be the official package
    #[arg(long)]
    unverified: bool,
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

/// Runs the command; whether the gate was passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    if let ([reference, candidate], Some(model)) = (args.task.as_slice(), &args.model) {
        text::check(args, "--task")?;
        let attribution = task::find(reference, candidate, model)?;
        let document = task::document(&attribution);
        print(
            args,
            &text::render(args, terminal, &attribution, &document, 1)?,
        )?;
        return Ok(true);
    }
    if args.self_test {
        return self_test::run(args, terminal);
    }
    let mut side: CandidateSide = args.candidate.parse()?;
    if args.experimental_kernels {
        side = side.with_experimental_kernels()?;
    }
    if args.inject.is_some() && !matches!(side, CandidateSide::Trace(_)) {
        // Faults take the place of single stages.
        side = CandidateSide::Portable;
    }
    let model = Model::load(args.model.as_deref(), args.network)?;
    let built_in = match args.dtype {
        Precision::F16 | Precision::Bf16 => BuiltIn::Narrow,
        Precision::F32 => BuiltIn::Exact,
    };
    let (gate, origin) = gates::load(args.gate.as_deref(), built_in)?;
    let mut report = find(args, &side, model)?;
    if let Some(fault) = &args.inject {
        report.candidate += &format!(" with {fault}");
    }
    report.gate = Some(gate.judge(&report, &origin)?);
    if args.github {
        github::publish(&report, terminal)?;
    }
    let text = match args.format {
        Format::Junit => junit::render(&report)?,
        _ => text::render(args, terminal, &report, &report::document(&report), 2)?,
    };
    print(args, &text)?;
    Ok(report.gate.is_some_and(|gate| gate.passed))
}

/// Puts a result where the arguments say.
fn print(args: &Args, text: &str) -> anyhow::Result<()> {
    match &args.output {
        Some(path) => output::to_file(path, text.as_bytes())?,
        None => output::to_stdout(text.as_bytes())?,
    }
    Ok(())
}

/// What the user typed, as a shell would take it.
fn command() -> String {
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

/// Compares what the arguments name.
fn find(args: &Args, side: &CandidateSide, model: Model) -> anyhow::Result<Report> {
    let reference = args.reference.as_deref().map(str::parse).transpose()?;
    let names = names(args, side)?;
    ensure!(
        args.masks.is_empty() || model.is_embedding(),
        "--masks is for embeddings, and {} gives none",
        model.name
    );
    let network = Network::load(
        &model.bundle,
        args.dtype.into(),
        &side.device()?,
        side.kernels(),
    )?;
    let decoding = Decoding::new(&model.bundle, network.geometry());
    let (mut reference, windows) = truth(args, reference, &model, &network)?;
    if let Some(window) = windows.first() {
        names.check(&reference.names(window)?)?;
    }
    let other = args
        .candidate_model
        .as_deref()
        .map(|path| other_weights(path, &model))
        .transpose()?;
    let (candidate, engine) = candidate(
        args,
        side,
        &names,
        &model,
        other.as_ref(),
        network,
        &windows,
    )?;
    let about = About {
        model: model.name,
        reference: reference.name(),
        candidate: match &args.candidate_model {
            Some(path) => format!("{side} with {}", path.display()),
            None => side.to_string(),
        },
        provenance: Provenance::here(command(), reference.engine(), engine),
    };
    let mut report = compare(reference.as_mut(), &candidate, &windows, &decoding, about)?;
    if !report.source.is_empty() {
        let found = Diagnostician::new(&model.bundle).diagnose(
            reference.as_mut(),
            &candidate,
            &windows,
            &report,
        )?;
        match found {
            Cause::Known(diagnosis) => report.diagnosis = Some(diagnosis),
            Cause::Unknown(undiagnosed) => report.undiagnosed = Some(undiagnosed),
        }
    }
    report.audit = Some(Audit::new(&model.bundle, other.as_ref()));
    if args.budget {
        let budget = Budget::measure(reference.as_mut(), &candidate, &windows)?;
        report.budget = Some(budget);
    }
    Ok(report)
}

/// The truth, and the windows on which it is asked.
fn truth(
    args: &Args,
    side: Option<ReferenceSide>,
    model: &Model,
    network: &Network,
) -> anyhow::Result<(Box<dyn Reference>, Vec<Window>)> {
    let bundle = &model.bundle;
    let narrow = match args.dtype {
        Precision::F32 => None,
        Precision::F16 => Some(Narrow::F16),
        Precision::Bf16 => Some(Narrow::BF16),
    };
    if let Some(ReferenceSide::Trace(path)) = &side {
        ensure!(
            args.audio.is_empty() && args.masks.is_empty(),
            "a trace has its own window and masks: leave --audio and --masks out, or give --reference torch"
        );
        ensure!(
            narrow.is_none(),
            "a trace has no reference of so few bits: give --reference torch"
        );
        check_trace(path)?;
        let mut trace = ReferenceTrace::open(path)?;
        check_model(trace.manifest().model.origin(), bundle)?;
        let window = trace.window()?;
        return Ok((Box::new(trace), vec![window]));
    }
    let mut trace = ReferenceTrace::embedded()?;
    let own = trace.manifest().model.origin() == bundle.source().sha256;
    let second = trace.window()?;
    let plain = args.audio.is_empty() && narrow.is_none() && !args.budget;
    if side.is_none() && own && plain {
        return Ok((Box::new(trace), vec![second]));
    }
    let engine = TorchReference::load(bundle, narrow)?;
    ensure!(
        args.unverified || engine.engine().verified.is_some(),
        "the reference engine was never seen to be the official package on a {}: compare it with a capture first, or give --unverified",
        variant(bundle.architecture()).unwrap_or_else(|| bundle.architecture().name())
    );
    let mut windows = Vec::new();
    for path in &args.audio {
        windows.extend(windows::read(path, bundle, args.windows)?);
    }
    if windows.is_empty() {
        windows.push(second);
    }
    if args.self_test && model.is_embedding() {
        windows.iter_mut().for_each(self_test::shorten);
    }
    if model.is_embedding() {
        let choices = match args.masks.as_slice() {
            [] if args.self_test => &[MaskChoice::None, MaskChoice::Speakers],
            [] => MaskChoice::value_variants(),
            some => some,
        };
        windows = masks::each(windows, choices, model, network)?;
    }
    Ok((Box::new(engine), windows))
}

/// A trace can only be compared with what is made of the same weights.
fn check_model(found: &str, bundle: &Bundle) -> Result<(), CompareError> {
    let expected = &bundle.source().sha256;
    if found == expected {
        return Ok(());
    }
    Err(CompareError::OtherModel {
        trace: found.to_owned(),
        model: expected.clone(),
    })
}

/// What the candidate's stages are called.
fn names(args: &Args, side: &CandidateSide) -> anyhow::Result<Names> {
    let Some(path) = &args.map else {
        return Ok(Names::default());
    };
    ensure!(
        matches!(side, CandidateSide::Trace(_)),
        "--map says what the entries of a trace are called; give one with --candidate trace:FILE.npz"
    );
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(Names::parse(&text, &path.display().to_string())?)
}

/// What is on trial, and what runs it. `network` is that of the model.
fn candidate(
    args: &Args,
    side: &CandidateSide,
    names: &Names,
    model: &Model,
    other: Option<&Bundle>,
    network: Network,
    windows: &[Window],
) -> anyhow::Result<(Candidate, EngineInfo)> {
    match side {
        CandidateSide::Candle
        | CandidateSide::Portable
        | CandidateSide::MetalOps { .. }
        | CandidateSide::Gpu { .. } => {
            let network = match other {
                None => network,
                Some(bundle) => {
                    let device = network.device();
                    Network::load(bundle, args.dtype.into(), device, side.kernels())?
                }
            };
            let bundle = other.unwrap_or(&model.bundle);
            let engine = engine(&side.to_string(), &network, bundle);
            let candidate = match &args.inject {
                None => Candidate::Network {
                    network,
                    fault: None,
                },
                Some(id) => fault(id, bundle)?.candidate(bundle, args.dtype.into())?,
            };
            Ok((candidate, engine))
        }
        CandidateSide::Trace(path) => {
            ensure!(
                args.inject.is_none() && args.candidate_model.is_none(),
                "--inject and --candidate-model change our own network, not a trace"
            );
            let [window] = windows else {
                bail!("a trace is of one window, and there are {}", windows.len());
            };
            check_trace(path)?;
            let trace = ActivationTrace::open(path, names)?;
            if let Some(manifest) = &trace.manifest {
                check_model(manifest.model.origin(), &model.bundle)?;
            }
            trace.check_window(window)?;
            let engine = trace.engine();
            Ok((Candidate::Activations(trace.stages), engine))
        }
    }
}

/// Our network as what runs one side.
fn engine(name: &str, network: &Network, bundle: &Bundle) -> EngineInfo {
    EngineInfo {
        engine: name.to_owned(),
        dtype: network.dtype().as_str().to_owned(),
        device: DeviceChoice::of(network.device()).to_string(),
        model_sha256: Some(bundle.source().sha256.clone()),
        ..EngineInfo::default()
    }
}

/// The fault `id` of the catalogue of networks like that of `bundle`.
fn fault(id: &str, bundle: &Bundle) -> anyhow::Result<Fault> {
    let catalogue = Fault::catalogue(bundle.architecture());
    let found = catalogue.into_iter().find(|fault| fault.id == id);
    found.with_context(|| {
        format!("--inject {id}: unknown fault; compare --self-test lists those there are")
    })
}

/// Other weights for the candidate's network.
fn other_weights(path: &Path, model: &Model) -> anyhow::Result<Bundle> {
    let bundle = soundalike_convert::load(path)?;
    let (found, expected) = (bundle.architecture(), model.bundle.architecture());
    ensure!(
        found.name() == expected.name(),
        "{}: is a {}, and the reference is a {}; nothing of them can be compared",
        path.display(),
        found.name(),
        expected.name()
    );
    Ok(bundle)
}
