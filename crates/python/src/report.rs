//! Comparisons and their reports.

use std::path::PathBuf;

use pyo3::prelude::*;
use serde::Deserialize;
use soundalike_compare::{
    About, ActivationTrace, BuiltInGate, Candidate, CompareError, Diagnosis, EngineInfo, Estimate,
    Gate, Match, Meaning, NameMap, Named, PathCheck, Provenance, Reference, ReferenceTrace,
    Signature, Undiagnosed, compare_each,
};
use soundalike_report::{
    comparison::{self, junit, sarif},
    document::{
        html, markdown,
        terminal::{self, Screen},
    },
};

use crate::failed;

/// The subject of a comparison.
#[derive(Deserialize)]
struct Subject {
    model: String,
    reference: String,
    candidate: String,
    command: String,
    /// The candidate's engine.
    engine: EngineInfo,
    notes: Vec<String>,
    /// Whether users get the compared outputs.
    #[serde(default)]
    checks: Vec<PathCheck>,
    runs: Vec<Run>,
}

/// One example.
#[derive(Deserialize)]
struct Run {
    /// The traces of both sides.
    reference: PathBuf,
    candidate: PathBuf,
    /// Whether its integers of 16 bits are bf16.
    u2_as_bf16: bool,
    /// The stages of the candidate.
    matches: Vec<Match>,
    /// Floors that the reference does not have.
    floors: Option<PathBuf>,
}

/// What is known of the cause of an error.
#[derive(Deserialize)]
struct Cause {
    stage: String,
    id: String,
    text: String,
    r: f64,
    estimate: Option<Estimate>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error(transparent)]
    Gate(#[from] soundalike_compare::GateError),
    #[error("the description of the comparison cannot be read")]
    Json(#[from] serde_json::Error),
}

/// Compares the runs of `subject`, JSON; `gate` is a text in TOML.
#[pyfunction]
#[pyo3(signature = (subject, gate=None))]
pub(crate) fn compare(py: Python<'_>, subject: &str, gate: Option<&str>) -> PyResult<Report> {
    let compared = || compared(subject, gate);
    py.detach(compared).map_err(|error| failed(&error))
}

fn compared(subject: &str, gate: Option<&str>) -> Result<Report, Failure> {
    let subject: Subject = serde_json::from_str(subject)?;
    let mut runs: Vec<(Box<dyn Reference>, Candidate, _)> = Vec::new();
    let mut matched = None;
    let mut engine = EngineInfo::default();
    for run in subject.runs {
        let mut reference = ReferenceTrace::open(&run.reference).map_err(CompareError::from)?;
        if let Some(floors) = &run.floors {
            let with = reference.with_floors(floors);
            reference = with.map_err(CompareError::from)?;
        }
        let window = reference.window().map_err(CompareError::from)?;
        let map = NameMap::default().with_u2_as_bf16(run.u2_as_bf16);
        let mut trace = ActivationTrace::matched(&run.candidate, run.matches, &map, &reference)
            .map_err(CompareError::from)?;
        trace.check_window(&window).map_err(CompareError::from)?;
        engine = reference.engine();
        let found = (
            std::mem::take(&mut trace.matched),
            std::mem::take(&mut trace.unused),
        );
        matched.get_or_insert(found);
        runs.push((
            Box::new(reference),
            Candidate::Activations(Box::new(trace)),
            window,
        ));
    }
    let about = About {
        model: subject.model,
        reference: subject.reference,
        candidate: subject.candidate,
        provenance: Provenance::here(subject.command, engine, subject.engine),
    };
    let mut report = compare_each(&mut runs, &Meaning::Unknown, about)?;
    if let Some((matched, unused)) = matched {
        report.set_matched(matched, unused);
    }
    report.notes = subject.notes;
    report.production.extend(subject.checks);
    if let Some(stage) = report.source.first().cloned() {
        let worst = report.stages.iter().find(|found| found.name == stage);
        let error = worst.and_then(|found| {
            let forced = found.teacher_forced.as_ref();
            forced.or(found.free_running.as_ref())
        });
        let input = error.map_or(0, |error| error.worst_input);
        if let Some((reference, candidate, window)) = runs.get_mut(input) {
            report.undiagnosed = Some(Undiagnosed {
                signature: Signature::at(reference.as_mut(), candidate, window, &stage)?,
                stage: Some(stage),
                reason: "not one of the known mistakes".to_owned(),
                tried: false,
                engine: None,
            });
        }
    }
    let (gate, origin) = match gate {
        None if is_narrow(&report) => BuiltInGate::LowPrecision.load()?,
        None => BuiltInGate::AnyNetwork.load()?,
        Some(text) => (Gate::parse(text, "gate")?, "gate".to_owned()),
    };
    report.gate = Some(gate.judge(&report, &origin)?);
    Ok(Report { report })
}

/// Whether the candidate has fewer bits than f32, and the reference was rounded to as few.
fn is_narrow(report: &soundalike_compare::Report) -> bool {
    let free = report.stages.iter().map(|stage| &stage.free_running);
    let mut errors = free.flatten();
    errors.any(|error| error.r_d.is_some())
}

/// The result of a comparison.
#[pyclass(frozen, module = "soundalike._native")]
pub(crate) struct Report {
    report: soundalike_compare::Report,
}

#[pymethods]
impl Report {
    /// Whether every limit of the gate is met and something was compared.
    #[getter]
    fn passed(&self) -> bool {
        self.report.gate.as_ref().is_some_and(|gate| gate.passed)
    }

    /// The result in a sentence.
    #[getter]
    fn finding(&self) -> String {
        comparison::finding(&self.report)
    }

    /// The report with the cause of the error: JSON with `stage`, `id`, `text`, `r` and perhaps `estimate`.
    fn explained(&self, cause: &str) -> PyResult<Self> {
        let cause: Cause =
            serde_json::from_str(cause).map_err(|error| failed(&Failure::from(error)))?;
        let mut report = self.report.clone();
        report.undiagnosed = None;
        report.diagnosis = Some(Diagnosis {
            stage: cause.stage,
            cause: Named::Other(cause.id),
            text: cause.text,
            r: cause.r,
            engine: None,
            estimate: cause.estimate,
            runner_up: None,
        });
        Ok(Self { report })
    }

    /// As `soundalike compare --format json`.
    fn to_json(&self) -> PyResult<String> {
        let json = serde_json::to_string_pretty(&self.report);
        json.map_err(|error| failed(&error))
    }

    /// As a table for a terminal; `unfolded` shows every stage.
    #[pyo3(signature = (unfolded=false))]
    fn to_text(&self, unfolded: bool) -> String {
        let screen = Screen {
            stdout: false,
            unfolded,
        };
        terminal::render(&comparison::document(&self.report), screen)
    }

    /// As one page.
    fn to_html(&self) -> String {
        html::render(&comparison::document(&self.report))
    }

    /// As Markdown, with headings of this level and below.
    #[pyo3(signature = (level=2))]
    fn to_markdown(&self, level: usize) -> String {
        markdown::render(&comparison::document(&self.report), level)
    }

    /// As SARIF, for code scanning.
    fn to_sarif(&self) -> PyResult<String> {
        sarif::render(&self.report).map_err(|error| failed(&error))
    }

    /// As test cases in the format of JUnit.
    fn to_junit(&self) -> PyResult<String> {
        junit::render(&self.report).map_err(|error| failed(&error))
    }
}
