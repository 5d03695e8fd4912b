//! Thresholds in a file, each with its reason.

mod learn;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

pub use learn::{KnownGood, LearnError, learn};

use crate::{
    EXACT_R, EmbeddingAgreement, Figure, OutputAgreement, Report, StageReport, Task, Verdict,
    toml_file,
};

/// Thresholds that a comparison must keep.
///
/// A limit of a correlation, a cosine or a length gives way where the reference's own f32 comes near it or misses
/// it: nobody can be asked to be more exact than that, so an error of [`EXACT_R`] times the reference's is allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Of stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stage: Vec<StageLimit>,
    /// Of the output.
    output: Option<OutputLimit>,
    /// Of the output, where it is embeddings.
    embedding: Option<EmbeddingLimit>,
    /// Of what the output is decoded to; embeddings are not.
    task: Option<TaskLimit>,
}

/// Limits of all stages whose name fits a pattern, for both ways of running. A stage keeps the limits of the
/// last pattern that fits it: exceptions stand below the rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageLimit {
    /// `lstm.*`, `*`.
    pattern: String,
    /// Exclusive.
    r: Option<f64>,
    /// Exclusive.
    r_local: Option<f64>,
    /// Exclusive; of candidates with fewer bits than f32.
    r_d: Option<f64>,
    /// Exclusive; free-running only: it is what users compare.
    correlation: Option<f64>,
    because: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputLimit {
    /// Exclusive.
    correlation: Option<f64>,
    /// Inclusive; embeddings have no frames.
    frame_agreement: Option<f64>,
    /// Exclusive.
    max_abs: Option<f64>,
    because: String,
}

/// Every embedding has to keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingLimit {
    /// Exclusive.
    cosine: Option<f64>,
    /// How far the length may be from the reference's, as a part of it; exclusive. A cosine is blind to it.
    length: Option<f64>,
    because: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskLimit {
    /// Inclusive.
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
    /// A gate that TOML cannot hold.
    #[error("the gate cannot be written")]
    NotWritable {
        /// What the writer said.
        source: toml::ser::Error,
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
    #[error("{origin}")]
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
    /// All limits, kept or not, in order of execution.
    #[serde(skip)]
    pub checks: Vec<GateCheck>,
}

/// A limit that was not kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateFailure {
    /// What was found where, and what was expected, in words.
    pub text: String,
    /// Why the limit is where it is.
    pub because: String,
}

/// One limit at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct GateCheck {
    /// The stage, a pattern of them, `output`, `embedding 1` or `task`.
    pub place: String,
    /// What is limited: `teacher-forced R`.
    pub measure: &'static str,
    /// The limit: `below 4`.
    pub expected: String,
    /// What was found: `2.73`.
    pub found: String,
    /// Whether the limit was kept.
    pub kept: bool,
    /// Why the limit is where it is.
    pub because: String,
}

impl GateCheck {
    /// `found` has to be below `allowed`. NaN is below nothing.
    fn below(place: &str, measure: &'static str, found: f64, allowed: f64, because: &str) -> Self {
        Self {
            place: place.to_owned(),
            measure,
            expected: format!("below {}", Figure(allowed)),
            found: Figure(found).to_string(),
            kept: found < allowed,
            because: because.to_owned(),
        }
    }

    /// As [`GateCheck::below`], with as much as `times` the reference's `own` allowed.
    fn below_or_own(
        place: &str,
        measure: &'static str,
        found: f64,
        (allowed, times, own): (f64, f64, f64),
        because: &str,
    ) -> Self {
        let check = Self::below(place, measure, found, allowed.max(times * own), because);
        let gives_way = times * own > allowed;
        let expected = &check.expected;
        Self {
            expected: if gives_way {
                format!("{expected}, {times} times that of PyTorch's own f32")
            } else {
                expected.clone()
            },
            ..check
        }
    }

    /// Of what a gate limits and nobody observed.
    fn not_observed(place: &str, because: &str) -> Self {
        Self {
            place: place.to_owned(),
            measure: "what the candidate shows of it",
            expected: "something to compare".to_owned(),
            found: "nothing".to_owned(),
            kept: false,
            because: because.to_owned(),
        }
    }

    fn failure(&self) -> GateFailure {
        GateFailure {
            text: format!(
                "{}: {} is {}, expected {}",
                self.place, self.measure, self.found, self.expected
            ),
            because: self.because.clone(),
        }
    }
}

