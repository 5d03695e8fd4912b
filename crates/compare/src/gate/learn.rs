//! Learns limits from runs that are known to be good.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Gate,
    measures::{Limited, Limits, Measure, Runs},
};
use crate::{Verdict, report::SCHEMA};

/// A report of `compare --format json` of a good run.
#[derive(Debug, Clone)]
pub struct KnownGood {
    origin: String,
    report: Report,
}

/// The read part of a report. The table of measures reads its figures.
#[derive(Debug, Clone, Deserialize)]
struct Report {
    schema: u32,
    model: String,
    /// Only those that were observed.
    stages: Vec<Stage>,
    output: Option<Value>,
    task: Option<Value>,
    /// Absent in reports of version 0.1.
    #[serde(default)]
    production: Vec<Value>,
    gate: Option<Passed>,
}

#[derive(Debug, Clone, Deserialize)]
struct Stage {
    name: String,
    teacher_forced: Option<Value>,
    free_running: Option<Value>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Deserialize)]
struct Passed {
    passed: bool,
}

/// Why no gate can be learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// Not a report.
    #[error("{origin}: is not a report of `compare --format json`")]
    NotAReport {
        /// The file.
        origin: String,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// A report in another layout.
    #[error("{origin}: has schema {found}, expected {SCHEMA}; compare again")]
    Schema {
        /// The file.
        origin: String,
        /// Its schema.
        found: u32,
    },
    /// The run failed its gate.
    #[error("{origin}: failed its gate; learn from runs that are known to be good")]
    Failed {
        /// The file.
        origin: String,
    },
    /// A stage is not exact.
    #[error("{origin}: {stage} is {verdict}, not exact; learn from runs that are known to be good")]
    NotExact {
        /// The file.
        origin: String,
        /// The stage.
        stage: String,
        /// Its verdict.
        verdict: Verdict,
    },
    /// Nothing was observed.
    #[error("{origin}: no stage was observed; there is nothing to learn")]
    Nothing {
        /// The file.
        origin: String,
    },
    /// Runs of different models.
    #[error(
        "{origin}: is a run of {found}, {first} one of {expected}; learn one gate for each model"
    )]
    OtherModel {
        /// The file.
        origin: String,
        /// Its model.
        found: String,
        /// The first file.
        first: String,
        /// The model of the first file.
        expected: String,
    },
    /// Runs with different stages.
    #[error(
        "{origin}: does not show {stage}, which {other} does; learn from runs that show the same stages"
    )]
    OtherStages {
        /// The file.
        origin: String,
        /// The stage.
        stage: String,
        /// A file that shows it.
        other: String,
    },
    /// No files.
    #[error("no runs; there is nothing to learn")]
    NoRuns,
}

impl KnownGood {
    /// Parses the JSON of a report; `origin` names it in errors and in the gate.
    ///
    /// # Errors
    /// [`LearnError`] for another file or layout, and for a report that is not good.
    pub fn parse(json: &str, origin: &str) -> Result<Self, LearnError> {
        let origin = origin.to_owned();
        let mut report: Report = match serde_json::from_str(json) {
            Ok(report) => report,
            Err(source) => return Err(LearnError::NotAReport { origin, source }),
        };
        if report.schema != SCHEMA {
            let found = report.schema;
            return Err(LearnError::Schema { origin, found });
        }
        report
            .stages
            .retain(|stage| stage.verdict != Verdict::NotObserved);
        if let Some(stage) = report
            .stages
            .iter()
            .find(|s| !matches!(s.verdict, Verdict::Exact | Verdict::OverPrecise))
        {
            return Err(LearnError::NotExact {
                origin,
                stage: stage.name.clone(),
                verdict: stage.verdict,
            });
        }
        if report.gate.as_ref().is_some_and(|gate| !gate.passed) {
            return Err(LearnError::Failed { origin });
        }
        if report.stages.is_empty() {
            return Err(LearnError::Nothing { origin });
        }
        Ok(Self { origin, report })
    }

    /// The model that was run.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.report.model
    }

    fn stage(&self, name: &str) -> Option<&Stage> {
        self.report.stages.iter().find(|stage| stage.name == name)
    }
}

