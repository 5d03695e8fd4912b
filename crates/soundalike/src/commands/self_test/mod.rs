//! `soundalike self-test`: injects faults and checks that the comparison detects them.

mod pipeline;
mod recorded;
mod report;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use soundalike_compare::{
    Budget, Candidate, Input, KeptReference, Provenance, Reference, ReferenceTrace, Window,
};

use soundalike_convert::Bundle;
use soundalike_diarize::BATCH;
use soundalike_model::{DType, Engine, InstructionSet, Kernels};
use soundalike_report::listed;
use soundalike_selftest::{
    CandleEngine, CleanRun, CleanRunner, Decoding, Diagnostician, Fault, Injector,
    InsensitiveInput, PathFault, PathTrial, Production, SELF_TEST_SCHEMA, SelfTest, Trial,
    hard_inputs, in_batches, insensitive_inputs, recordings, torch_reference,
};
use soundalike_torch::{BUILT, LowPrecision};

use self::recorded::RecordedSelfTest;
use super::{
    ReportFormat,
    compare::{
        command_line,
        masks::{self, MaskChoice},
        model::Model,
        side::ReferenceSide,
        truth::{SubjectArgs, embedded},
        windows,
    },
    on_cpu,
};
use crate::{output::Outputs, terminal::Terminal};

/// Inject known faults, one at a time, and check that each is detected, located and identified
///
/// The faults are mistakes that real ports make. Each is injected into the candidate, which is then compared with the
/// reference. Fault-free runs are included, to count false alarms. With --run, the faults are injected into the
/// pipeline after the networks; with --trace, into the recorded outputs of any network.
///
/// Exit code 0: all faults above the rounding floor were located, none was mistaken for another, and there was no
/// false alarm. 3: otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Inject only these faults, separated by commas; an unknown name lists all
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    faults: Vec<String>,
    /// Inject faults into the pipeline of --model DIR, after the networks: directories with captured outputs of
    /// its stages, as for `attribute`
    #[arg(
        long, value_name = "DIR", num_args = 1.., requires = "model",
        conflicts_with_all = ["reference", "audio", "masks"]
    )]
    run: Vec<PathBuf>,
    /// Inject faults into recorded outputs: a reference trace of any network
    #[arg(
        long, value_name = "REF.npz",
        conflicts_with_all = ["reference", "audio", "masks", "model", "run", "faults"]
    )]
    trace: Option<PathBuf>,
    /// With --trace: the trace of the candidate [default: the reference rounded to f32]
    #[arg(long, value_name = "FILE.npz", requires = "trace")]
    candidate: Option<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Frames that embeddings are pooled over, separated by commas; each choice is an input of its own
    /// [default: none,speakers]
    #[arg(long, value_enum, value_delimiter = ',')]
    masks: Vec<MaskChoice>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Sizes of batches of clean runs.
const BATCHES: [usize; 3] = [1, 3, 32];
/// Windows of the sample in clean runs of an embedding, which takes up to a second for each.
const EMBEDDED_WINDOWS: usize = 6;
/// Windows that the LSTM kernel runs together.
const TILE: usize = 12;
/// Windows of other recordings than the sample.
const FEW_WINDOWS: usize = 6;
/// Windows of a batch, threads, and most windows, on the path of users: as `diarize` has it, and with the batches of pyannote.audio.
const PATHS: [(usize, usize, Option<usize>); 2] = [(BATCH, 1, None), (32, 2, Some(33))];
/// Numbers of threads of clean runs.
const THREADS: [usize; 2] = [1, 2];

/// Runs the command. Returns whether the self-test passed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let inputs = args.subject.inputs();
    let inputs = inputs.directories(&args.run, &["npz", "rttm"], "captured output");
    let inputs = inputs
        .files(&args.trace, "trace")
        .files(&args.candidate, "trace");
    let path = args.output.as_deref();
    let output = Outputs::new(inputs).open(path, "-o")?;
    let (text, passed) = if let Some(trace) = &args.trace {
        let found = RecordedSelfTest::find(trace, args.candidate.as_deref())?;
        let document = found.document();
        (args.format.render(&found, &document, path)?, found.passed())
    } else if args.run.is_empty() {
        let found = find(args, terminal)?;
        let document = report::document(&found);
        (args.format.render(&found, &document, path)?, found.passed())
    } else {
        let found = pipeline::find(args)?;
        let document = pipeline::document(&found);
        (args.format.render(&found, &document, path)?, found.passed())
    };
    output.write(text.as_bytes())?;
    Ok(passed)
}

