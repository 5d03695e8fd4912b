//! What a comparison found: data, which others render.

use ndarray::{Array2, ArrayD};
use serde::Serialize;
use soundalike_metrics::Annotation;

use crate::{
    Audit, Budget, Decode, Diagnosis, GateResult, OutputAgreement, Provenance, Sides, StageError,
    Task, Undiagnosed, Verdict, Window,
};

/// Version of the JSON of a report. Keys may be added, not renamed.
pub(crate) const SCHEMA: u32 = 1;

/// What a comparison found, over all its inputs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    schema: u32,
    /// The model on both sides.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// The candidate, as on the command line.
    pub candidate: String,
    /// By what and on what it was found.
    pub provenance: Provenance,
    /// What the weights of both sides are; none where nobody looked.
    pub audit: Option<Audit>,
    /// What was compared, each with what was found on it alone.
    pub inputs: Vec<Input>,
    /// All stages of the reference, in order of execution.
    pub stages: Vec<StageReport>,
    /// Stages of the reference that the candidate does not show, in order of execution.
    pub missing: Vec<String>,
    /// Stages that the candidate has and the reference lacks.
    pub unexpected: Vec<String>,
    /// The stages that make the error, in order of execution.
    pub source: Vec<String>,
    /// What is wrong there, where it is known.
    pub diagnosis: Option<Diagnosis>,
    /// Why nothing is known of what is wrong there, and what can be said all the same.
    pub undiagnosed: Option<Undiagnosed>,
    /// Agreement of the outputs, free-running; none where the candidate's is missing or of another shape.
    pub output: Option<OutputAgreement>,
    /// Agreement of what they are decoded to; none where that is not known.
    pub task: Option<Task>,
    /// What the errors of the stages amount to at the output; none where nobody asked.
    pub budget: Option<Budget>,
    /// What a gate says to it.
    pub gate: Option<GateResult>,
    /// The outputs themselves, for pictures: one for each of [`Report::inputs`] that has an agreement.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
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
    /// By what frames embeddings are pooled, in words; none for the whole window, and for other networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<String>,
    /// The stages that make the error on this input.
    pub source: Vec<String>,
    /// Agreement of the outputs on this input.
    pub output: Option<OutputAgreement>,
    /// Agreement of what they are decoded to on this input.
    pub task: Option<Task>,
}

impl Input {
    /// Of `window`, on which nothing was found yet.
    #[must_use]
    pub fn new(window: &Window) -> Self {
        Self {
            uri: window.uri.clone(),
            start: window.start,
            duration: window.duration,
            masks: window.masks.as_ref().map(|masks| masks.name.clone()),
            source: Vec::new(),
            output: None,
            task: None,
        }
    }
}

impl std::fmt::Display for Input {
    /// `sample 0-10 s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.start, self.start + self.duration);
        // As many digits as make a difference: 12.9 + 1 is not 13.9 in f64.
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

/// One stage of the reference, over all inputs: every measure is that of the input on which it is worst.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Canonical name.
    pub name: String,
    /// Shape of the reference's output, on the first input that has the stage.
    pub shape: Vec<usize>,
    /// Whether an input makes a norm scale up nothing but rounding.
    pub degenerate: bool,
    /// Fed by the reference: whose error it is. None where the stage was not observed, or could not be fed.
    pub teacher_forced: Option<StageError>,
    /// Fed by the candidate's own previous stage: what a user gets.
    pub free_running: Option<StageError>,
    /// What it means, on the input where it means the worst.
    pub verdict: Verdict,
}

/// The outputs on one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Which of [`Report::inputs`].
    pub input: usize,
    /// Scores `[frame, class]`, or embeddings `[speaker, feature]`.
    pub scores: Sides<Array2<f32>>,
    /// What they are decoded to, with times from the start of the window; none where that is not known.
    pub turns: Option<Sides<Annotation>>,
}

