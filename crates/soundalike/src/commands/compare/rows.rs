//! The lines of the table of stages, on a terminal, in Markdown and in HTML.

use soundalike_compare::{Report, StageError, StageReport, Verdict};

/// By what an error is judged: R, or R_d of a candidate with fewer bits than f32.
pub(super) fn measure(error: &StageError) -> f64 {
    error.r_d.unwrap_or(error.r)
}

/// What [`measure`] is called in `report`.
pub(super) fn measured(report: &Report) -> &'static str {
    let forced = report.stages.iter().map(|stage| &stage.teacher_forced);
    let free = report.stages.iter().map(|stage| &stage.free_running);
    let mut errors = forced.chain(free).flatten();
    if errors.any(|error| error.r_d.is_some()) {
        "R_d"
    } else {
        "R"
    }
}

/// Runs of stages that pass or cannot be compared, and the others one by one: what one screen holds. Those that nobody
/// saw are left out where they stand alone.
pub(super) fn folded(stages: &[StageReport]) -> Vec<&[StageReport]> {
    let passes =
        |stage: &StageReport| matches!(stage.verdict, Verdict::Exact | Verdict::NotObserved);
    let unseen = |stage: &StageReport| stage.verdict == Verdict::NotObserved;
    let incomparable = |stage: &StageReport| stage.verdict == Verdict::NotComparable;
    let alike = |a: &StageReport, b: &StageReport| {
        passes(a) && passes(b) || incomparable(a) && incomparable(b)
    };
    let runs = stages.chunk_by(alike);
    let mut rows = Vec::new();
    for run in runs.filter(|run| !run.iter().all(unseen)) {
        if run.len() < FOLD {
            rows.extend(run.chunks(1).filter(|stage| !stage.iter().all(unseen)));
        } else {
            rows.push(run);
        }
    }
    rows
}

/// Stages in a row that pass, from which on they become one line.
const FOLD: usize = 3;

/// One line of the table: the worst of its stages.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The stage, or the first and the last.
    pub(super) name: String,
    /// Whether it makes the error.
    pub(super) source: bool,
    /// Teacher-forced, in [`measure`]s.
    pub(super) forced: Option<f64>,
    /// Free-running, in [`measure`]s.
    pub(super) free: Option<f64>,
    /// The larger of both ways.
    pub(super) local: Option<f64>,
    /// Free-running, largest absolute error.
    pub(super) max_abs: Option<f64>,
    /// Free-running, what the correlation lacks; none of constants.
    pub(super) lack: Option<f64>,
    pub(super) verdict: Verdict,
}

impl Row {
    pub(super) fn new(report: &Report, stages: &[StageReport]) -> Self {
        let forced = || {
            stages
                .iter()
                .filter_map(|stage| stage.teacher_forced.as_ref())
        };
        let free = || {
            stages
                .iter()
                .filter_map(|stage| stage.free_running.as_ref())
        };
        let verdict = stages.iter().map(|stage| stage.verdict).max();
        let unseen = stages
            .iter()
            .filter(|stage| stage.verdict == Verdict::NotObserved)
            .count();
        Self {
            name: match stages {
                [] => String::new(),
                [stage] => stage.name.clone(),
                [first, .., last] if unseen == 0 || unseen == stages.len() => {
                    format!("{} .. {} ({} stages)", first.name, last.name, stages.len())
                }
                [first, .., last] => format!(
                    "{} .. {} ({} of {} stages)",
                    first.name,
                    last.name,
                    stages.len() - unseen,
                    stages.len()
                ),
            },
            source: stages
                .iter()
                .any(|stage| report.source.contains(&stage.name)),
            forced: forced().map(measure).reduce(worse),
            free: free().map(measure).reduce(worse),
            local: forced()
                .chain(free())
                .map(|error| error.r_local)
                .reduce(worse),
            max_abs: free().map(|error| error.max_abs).reduce(worse),
            lack: free()
                .map(|error| 1.0 - error.correlation)
                .filter(|lack| !lack.is_nan())
                .reduce(f64::max)
                .map(|lack| lack.max(0.0)),
            verdict: verdict.unwrap_or(Verdict::NotObserved),
        }
    }
}

/// The larger, and NaN before anything.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Where R stands between a tenth (0) and a million (1), on a logarithmic scale. What is no number is at the end.
pub(super) fn on_scale(r: f64) -> f64 {
    if r.is_nan() {
        return 1.0;
    }
    let (low, high) = (SCALE.0.log10(), SCALE.1.log10());
    ((r.log10() - low) / (high - low)).clamp(0.0, 1.0)
}

/// The ends of the scale of R.
pub(super) const SCALE: (f64, f64) = (0.1, 1e6);
