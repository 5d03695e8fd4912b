//! The self-test of the comparison: faults are injected into a candidate one at a time.

mod baseline;
mod clean;
mod hard;
mod insensitive;

use serde::Serialize;
use soundalike_compare::{
    About, Budget, CompareError, Decode, Diagnosis, EXACT_R, Explanation, Input, KeptReference,
    Propagation, Provenance, Reference, Report, StageError, Undiagnosed, Verdict, Window, compare,
    nan_max,
};
use soundalike_convert::Bundle;
use soundalike_model::DType;

use crate::{Diagnostician, Fault, FaultError, PathTrial};

pub use self::{
    baseline::{BaselineGate, BaselineMetrics},
    clean::{CleanRun, CleanRunner, in_batches},
    hard::{hard_inputs, insensitive_inputs},
    insensitive::InsensitiveInput,
};

/// Why a fault could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// The network with a fault cannot be built.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A side failed.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

/// The result of a self-test.
#[derive(Debug, Clone, Serialize)]
pub struct SelfTest {
    /// Version of this layout.
    pub schema: u32,
    /// The model.
    pub model: String,
    /// The reference, as on the command line.
    pub reference: String,
    /// Program, machine and engines.
    pub provenance: Provenance,
    /// The inputs of the trials.
    pub inputs: Vec<Input>,
    /// One for each fault that applies to the model.
    pub trials: Vec<Trial>,
    /// One for each fault of the path that users take.
    pub paths: Vec<PathTrial>,
    /// Runs without a fault.
    pub clean: Vec<CleanRun>,
    /// The effect of the errors of the stages at the output, without a fault; `None` if the reference cannot be run
    /// again.
    pub budget: Option<Budget>,
    /// What was skipped, and why.
    pub left_out: Vec<String>,
    /// Faults that other inputs hide.
    pub blindness: Vec<InsensitiveInput>,
}

/// The result for one fault.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// The outcome.
    pub outcome: TrialOutcome,
    /// Whether it was detected with the kernels of this machine too. `None` for a fault that is not one of weights.
    pub natively: Option<bool>,
    /// Whether it was identified.
    pub naming: Identification,
    /// The largest R of its stages, fed by the reference.
    pub r: f64,
    /// The largest R_local of its stages, fed by the reference.
    pub r_local: f64,
    /// The stages that were blamed.
    pub source: Vec<String>,
    /// The diagnosis, if there is one.
    pub diagnosis: Option<Diagnosis>,
    /// Why there is no diagnosis, and the signature of the error instead.
    pub undiagnosed: Option<Undiagnosed>,
    /// Baseline metrics of the outputs.
    pub ordinary: BaselineMetrics,
    /// Its error at the output, predicted by the gains of the budget and measured.
    pub propagation: Option<Propagation>,
}

/// The outcome of a fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOutcome {
    /// Its stages were blamed, and no others.
    Located,
    /// Stages were blamed that the fault does not change.
    Misplaced {
        /// Those stages.
        strays: Vec<String>,
    },
    /// No stage reaches the thresholds: the error may be rounding.
    BelowTheFloor,
    /// An equivalent mutant, and nothing was blamed.
    Equivalent,
    /// An equivalent mutant, and a stage was blamed.
    FalseAlarm,
    /// The network failed with it.
    Failed {
        /// Its error message.
        message: String,
    },
}

/// Whether a fault was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Identification {
    /// Correctly.
    Right,
    /// As another mistake.
    Wrong,
    /// Not identified, correctly: no known mistake matches.
    Unknown,
    /// Not identified, although a known mistake matches.
    Missed,
    /// No diagnosis was attempted: libtorch is missing, or nothing was blamed.
    NotTried,
}

impl TrialOutcome {
    /// The outcome of a fault, or of an `equivalent` mutant, if a stage was `blamed`; `strays` are the wrong ones.
    pub(crate) fn new(equivalent: bool, blamed: bool, strays: Vec<String>) -> Self {
        match (equivalent, blamed) {
            (true, false) => Self::Equivalent,
            (true, true) => Self::FalseAlarm,
            (false, false) => Self::BelowTheFloor,
            (false, true) if strays.is_empty() => Self::Located,
            (false, true) => Self::Misplaced { strays },
        }
    }

    /// Whether it is the expected outcome.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Located | Self::BelowTheFloor | Self::Equivalent)
    }

    /// Whether the fault was detected.
    #[must_use]
    pub fn detected(&self) -> bool {
        matches!(
            self,
            Self::Located | Self::Misplaced { .. } | Self::Failed { .. }
        )
    }
}

impl SelfTest {
    /// Whether every fault that reaches the thresholds was located, and detected with any kernels, none was identified wrongly, every fault of the path
    /// was noticed, and no alarm was false.
    #[must_use]
    pub fn passed(&self) -> bool {
        let good = |trial: &Trial| {
            let natively = trial
                .natively
                .is_none_or(|found| found == trial.outcome.detected());
            trial.outcome.passes() && natively && trial.naming != Identification::Wrong
        };
        let noticed = |trial: &PathTrial| trial.noticed().is_some();
        self.trials.iter().all(good)
            && self.paths.iter().all(noticed)
            && self.clean.iter().all(|run| run.alarms.is_empty())
    }

    /// The trials of real faults, without equivalent mutants.
    pub fn faults(&self) -> impl Iterator<Item = &Trial> {
        let real = |trial: &&Trial| trial.fault.equivalent.is_none();
        self.trials.iter().filter(real)
    }

    /// The number of real faults that fulfil `what`.
    pub fn count(&self, what: impl Fn(&Trial) -> bool) -> usize {
        self.faults().filter(|trial| what(trial)).count()
    }
}

