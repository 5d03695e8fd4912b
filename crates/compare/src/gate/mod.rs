//! Gates: files of limits, each with a reason.

mod built_in;
mod learn;
mod measures;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

pub use built_in::BuiltInGate;
pub use learn::{KnownGood, LearnError, learn};

use self::measures::{Limited, Limits, Measure, Runs};
use crate::{
    EmbeddingAgreement, Figure, Input, OutputAgreement, PathCheck, Report, StageError, StageReport,
    Task, UNSTABLE, Verdict,
    toml_file::{self, TomlError},
};

/// Limits that a comparison must keep.
///
/// Limits of correlation, cosine and length give way where the reference's own f32 comes near: an error of
/// [`EXACT_R`](crate::EXACT_R) times the reference's is always allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// For all stages whose name matches a pattern, in both ways of running. Of several matches the last one holds:
    /// exceptions stand below the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stage: Vec<Limits<StageError>>,
    output: Option<Limits<OutputAgreement>>,
    embedding: Option<Limits<EmbeddingAgreement>>,
    /// For the decoded output; embeddings are not decoded.
    task: Option<Limits<Task>>,
    /// For each path on which users get outputs of an engine.
    production: Option<Limits<PathCheck>>,
}

/// Why a gate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Not a gate.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// A gate that TOML cannot hold.
    #[error("the gate cannot be written")]
    NotWritable(#[source] toml::ser::Error),
    /// A pattern without a stage.
    #[error("{origin}: the pattern `{pattern}` matches no stage of the reference")]
    NoMatch {
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
        /// The error of the parser.
        source: globset::Error,
    },
    /// Limits without a reason.
    #[error("{origin}: a threshold has no reason; fill in its `because`")]
    NoReason {
        /// The file.
        origin: String,
    },
}

/// The result of a gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateResult {
    /// Whether every limit was kept.
    pub passed: bool,
    /// The limits that were not kept.
    pub failures: Vec<GateFailure>,
    /// All limits, in order of execution.
    #[serde(skip)]
    pub checks: Vec<GateCheck>,
}

/// A limit that was not kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateFailure {
    /// Place, measure, found and expected value.
    pub text: String,
    /// The reason of the limit.
    pub because: String,
}

/// One limit at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct GateCheck {
    /// The stage, a pattern of stages, `output`, `embedding 1` or `task`.
    pub place: String,
    /// The measure: `teacher-forced R`.
    pub measure: String,
    /// The limit: `below 4`.
    pub expected: String,
    /// The value: `2.73`.
    pub found: String,
    /// Whether the limit was kept.
    pub kept: bool,
    /// The reason of the limit.
    pub because: String,
}

impl GateCheck {
    /// Checks `found` at `place`, in the `way` of running; none where it has no such value.
    fn new<T>(
        place: &str,
        way: &str,
        measure: &Measure<T>,
        found: &T,
        limit: f64,
        because: &str,
    ) -> Option<Self> {
        let (expected, found, kept) = measure.check(found, limit)?;
        Some(Self {
            place: place.to_owned(),
            measure: format!("{way}{}", measure.name),
            expected,
            found,
            kept,
            because: because.to_owned(),
        })
    }

    /// The failed check of a limited place without an observation.
    fn not_observed(place: &str, because: &str) -> Self {
        Self {
            place: place.to_owned(),
            measure: "its output in the candidate".to_owned(),
            expected: "a value".to_owned(),
            found: "not observed".to_owned(),
            kept: false,
            because: because.to_owned(),
        }
    }

    /// The failed check of an input on which no error can be judged.
    fn unstable(input: &Input) -> Self {
        let error = input.reference_error.unwrap_or(f64::NAN);
        Self {
            place: format!("reference on {input}"),
            measure: "the error of its own f32 at the output".to_owned(),
            expected: format!("below {}", Figure(UNSTABLE)),
            found: Figure(error).to_string(),
            kept: false,
            because: "R has no meaning where the reference's own rounding changes its output"
                .to_owned(),
        }
    }