fn find(args: &Args, terminal: &Terminal) -> anyhow::Result<SelfTest> {
    let model = args.subject.model()?;
    let bundle = &model.bundle;
    let network = CandleEngine::load(bundle, &on_cpu(Kernels::Portable))?;
    let engine = network.info("candle-cpu-portable", bundle);
    let decoding = Decoding::new(bundle);
    let (catalogue, path_faults) = catalogues(args, &model)?;
    let (mut reference, windows) = truth(args, &model)?;
    let kept = KeptReference::of(reference.as_mut(), &windows)?;
    let mut tests = Tests {
        model: &model,
        decoding: &decoding,
        catalogue: &catalogue,
        terminal,
        left_out: Vec::new(),
    };
    // For an embedding too slow: its trunk would run again after each stage.
    let measured = BUILT && !model.is_embedding();
    let budget = measured.then(|| {
        let candidate = Candidate::Engine(Box::new(network));
        let mut live = torch_reference(bundle, None)?;
        anyhow::Ok(Budget::measure(&mut live, &candidate, &windows)?)
    });
    let budget = budget.transpose()?;
    let diagnostician = BUILT.then(|| Diagnostician::new(bundle));
    let bench = Injector {
        bundle,
        decode: &decoding,
        reference: &mut kept.clone(),
        windows: &windows,
        diagnostician: diagnostician.as_ref(),
        budget: budget.as_ref(),
    };
    let trials = tests.trials(bench, "faults")?;
    let paths = tests.paths(&path_faults, &mut kept.clone(), &windows)?;
    let clean = tests.clean(kept, &windows)?;
    let blindness = tests.insensitive_inputs(&windows, &trials)?;
    Ok(SelfTest {
        schema: SELF_TEST_SCHEMA,
        reference: reference.name(),
        provenance: Provenance::here(command_line(), reference.engine(), engine),
        inputs: windows.iter().map(Input::new).collect(),
        trials,
        paths,
        clean,
        budget,
        left_out: tests.left_out,
        blindness,
        model: model.name,
    })
}

/// The reference and its windows.
fn truth(args: &Args, model: &Model) -> anyhow::Result<(Box<dyn Reference>, Vec<Window>)> {
    let side = args.subject.reference()?;
    if let Some(ReferenceSide::Trace(path)) = &side {
        let mut trace = ReferenceTrace::open(path)?;
        let window = trace.window()?;
        return Ok((Box::new(trace), vec![window]));
    }
    if side.is_none()
        && args.subject.audio.is_empty()
        && let Some((trace, window)) = embedded(model)?
    {
        return Ok((trace, vec![window]));
    }
    let choices = match args.masks.as_slice() {
        [] => &[MaskChoice::None, MaskChoice::Speakers],
        some => some,
    };
    let (engine, _) = args.subject.engine(model, DType::F32)?;
    let mut windows = args.subject.windows(model)?;
    if model.is_embedding() {
        windows.iter_mut().for_each(shorten);
    }
    Ok((Box::new(engine), masks::each(windows, choices, model)?))
}

/// The faults of `--faults`, or all: those of a stage, and those of the path that users take.
fn catalogues(args: &Args, model: &Model) -> anyhow::Result<(Vec<Fault>, Vec<PathFault>)> {
    let graph = model.bundle.architecture().graph(true).unwrap_or_default();
    let mut faults = Fault::catalogue(&graph);
    ensure!(
        !faults.is_empty(),
        "{}: no faults are known for this model",
        model.name
    );
    let mut paths = PathFault::catalogue(model.is_embedding());
    let ids = faults.iter().map(|fault| fault.id);
    known(
        &args.faults,
        ids.chain(paths.iter().map(|fault| fault.id)).collect(),
    )?;
    faults.retain(|fault| wanted(&args.faults, fault.id));
    paths.retain(|fault| wanted(&args.faults, fault.id));
    Ok((faults, paths))
}

/// Checks that each of `ids`, of `--faults`, is one of `all`.
fn known(ids: &[String], all: Vec<&str>) -> anyhow::Result<()> {
    for wanted in ids {
        ensure!(
            all.contains(&wanted.as_str()),
            "--faults {wanted}: unknown fault of this network; omit --faults to try and list all"
        );
    }
    Ok(())
}

/// Whether the fault `id` is one of `ids`, of `--faults`, which stand for all if there are none.
fn wanted(ids: &[String], id: &str) -> bool {
    ids.is_empty() || ids.iter().any(|wanted| wanted == id)
}

