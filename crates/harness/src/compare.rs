//! A candidate against a reference, stage by stage.

use std::{collections::BTreeMap, thread};

use ndarray::ArrayD;
use soundalike_model::TensorError;

use crate::{
    About, Decoding, Evidence, Input, Network, OutputAgreement, Reference, ReferenceStage, Report,
    StageError, StageReport, Substitution, Task, TraceError, Verdict, Window,
    layout::is_part,
    lockstep::RunError,
    observed::{Observed, Outputs},
    report::{InputReport, source},
};

/// Why two sides could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The trace of the reference cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The reference engine failed.
    #[error("the reference failed")]
    Reference(#[from] soundalike_torch::Error),
    /// The candidate failed.
    #[error("the candidate failed: {message}")]
    Candidate {
        /// The first line of what candle said; the rest is its stack.
        message: String,
    },
    /// One side has a bug.
    #[error("the {side} panicked ({message}): please report this")]
    Panicked {
        /// Which.
        side: &'static str,
        /// The text of the panic.
        message: String,
    },
    /// The reference gives no numbers.
    #[error(
        "{window}: the reference itself gives values that are not finite at `{stage}`; take another window"
    )]
    NotFinite {
        /// The stage.
        stage: String,
        /// The window.
        window: String,
    },
    /// The runs of one engine show different stages.
    #[error("the reference shows other stages in f32 than `{stage}` of f64: please report this")]
    OtherStages {
        /// The stage of the golden run.
        stage: String,
    },
    /// A trace was made from other weights.
    #[error(
        "the trace is of another model: {trace}, and the model here is {model} (SHA-256 of the sources); capture one from this model, or name the other with --model"
    )]
    OtherModel {
        /// SHA-256 of the source of the trace's.
        trace: String,
        /// SHA-256 of the source of ours.
        model: String,
    },
    /// The reference was never asked for this window.
    #[error("{window}: the reference kept nothing of it: please report this")]
    OtherInput {
        /// The window.
        window: String,
    },
    /// A trace cannot be run again with a stage replaced.
    #[error(
        "a budget needs both sides live, a trace has no gains to be measured: give --reference torch and one of our engines as --candidate"
    )]
    NoGains,
    /// The candidate has nothing to compare.
    #[error(
        "the candidate has none of the stages of the reference, such as `{expected}`; its names must be those of the reference"
    )]
    NoStages {
        /// A stage of the reference.
        expected: String,
    },
}

impl From<RunError<soundalike_torch::Error>> for CompareError {
    fn from(error: RunError<soundalike_torch::Error>) -> Self {
        match error {
            RunError::Failed(error) => Self::Reference(error),
            RunError::Panicked(message) => Self::Panicked {
                side: "reference",
                message,
            },
        }
    }
}

impl From<TensorError> for CompareError {
    fn from(error: TensorError) -> Self {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().to_owned();
        Self::Candidate { message }
    }
}

impl From<RunError<TensorError>> for CompareError {
    fn from(error: RunError<TensorError>) -> Self {
        match error {
            RunError::Failed(error) => error.into(),
            RunError::Panicked(message) => Self::Panicked {
                side: "candidate",
                message,
            },
        }
    }
}

/// What is on trial.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Candidate {
    /// Our network.
    Network {
        /// As `diarize` runs it.
        network: Network,
        /// A mistake put into it.
        fault: Option<Substitution>,
    },
    /// What somebody else's engine, which fed itself, made of the window, by stage.
    Activations(BTreeMap<String, ArrayD<f64>>),
}

/// Compares `candidate` with `reference` on each of `windows`; `decoding` says what their output means.
///
/// # Errors
/// [`CompareError`] where either side fails.
pub fn compare(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    windows: &[Window],
    decoding: &Decoding,
    about: About,
) -> Result<Report, CompareError> {
    let found = windows
        .iter()
        .map(|window| compare_window(reference, candidate, window, decoding))
        .collect::<Result<_, _>>()?;
    Ok(Report::new(about, found))
}

