//! A candidate against a reference, stage by stage.

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use ndarray::ArrayD;
use serde::Serialize;
use soundalike_diarize::{frames::FrameGrid, powerset::Powerset};
use soundalike_metrics::Components;
use soundalike_model::{Device, PyanNet, Tensor, TensorError};

use crate::{
    Fault, GateResult, OutputAgreement, Recorder, ReferenceTrace, Running, StageError, Teacher,
    TraceError, Verdict, fault::Inject, output::task,
};

/// Version of the JSON of a report. Keys may be added, not renamed.
const SCHEMA: u32 = 1;

/// Why two sides could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The reference cannot be read.
    #[error(transparent)]
    Reference(#[from] TraceError),
    /// The candidate failed.
    #[error("the candidate failed: {0}")]
    Candidate(#[from] TensorError),
    /// The reference was captured from other weights.
    #[error(
        "the reference was captured from another model: {reference}, and the candidate is {candidate} (SHA-256 of the sources); capture one from this model, or name the other with --model"
    )]
    OtherModel {
        /// SHA-256 of the reference's.
        reference: String,
        /// SHA-256 of the candidate's.
        candidate: String,
    },
}

/// What a comparison found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: u32,
    /// The model on both sides.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// The candidate, as on the command line.
    pub candidate: String,
    /// The windows compared.
    pub inputs: Vec<Input>,
    /// All stages of the reference, in order of execution.
    pub stages: Vec<StageReport>,
    /// Stages that the candidate has and the reference lacks.
    pub unexpected: Vec<String>,
    /// The stages that make the error, in order of execution.
    pub source: Vec<String>,
    /// What is wrong there, where it is known.
    pub diagnosis: Option<String>,
    /// Agreement of the outputs, free-running; none where the candidate's is missing or of another shape.
    pub output: Option<OutputAgreement>,
    /// Agreement of what they are decoded to; none where that is not known.
    pub task: Option<Task>,
    /// What a gate says to it.
    pub gate: Option<GateResult>,
}

/// A window.
#[derive(Debug, Clone, Serialize)]
pub struct Input {
    /// File name.
    pub uri: String,
    /// Seconds from the start of the file.
    pub start: f64,
    /// Seconds.
    pub duration: f64,
}

/// One stage of the reference.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Canonical name.
    pub name: String,
    /// Shape of the reference's output.
    pub shape: Vec<usize>,
    /// Whether the input makes a norm scale up nothing but rounding.
    pub degenerate: bool,
    /// Fed by the reference: whose error it is. None where the stage was not observed, or could not be.
    pub teacher_forced: Option<StageError>,
    /// Fed by the candidate's own previous stage: what a user gets.
    pub free_running: Option<StageError>,
    /// What it means.
    pub verdict: Verdict,
}

/// Diarization error rate between the two decoded outputs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Task {
    /// All of it.
    pub der: f64,
    /// Seconds that the wrong speaker got, over the seconds of speech.
    pub confusion: f64,
    /// Seconds of speech that were missed, over the seconds of speech.
    pub missed_detection: f64,
    /// Seconds of speech that is not there, over the seconds of speech.
    pub false_alarm: f64,
}

impl From<Components> for Task {
    fn from(of: Components) -> Self {
        let rate = |seconds: f64| {
            if seconds == 0.0 {
                0.0
            } else {
                seconds / of.total
            }
        };
        Self {
            der: of.rate(),
            confusion: rate(of.confusion),
            missed_detection: rate(of.missed_detection),
            false_alarm: rate(of.false_alarm),
        }
    }
}

/// What the output of a network means.
#[derive(Debug, Clone)]
pub struct Decoding {
    /// The sets of speakers that it scores.
    pub powerset: Powerset,
    /// Where its frames lie.
    pub grid: FrameGrid,
}

/// Activations by stage.
type Activations = BTreeMap<String, ArrayD<f64>>;

