//! A candidate against a reference, stage by stage.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use soundalike_network::Operand;

use crate::{
    About, Activations, Decode, Engine, EngineError, Evidence, Floors, Input, LEAST_FLOOR,
    OutputAgreement, Path, PathCheck, Reference, ReferenceStage, Report, StageError, StageReport,
    Task, TraceError, Verdict, Window,
    observed::{Outputs, observe},
    report::{InputReport, judge_inherited, judge_unsteady, source},
    rms,
};

/// Why two runs could not be compared.
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
    /// An engine panicked.
    #[error("the {side} panicked ({message}): please report this")]
    Panicked {
        /// `reference` or `candidate`.
        side: &'static str,
        /// The text of the panic.
        message: String,
    },
    /// The golden output of a stage has NaN or infinities.
    #[error(
        "{window}: the reference itself gives values that are not finite at `{stage}`; take another window"
    )]
    NotFinite {
        /// The stage.
        stage: String,
        /// The window.
        window: String,
    },
    /// The f64 and f32 runs of the reference show different stages.
    #[error("the reference in f32 does not show `{stage}` of f64 in its place: please report this")]
    OtherStages {
        /// The stage of the f64 run.
        stage: String,
    },
    /// The trace and the model come from different weights.
    #[error(
        "the trace is of another model: {trace}, and the model here is {model} (SHA-256 of the sources); capture one from this model, or name the other with --model"
    )]
    OtherModel {
        /// SHA-256 of the source of the trace's weights.
        trace: String,
        /// SHA-256 of the source of the model's weights.
        model: String,
    },
    /// A kept reference was not run on this window.
    #[error("{window}: the reference was not run on this window: please report this")]
    OtherInput {
        /// The window.
        window: String,
    },
    /// A trace cannot be run again with a stage replaced.
    #[error(
        "an error budget needs two live engines, and a trace cannot be run again: give --reference torch and one of our engines as --candidate"
    )]
    NoGains,
}

/// The side under test.
pub enum Candidate {
    /// A network that can be run.
    Engine(Box<dyn Engine>),
    /// What another engine recorded.
    Activations(Box<dyn Activations>),
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Engine(_) => "an engine",
            Self::Activations(_) => "activations",
        })
    }
}

/// Compares `candidate` with `reference` on each of `windows`; `decode` interprets their output.
///
/// # Errors
/// [`CompareError`] if a side fails, or the golden output is not finite.
pub fn compare(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    windows: &[Window],
    decode: &dyn Decode,
    about: About,
) -> Result<Report, CompareError> {
    let inputs = windows.iter().enumerate();
    let inputs = inputs.map(|input| compare_window(reference, candidate, input, decode));
    Ok(Report::new(about, inputs.collect::<Result<_, _>>()?))
}

/// Compares several runs of one network, each a reference and a candidate on a window of its own.
///
/// # Errors
/// As [`compare`].
pub fn compare_each(
    runs: &mut [(Box<dyn Reference>, Candidate, Window)],
    decode: &dyn Decode,
    about: About,
) -> Result<Report, CompareError> {
    let inputs = runs.iter_mut().enumerate();
    let inputs = inputs.map(|(index, (reference, candidate, window))| {
        compare_window(reference.as_mut(), candidate, (index, window), decode)
    });
    Ok(Report::new(about, inputs.collect::<Result<_, _>>()?))
}

