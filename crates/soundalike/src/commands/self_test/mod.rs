//! `soundalike self-test`: would the comparison have noticed?

mod pipeline;
mod report;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use soundalike_compare::{
    Budget, Candidate, Input, KeptReference, Provenance, Reference, ReferenceTrace, Window,
};
use soundalike_model::{DType, Kernels};
use soundalike_selftest::{
    Bench, Blindness, CandleEngine, CleanRun, Cleanliness, Decoding, Diagnostician, Fault,
    SELF_TEST_SCHEMA, SelfTest, Trial, blind_inputs, hard_inputs, in_batches, torch_reference,
};
use soundalike_torch::{BUILT, LowPrecision};

use super::{
    ReportFormat,
    compare::{
        command_line,
        masks::{self, MaskChoice},
        model::Model,
        side::ReferenceSide,
        truth::{SubjectArgs, embedded},
        windows, words,
    },
    on_cpu,
};
use crate::{output::Outputs, terminal::Terminal};

/// Inject every known fault, one at a time: is it detected, located and identified?
///
/// A comparison is worth what it could have caught. Faults that real ports had are put into the candidate, one at a time,
/// and the comparison is asked for each: was it detected, at its stage, and diagnosed as what it is? Runs without a fault
/// count false alarms. With --run, faults are put into the pipeline behind the networks.
///
/// Exit code 0: all faults above the noise floor were located, none was taken for another, no alarm was false. 3: not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these faults
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    faults: Vec<String>,
    /// Put faults into the pipeline of --model DIR behind the networks: directories with captured outputs of its
    /// stages, the same as for attribute
    #[arg(
        long, value_name = "DIR", num_args = 1.., requires = "model",
        conflicts_with_all = ["reference", "audio", "masks"]
    )]
    run: Vec<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
    /// How embeddings are pooled, each an input of its own [default: the whole window, and speakers]
    #[arg(long, value_enum, value_delimiter = ',')]
    masks: Vec<MaskChoice>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Where to print it [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Windows in a batch.
const BATCHES: [usize; 3] = [1, 3, 32];
/// Threads.
const THREADS: [usize; 2] = [1, 2];

/// Runs the command; whether all faults were noticed.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    let inputs = args.subject.inputs();
    let inputs = inputs.directories(&args.run, &["npz", "rttm"], "one of the captured outputs");
    let path = args.output.as_deref();
    let output = Outputs::new(inputs).open(path, "-o")?;
    let (text, passed) = if args.run.is_empty() {
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
    let catalogue = catalogue(args, &model)?;
    let (mut reference, windows) = truth(args, &model)?;
    let kept = KeptReference::of(reference.as_mut(), &windows)?;
    let mut tests = Tests {
        model: &model,
        decoding: &decoding,
        catalogue: &catalogue,
        terminal,
        left_out: Vec::new(),
    };
    // The trunk of an embedding would have to be run again behind each of its stages.
    let measured = BUILT && !model.is_embedding();
    let budget = measured.then(|| {
        let candidate = Candidate::Engine(Box::new(network));
        anyhow::Ok(Budget::measure(
            &mut torch_reference(bundle, None)?,
            &candidate,
            &windows,
        )?)
    });
    let budget = budget.transpose()?;
    let diagnostician = BUILT.then(|| Diagnostician::new(bundle));
    let bench = Bench {
        bundle,
        decode: &decoding,
        reference: &mut kept.clone(),
        windows: &windows,
        diagnostician: diagnostician.as_ref(),
        budget: budget.as_ref(),
    };
    let trials = tests.trials(bench, "faults")?;
    let clean = tests.clean(kept, &windows)?;
    let blindness = tests.blindness(&windows, &trials)?;
    Ok(SelfTest {
        schema: SELF_TEST_SCHEMA,
        reference: reference.name(),
        provenance: Provenance::here(command_line(), reference.engine(), engine),
        inputs: windows.iter().map(Input::new).collect(),
        trials,
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
    let engine = args.subject.engine(model, DType::F32)?;
    let mut windows = args.subject.windows(model)?;
    if model.is_embedding() {
        windows.iter_mut().for_each(shorten);
    }
    Ok((Box::new(engine), masks::each(windows, choices, model)?))
}

/// The faults that are tried: all, or those that were asked for.
fn catalogue(args: &Args, model: &Model) -> anyhow::Result<Vec<Fault>> {
    let graph = model.bundle.architecture().graph(true).unwrap_or_default();
    let mut catalogue = Fault::catalogue(&graph);
    only(&mut catalogue, &args.faults, |fault| fault.id)?;
    ensure!(
        !catalogue.is_empty(),
        "{}: no faults of such a model are known",
        model.name
    );
    Ok(catalogue)
}

/// Keeps those that were asked for; all, where none was.
fn only<T>(catalogue: &mut Vec<T>, ids: &[String], id: fn(&T) -> &str) -> anyhow::Result<()> {
    for wanted in ids {
        ensure!(
            catalogue.iter().any(|fault| id(fault) == wanted),
            "--faults {wanted}: unknown fault of this network; without --faults all are tried, and listed"
        );
    }
    catalogue.retain(|fault| ids.is_empty() || ids.iter().any(|wanted| id(fault) == wanted));
    Ok(())
}

/// Seconds of a window of an embedding: each stage of a residual network by itself takes long.
const EMBEDDING_SECONDS: f64 = 1.0;

/// Cuts `window` to what a self-test of an embedding takes.
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
    /// What is said to each fault on `bench`. `name` is shown beside the progress.
    fn trials(&mut self, mut bench: Bench<'_>, name: &str) -> anyhow::Result<Vec<Trial>> {
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

    /// Runs without a fault.
    fn clean(
        &mut self,
        mut kept: KeptReference,
        windows: &[Window],
    ) -> anyhow::Result<Vec<CleanRun>> {
        let bundle = &self.model.bundle;
        let clean = Cleanliness {
            bundle,
            decode: self.decoding,
        };
        let mut runs = Vec::new();
        for window in windows {
            let what = Input::new(window).to_string();
            runs.push(clean.run(&mut kept, window, DType::F32, &what)?);
        }
        let whole = windows.iter().find(|window| window.masks.is_none());
        let whole = whole.or(windows.first()).context("there is no window")?;
        if whole.masks.is_none() {
            // The trunk of an embedding, each stage by itself, of 32 windows takes minutes.
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
                "clean runs on other windows, silence, noise, clipped and quiet audio and in f16 and bf16, causes, errors at the \
                 output, and what inputs hide: this build has no libtorch"
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
            let out = "clean runs in a batch of 32, in windows over 2 s, in f16 and in bf16, errors at the output, and what inputs hide: too slow for an embedding";
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

    /// What silence and noise hide of what `trials` show.
    fn blindness(
        &mut self,
        windows: &[Window],
        trials: &[Trial],
    ) -> anyhow::Result<Vec<Blindness>> {
        // An embedding decides nothing.
        if !BUILT || self.model.is_embedding() {
            return Ok(Vec::new());
        }
        let bundle = &self.model.bundle;
        let (sample_rate, _) = windows::format(bundle)?;
        let mut live = torch_reference(bundle, None)?;
        let names = windows.iter().map(|window| Input::new(window).to_string());
        let mut seen = vec![(words::listed(names), trials.to_vec())];
        for window in blind_inputs(sample_rate) {
            let name = window.uri.clone();
            let windows = [window];
            let bench = Bench {
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
        Ok(Blindness::of(&seen))
    }
}
