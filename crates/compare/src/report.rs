//! The result of a comparison, as data.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD};
use serde::Serialize;
use soundalike_metrics::Annotation;

use crate::{
    Audit, Budget, Decode, Diagnosis, GateResult, Match, MatchedBy, OutputAgreement, PathCheck,
    Provenance, Sides, StageError, Task, UNSTEADY_R, Undiagnosed, Verdict, Window,
};

/// Version of the JSON of a report. Keys may be added, not renamed.
pub(crate) const SCHEMA: u32 = 1;

/// The result of a comparison, over all its inputs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: u32,
    /// The model on both sides.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// The candidate, as on the command line.
    pub candidate: String,
    /// The program, machine and engines.
    pub provenance: Provenance,
    /// The weights of both sides; none where they were not compared.
    pub audit: Option<Audit>,
    /// The inputs, each with its own results.
    pub inputs: Vec<Input>,
    /// All stages of the reference, in order of execution.
    pub stages: Vec<StageReport>,
    /// How many of them were compared.
    pub coverage: Coverage,
    /// Stages of the reference that the candidate does not show, in order of execution.
    pub missing: Vec<String>,
    /// Stages that the candidate has and the reference lacks.
    pub unexpected: Vec<String>,
    /// The stages that cause the error, in order of execution.
    pub source: Vec<String>,
    /// The cause, where it is known.
    pub diagnosis: Option<Diagnosis>,
    /// Why the cause is not known, and the shape of the error.
    pub undiagnosed: Option<Undiagnosed>,
    /// Agreement of the free-running outputs; none where the candidate's is missing or has another shape.
    pub output: Option<OutputAgreement>,
    /// Agreement of the decoded outputs; none where there is no decoding.
    pub task: Option<Task>,
    /// Whether users of the candidate get the compared outputs; empty for a trace.
    pub production: Vec<PathCheck>,
    /// The error budget, where one was measured.
    pub budget: Option<Budget>,
    /// What is not seen of a side, and other remarks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The result of a gate.
    pub gate: Option<GateResult>,
    /// The outputs themselves, for pictures: one for each of [`Report::inputs`] that has an agreement.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// How much of the reference was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Stages of the reference.
    pub stages: usize,
    /// Those that the candidate shows.
    pub observed: usize,
    /// Those that were fed by the reference.
    pub teacher_forced: usize,
    /// Those that were found under another name or in another layout, by what.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub matched: BTreeMap<MatchedBy, usize>,
}

impl Coverage {
    fn of(stages: &[StageReport]) -> Self {
        let count = |is: &dyn Fn(&StageReport) -> bool| stages.iter().filter(|s| is(s)).count();
        let mut matched = BTreeMap::new();
        for found in stages.iter().filter_map(|stage| stage.matched.as_ref()) {
            *matched.entry(found.by).or_default() += 1;
        }
        Self {
            stages: stages.len(),
            observed: count(&|stage| stage.verdict != Verdict::NotObserved),
            teacher_forced: count(&|stage| stage.teacher_forced.is_some()),
            matched,
        }
    }
}

/// One window of one recording.
#[derive(Debug, Clone, Serialize)]
pub struct Input {
    /// File name.
    pub uri: String,
    /// Seconds from the start of the file.
    pub start: f64,
    /// Seconds.
    pub duration: f64,
    /// Description of the masks by which embeddings are pooled; none for the whole window, and for other networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<String>,
    /// The error of the reference's own f32 at its output, in units of the output's root mean square.
    pub reference_error: Option<f64>,
    /// The stages that cause the error on this input.
    pub source: Vec<String>,
    /// Agreement of the outputs on this input.
    pub output: Option<OutputAgreement>,
    /// Agreement of the decoded outputs on this input.
    pub task: Option<Task>,
}

impl Input {
    /// The input `window`, without results.
    #[must_use]
    pub fn new(window: &Window) -> Self {
        Self {
            uri: window.uri.clone(),
            start: window.start,
            duration: window.duration,
            masks: window.masks.as_ref().map(|masks| masks.name.clone()),
            reference_error: None,
            source: Vec::new(),
            output: None,
            task: None,
        }
    }
}

/// From this error of its own f32 on, in units of the output's root mean square, a reference says nothing about a candidate:
/// rounding has grown to the size of what a fault changes.
pub const UNSTABLE: f64 = 1e-2;