/// Learns a gate from `runs`: for each stage, `margin` times the worst error of all runs.
///
/// Limits of R are at least 1, the rounding of PyTorch's own f32, and at most those of an exact stage. 1 - correlation grows
/// with the square of R, and so does its margin. Decisions have no margin. Stages that no run shows are left out.
///
/// # Errors
/// [`LearnError`] where the runs are of different models or do not show the same stages.
pub fn learn(runs: &[KnownGood], margin: f64) -> Result<Gate, LearnError> {
    let first = runs.first().ok_or(LearnError::NoRuns)?;
    check_alike(first, runs)?;
    let of_runs = match runs.len() {
        1 => "the one known-good run".to_owned(),
        n => format!("the worst of {n} known-good runs"),
    };
    let times = format!("{margin} times {of_runs}");
    let learner = Learner { runs, margin };
    let stage = |stage: &Stage| {
        let (limits, seen) = learner.limits(|run, measure| {
            let stage = run.stage(&stage.name);
            let forced = stage.and_then(|stage| stage.teacher_forced.as_ref());
            let free = stage.and_then(|stage| stage.free_running.as_ref());
            // The run that decides, or the one that inherits.
            let found = match measure.runs {
                Runs::Both => forced.or(free),
                Runs::Free => free,
                Runs::Inherited => free.filter(|_| forced.is_some()),
            };
            found.into_iter().collect()
        });
        Limits {
            pattern: globset::escape(&stage.name),
            because: format!("{times}: {seen}"),
            ..limits
        }
    };
    Ok(Gate {
        stage: first.report.stages.iter().map(stage).collect(),
        output: learner.part(&format!("{times}, decisions as they are"), |run| {
            run.report.output.iter().collect()
        }),
        embedding: learner.part(&times, |run| {
            let output = run.report.output.as_ref();
            let embeddings = output.and_then(|output| output.get("embeddings")?.as_array());
            embeddings.into_iter().flatten().collect()
        }),
        task: learner.part(&of_runs, |run| run.report.task.iter().collect()),
        production: learner.part(&of_runs, |run| run.report.production.iter().collect()),
    })
}

/// Finds the worst of several runs.
struct Learner<'a> {
    runs: &'a [KnownGood],
    margin: f64,
}

impl<'a> Learner<'a> {
    /// Limits with a reason: `rule` and the worst errors. None where no run has an error.
    fn part<T: Limited>(
        &self,
        rule: &str,
        figures: impl Fn(&'a KnownGood) -> Vec<&'a Value>,
    ) -> Option<Limits<T>> {
        let (limits, seen) = self.limits(|run, _| figures(run));
        let because = format!("{rule}: {seen}");
        (!seen.is_empty()).then_some(Limits { because, ..limits })
    }

    /// Limits by the worst error among the `figures` of each run for each measure, and these errors in words.
    fn limits<T: Limited>(
        &self,
        figures: impl Fn(&'a KnownGood, &Measure<T>) -> Vec<&'a Value>,
    ) -> (Limits<T>, String) {
        let mut seen = Vec::new();
        let values = T::MEASURES.iter().map(|measure| {
            let errors = self.runs.iter().filter_map(|run| {
                let figures = figures(run, measure).into_iter();
                let errors = figures.filter_map(|found| measure.error_in(found));
                Some((errors.max_by(f64::total_cmp)?, run))
            });
            let (worst, run) = errors.max_by(|a, b| a.0.total_cmp(&b.0))?;
            let limit = measure.learn(worst, self.margin)?;
            let (name, worst) = (measure.name, measure.shown(worst));
            seen.push(format!("{name} {worst} in {}", run.origin));
            Some(limit)
        });
        let limits = Limits {
            pattern: String::new(),
            values: values.collect(),
            because: String::new(),
            of: PhantomData,
        };
        (limits, seen.join(", "))
    }
}

/// Rejects runs of different models, and runs without a stage that another shows.
fn check_alike(first: &KnownGood, runs: &[KnownGood]) -> Result<(), LearnError> {
    if let Some(other) = runs
        .iter()
        .find(|run| run.report.model != first.report.model)
    {
        return Err(LearnError::OtherModel {
            origin: other.origin.clone(),
            found: other.report.model.clone(),
            first: first.origin.clone(),
            expected: first.report.model.clone(),
        });
    }
    // The first run that shows each stage.
    let mut shown = BTreeMap::new();
    for run in runs {
        for stage in &run.report.stages {
            shown.entry(&stage.name).or_insert(run);
        }
    }
    for (name, other) in shown {
        if let Some(run) = runs.iter().find(|run| run.stage(name).is_none()) {
            return Err(LearnError::OtherStages {
                origin: run.origin.clone(),
                stage: name.clone(),
                other: other.origin.clone(),
            });
        }
    }
    Ok(())
}