/// Seconds of a window for an embedding: running a residual network stage by stage is slow.
const EMBEDDING_SECONDS: f64 = 1.0;

/// Cuts `window` to [`EMBEDDING_SECONDS`].
fn shorten(window: &mut Window) {
    let samples = window.waveform.len() as f64 * EMBEDDING_SECONDS / window.duration;
    if (samples as usize) < window.waveform.len() {
        window
            .waveform
            .slice_axis_inplace(ndarray::Axis(2), ndarray::Slice::from(..samples as usize));
        window.duration = EMBEDDING_SECONDS;
    }
}

struct Tests<'a> {
    model: &'a Model,
    decoding: &'a Decoding,
    catalogue: &'a [Fault],
    terminal: &'a Terminal,
    left_out: Vec<String>,
}

impl Tests<'_> {
    /// Tries each fault on `bench`; `name` labels the progress bar.
    fn trials(&mut self, mut bench: Injector<'_>, name: &str) -> anyhow::Result<Vec<Trial>> {
        let bar = self.terminal.progress(name);
        bar.set_length(self.catalogue.len() as u64);
        let mut trials = Vec::new();
        for fault in self.catalogue {
            match bench.try_fault(fault)? {
                Some(trial) => trials.push(trial),
                None => {
                    let out = format!("{}: this model has no such stage", fault.id);
                    self.left_out.push(out);
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(trials)
    }

    /// Clean runs: without a fault.
    fn clean(
        &mut self,
        mut kept: KeptReference,
        windows: &[Window],
    ) -> anyhow::Result<Vec<CleanRun>> {
        let bundle = &self.model.bundle;
        let clean = CleanRunner {
            bundle,
            decode: self.decoding,
        };
        let mut runs = Vec::new();
        for window in windows {
            let what = Input::new(window).to_string();
            runs.push(clean.run(&mut kept, window, DType::F32, &what)?);
        }
        for instructions in InstructionSet::all() {
            let engine = CandleEngine::load(bundle, &on_cpu(Kernels::Native(instructions)))?;
            let candidate = Candidate::Engine(Box::new(engine));
            for window in windows {
                let what = format!("by {} kernels, {}", instructions.name(), Input::new(window));
                runs.push(clean.judge(&mut kept, &candidate, window, &what)?);
            }
        }
        runs.extend(self.production()?);
        let whole = windows.iter().find(|window| window.masks.is_none());
        let whole = whole.or(windows.first()).context("no window to test")?;
        if whole.masks.is_none() {
            // The trunk of an embedding takes minutes for 32 windows, stage by stage.
            let most = if self.model.is_embedding() { 3 } else { 32 };
            for size in BATCHES.into_iter().filter(|size| *size <= most) {
                for candidate in in_batches(bundle, whole, size)? {
                    let what = format!("in a batch of {size}");
                    runs.push(clean.judge(&mut kept, &candidate, whole, &what)?);
                }
            }
            for threads in THREADS {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                for candidate in pool.build()?.install(|| in_batches(bundle, whole, 1))? {
                    let what = format!("on {threads} thread(s)");
                    runs.push(clean.judge(&mut kept, &candidate, whole, &what)?);
                }
            }
        }
        if !BUILT {
            self.left_out.push(
                "clean runs on other windows, silence, noise, clipped and quiet audio and in f16 and bf16, diagnoses, errors at \
                 the output, and insensitive inputs: this build has no libtorch"
                    .to_owned(),
            );
            return Ok(runs);
        }
        let (sample_rate, _) = windows::format(bundle)?;
        let mut live = torch_reference(bundle, None)?;
        let longest = match self.model.is_embedding() {
            true => 2.0,
            false => f64::INFINITY,
        };
        for window in hard_inputs(whole, sample_rate, longest) {
            runs.push(clean.run(&mut live, &window, DType::F32, &window.uri)?);
        }
        if self.model.is_embedding() {
            let out = "clean runs in a batch of 32, in windows over 2 s, in f16 and in bf16, errors at the output, and insensitive inputs: too slow for an embedding";
            self.left_out.push(out.to_owned());
            return Ok(runs);
        }
        for (dtype, low, name) in [
            (DType::F16, LowPrecision::F16, "f16"),
            (DType::BF16, LowPrecision::BF16, "bf16"),
        ] {
            let mut live = torch_reference(bundle, Some(low))?;
            runs.push(clean.run(&mut live, whole, dtype, &format!("in {name}"))?);
        }
        Ok(runs)
    }

    /// Tries `faults` on the path that users take.
    fn paths(
        &mut self,
        faults: &[PathFault],
        reference: &mut KeptReference,
        windows: &[Window],
    ) -> anyhow::Result<Vec<PathTrial>> {
        if faults.is_empty() {
            return Ok(Vec::new());
        }
        let segmentation = self.model.segmentation()?;
        let engine = on_cpu(Kernels::native());
        let production = self.path(&segmentation, &engine, BATCH);
        let trials = production.try_faults(faults);
        let mut trials = trials.map_err(anyhow::Error::from_boxed)?;
        for fault in faults {
            let bundle = &self.model.bundle;
            let found = fault.try_returned(bundle, reference, windows, self.decoding)?;
            match found {
                Some(trial) => trials.push(trial),
                None if trials.iter().any(|trial| trial.fault.id == fault.id) => {}
                None => {
                    let out = format!("{}: nothing on the sample changes by it", fault.id);
                    self.left_out.push(out);
                }
            }
        }
        Ok(trials)
    }

    /// The networks as `diarize` runs them, in batches of `batch`.
    fn path<'a>(
        &'a self,
        segmentation: &'a Bundle,
        engine: &'a Engine,
        batch: usize,
    ) -> Production<'a> {
        let embedding = self.model.is_embedding().then_some(&self.model.bundle);
        Production {
            segmentation: embedding.map_or(&self.model.bundle, |_| segmentation),
            embedding,
            pipeline: None,
            engine,
            allowed: 0.0,
            most_windows: None,
            batch,
        }
    }

    /// Clean runs of the networks as `diarize` runs them, unobserved and in batches, on one thread and on several.
    fn production(&self) -> anyhow::Result<Vec<CleanRun>> {
        let segmentation = self.model.segmentation()?;
        let mut runs = Vec::new();
        let embedded = self.model.is_embedding().then_some(EMBEDDED_WINDOWS);
        let mut run = |by: Option<InstructionSet>, batch, threads, most, recording: Option<_>| {
            let engine = on_cpu(by.map_or_else(Kernels::native, Kernels::Native));
            let production = Production {
                most_windows: embedded.or(most),
                ..self.path(&segmentation, &engine, batch)
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let checks = pool.build()?.install(|| match recording {
                None => production.check_sample(),
                Some((name, audio)) => production.check(name, audio),
            });
            let by = by.map(|by| format!("by {} kernels, ", by.name()));
            let by = by.unwrap_or_default();
            for check in checks.map_err(anyhow::Error::from_boxed)? {
                let (path, what) = (check.path.name(), &check.runs);
                let what = format!("{by}{path}, {threads} thread(s): {what}");
                runs.push(CleanRun::of_path(what, &check));
            }
            anyhow::Ok(())
        };
        for (batch, threads, most) in PATHS {
            run(None, batch, threads, most, None)?;
        }
        // The first ran already. The last are the scalar kernels, the reference of tests, which `diarize` never runs.
        let all = InstructionSet::all();
        for instructions in all.iter().take(all.len() - 1).skip(1) {
            run(Some(*instructions), BATCH, 2, Some(TILE + 1), None)?;
        }
        for recording in recordings() {
            run(None, BATCH, 2, Some(FEW_WINDOWS), Some(recording))?;
        }
        Ok(runs)
    }

    /// The faults among `trials` that silence and noise do not show.
    fn insensitive_inputs(
        &mut self,
        windows: &[Window],
        trials: &[Trial],
    ) -> anyhow::Result<Vec<InsensitiveInput>> {
        // An embedding has no decisions.
        if !BUILT || self.model.is_embedding() {
            return Ok(Vec::new());
        }
        let bundle = &self.model.bundle;
        let (sample_rate, _) = windows::format(bundle)?;
        let mut live = torch_reference(bundle, None)?;
        let names = windows.iter().map(|window| Input::new(window).to_string());
        let mut seen = vec![(listed(names), trials.to_vec())];
        for window in insensitive_inputs(sample_rate) {
            let name = window.uri.clone();
            let windows = [window];
            let bench = Injector {
                bundle,
                decode: self.decoding,
                reference: &mut KeptReference::of(&mut live, &windows)?,
                windows: &windows,
                diagnostician: None,
                budget: None,
            };
            let trials = self.trials(bench, &name)?;
            seen.push((name, trials));
        }
        self.left_out.sort();
        self.left_out.dedup();
        Ok(InsensitiveInput::of(&seen))
    }
}
