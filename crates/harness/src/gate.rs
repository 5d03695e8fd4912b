//! Thresholds in a file, each with its reason.

use globset::Glob;
use serde::{Deserialize, Serialize};

use crate::{OutputAgreement, Report, StageReport};

/// Thresholds that a comparison must keep.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Of stages.
    #[serde(default)]
    stage: Vec<StageLimit>,
    /// Of the output.
    output: Option<OutputLimit>,
    /// Of what the output is decoded to.
    task: Option<TaskLimit>,
}

/// Limits of all stages whose name fits a pattern. Every limit asks for less than (or more than) its value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageLimit {
    /// `lstm.*`, `*`.
    pattern: String,
    r: Option<f64>,
    r_local: Option<f64>,
    /// Free-running; exclusive.
    correlation: Option<f64>,
    because: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputLimit {
    correlation: Option<f64>,
    frame_agreement: Option<f64>,
    max_abs: Option<f64>,
    because: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskLimit {
    der: f64,
    because: String,
}

/// Why a gate cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Not a gate.
    #[error("{origin}: line {line}: is not a gate: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// A pattern that fits nothing.
    #[error("{origin}: the pattern `{pattern}` fits no stage of the reference")]
    FitsNothing {
        /// The file.
        origin: String,
        /// The pattern.
        pattern: String,
    },
    /// Not a pattern.
    #[error("{origin}: {source}")]
    Pattern {
        /// The file.
        origin: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// Without a reason a threshold is a number.
    #[error("{origin}: a threshold has no reason; fill in its `because`")]
    NoReason {
        /// The file.
        origin: String,
    },
}

/// What a gate says to a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateResult {
    /// Whether every limit was kept.
    pub passed: bool,
    /// The limits that were not kept.
    pub failures: Vec<GateFailure>,
}

/// A limit that was not kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateFailure {
    /// What was found where, and what was expected, in words.
    pub text: String,
    /// Why the limit is where it is.
    pub because: String,
}

impl Gate {
    /// Reads the text of a gate; `origin` names it in errors.
    ///
    /// # Errors
    /// [`GateError`] where it is no gate.
    pub fn parse(text: &str, origin: &str) -> Result<Self, GateError> {
        let gate: Self = toml::from_str(text).map_err(|error| GateError::Syntax {
            origin: origin.to_owned(),
            line: 1 + text[..error.span().map_or(0, |span| span.start)]
                .matches('\n')
                .count(),
            message: error.message().to_owned(),
        })?;
        let reasons = gate.stage.iter().map(|limit| &limit.because);
        let reasons = reasons.chain(gate.output.iter().map(|limit| &limit.because));
        let mut reasons = reasons.chain(gate.task.iter().map(|limit| &limit.because));
        if reasons.any(|because| because.trim().is_empty()) {
            return Err(GateError::NoReason {
                origin: origin.to_owned(),
            });
        }
        Ok(gate)
    }

    /// Judges `report`. A stage, an output or a decoding that the gate speaks of and that was not observed
    /// is a failure.
    ///
    /// # Errors
    /// [`GateError`] where a pattern fits no stage: a gate that checks nothing must not pass.
    pub fn judge(&self, report: &Report, origin: &str) -> Result<GateResult, GateError> {
        let mut failures = Vec::new();
        for limit in &self.stage {
            let matcher = Glob::new(&limit.pattern)
                .map_err(|source| GateError::Pattern {
                    origin: origin.to_owned(),
                    source,
                })?
                .compile_matcher();
            let stages: Vec<_> = report
                .stages
                .iter()
                .filter(|stage| matcher.is_match(&stage.name))
                .collect();
            if stages.is_empty() {
                return Err(GateError::FitsNothing {
                    origin: origin.to_owned(),
                    pattern: limit.pattern.clone(),
                });
            }
            let texts = stages.iter().flat_map(|stage| limit.failures(stage));
            failures.extend(texts.map(|text| failure(text, &limit.because)));
        }
        if let Some(limit) = &self.output {
            let texts = limit.failures(report.output.as_ref());
            failures.extend(texts.into_iter().map(|text| failure(text, &limit.because)));
        }
        if let Some(limit) = &self.task {
            let text = match &report.task {
                Some(task) if task.der <= limit.der => None,
                Some(task) => Some(format!(
                    "task: DER is {:.4}, expected at most {:.4}",
                    task.der, limit.der
                )),
                None => Some("the task was not observed".to_owned()),
            };
            failures.extend(text.map(|text| failure(text, &limit.because)));
        }
        Ok(GateResult {
            passed: failures.is_empty(),
            failures,
        })
    }
}