    /// The failed check of a stage that differs from a reference without floors.
    fn without_floor(stage: &StageReport) -> Self {
        Self {
            place: stage.name.clone(),
            measure: "the rounding error of the reference".to_owned(),
            expected: "a value".to_owned(),
            found: "not known".to_owned(),
            kept: false,
            because: "without it, a difference may be rounding or a bug; capture the reference in f64, or limit rel_l2 in a gate"
                .to_owned(),
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
    /// Parses the text of a gate; `origin` names it in errors.
    ///
    /// # Errors
    /// [`GateError`] for another syntax, an unknown key, or limits without a reason.
    pub fn parse(text: &str, origin: &str) -> Result<Self, GateError> {
        let gate: Self = toml_file::parse(text, "a gate", origin)?;
        let reasons = gate.stage.iter().map(|limit| &limit.because);
        let reasons = reasons.chain(gate.output.iter().map(|limit| &limit.because));
        let reasons = reasons.chain(gate.embedding.iter().map(|limit| &limit.because));
        let reasons = reasons.chain(gate.task.iter().map(|limit| &limit.because));
        let mut reasons = reasons.chain(gate.production.iter().map(|limit| &limit.because));
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
    /// [`GateError::NotWritable`] if a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, GateError> {
        toml::to_string(self).map_err(GateError::NotWritable)
    }

    /// Judges `report`. A limited output or decoding that was not observed is a failure, and so is a pattern without an
    /// observed stage. Single stages may be missing: many engines fuse several, and an error there shows at the next stage.
    ///
    /// # Errors
    /// [`GateError`] where a pattern matches no stage: a gate that checks nothing must not pass.
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
        if let Some(limits) = &self.output {
            checks.extend(limits.checks("output", report.output.as_ref()));
        }
        let embeddings = report
            .output
            .as_ref()
            .map_or(&[][..], |output| &output.embeddings);
        if let Some(limits) = &self.embedding {
            for (index, embedding) in embeddings.iter().enumerate() {
                let place = format!("embedding {}", index + 1);
                checks.extend(limits.checks(&place, Some(embedding)));
            }
        }
        if let Some(limits) = self.task.as_ref().filter(|_| embeddings.is_empty()) {
            checks.extend(limits.checks("task", report.task.as_ref()));
        }
        if let Some(limits) = &self.production {
            for check in &report.production {
                checks.extend(limits.checks(check.path.name(), Some(check)));
            }
        }
        let limited = |stage: &&StageReport| checks.iter().any(|check| check.place == stage.name);
        let unjudged = report
            .stages
            .iter()
            .find(|stage| stage.verdict == Verdict::Inconclusive && !limited(stage));
        checks.extend(unjudged.map(GateCheck::without_floor));
        checks.extend(report.unstable().map(GateCheck::unstable));
        let failures = checks.iter().filter(|check| !check.kept);
        let failures: Vec<_> = failures.map(GateCheck::failure).collect();
        Ok(GateResult {
            passed: failures.is_empty(),
            failures,
            checks,
        })
    }

    /// The compiled patterns, each of which matches a stage of `report`.
    fn patterns(
        &self,
        report: &Report,
        origin: &str,
    ) -> Result<Vec<(GlobMatcher, &Limits<StageError>)>, GateError> {
        let compiled = self.stage.iter().map(|limit| {
            let glob = Glob::new(&limit.pattern).map_err(|source| GateError::Pattern {
                origin: origin.to_owned(),
                source,
            })?;
            let matcher = glob.compile_matcher();
            if !report.stages.iter().any(|s| matcher.is_match(&s.name)) {
                return Err(GateError::NoMatch {
                    origin: origin.to_owned(),
                    pattern: limit.pattern.clone(),
                });
            }
            Ok((matcher, limit))
        });
        compiled.collect()
    }
}

/// Checks one stage, each measure by the last matching pattern that limits it.
fn stage_checks(
    stage: &StageReport,
    patterns: &[(GlobMatcher, &Limits<StageError>)],
) -> Vec<GateCheck> {
    let matching = patterns.iter();
    let matching = matching.filter(|(matcher, _)| matcher.is_match(&stage.name));
    let matching: Vec<_> = matching.map(|(_, limits)| limits).collect();
    let limit = |row: usize| {
        let mut limits = matching.iter().rev();
        limits.find_map(|limits| Some((limits.values[row]?, &limits.because)))
    };
    let rows = || StageError::MEASURES.iter().enumerate();
    // Whether what a free run inherits has a limit of its own.
    let inherits = stage.teacher_forced.is_some()
        && rows().any(|(row, measure)| measure.runs == Runs::Inherited && limit(row).is_some());
    let mut checks = Vec::new();
    for (is_free, error) in [(false, &stage.teacher_forced), (true, &stage.free_running)] {
        let Some(error) = error else { continue };
        for (row, measure) in rows() {
            let way = match (measure.runs, is_free) {
                _ if error.without_floor && measure.in_floors => continue,
                (Runs::Both, false) => "teacher-forced ",
                (Runs::Both, true) if !inherits => "free-running ",
                (Runs::Inherited, true) if inherits => "free-running ",
                (Runs::Free, true) if !stage.degenerate => "",
                _ => continue,
            };
            checks.extend(limit(row).and_then(|(limit, because)| {
                GateCheck::new(&stage.name, way, measure, error, limit, because)
            }));
        }
    }
    checks
}

impl<T: Limited> Limits<T> {
    /// Checks `found` at `place`.
    fn checks(&self, place: &str, found: Option<&T>) -> Vec<GateCheck> {
        let Some(found) = found else {
            return vec![GateCheck::not_observed(place, &self.because)];
        };
        let checks = self.limited().filter_map(|(measure, limit)| {
            GateCheck::new(place, "", measure, found, limit, &self.because)
        });
        checks.collect()
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

    /// A stage with a correlation of 1 - `lack`, and of 1 - `own` for the reference's own f32.
    fn stage(r: f64, lack: f64, own: f64) -> StageError {
        StageError {
            r,
            r_local: r,
            max_abs: 0.0,
            mean_abs: 0.0,
            rms_error: 0.0,
            rel_l2: 0.0,
            snr_db: 0.0,
            correlation: 1.0 - lack,
            reference_correlation: 1.0 - own,
            rms_ratio: 1.0,
            mean_offset: 0.0,
            worst_frame: None,
            worst_channel: 0,
            non_finite: 0,
            r_d: None,
            shape: None,
            worst_input: 0,
            without_floor: false,
        }
    }

    /// The check of the measure `name`.
    fn check(name: &str, found: &StageError, limit: f64) -> Option<GateCheck> {
        let measure = StageError::MEASURES.iter().find(|row| row.name == name);
        GateCheck::new("x", "", measure.unwrap(), found, limit, "a test")
    }

    #[test]
    fn no_candidate_has_to_be_more_exact_than_pytorch() {
        let lack = |lack, own| check("1 - correlation", &stage(1.0, lack, own), 1.0 - 1e-9);
        let kept = |found| lack(found, 1e-8).unwrap().kept;
        assert!(kept(1.5e-7) && !kept(1.7e-7));
        // Constants have no correlation.
        assert_eq!(lack(f64::NAN, 1e-8), None);
        assert_eq!(
            lack(1.0, 1e-8).unwrap().expected,
            "below 1.6e-7, 16 times that of PyTorch's own f32"
        );
        // Far from the limit the reference changes nothing, nor does one that has no correlation.
        for own in [0.0, 1e-12, f64::NAN] {
            let check = lack(1.1e-9, own).unwrap();
            assert!(!check.kept && check.expected == "below 1.0e-9", "{check:?}");
        }
    }

    #[test]
    fn not_a_number_keeps_no_limit() {
        let check = |found| check("R", &stage(found, 0.0, 0.0), 4.0).unwrap();
        assert!(check(3.9).kept && !check(4.0).kept && !check(f64::NAN).kept);
        assert_eq!(
            check(f64::NAN).failure().text,
            "x: R is NaN, expected below 4"
        );
    }

    #[test]
    fn a_gate_is_written_as_it_is_read() {
        let text = "[[stage]]\npattern = \"*\"\nr = 4.0\ncorrelation = 0.999\nbecause = \"a\"\n\n\
                    [embedding]\ncosine = 0.9\nlength = 0.1\nbecause = \"b\"\n\n\
                    [task]\nder = 0.0\nbecause = \"c\"\n";
        let gate = Gate::parse(text, "g").unwrap();
        assert_eq!(gate.to_toml().unwrap(), text);
    }

    #[test]
    fn an_error_in_a_gate_has_its_line() {
        for (text, line, part) in [
            (
                "[[stage]]\npattern = \"*\"\nradius = 4.0\nbecause = \"a\"",
                3,
                "unknown field `radius`, expected one of `pattern`, `r`, `r_local`, `r_free`, `r_d`, `rel_l2`, `correlation`, `because`",
            ),
            (
                "[task]\nder = 0.0\nbecause = \"a\"\npattern = \"*\"",
                4,
                "unknown field `pattern`, expected `der` or `because`",
            ),
            ("[task]\nbecause = \"a\"", 1, "missing field `der`"),
            (
                "[[stage]]\nr = 4.0\nbecause = \"a\"",
                1,
                "missing field `pattern`",
            ),
            (
                "[output]\nmax_abs = \"a\"\nbecause = \"a\"",
                2,
                "invalid type: string \"a\", expected f64",
            ),
            ("[output]\nmax_abs = 1", 1, "missing field `because`"),
        ] {
            let error = Gate::parse(text, "g").unwrap_err().to_string();
            assert_eq!(error, format!("g: line {line}: is not a gate: {part}"));
        }
    }
}
