//! `soundalike compare --self-test`: would it have noticed?

mod pipeline;
mod report;

use anyhow::{Context, ensure};
use soundalike_harness::{
    Bench, Blindness, Budget, Candidate, CleanRun, Cleanliness, Decoding, Diagnostician, Fault,
    Input, KeptReference, Network, Provenance, SELF_TEST_SCHEMA, SelfTest, TorchReference, Trial,
    Window, blind_inputs, hard_inputs, in_batches,
};
use soundalike_model::{DType, Device, Kernels};
use soundalike_torch::{BUILT, Narrow};

use super::{Args, model::Model, print, text, truth, windows};
use crate::terminal::Terminal;

/// Windows in a batch.
const BATCHES: [usize; 3] = [1, 3, 32];
/// Threads.
const THREADS: [usize; 2] = [1, 2];

/// Tries all faults that the arguments name and prints the result; whether all of them were noticed.
pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<bool> {
    text::check(args, "--self-test")?;
    if !args.run.is_empty() {
        return pipeline::run(args, &args.run, terminal);
    }
    let found = find(args, terminal)?;
    let document = report::document(&found);
    print(args, &text::render(args, terminal, &found, &document, 1)?)?;
    Ok(found.passed())
}

fn find(args: &Args, terminal: &Terminal) -> anyhow::Result<SelfTest> {
    let side = args.reference.as_deref().map(str::parse).transpose()?;
    let model = Model::load(args.model.as_deref(), args.network)?;
    let bundle = &model.bundle;
    let network = Network::load(bundle, DType::F32, &Device::Cpu, Kernels::Portable)?;
    let decoding = Decoding::new(bundle, network.geometry());
    let catalogue = catalogue(args, &model)?;
    let (mut reference, windows) = truth(args, side, &model, &network)?;
    let kept = KeptReference::of(reference.as_mut(), &windows)?;
    let mut tests = Tests {
        model: &model,
        decoding: &decoding,
        catalogue: &catalogue,
        terminal,
        left_out: Vec::new(),
    };
    let budget = tests.budget(&windows)?;
    let what = What {
        name: "faults",
        named: BUILT,
        budget: budget.as_ref(),
    };
    let trials = tests.trials(kept.clone(), &windows, &what)?;
    let clean = tests.clean(kept, &windows)?;
    let blindness = tests.blindness(&windows, &trials)?;
    Ok(SelfTest {
        schema: SELF_TEST_SCHEMA,
        reference: reference.name(),
        provenance: Provenance::here(
            super::command(),
            reference.engine(),
            super::engine("candle-cpu-portable", &network, bundle),
        ),
        inputs: windows.iter().map(Input::new).collect(),
        trials,
        clean,
        budget,
        left_out: tests.left_out,
        blindness,
        model: model.name,
    })
}

/// The faults that are tried: all, or those that were asked for.
fn catalogue(args: &Args, model: &Model) -> anyhow::Result<Vec<Fault>> {
    let mut catalogue = Fault::catalogue(model.bundle.architecture());
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
pub(super) fn shorten(window: &mut Window) {
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

/// Of some trials.
struct What<'a> {
    /// What is shown beside their progress.
    name: &'a str,
    /// Whether it is tried to call the faults by their names.
    named: bool,
    /// How errors reach the output.
    budget: Option<&'a Budget>,
}

impl Tests<'_> {
    /// How the errors of the stages reach the output, without a fault.
    fn budget(&mut self, windows: &[Window]) -> anyhow::Result<Option<Budget>> {
        // A residual network would have to be run again behind each of its stages.
        if !BUILT || self.model.is_embedding() {
            return Ok(None);
        }
        let bundle = &self.model.bundle;
        let mut live = TorchReference::load(bundle, None)?;
        let candidate = Candidate::Network {
            network: Network::load(bundle, DType::F32, &Device::Cpu, Kernels::Portable)?,
            fault: None,
        };
        Ok(Some(Budget::measure(&mut live, &candidate, windows)?))
    }

    /// What is said to each fault on `windows`.
    fn trials(
        &mut self,
        mut kept: KeptReference,
        windows: &[Window],
        what: &What<'_>,
    ) -> anyhow::Result<Vec<Trial>> {
        let named = what.named.then(|| Diagnostician::new(&self.model.bundle));
        let mut bench = Bench {
            bundle: &self.model.bundle,
            decoding: self.decoding,
            reference: &mut kept,
            windows,
            diagnostician: named.as_ref(),
            budget: what.budget,
        };
        let bar = self.terminal.progress(what.name);
        bar.set_length(self.catalogue.len() as u64);
        let mut trials = Vec::new();
        for fault in self.catalogue {
            match bench.try_fault(fault)? {
                Some(trial) => trials.push(trial),
                None => self
                    .left_out
                    .push(format!("{}: this model has no such stage", fault.id)),
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
            decoding: self.decoding,
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
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()?;
                for candidate in pool.install(|| in_batches(bundle, whole, 1))? {
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
        let mut live = TorchReference::load(bundle, None)?;
        let longest = if self.model.is_embedding() {
            2.0
        } else {
            f64::INFINITY
        };
        for window in hard_inputs(whole, sample_rate, longest) {
            runs.push(clean.run(&mut live, &window, DType::F32, &window.uri)?);
        }
        if self.model.is_embedding() {
            let out = "clean runs in a batch of 32, in windows over 2 s, in f16 and in bf16, errors at the output, and what inputs hide: too slow for an embedding";
            self.left_out.push(out.to_owned());
            return Ok(runs);
        }
        for (dtype, narrow, name) in [
            (DType::F16, Narrow::F16, "f16"),
            (DType::BF16, Narrow::BF16, "bf16"),
        ] {
            let mut live = TorchReference::load(bundle, Some(narrow))?;
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
        let (sample_rate, _) = windows::format(&self.model.bundle)?;
        let mut live = TorchReference::load(&self.model.bundle, None)?;
        let mut seen = vec![(
            super::words::listed(windows.iter().map(|window| Input::new(window).to_string())),
            trials.to_vec(),
        )];
        for window in blind_inputs(sample_rate) {
            let name = window.uri.clone();
            let one = [window];
            let kept = KeptReference::of(&mut live, &one)?;
            let what = What {
                name: &name,
                named: false,
                budget: None,
            };
            let trials = self.trials(kept, &one, &what)?;
            seen.push((name, trials));
        }
        self.left_out.sort();
        self.left_out.dedup();
        Ok(Blindness::of(&seen))
    }
}