impl std::fmt::Display for Input {
    /// `sample 0-10 s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.start, self.start + self.duration);
        // Microseconds: 12.9 + 1 is not 13.9 in f64.
        let seconds = |x: f64| (x * 1e6).round() / 1e6;
        match self.duration {
            // No audio.
            0.0 => f.write_str(&self.uri)?,
            _ => write!(f, "{} {}-{} s", self.uri, seconds(start), seconds(end))?,
        }
        match &self.masks {
            Some(masks) => write!(f, ", {masks}"),
            None => Ok(()),
        }
    }
}

/// One stage of the reference, with the worst of each measure over all inputs.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Canonical name.
    pub name: String,
    /// Shape of the reference's output, on the first input that has the stage.
    pub shape: Vec<usize>,
    /// Whether a norm only amplifies rounding on an input.
    pub degenerate: bool,
    /// Fed by the reference: the stage's own error. None where the stage was not observed or could not be fed.
    pub teacher_forced: Option<StageError>,
    /// Fed by the candidate's own stages, as for a user.
    pub free_running: Option<StageError>,
    /// The worst verdict of all inputs.
    pub verdict: Verdict,
    /// Stages before it that the candidate does not show, so that their error is found here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<String>,
    /// How it was found in a candidate with other names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<Match>,
}

/// The outputs on one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Index in [`Report::inputs`].
    pub input: usize,
    /// Scores `[frame, class]`, or embeddings `[speaker, feature]`.
    pub scores: Sides<Array2<f32>>,
    /// The decoded outputs, times from the start of the window; none where there is no decoding.
    pub turns: Option<Sides<Annotation>>,
}

impl Evidence {
    /// The evidence of two outputs of equal shape. None where they have no rows.
    pub(crate) fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        decode: &dyn Decode,
        window: &Window,
        input: usize,
    ) -> Option<Self> {
        let sides = Sides::new(candidate, golden);
        let turns = sides
            .as_ref()
            .map(|scores| decode.turns(scores, &window.uri));
        let rows = |values: &ArrayD<f64>| {
            let columns = *values.shape().last()?;
            let rows = (values.len() / columns.max(1), columns);
            values.mapv(|x| x as f32).into_shape_with_order(rows).ok()
        };
        Some(Self {
            input,
            scores: sides.map(rows).transpose()?,
            turns: turns.transpose(),
        })
    }
}

/// The result on one input.
#[derive(Debug, Clone)]
pub(crate) struct InputReport {
    pub(crate) input: Input,
    pub(crate) stages: Vec<StageReport>,
    pub(crate) unexpected: Vec<String>,
    pub(crate) evidence: Option<Evidence>,
    pub(crate) returned: Option<PathCheck>,
}

/// The subject of a report.
#[derive(Debug, Clone)]
pub struct About {
    /// The model on both sides.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// The candidate, as on the command line.
    pub candidate: String,
    /// The program, machine and engines.
    pub provenance: Provenance,
}

impl Report {
    /// Records how the stages of a trace were found, and its arrays that are none.
    pub fn set_matched(&mut self, matched: Vec<Match>, unused: Vec<String>) {
        for matched in matched {
            let mut stages = self.stages.iter_mut();
            if let Some(stage) = stages.find(|stage| stage.name == matched.stage) {
                stage.matched = Some(matched);
            }
        }
        self.unexpected.extend(unused);
        self.coverage = Coverage::of(&self.stages);
    }

    /// Pools the results of `inputs`.
    pub(crate) fn new(about: About, inputs: Vec<InputReport>) -> Self {
        let mut stages: Vec<(String, Vec<StageReport>)> = Vec::new();
        let mut unexpected: Vec<String> = Vec::new();
        let mut evidence = Vec::new();
        let mut described = Vec::new();
        let mut production: Vec<PathCheck> = Vec::new();
        for found in inputs {
            let mut place = 0;
            for stage in found.stages {
                let known = stages.iter().position(|(name, _)| *name == stage.name);
                // A stage that other inputs lack is inserted where this input has it.
                let at = known.unwrap_or_else(|| {
                    stages.insert(place, (stage.name.clone(), Vec::new()));
                    place
                });
                stages[at].1.push(stage);
                place = at + 1;
            }
            for name in found.unexpected {
                if !unexpected.contains(&name) {
                    unexpected.push(name);
                }
            }
            evidence.extend(found.evidence);
            match (found.returned, production.first_mut()) {
                (Some(returned), Some(pooled)) => pooled.add(returned),
                (returned, _) => production.extend(returned),
            }
            described.push(found.input);
        }
        let stages = stages.into_iter();
        let stages: Vec<_> = stages
            .filter_map(|(_, reports)| StageReport::pool(&reports))
            .collect();
        let names = stages.iter().map(|stage| &stage.name);
        let causes = names.filter(|name| described.iter().any(|input| input.source.contains(name)));
        let missing = stages
            .iter()
            .filter(|stage| stage.verdict == Verdict::NotObserved);
        Self {
            schema: SCHEMA,
            model: about.model,
            reference: about.reference,
            candidate: about.candidate,
            provenance: about.provenance,
            audit: None,
            coverage: Coverage::of(&stages),
            missing: missing.map(|stage| stage.name.clone()).collect(),
            unexpected,
            source: causes.cloned().collect(),
            diagnosis: None,
            undiagnosed: None,
            output: OutputAgreement::pool(described.iter().map(|input| input.output.as_ref())),
            task: Task::pool(described.iter().filter_map(|input| input.task.as_ref())),
            production,
            budget: None,
            notes: Vec::new(),
            gate: None,
            evidence,
            inputs: described,
            stages,
        }
    }
}

