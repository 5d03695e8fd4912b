//! Thresholds from runs that are known to be good.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{EmbeddingLimit, Gate, OutputLimit, StageLimit, TaskLimit};
use crate::{EXACT_R, Figure, STRUCTURAL_R_LOCAL, Verdict, report::SCHEMA};

/// The least limit of R that is learned: an error of PyTorch's own size is never too much.
const LEAST_R: f64 = 1.0;
/// The least limit of what a correlation lacks: its f64 sums over a million values may round by as much.
const LEAST_LACK: f64 = 1e-12;

/// The least limit of an embedding's length: the rounding of an f32.
const LEAST_LENGTH: f64 = 1e-7;

/// A report of `compare --layers --format json`, read back and found good.
#[derive(Debug, Clone)]
pub struct KnownGood {
    origin: String,
    run: Run,
}

#[derive(Debug, Clone, Deserialize)]
struct Run {
    schema: u32,
    model: String,
    stages: Vec<Stage>,
    output: Option<Output>,
    task: Option<Task>,
    gate: Option<Judgement>,
}

#[derive(Debug, Clone, Deserialize)]
struct Stage {
    name: String,
    teacher_forced: Option<Error>,
    free_running: Option<Error>,
    verdict: Verdict,
}

/// JSON has no NaN and no infinity; they are null.
#[derive(Debug, Clone, Deserialize)]
struct Error {
    r: Option<f64>,
    r_local: Option<f64>,
    correlation: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Output {
    correlation: Option<f64>,
    frame_agreement: Option<f64>,
    max_abs: Option<f64>,
    #[serde(default)]
    embeddings: Vec<Embedding>,
}

#[derive(Debug, Clone, Deserialize)]
struct Embedding {
    cosine: Option<f64>,
    rms_ratio: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Task {
    der: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Judgement {
    passed: bool,
}

/// Why no gate can be learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// Not a report.
    #[error("{origin}: is not a report of `compare --layers --format json`")]
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

/// The worst of several runs, and which it was.
#[derive(Debug, Clone, Copy)]
struct Worst<'a> {
    value: f64,
    origin: &'a str,
}

impl<'a> Worst<'a> {
    /// The largest of what `of` finds in `runs`.
    fn of(runs: &'a [KnownGood], of: impl Fn(&'a KnownGood) -> Option<f64>) -> Option<Self> {
        let found = runs.iter().filter_map(|run| {
            let value = of(run)?;
            let origin = run.origin.as_str();
            Some(Self { value, origin })
        });
        found.max_by(|a, b| a.value.total_cmp(&b.value))
    }

    fn words(self, measure: &str) -> String {
        format!("{measure} {} in {}", Figure(self.value), self.origin)
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
    let stage = |stage: &Stage| -> StageLimit {
        let name = &stage.name;
        let worst = |of: fn(&Error) -> Option<f64>| {
            Worst::of(runs, |run| {
                let stage = run.stage(name)?;
                let ways = [&stage.teacher_forced, &stage.free_running];
                let found = ways.into_iter().flatten().filter_map(of);
                found.max_by(f64::total_cmp)
            })
        };
        let (r, r_local) = (worst(|error| error.r), worst(|error| error.r_local));
        let lack = Worst::of(runs, |run| {
            let error = run.stage(name)?.free_running.as_ref()?;
            Some((1.0 - error.correlation?).max(0.0))
        });
        let seen = [
            r.map(|r| r.words("R")),
            r_local.map(|r| r.words("R_local")),
            lack.map(|lack| lack.words(super::LACK)),
        ];
        let seen: Vec<_> = seen.into_iter().flatten().collect();
        StageLimit {
            pattern: globset::escape(name),
            r: r.map(|r| limit(r.value, margin).clamp(LEAST_R, EXACT_R)),
            r_local: r_local.map(|r| limit(r.value, margin).clamp(LEAST_R, STRUCTURAL_R_LOCAL)),
            r_d: None,
            correlation: lack.map(|lack| correlation(lack.value, margin)),
            because: format!("{margin} times {of_runs}: {}", seen.join(", ")),
        }
    };
    let stages = first.run.stages.iter();
    let observed = stages.filter(|stage| stage.verdict != Verdict::NotObserved);
    Ok(Gate {
        stage: observed.map(stage).collect(),
        output: output(runs, margin, &of_runs),
        embedding: embedding(runs, margin, &of_runs),
        task: Worst::of(runs, |run| Some(run.run.task.as_ref()?.der)).map(|worst| TaskLimit {
            der: worst.value,
            because: format!("{of_runs}: {}", worst.words("DER")),
        }),
    })
}

fn output(runs: &[KnownGood], margin: f64, of_runs: &str) -> Option<OutputLimit> {
    let worst =
        |of: fn(&Output) -> Option<f64>| Worst::of(runs, |run| of(run.run.output.as_ref()?));
    let lack = worst(|output| Some((1.0 - output.correlation?).max(0.0)));
    let differing = worst(|output| Some(1.0 - output.frame_agreement?));
    // Nothing is below no error at all.
    let max_abs = worst(|output| output.max_abs).filter(|worst| worst.value > 0.0);
    let seen = [
        lack.map(|lack| lack.words(super::LACK)),
        max_abs.map(|error| error.words("largest error")),
        differing.map(|differing| differing.words("part of the frames decided otherwise")),
    ];
    let seen: Vec<_> = seen.into_iter().flatten().collect();
    (!seen.is_empty()).then(|| OutputLimit {
        correlation: lack.map(|lack| correlation(lack.value, margin)),
        frame_agreement: differing.map(|differing| 1.0 - differing.value),
        max_abs: max_abs.map(|error| limit(error.value, margin)),
        because: format!(
            "{margin} times {of_runs}, decisions as they are: {}",
            seen.join(", ")
        ),
    })
}

fn embedding(runs: &[KnownGood], margin: f64, of_runs: &str) -> Option<EmbeddingLimit> {
    let worst = |of: fn(&Embedding) -> Option<f64>| {
        Worst::of(runs, |run| {
            let embeddings = run.run.output.as_ref()?.embeddings.iter();
            embeddings.filter_map(of).max_by(f64::total_cmp)
        })
    };
    let lack = worst(|embedding| Some((1.0 - embedding.cosine?).max(0.0)))?;
    let length = worst(|embedding| Some((embedding.rms_ratio? - 1.0).abs()))?;
    Some(EmbeddingLimit {
        cosine: Some(correlation(lack.value, margin)),
        length: Some(limit(length.value, margin).max(LEAST_LENGTH)),
        because: format!(
            "{margin} times {of_runs}: {}, {}",
            lack.words("1 - cosine"),
            length.words("error of the length")
        ),
    })
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

/// `margin` times `worst`, in two digits, rounded up: a limit below what was seen would fail its own runs.
fn limit(worst: f64, margin: f64) -> f64 {
    let product = worst * margin;
    if product == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(product.log10().floor() - 1.0);
    // Through text: 27 units of a tenth are 2.7, not 2.7000000000000002.
    let digits = (product / unit).ceil() * unit;
    format!("{digits:.1e}").parse().unwrap_or(product)
}

fn correlation(lack: f64, margin: f64) -> f64 {
    1.0 - limit(lack, margin * margin).max(LEAST_LACK)
}