/// Version of the JSON of a self-test. Keys may be added but not renamed.
pub const SELF_TEST_SCHEMA: u32 = 1;

/// Injects faults and compares.
pub struct Injector<'a> {
    /// The model without a fault.
    pub bundle: &'a Bundle,
    /// The decoding of its output.
    pub decode: &'a dyn Decode,
    /// The reference.
    pub reference: &'a mut KeptReference,
    /// The inputs.
    pub windows: &'a [Window],
    /// Diagnoses faults; `None` without libtorch.
    pub diagnostician: Option<&'a Diagnostician<'a>>,
    /// The gains of errors to the output, if measured.
    pub budget: Option<&'a Budget>,
}

impl Injector<'_> {
    /// Injects `fault` and compares. `None` if it does not apply to the model.
    ///
    /// # Errors
    /// [`SelfTestError`] if the network cannot be built or the reference fails.
    pub fn try_fault(&mut self, fault: &Fault) -> Result<Option<Trial>, SelfTestError> {
        // Masks have no effect before the pooling: they are only for faults that other windows cannot have.
        let windows = self.windows.iter().cloned();
        let (masked, plain): (Vec<_>, Vec<_>) = windows.partition(|window| window.masks.is_some());
        for windows in [plain, masked] {
            let Some(first) = windows.first() else {
                continue;
            };
            let graph = self.reference.graph(first)?;
            let names = graph.stages().iter().map(|stage| stage.name.clone());
            let names: Vec<String> = names.collect();
            let expected = fault.stages_among(&names);
            if !expected.is_empty() {
                return self.try_on(fault, &expected, &windows).map(Some);
            }
        }
        Ok(None)
    }

    fn try_on(
        &mut self,
        fault: &Fault,
        expected: &[&String],
        windows: &[Window],
    ) -> Result<Trial, SelfTestError> {
        let candidate = fault.candidate(self.bundle, DType::F32)?;
        let sides = about(self.reference, fault.id);
        let report = match compare(self.reference, &candidate, windows, self.decode, sides) {
            Ok(report) => report,
            Err(CompareError::Candidate(error)) => {
                return Ok(Trial::failed(fault, error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let cause = match self.diagnostician {
            Some(diagnostician) if !report.source.is_empty() => {
                Some(diagnostician.diagnose(self.reference, &candidate, windows, &report)?)
            }
            _ => None,
        };
        let native = fault.native_candidate(self.bundle)?.map(|candidate| {
            let sides = about(self.reference, fault.id);
            compare(self.reference, &candidate, windows, self.decode, sides)
        });
        Ok(Trial {
            natively: native.transpose()?.map(|report| !report.source.is_empty()),
            propagation: self.budget.and_then(|budget| budget.predict(&report)),
            ..Trial::new(fault, expected, &report, cause)
        })
    }
}

/// The sides of a comparison, for a report that is not printed.
pub(crate) fn about(reference: &dyn Reference, candidate: &str) -> About {
    About {
        model: String::new(),
        reference: reference.name(),
        candidate: candidate.to_owned(),
        provenance: Provenance::default(),
    }
}

impl Trial {
    fn new(
        fault: &Fault,
        expected: &[&String],
        report: &Report,
        cause: Option<Explanation>,
    ) -> Self {
        let stages = report.stages.iter();
        let own = stages.filter(|stage| expected.contains(&&stage.name));
        let errors = own.filter_map(|stage| stage.teacher_forced.as_ref());
        let largest = |of: fn(&StageError) -> f64| errors.clone().map(of).fold(0.0, nan_max);
        let strays = report.source.iter().filter(|name| !expected.contains(name));
        let strays = strays.cloned().collect();
        let blamed = !report.source.is_empty();
        let outcome = TrialOutcome::new(fault.equivalent.is_some(), blamed, strays);
        let (naming, diagnosis, undiagnosed) = match cause {
            None => (Identification::NotTried, None, None),
            Some(Explanation::Known(diagnosis)) => {
                let right = fault.cause.is_some_and(|cause| diagnosis.names(cause));
                let naming = if right {
                    Identification::Right
                } else {
                    Identification::Wrong
                };
                (naming, Some(diagnosis), None)
            }
            Some(Explanation::Unknown(undiagnosed) | Explanation::Fused(undiagnosed)) => {
                let naming = match fault.cause {
                    Some(_) => Identification::Missed,
                    None => Identification::Unknown,
                };
                (naming, None, Some(undiagnosed))
            }
        };
        Self {
            fault: fault.clone(),
            outcome,
            natively: None,
            naming,
            r: largest(|error| error.r),
            r_local: largest(|error| error.r_local),
            source: report.source.clone(),
            diagnosis,
            undiagnosed,
            ordinary: BaselineMetrics::of(report),
            propagation: None,
        }
    }

    fn failed(fault: &Fault, message: String) -> Self {
        Self {
            fault: fault.clone(),
            outcome: TrialOutcome::Failed { message },
            natively: None,
            naming: Identification::NotTried,
            r: f64::NAN,
            r_local: f64::NAN,
            source: Vec::new(),
            diagnosis: None,
            undiagnosed: None,
            ordinary: BaselineMetrics::default(),
            propagation: None,
        }
    }

    /// Structural if a stage was blamed; otherwise exact or precision by the project's own threshold of R.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.outcome {
            TrialOutcome::Located
            | TrialOutcome::Misplaced { .. }
            | TrialOutcome::FalseAlarm
            | TrialOutcome::Failed { .. } => Verdict::Structural,
            _ if self.r < EXACT_R => Verdict::Exact,
            _ => Verdict::Precision,
        }
    }
}