fn compare_window(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    (index, window): (usize, &Window),
    decode: &dyn Decode,
) -> Result<InputReport, CompareError> {
    let graph = reference.graph(window)?;
    let follows_fusion = reference.follows_fusion();
    let last = graph.output().map(|stage| &stage.name);
    let mut input = Input::new(window);
    let (mut stages, mut evidence) = (Vec::new(), None);
    let mut shown_last = None;
    // Stages that the candidate does not show, so that the reference could not feed it there, each with those before it.
    let mut unseen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let ended = observe(reference, candidate, window, &mut |stage, mut outputs| {
        let shown = outputs.shown;
        let mut group: Vec<String> = Vec::new();
        for operand in &stage.stage.operands {
            let Operand::Stage(index) = operand else {
                continue;
            };
            let name = &graph.stages()[*index].name;
            if let Some(before) = unseen.get(name) {
                group.extend(before.iter().chain([name]).cloned());
            }
        }
        group.sort_by_key(|name| graph.position(name));
        group.dedup();
        let fused = !group.is_empty();
        if !outputs.fed || (fused && !follows_fusion) {
            (outputs.forced, outputs.forced_shape) = (None, None);
        }
        let report = StageReport {
            folded: if shown { group.clone() } else { Vec::new() },
            ..StageReport::new(stage, &outputs, index)
        };
        if last == Some(&stage.stage.name) {
            shown_last = outputs.free.clone();
            let error = stage.free.whole / rms(stage.golden.view());
            input.reference_error = (!error.is_nan()).then_some(error);
        }
        if let (Some(ours), Some(error), Some(rounded)) =
            (&outputs.free, &report.free_running, &stage.rounded)
            && last == Some(&stage.stage.name)
            && ours.shape() == stage.golden.shape()
        {
            let golden = &stage.golden;
            let agreement = OutputAgreement::new(ours, golden, rounded, error.r, decode);
            input.output = Some(agreement);
            evidence = Evidence::new(ours, golden, decode, window, index);
        }
        stages.push(report);
        if !shown {
            unseen.insert(stage.stage.name.clone(), group);
        }
        Ok(Some(shown))
    })?;
    let turns = evidence.as_ref().and_then(|found| found.turns.as_ref());
    input.task = turns.map(Task::new);
    judge_unsteady(&mut stages);
    input.source = source(&stages);
    judge_inherited(&mut stages, &input.source);
    // Without its last stage, a run shows nothing that its output could be compared with.
    let returned = ended.returned.zip(shown_last).map(|(returned, shown)| {
        let mut check = PathCheck::new(Path::Returned, "of the runs above".to_owned(), 0.0);
        check.count(&input.to_string(), &returned, &shown);
        check
    });
    Ok(InputReport {
        input,
        stages,
        unexpected: ended.unexpected,
        evidence,
        returned,
    })
}

impl StageReport {
    /// Of the input `worst_input`.
    fn new(stage: &ReferenceStage, outputs: &Outputs, worst_input: usize) -> Self {
        let error = |output: &Option<ArrayD<f64>>, other: &Option<Vec<usize>>, floors| {
            let axes = &stage.stage.axes;
            let found = match (output, other) {
                (Some(output), _) => StageError::new(output, &stage.golden, floors, axes),
                (None, Some(shape)) => StageError::of_another_shape(shape, floors),
                (None, None) => return None,
            };
            Some(StageError {
                worst_input,
                ..found
            })
        };
        let teacher_forced = error(&outputs.forced, &outputs.forced_shape, &stage.forced);
        let free_running = error(&outputs.free, &outputs.free_shape, &stage.free);
        // The teacher-forced error decides where there is one: the stage did not cause the error of its input.
        let decides = match (&teacher_forced, &free_running) {
            (Some(error), _) => Some((error, &stage.forced)),
            (None, free) => free.as_ref().map(|error| (error, &stage.free)),
        };
        Self {
            name: stage.stage.name.clone(),
            shape: stage.golden.shape().to_vec(),
            degenerate: stage.degenerate,
            verdict: match decides {
                // Its input has another shape, and so has its output.
                Some((error, _)) if !outputs.fed && error.shape.is_some() => Verdict::NotComparable,
                Some((error, floors)) => match Verdict::of(error) {
                    Verdict::Exact if is_over_precise(error, floors, &stage.golden) => {
                        Verdict::OverPrecise
                    }
                    verdict => verdict,
                },
                None => Verdict::NotObserved,
            },
            teacher_forced,
            free_running,
            folded: Vec::new(),
            matched: None,
        }
    }
}

/// R of a candidate that computes in more than f32: far below 1.
const OVER_PRECISE_R: f64 = 0.1;
/// Least floor, in units of half a rounding, below which an R that small is no surprise.
const WIDE_FLOOR: f64 = 16.0;

/// Largest error of values that are no f32, in units of that of the nearest f32, which is 1 at least for those that are.
const NEARER: f64 = 0.5;

/// Whether the values are nearer to the golden ones than any f32, or `error` is far below the rounding of f32, where that is more
/// than the rounding of the output.
fn is_over_precise(error: &StageError, floors: &Floors, golden: &ArrayD<f64>) -> bool {
    if error.r_d.is_some() || floors.whole.is_nan() {
        return false;
    }
    let nearest = rms(golden.mapv(|x| x - f64::from(x as f32)).view());
    let least = WIDE_FLOOR * LEAST_FLOOR * rms(golden.view());
    error.rms_error < NEARER * nearest || floors.whole > least && error.r < OVER_PRECISE_R
}