impl Evidence {
    /// Of two outputs of equal shape. None where they are not those of one window.
    pub(crate) fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        decode: &dyn Decode,
        uri: &str,
    ) -> Option<Self> {
        let sides = Sides {
            candidate,
            reference: golden,
        };
        let rows = |values: &ArrayD<f64>| {
            let columns = *values.shape().last()?;
            let rows = (values.len() / columns.max(1), columns);
            values.mapv(|x| x as f32).into_shape_with_order(rows).ok()
        };
        let turns = sides.as_ref().map(|scores| decode.turns(scores, uri));
        Some(Self {
            input: 0,
            scores: Sides {
                candidate: rows(candidate)?,
                reference: rows(golden)?,
            },
            turns: match (turns.candidate, turns.reference) {
                (Some(candidate), Some(reference)) => Some(Sides {
                    candidate,
                    reference,
                }),
                _ => None,
            },
        })
    }
}

/// What was found on one input.
#[derive(Debug, Clone)]
pub(crate) struct InputReport {
    pub(crate) input: Input,
    pub(crate) stages: Vec<StageReport>,
    pub(crate) unexpected: Vec<String>,
    pub(crate) evidence: Option<Evidence>,
}

/// Who was compared with whom.
#[derive(Debug, Clone)]
pub struct About {
    /// The model on both sides.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// The candidate, as on the command line.
    pub candidate: String,
    /// By what and on what.
    pub provenance: Provenance,
}

impl Report {
    /// Pools what was found on each of `inputs`.
    pub(crate) fn new(about: About, inputs: Vec<InputReport>) -> Self {
        let mut stages: Vec<PooledStage> = Vec::new();
        let mut unexpected: Vec<String> = Vec::new();
        let mut evidence = Vec::new();
        let mut described = Vec::new();
        for (index, found) in inputs.into_iter().enumerate() {
            let mut place = 0;
            for stage in found.stages {
                match stages
                    .iter()
                    .position(|known| known.report.name == stage.name)
                {
                    Some(known) => {
                        stages[known].add(index, stage);
                        place = known + 1;
                    }
                    // A stage that other inputs lack stands where this input has it.
                    None => {
                        stages.insert(place, PooledStage::new(index, stage));
                        place += 1;
                    }
                }
            }
            for name in found.unexpected {
                if !unexpected.contains(&name) {
                    unexpected.push(name);
                }
            }
            evidence.extend(found.evidence.map(|found| Evidence {
                input: index,
                ..found
            }));
            described.push(found.input);
        }
        let stages: Vec<_> = stages.into_iter().map(PooledStage::pool).collect();
        let lost = stages
            .iter()
            .filter(|stage| stage.verdict == Verdict::NotObserved);
        Self {
            schema: SCHEMA,
            model: about.model,
            reference: about.reference,
            candidate: about.candidate,
            provenance: about.provenance,
            audit: None,
            missing: lost.map(|stage| stage.name.clone()).collect(),
            unexpected,
            source: stages
                .iter()
                .map(|stage| &stage.name)
                .filter(|name| described.iter().any(|input| input.source.contains(name)))
                .cloned()
                .collect(),
            diagnosis: None,
            undiagnosed: None,
            output: OutputAgreement::pool(described.iter().map(|input| input.output.as_ref())),
            task: Task::pool(described.iter().filter_map(|input| input.task.as_ref())),
            budget: None,
            gate: None,
            evidence,
            inputs: described,
            stages,
        }
    }
}

/// A stage on the inputs seen so far.
struct PooledStage {
    report: StageReport,
    forced: Vec<StageError>,
    free: Vec<StageError>,
}

impl PooledStage {
    fn new(index: usize, stage: StageReport) -> Self {
        let report = StageReport {
            teacher_forced: None,
            free_running: None,
            ..stage.clone()
        };
        let mut pooled = Self {
            report,
            forced: Vec::new(),
            free: Vec::new(),
        };
        pooled.add(index, stage);
        pooled
    }

    fn add(&mut self, index: usize, stage: StageReport) {
        let of_input = |error: StageError| StageError {
            worst_input: index,
            ..error
        };
        self.forced.extend(stage.teacher_forced.map(of_input));
        self.free.extend(stage.free_running.map(of_input));
        self.report.degenerate |= stage.degenerate;
        self.report.verdict = self.report.verdict.max(stage.verdict);
    }

    fn pool(self) -> StageReport {
        StageReport {
            teacher_forced: StageError::pool(self.forced),
            free_running: StageError::pool(self.free),
            ..self.report
        }
    }
}

/// The stages that make the error: those that fail on the reference's own input. One that was not fed by the
/// reference is to blame where no stage before it fails; those after it may only be its victims.
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
