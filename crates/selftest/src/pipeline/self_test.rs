//! Self-test of the pipeline after the networks: faults are injected one at a time.

use serde::Serialize;
use soundalike_compare::Provenance;

use super::{
    CapturedRun, PipelineFault, PipelineParameters, PipelineStage, ShapeMismatch,
    outputs::{Outputs, rate},
};
use crate::TrialOutcome;

/// The result of the self-test of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineSelfTest {
    /// Version of this layout: [`crate::SELF_TEST_SCHEMA`].
    pub schema: u32,
    /// The pipeline.
    pub model: String,
    /// The captured runs.
    pub runs: Vec<String>,
    /// Program, machine and engines.
    pub provenance: Provenance,
    /// Stages without a capture in some run: they are compared with our own output.
    pub own: Vec<PipelineStage>,
    /// One for each fault.
    pub trials: Vec<PipelineTrial>,
    /// Our own stages without a fault, on each run.
    pub clean: Vec<PipelineCleanRun>,
}

/// The result for one fault.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineTrial {
    /// The fault.
    #[serde(flatten)]
    pub fault: PipelineFault,
    /// The outcome.
    pub outcome: TrialOutcome,
    /// The stages that differ when fed by the reference.
    pub source: Vec<PipelineStage>,
    /// The difference of its stage from the reference: see [`PipelineCleanRun::differences`].
    pub difference: f64,
    /// Diarization error rate of the result; `None` if the networks would have to run again.
    pub der: Option<f64>,
}

/// Our own stages without a fault.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineCleanRun {
    /// The captured run.
    pub run: String,
    /// By stage, fed by the reference: the fraction of different decisions, or the largest relative error of vectors.
    pub differences: Vec<(PipelineStage, f64)>,
    /// Stages that differ by more than rounding.
    pub alarms: Vec<PipelineStage>,
    /// Diarization error rate of the turns, each stage fed by the previous one.
    pub der: f64,
}

/// The error rate below which a comparison of turns alone reports no difference.
const SMALL_DER: f64 = 0.01;

impl PipelineTrial {
    /// Whether the error rate is below 1 %, so that a comparison of turns would miss it; `None` without a rate.
    #[must_use]
    pub fn passes_der(&self) -> Option<bool> {
        Some(self.der? < SMALL_DER)
    }
}

impl PipelineSelfTest {
    /// The trials of real faults, without equivalent mutants.
    pub fn faults(&self) -> impl Iterator<Item = &PipelineTrial> {
        let real = |trial: &&PipelineTrial| trial.fault.equivalent.is_none();
        self.trials.iter().filter(real)
    }

    /// The number of real faults that fulfil `what`.
    pub fn count(&self, what: impl Fn(&PipelineTrial) -> bool) -> usize {
        self.faults().filter(|trial| what(trial)).count()
    }

    /// Whether every fault that changes a stage was located, without false alarms.
    #[must_use]
    pub fn passed(&self) -> bool {
        let good = |trial: &PipelineTrial| trial.outcome.passes();
        self.trials.iter().all(good) && self.clean.iter().all(|run| run.alarms.is_empty())
    }
}

/// The truth of one run: its captured outputs, and our own where there is no capture.
struct Golden<'a> {
    name: &'a str,
    outputs: Outputs,
}

/// Injects each of `faults` into the stages after the networks on each of `runs`, which need a segmentation and
/// embeddings. Returns the trials, the runs without a fault, and the stages without a capture in some run.
///
/// # Errors
/// [`ShapeMismatch`] of the first run whose outputs do not fit each other.
#[expect(clippy::type_complexity, reason = "the parts of a self-test")]
pub fn try_faults(
    faults: &[PipelineFault],
    runs: &[(String, CapturedRun)],
    setting: &PipelineParameters,
) -> Result<
    (
        Vec<PipelineTrial>,
        Vec<PipelineCleanRun>,
        Vec<PipelineStage>,
    ),
    ShapeMismatch,