impl Report {
    /// The inputs on which the reference's own f32 is no longer near its f64.
    pub fn unstable(&self) -> impl Iterator<Item = &Input> {
        let stable = |error: f64| error < UNSTABLE;
        let inputs = self.inputs.iter();
        inputs.filter(move |input| !input.reference_error.is_none_or(stable))
    }
}

impl StageReport {
    /// Over the inputs that have the stage. None of none.
    fn pool(reports: &[Self]) -> Option<Self> {
        let first = reports.first()?;
        let forced = reports.iter().filter_map(|r| r.teacher_forced.clone());
        let free = reports.iter().filter_map(|r| r.free_running.clone());
        Some(Self {
            name: first.name.clone(),
            shape: first.shape.clone(),
            degenerate: reports.iter().any(|report| report.degenerate),
            teacher_forced: StageError::pool(forced.collect()),
            free_running: StageError::pool(free.collect()),
            verdict: reports.iter().map(|report| report.verdict).max()?,
            folded: first.folded.clone(),
            matched: None,
        })
    }
}

impl StageReport {
    /// Whether the stage is right on the reference's input and wrong in the free run.
    #[must_use]
    pub fn is_unsteady(&self) -> bool {
        let forced = self.teacher_forced.as_ref().map(Verdict::of);
        // Of the whole output: in single quiet frames, what stages before add is large.
        let free = self.free_running.as_ref().map_or(0.0, |error| error.r);
        forced == Some(Verdict::Exact) && free >= UNSTEADY_R && !self.degenerate
    }
}

/// Finds a stage wrong whose output depends on more than its input: it is unsteady although the free run is exact up to
/// it.
pub(crate) fn judge_unsteady(stages: &mut [StageReport]) {
    let is_exact = |stage: &StageReport| {
        let free = stage.free_running.as_ref();
        let in_free_run = free.is_none_or(|error| Verdict::of(error) == Verdict::Exact);
        in_free_run && stage.verdict != Verdict::Structural
    };
    if let Some(first) = stages.iter_mut().find(|stage| !is_exact(stage))
        && first.is_unsteady()
    {
        first.verdict = Verdict::Structural;
    }
}

/// Marks stages whose error may come from a stage before: wrong only in the free run, and none of `source`.
pub(crate) fn judge_inherited(stages: &mut [StageReport], source: &[String]) {
    let first = stages.iter().position(|stage| source.contains(&stage.name));
    for stage in stages
        .iter_mut()
        .skip(first.map_or(usize::MAX, |first| first + 1))
    {
        let wrong = matches!(stage.verdict, Verdict::Precision | Verdict::Structural);
        if wrong && stage.teacher_forced.is_none() && !source.contains(&stage.name) {
            stage.verdict = Verdict::FreeOnly;
        }
    }
}

/// The stages that cause the error: those that fail on the reference's own input. A stage that was not fed by the
/// reference counts if no stage before it fails; later ones may only inherit the error.
pub(crate) fn source(stages: &[StageReport]) -> Vec<String> {
    let mut source = Vec::new();
    let mut healthy = true;
    for stage in stages {
        let fails = stage.verdict == Verdict::Structural;
        if fails && (healthy || stage.teacher_forced.is_some()) {
            source.push(stage.name.clone());
        }
        let free = stage.free_running.as_ref().map(Verdict::of);
        healthy &= !fails && free != Some(Verdict::Structural);
    }
    source
}