impl Gate {
    /// Reads the text of a gate; `origin` names it in errors.
    ///
    /// # Errors
    /// [`GateError`] where it is no gate.
    pub fn parse(text: &str, origin: &str) -> Result<Self, GateError> {
        let gate: Self = toml_file::parse(text).map_err(|(line, message)| GateError::Syntax {
            origin: origin.to_owned(),
            line,
            message,
        })?;
        let reasons = gate.stage.iter().map(|limit| &limit.because);
        let reasons = reasons.chain(gate.output.iter().map(|limit| &limit.because));
        let reasons = reasons.chain(gate.embedding.iter().map(|limit| &limit.because));
        let mut reasons = reasons.chain(gate.task.iter().map(|limit| &limit.because));
        if reasons.any(|because| because.trim().is_empty()) {
            return Err(GateError::NoReason {
                origin: origin.to_owned(),
            });
        }
        Ok(gate)
    }

    /// The text of the gate, as [`Gate::parse`] reads it.
    ///
    /// # Errors
    /// [`GateError::NotWritable`] where a limit is not a number.
    pub fn to_toml(&self) -> Result<String, GateError> {
        toml::to_string(self).map_err(|source| GateError::NotWritable { source })
    }

    /// Judges `report`. An output or a decoding that the gate speaks of and that was not observed is a failure, and so
    /// is a pattern of which no stage was. Single stages may stay unseen: many engines compute several in one, and
    /// what they get wrong there shows at the next stage.
    ///
    /// # Errors
    /// [`GateError`] where a pattern fits no stage: a gate that checks nothing must not pass.
    pub fn judge(&self, report: &Report, origin: &str) -> Result<GateResult, GateError> {
        let patterns = self.patterns(report, origin)?;
        let stages = report.stages.iter();
        let mut checks: Vec<GateCheck> = stages
            .flat_map(|stage| stage_checks(stage, &patterns))
            .collect();
        let unseen = patterns.iter().filter(|(matcher, _)| {
            let mut fitting = report.stages.iter().filter(|s| matcher.is_match(&s.name));
            fitting.all(|stage| stage.verdict == Verdict::NotObserved)
        });
        checks.extend(
            unseen.map(|(_, limit)| GateCheck::not_observed(&limit.pattern, &limit.because)),
        );
        if let Some(limit) = &self.output {
            checks.extend(limit.checks(report.output.as_ref()));
        }
        let embeddings = report
            .output
            .as_ref()
            .map_or(&[][..], |output| &output.embeddings);
        if let Some(limit) = &self.embedding {
            checks.extend(limit.checks(embeddings));
        }
        if let Some(limit) = self.task.as_ref().filter(|_| embeddings.is_empty()) {
            checks.push(limit.check(report.task.as_ref()));
        }
        let failures = checks.iter().filter(|check| !check.kept);
        let failures: Vec<_> = failures.map(GateCheck::failure).collect();
        Ok(GateResult {
            passed: failures.is_empty(),
            failures,
            checks,
        })
    }

    /// The patterns, ready to match; each fits a stage of `report`.
    fn patterns(
        &self,
        report: &Report,
        origin: &str,
    ) -> Result<Vec<(GlobMatcher, &StageLimit)>, GateError> {
        let compiled = self.stage.iter().map(|limit| {
            let glob = Glob::new(&limit.pattern).map_err(|source| GateError::Pattern {
                origin: origin.to_owned(),
                source,
            })?;
            let matcher = glob.compile_matcher();
            if !report.stages.iter().any(|s| matcher.is_match(&s.name)) {
                return Err(GateError::FitsNothing {
                    origin: origin.to_owned(),
                    pattern: limit.pattern.clone(),
                });
            }
            Ok((matcher, limit))
        });
        compiled.collect()
    }
}

/// The limits of one stage: each is that of the last pattern that fits the stage and sets it.
fn stage_checks(stage: &StageReport, patterns: &[(GlobMatcher, &StageLimit)]) -> Vec<GateCheck> {
    let limit = |of: fn(&StageLimit) -> Option<f64>| {
        let fitting = patterns
            .iter()
            .filter(|(matcher, _)| matcher.is_match(&stage.name));
        fitting
            .filter_map(|(_, limit)| Some((of(limit)?, limit.because.as_str())))
            .next_back()
    };
    let (r, r_local) = (limit(|limit| limit.r), limit(|limit| limit.r_local));
    let (r_d, correlation) = (limit(|limit| limit.r_d), limit(|limit| limit.correlation));
    let mut measures = Vec::new();
    if let Some(error) = &stage.teacher_forced {
        measures.push(("teacher-forced R", error.r, r));
        measures.push(("teacher-forced R_local", error.r_local, r_local));
        measures.push(("teacher-forced R_d", error.r_d.unwrap_or(f64::NAN), r_d));
    }
    if let Some(error) = &stage.free_running {
        measures.push(("free-running R", error.r, r));
        measures.push(("free-running R_local", error.r_local, r_local));
        measures.push(("free-running R_d", error.r_d.unwrap_or(f64::NAN), r_d));
    }
    let mut checks: Vec<_> = measures
        .into_iter()
        .filter_map(|(measure, found, limit)| {
            let (allowed, because) = limit?;
            Some(GateCheck::below(
                &stage.name,
                measure,
                found,
                allowed,
                because,
            ))
        })
        .collect();
    // Constants have no correlation, and that of scaled-up rounding says nothing.
    let free = stage.free_running.as_ref();
    if let Some(error) = free.filter(|error| !error.correlation.is_nan() && !stage.degenerate)
        && let Some((least, because)) = correlation
    {
        let (found, own) = (error.correlation, error.reference_correlation);
        checks.push(lack(&stage.name, LACK, found, least, own, because));
    }
    checks
}