fn compare_window(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
    decoding: &Decoding,
) -> Result<InputReport, CompareError> {
    let names = reference.names(window)?;
    let follows_fusion = reference.follows_fusion();
    thread::scope(|scope| {
        let mut observed = Observed::start(scope, candidate, window);
        let mut found = Comparison::new(window, decoding, names.last());
        // Whether a stage has passed that the candidate does not show, so that it was not fed there.
        let mut fused = false;
        reference.run(window, &mut |stage| {
            let name = &stage.stage.name;
            let mut outputs = observed.at(name, &names, &mut found.unexpected)?;
            let shown = outputs.forced.is_some();
            if !outputs.fed || (fused && !follows_fusion) {
                outputs.forced = None;
            }
            found.add(stage, &outputs);
            if !is_part(name) {
                fused = !shown;
            }
            observed.go_on(stage);
            Ok(shown)
        })?;
        observed.end(&names, &mut found.unexpected)?;
        found.end()
    })
}

/// What was found so far on one window.
struct Comparison<'a> {
    window: &'a Window,
    decoding: &'a Decoding,
    /// The stage that is the output.
    last: Option<&'a String>,
    stages: Vec<StageReport>,
    unexpected: Vec<String>,
    output: Option<OutputAgreement>,
    evidence: Option<Evidence>,
}

impl<'a> Comparison<'a> {
    fn new(window: &'a Window, decoding: &'a Decoding, last: Option<&'a String>) -> Self {
        Self {
            window,
            decoding,
            last,
            stages: Vec::new(),
            unexpected: Vec::new(),
            output: None,
            evidence: None,
        }
    }

    /// Compares one stage.
    fn add(&mut self, stage: &ReferenceStage, outputs: &Outputs) {
        let Outputs { free, forced, fed } = outputs;
        let error = |ours: &ArrayD<f64>, floors, narrow: Option<f64>| {
            StageError::new(ours, &stage.golden, floors, &stage.stage).with_narrow_floor(narrow)
        };
        let narrow = stage.narrow;
        let teacher_forced = forced
            .as_ref()
            .map(|ours| error(ours, &stage.forced, narrow.map(|floors| floors.forced)));
        let free_running = free
            .as_ref()
            .map(|ours| error(ours, &stage.free, narrow.map(|floors| floors.free)));
        if let (Some(ours), Some(error), Some(rounded)) = (free, &free_running, &stage.rounded)
            && self.last == Some(&stage.stage.name)
            && ours.shape() == stage.golden.shape()
        {
            let (golden, decoding) = (&stage.golden, self.decoding);
            let agreement = OutputAgreement::new(ours, golden, rounded, error.r, decoding);
            self.output = Some(agreement);
            self.evidence = Evidence::new(ours, golden, decoding, &self.window.uri);
        }
        // Its own error decides, where it is known: a stage is not to blame for what it was fed.
        let judged = teacher_forced.as_ref().or(free_running.as_ref());
        self.stages.push(StageReport {
            name: stage.stage.name.clone(),
            shape: stage.stage.shape.clone(),
            degenerate: stage.stage.degenerate,
            verdict: match judged {
                // What it was fed has another shape, and so has its output: there is nothing to compare.
                Some(error) if !fed && error.is_of_another_shape() => Verdict::NotComparable,
                Some(error) => Verdict::of(error),
                None => Verdict::NotObserved,
            },
            teacher_forced,
            free_running,
        });
    }

    fn end(self) -> Result<InputReport, CompareError> {
        let unseen = |stage: &StageReport| stage.verdict == Verdict::NotObserved;
        if self.stages.iter().all(unseen) {
            return Err(CompareError::NoStages {
                expected: self.last.cloned().unwrap_or_default(),
            });
        }
        let turns = self
            .evidence
            .as_ref()
            .and_then(|found| found.turns.as_ref());
        Ok(InputReport {
            input: Input {
                source: source(&self.stages),
                task: turns.map(Task::new),
                output: self.output,
                ..Input::new(self.window)
            },
            stages: self.stages,
            unexpected: self.unexpected,
            evidence: self.evidence,
        })
    }
}