impl StageLimit {
    /// The limits that `stage` does not keep.
    fn failures(&self, stage: &StageReport) -> Vec<String> {
        let ways = [
            ("teacher-forced", &stage.teacher_forced),
            ("free-running", &stage.free_running),
        ];
        if ways.iter().all(|(_, error)| error.is_none()) {
            return vec![format!("{} was not observed", stage.name)];
        }
        let mut failures = Vec::new();
        for (way, error) in ways
            .into_iter()
            .filter_map(|(way, error)| Some((way, error.as_ref()?)))
        {
            let mut limits = vec![
                ("R", error.r, self.r),
                ("R_local", error.r_local, self.r_local),
            ];
            // Constants have no correlation.
            if way == "free-running" && !error.correlation.is_nan() {
                limits.push(lack(error.correlation, self.correlation));
            }
            failures.extend(exceeded(&limits, &format!("{} {way}", stage.name)));
        }
        failures
    }
}

impl OutputLimit {
    /// The limits that `output` does not keep.
    fn failures(&self, output: Option<&OutputAgreement>) -> Vec<String> {
        let Some(output) = output else {
            return vec!["the output was not observed".to_owned()];
        };
        let limits = [
            lack(output.correlation, self.correlation),
            ("largest error", output.max_abs, self.max_abs),
        ];
        let mut failures = exceeded(&limits, "output");
        if let (Some(allowed), Some(found)) = (self.frame_agreement, output.frame_agreement())
            && (found.is_nan() || found < allowed)
        {
            failures.push(format!(
                "output: {:.2} % of the frames agree, expected {:.2} %",
                100.0 * found,
                100.0 * allowed
            ));
        }
        failures
    }
}

fn failure(text: String, because: &str) -> GateFailure {
    GateFailure {
        text,
        because: because.to_owned(),
    }
}

/// What a correlation lacks, and may lack: near 1 the digits that matter are behind the nines.
fn lack(correlation: f64, least: Option<f64>) -> (&'static str, f64, Option<f64>) {
    (
        "1 - correlation",
        1.0 - correlation,
        least.map(|least| 1.0 - least),
    )
}

/// The measures that are not below their limits. NaN is below nothing.
fn exceeded(limits: &[(&str, f64, Option<f64>)], place: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for (what, found, allowed) in limits {
        if let Some(allowed) = allowed
            && (found.is_nan() || found >= allowed)
        {
            failures.push(format!(
                "{place}: {what} is {found:.3e}, expected less than {allowed:.3e}"
            ));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_needs_a_reason() {
        let text = "[[stage]]\npattern = \"*\"\nr = 4.0\nbecause = \" \"";
        assert!(matches!(
            Gate::parse(text, "g"),
            Err(GateError::NoReason { .. })
        ));
        assert!(matches!(
            Gate::parse("[output]\nr = 4.0", "g"),
            Err(GateError::Syntax { .. })
        ));
    }

    #[test]
    fn not_a_number_keeps_no_limit() {
        assert_eq!(
            exceeded(
                &[
                    ("R", f64::NAN, Some(4.0)),
                    ("R", 3.9, Some(4.0)),
                    ("R", 9.0, None)
                ],
                "x"
            )
            .len(),
            1
        );
    }
}
