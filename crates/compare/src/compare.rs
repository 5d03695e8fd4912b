//! A candidate against a reference, stage by stage.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::{
    About, Decode, Engine, EngineError, Evidence, Input, OutputAgreement, Reference,
    ReferenceStage, Report, StageError, StageReport, Task, TraceError, Verdict, Window,
    lockstep::RunError,
    observe::{Outputs, observe},
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
    Reference(#[source] EngineError),
    /// The candidate failed.
    #[error("the candidate failed")]
    Candidate(#[source] EngineError),
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
}

/// A side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Reference,
    Candidate,
}

impl RunError {
    /// The same as a failure of `side`.
    pub(crate) fn of(self, side: Side) -> CompareError {
        match (self, side) {
            (Self::Failed(error), Side::Reference) => CompareError::Reference(error),
            (Self::Failed(error), Side::Candidate) => CompareError::Candidate(error),
            (Self::Panicked(message), side) => CompareError::Panicked {
                side: match side {
                    Side::Reference => "reference",
                    Side::Candidate => "candidate",
                },
                message,
            },
        }
    }
}

/// What is compared with a reference.
pub enum Candidate {
    /// A network that can be run.
    Engine(Box<dyn Engine>),
    /// The activations of an engine that fed itself, by stage.
    Activations(BTreeMap<String, ArrayD<f64>>),
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Engine(_) => "an engine",
            Self::Activations(_) => "activations",
        })
    }
}

/// Compares `candidate` with `reference` on each of `windows`; `decode` says what their output means.
///
/// # Errors
/// [`CompareError`] where either side fails.
pub fn compare(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    windows: &[Window],
    decode: &dyn Decode,
    about: About,
) -> Result<Report, CompareError> {
    let found = windows
        .iter()
        .map(|window| compare_window(reference, candidate, window, decode))
        .collect::<Result<_, _>>()?;
    Ok(Report::new(about, found))
}

fn compare_window(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
    decode: &dyn Decode,
) -> Result<InputReport, CompareError> {
    let graph = reference.graph(window)?;
    let follows_fusion = reference.follows_fusion();
    let last = graph.output().map(|stage| stage.name.clone());
    let mut found = Comparison::new(window, decode, last);
    // Whether a stage has passed that the candidate does not show, so that it was not fed there.
    let mut fused = false;
    found.unexpected = observe(reference, candidate, window, &mut |stage, mut outputs| {
        let shown = outputs.forced.is_some();
        if !outputs.fed || (fused && !follows_fusion) {
            outputs.forced = None;
        }
        found.add(stage, &outputs);
        if !stage.stage.is_part() {
            fused = !shown;
        }
        Ok(Some(shown))
    })?;
    Ok(found.end())
}

/// What was found so far on one window.
struct Comparison<'a> {
    window: &'a Window,
    decode: &'a dyn Decode,
    /// The stage that is the output.
    last: Option<String>,
    stages: Vec<StageReport>,
    unexpected: Vec<String>,
    output: Option<OutputAgreement>,
    evidence: Option<Evidence>,
}

impl<'a> Comparison<'a> {
    fn new(window: &'a Window, decode: &'a dyn Decode, last: Option<String>) -> Self {
        Self {
            window,
            decode,
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
        let error = |ours: &ArrayD<f64>, floors, low: Option<f64>| {
            StageError::new(ours, &stage.golden, floors, &stage.stage.axes).with_low_floor(low)
        };
        let low = stage.low;
        let teacher_forced = forced
            .as_ref()
            .map(|ours| error(ours, &stage.forced, low.map(|floors| floors.forced)));
        let free_running = free
            .as_ref()
            .map(|ours| error(ours, &stage.free, low.map(|floors| floors.free)));
        if let (Some(ours), Some(error), Some(rounded)) = (free, &free_running, &stage.rounded)
            && self.last.as_ref() == Some(&stage.stage.name)
            && ours.shape() == stage.golden.shape()
        {
            let (golden, decode) = (&stage.golden, self.decode);
            let agreement = OutputAgreement::new(ours, golden, rounded, error.r, decode);
            self.output = Some(agreement);
            self.evidence = Evidence::new(ours, golden, decode, &self.window.uri);
        }
        // Its own error decides, where it is known: a stage is not to blame for what it was fed.
        let judged = teacher_forced.as_ref().or(free_running.as_ref());
        self.stages.push(StageReport {
            name: stage.stage.name.clone(),
            shape: stage.golden.shape().to_vec(),
            degenerate: stage.degenerate,
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

    fn end(self) -> InputReport {
        let turns = self
            .evidence
            .as_ref()
            .and_then(|found| found.turns.as_ref());
        InputReport {
            input: Input {
                source: source(&self.stages),
                task: turns.map(Task::new),
                output: self.output,
                ..Input::new(self.window)
            },
            stages: self.stages,
            unexpected: self.unexpected,
            evidence: self.evidence,
        }
    }
}