> {
    let golden = runs
        .iter()
        .map(|(name, run)| Golden::new(name, run, setting));
    let golden = golden.collect::<Result<Vec<_>, _>>()?;
    let clean = golden.iter().map(|golden| golden.clean(setting)).collect();
    let trials = faults.iter().map(|fault| trial(fault, &golden, setting));
    let trials = trials.collect();
    let lacking = |stage: &PipelineStage| runs.iter().any(|(_, run)| !run.has(*stage));
    let own = PipelineStage::ALL.into_iter().filter(lacking).collect();
    Ok((trials, clean, own))
}

impl<'a> Golden<'a> {
    fn new(
        name: &'a str,
        run: &'a CapturedRun,
        setting: &PipelineParameters,
    ) -> Result<Self, ShapeMismatch> {
        let mut outputs = Outputs::default();
        for stage in PipelineStage::ALL {
            if run.has(stage) {
                outputs.take(stage, &run.outputs);
            } else {
                outputs.compute(stage, setting);
            }
            outputs.check(stage, setting, run.size())?;
        }
        Ok(Self { name, outputs })
    }

    /// Runs our stages with `fault`: the difference of each stage when fed by the reference, and the outputs of a run
    /// in which they feed each other.
    fn run(
        &self,
        fault: Option<&PipelineFault>,
        setting: &PipelineParameters,
    ) -> (Vec<f64>, Outputs) {
        let [mut forced, mut free] = [Outputs::default(), Outputs::default()];
        let mut differences = Vec::new();
        for stage in PipelineStage::ALL {
            for outputs in [&mut forced, &mut free] {
                // The networks are not run: their outputs are the reference's.
                match stage {
                    PipelineStage::Segmentation | PipelineStage::Embeddings => {
                        outputs.take(stage, &self.outputs);
                    }
                    _ => outputs.compute(stage, setting),
                }
                if let Some(fault) = fault.filter(|fault| fault.stage == stage) {
                    fault.make(outputs, setting);
                }
            }
            differences.push(forced.difference(stage, &self.outputs));
            forced.take(stage, &self.outputs);
        }
        (differences, free)
    }

    fn clean(&self, setting: &PipelineParameters) -> PipelineCleanRun {
        let (differences, free) = self.run(None, setting);
        let differences: Vec<_> = PipelineStage::ALL.into_iter().zip(differences).collect();
        PipelineCleanRun {
            run: self.name.to_owned(),
            alarms: alarms(&differences),
            differences,
            der: rate(&self.outputs.turns, &free.turns),
        }
    }
}

fn alarms(differences: &[(PipelineStage, f64)]) -> Vec<PipelineStage> {
    let alarm = |(stage, difference): &&(PipelineStage, f64)| *difference > stage.tolerance();
    let alarms = differences.iter().filter(alarm);
    alarms.map(|(stage, _)| *stage).collect()
}

fn trial(
    fault: &PipelineFault,
    golden: &[Golden<'_>],
    setting: &PipelineParameters,
) -> PipelineTrial {
    let mut largest = vec![0.0_f64; PipelineStage::ALL.len()];
    let mut der = 0.0_f64;
    for golden in golden {
        let (differences, free) = golden.run(Some(fault), setting);
        for (largest, difference) in largest.iter_mut().zip(differences) {
            *largest = largest.max(difference);
        }
        let own = match fault.stage {
            PipelineStage::Score => free.score,
            _ => rate(&golden.outputs.turns, &free.turns),
        };
        der = der.max(own);
    }
    let differences: Vec<_> = PipelineStage::ALL.into_iter().zip(largest).collect();
    let source = alarms(&differences);
    let strays = source.iter().filter(|stage| **stage != fault.stage);
    let strays = strays.map(|stage| stage.name().to_owned()).collect();
    let outcome = TrialOutcome::new(fault.equivalent.is_some(), !source.is_empty(), strays);
    let mut own = differences
        .iter()
        .filter(|(stage, _)| *stage == fault.stage);
    let difference = own.next().map_or(0.0, |(_, difference)| *difference);
    PipelineTrial {
        fault: fault.clone(),
        outcome,
        source,
        difference,
        // Embeddings are captured, so masks have no effect on them.
        der: (fault.stage != PipelineStage::Masks).then_some(der),
    }
}