/// Compares `network` with `reference` on the reference's window, both ways of running, with `fault` (if any)
/// put into it.
///
/// # Errors
/// [`CompareError`] where either side fails.
pub fn compare_network<R: Read + Seek>(
    network: &PyanNet,
    reference: &mut ReferenceTrace<R>,
    decoding: Option<&Decoding>,
    fault: Option<Fault>,
) -> Result<Report, CompareError> {
    let waveform = reference.waveform()?;
    let shape = waveform.shape().to_vec();
    let waveform = Tensor::from_vec(waveform.into_raw_vec_and_offset().0, shape, &Device::Cpu)?;
    let waveform = waveform.to_device(network.device())?;

    let mut recorder = Recorder::default();
    network.forward(&waveform, &mut Inject::new(fault, &mut recorder))?;
    let free: Activations = recorder.into_stages()?.into_iter().collect();

    let mut teacher = Teacher::new(reference);
    network.forward(&waveform, &mut Inject::new(fault, &mut teacher))?;
    let forced: Activations = teacher.into_stages()?.into_iter().collect();
    report(reference, &free, &forced, decoding)
}

/// Compares the activations of somebody else's engine, which fed itself, with `reference`.
///
/// # Errors
/// [`CompareError`] where the reference cannot be read.
pub fn compare_activations<R: Read + Seek>(
    activations: &BTreeMap<String, ArrayD<f64>>,
    reference: &mut ReferenceTrace<R>,
    decoding: Option<&Decoding>,
) -> Result<Report, CompareError> {
    report(reference, activations, &Activations::new(), decoding)
}

fn report<R: Read + Seek>(
    reference: &mut ReferenceTrace<R>,
    free: &Activations,
    forced: &Activations,
    decoding: Option<&Decoding>,
) -> Result<Report, CompareError> {
    let manifest = reference.manifest().clone();
    let mut stages = Vec::with_capacity(manifest.stages.len());
    for stage in &manifest.stages {
        let golden = reference.golden(&stage.name)?;
        let mut error =
            |activations: &Activations, running| -> Result<Option<StageError>, TraceError> {
                let Some(ours) = activations.get(&stage.name) else {
                    return Ok(None);
                };
                let floors = reference.floors(stage, running)?;
                Ok(Some(StageError::new(ours, &golden, &floors, stage)))
            };
        let (teacher_forced, free_running) =
            (error(forced, Running::Forced)?, error(free, Running::Free)?);
        // Its own error decides, where it is known: a stage is not to blame for what it was fed.
        let judged = teacher_forced.as_ref().or(free_running.as_ref());
        stages.push(StageReport {
            name: stage.name.clone(),
            shape: stage.shape.clone(),
            degenerate: stage.degenerate,
            verdict: judged.map_or(Verdict::NotObserved, Verdict::of),
            teacher_forced,
            free_running,
        });
    }
    let known = |name: &&String| !manifest.stages.iter().any(|stage| stage.name == **name);
    let (output, decoded) = output(reference, free, decoding)?;
    Ok(Report {
        schema: SCHEMA,
        model: manifest.model.name.clone(),
        reference: reference.origin().to_owned(),
        candidate: String::new(),
        inputs: vec![Input {
            uri: manifest.audio.file.clone(),
            start: manifest.audio.start,
            duration: manifest.audio.duration,
        }],
        unexpected: free.keys().filter(known).cloned().collect(),
        source: source(&stages),
        diagnosis: None,
        output,
        task: decoded.map(Task::from),
        gate: None,
        stages,
    })
}

/// The stages that make the error: those that fail on the reference's own input. Where no stage was fed by
/// the reference, the first that fails: those after it may only be its victims.
fn source(stages: &[StageReport]) -> Vec<String> {
    let failing = stages
        .iter()
        .filter(|stage| stage.verdict == Verdict::Structural);
    let names = failing.clone().map(|stage| stage.name.clone());
    if stages.iter().any(|stage| stage.teacher_forced.is_some()) {
        names.collect()
    } else {
        names.take(1).collect()
    }
}

/// Agreement of the last stage.
fn output<R: Read + Seek>(
    reference: &mut ReferenceTrace<R>,
    free: &Activations,
    decoding: Option<&Decoding>,
) -> Result<(Option<OutputAgreement>, Option<Components>), TraceError> {
    let Some(last) = reference
        .manifest()
        .stages
        .last()
        .map(|stage| stage.name.clone())
    else {
        return Ok((None, None));
    };
    let golden = reference.golden(&last)?;
    let Some(ours) = free
        .get(&last)
        .filter(|ours| ours.shape() == golden.shape())
    else {
        return Ok((None, None));
    };
    let agreement = OutputAgreement::new(ours, &golden, &reference.output()?);
    let decoded =
        decoding.and_then(|decoding| task(ours, &golden, &decoding.powerset, &decoding.grid));
    Ok((Some(agreement), decoded))
}