/// What a correlation or a cosine `found` lacks, where the reference's is `own`. It goes with the square of the error.
fn lack(
    place: &str,
    measure: &'static str,
    found: f64,
    least: f64,
    own: f64,
    because: &str,
) -> GateCheck {
    let limit = (1.0 - least, EXACT_R.powi(2), 1.0 - own);
    GateCheck::below_or_own(place, measure, 1.0 - found, limit, because)
}

/// What a correlation lacks: near 1 the digits that matter are behind the nines.
const LACK: &str = "1 - correlation";

impl OutputLimit {
    fn checks(&self, output: Option<&OutputAgreement>) -> Vec<GateCheck> {
        let Some(output) = output else {
            return vec![GateCheck::not_observed("output", &self.because)];
        };
        let below = |measure, found, allowed: f64| {
            GateCheck::below("output", measure, found, allowed, &self.because)
        };
        let (found, own) = (output.correlation, output.reference_correlation);
        let lack = |least: f64| lack("output", LACK, found, least, own, &self.because);
        // Embeddings decide nothing.
        let agreement = |least: f64| {
            output.frame_agreement().map(|found| GateCheck {
                place: "output".to_owned(),
                measure: "agreement of the frames' decisions",
                expected: format!("at least {:.2} %", 100.0 * least),
                found: format!("{:.2} %", 100.0 * found),
                kept: found >= least,
                because: self.because.clone(),
            })
        };
        let checks = [
            self.correlation.map(lack),
            self.frame_agreement.and_then(agreement),
            self.max_abs
                .map(|allowed| below("largest error", output.max_abs, allowed)),
        ];
        checks.into_iter().flatten().collect()
    }
}

impl EmbeddingLimit {
    /// Of each of `embeddings`.
    fn checks(&self, embeddings: &[EmbeddingAgreement]) -> Vec<GateCheck> {
        let because = &self.because;
        let places = embeddings.iter().enumerate().map(|(index, embedding)| {
            let place = format!("embedding {}", index + 1);
            (place, embedding)
        });
        let checks = places.flat_map(|(place, embedding)| {
            let cosine = self.cosine.map(|least| {
                let (found, own) = (embedding.cosine, embedding.reference_cosine);
                lack(&place, "1 - cosine", found, least, own, because)
            });
            let length = self.length.map(|allowed| {
                // Its length error alone may be small by luck; an error can all lie along the embedding.
                let limit = (allowed, EXACT_R, embedding.reference_error());
                let found = (embedding.rms_ratio - 1.0).abs();
                GateCheck::below_or_own(&place, "error of the length", found, limit, because)
            });
            [cosine, length]
        });
        checks.flatten().collect()
    }
}

impl TaskLimit {
    fn check(&self, task: Option<&Task>) -> GateCheck {
        task.map_or_else(
            || GateCheck::not_observed("task", &self.because),
            |task| GateCheck {
                place: "task".to_owned(),
                measure: "DER",
                expected: format!("at most {}", Figure(self.der)),
                found: Figure(task.der).to_string(),
                kept: task.der <= self.der,
                because: self.because.clone(),
            },
        )
    }
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
    fn nobody_has_to_be_more_exact_than_pytorch_itself() {
        let check = |found| lack("x", LACK, 1.0 - found, 1.0 - 1e-9, 1.0 - 1e-8, "a test");
        assert!(check(1.5e-7).kept && !check(1.7e-7).kept && !check(f64::NAN).kept);
        assert_eq!(
            check(1.0).expected,
            "below 1.6e-7, 16 times that of PyTorch's own f32"
        );
        // Far from the limit the reference changes nothing, nor does one that has no correlation.
        for own in [1.0, 1.0 - 1e-12, f64::NAN] {
            let check = lack("x", LACK, 1.0 - 1.1e-9, 1.0 - 1e-9, own, "a test");
            assert!(!check.kept && check.expected == "below 1.0e-9", "{check:?}");
        }
    }

    #[test]
    fn not_a_number_keeps_no_limit() {
        let check = |found| GateCheck::below("x", "R", found, 4.0, "a test");
        assert!(check(3.9).kept && !check(4.0).kept && !check(f64::NAN).kept);
        assert_eq!(
            check(f64::NAN).failure().text,
            "x: R is NaN, expected below 4"
        );
    }
}
