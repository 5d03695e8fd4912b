//! Thresholds from runs that are known to be good.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Gate,
    measures::{Limited, Limits, Measure},
};
use crate::{Verdict, report::SCHEMA};

/// A report of `compare --format json`, read back and found good.
#[derive(Debug, Clone)]
pub struct KnownGood {
    origin: String,
    run: Run,
}

/// A report; the figures in it are read by the table of measures.
#[derive(Debug, Clone, Deserialize)]
struct Run {
    schema: u32,
    model: String,
    stages: Vec<Stage>,
    output: Option<Value>,
    task: Option<Value>,
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
        /// What the parser said.
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
    /// The gate of the run was not passed.
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
        /// What it is.
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
    /// Runs that did not observe the same stages.
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
    /// Reads the JSON of a report; `origin` names it in errors and in the gate.
    ///
    /// # Errors
    /// [`LearnError`] where it is no report, or not one of a good run.
    pub fn parse(json: &str, origin: &str) -> Result<Self, LearnError> {
        let name = || origin.to_owned();
        let run: Run = serde_json::from_str(json).map_err(|source| LearnError::NotAReport {
            origin: name(),
            source,
        })?;
        if run.schema != SCHEMA {
            return Err(LearnError::Schema {
                origin: name(),
                found: run.schema,
            });
        }
        let good = |verdict| matches!(verdict, Verdict::Exact | Verdict::NotObserved);
        if let Some(stage) = run.stages.iter().find(|stage| !good(stage.verdict)) {
            return Err(LearnError::NotExact {
                origin: name(),
                stage: stage.name.clone(),
                verdict: stage.verdict,
            });
        }
        if run.gate.as_ref().is_some_and(|gate| !gate.passed) {
            return Err(LearnError::Failed { origin: name() });
        }
        if run.stages.iter().all(|s| s.verdict == Verdict::NotObserved) {
            return Err(LearnError::Nothing { origin: name() });
        }
        Ok(Self {
            origin: name(),
            run,
        })
    }

    /// The model that was run.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.run.model
    }

    fn stage(&self, name: &str) -> Option<&Stage> {
        let observed = |stage: &&Stage| stage.verdict != Verdict::NotObserved;
        self.run
            .stages
            .iter()
            .filter(observed)
            .find(|s| s.name == name)
    }
}

/// A gate from `runs`: for each stage, `margin` times the worst that a run shows.
///
/// R is never limited below 1, what PyTorch's own f32 has, and never above the bars of an exact stage. What a
/// correlation lacks grows with the square of R, and so does its margin. Decisions have no margin: what the
/// worst run agrees on is asked for. Stages that no run shows are left out.
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
        let figures = |run, measure: &Measure<_>| {
            let stage = KnownGood::stage(run, &stage.name);
            let forced = stage.filter(|_| !measure.free_only);
            let forced = forced.and_then(|stage| stage.teacher_forced.as_ref());
            let free = stage.and_then(|stage| stage.free_running.as_ref());
            forced.into_iter().chain(free).collect()
        };
        let (limits, seen) = learner.limits(figures);
        Limits {
            pattern: globset::escape(&stage.name),
            because: format!("{times}: {seen}"),
            ..limits
        }
    };
    let stages = first.run.stages.iter();
    let observed = stages.filter(|stage| stage.verdict != Verdict::NotObserved);
    Ok(Gate {
        stage: observed.map(stage).collect(),
        output: learner.part(&format!("{times}, decisions as they are"), |run, _| {
            run.run.output.iter().collect()
        }),
        embedding: learner.part(&times, |run, _| {
            let embeddings = run
                .run
                .output
                .as_ref()
                .and_then(|output| output.get("embeddings"));
            let embeddings = embeddings.and_then(Value::as_array);
            embeddings.into_iter().flatten().collect()
        }),
        task: learner.part(&of_runs, |run, _| run.run.task.iter().collect()),
    })
}

/// Finds the worst of several runs.
struct Learner<'a> {
    runs: &'a [KnownGood],
    margin: f64,
}

impl<'a> Learner<'a> {
    /// Limits with their reason, `rule` and what was seen; none where nothing was.
    fn part<T: Limited>(
        &self,
        rule: &str,
        figures: impl Fn(&'a KnownGood, &Measure<T>) -> Vec<&'a Value>,
    ) -> Option<Limits<T>> {
        let (limits, seen) = self.limits(figures);
        let because = format!("{rule}: {seen}");
        (!seen.is_empty()).then_some(Limits { because, ..limits })
    }

    /// Limits by the worst of what `figures` finds in the runs for each measure, and what that is, in words.
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

/// Refuses runs of different models, and runs that show fewer stages than others.
fn check_alike(first: &KnownGood, runs: &[KnownGood]) -> Result<(), LearnError> {
    if let Some(other) = runs.iter().find(|run| run.run.model != first.run.model) {
        return Err(LearnError::OtherModel {
            origin: other.origin.clone(),
            found: other.run.model.clone(),
            first: first.origin.clone(),
            expected: first.run.model.clone(),
        });
    }
    // Each stage that is shown, and who shows it.
    let mut shown = BTreeMap::new();
    for run in runs {
        let observed = |stage: &&Stage| stage.verdict != Verdict::NotObserved;
        for stage in run.run.stages.iter().filter(observed) {
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
