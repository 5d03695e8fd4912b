//! Mistakes put into the stages after the networks, one at a time, and what is noticed.

use serde::Serialize;
use soundalike_compare::Provenance;

use super::{
    CapturedRun, Misfit, PipelineFault, PipelineStage, Setting,
    outputs::{Outputs, rate},
};
use crate::TrialOutcome;

/// What was noticed of every mistake, and of none.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineSelfTest {
    /// Version of this layout: [`crate::SELF_TEST_SCHEMA`].
    pub schema: u32,
    /// The pipeline.
    pub model: String,
    /// The captured runs.
    pub runs: Vec<String>,
    /// By what and on what.
    pub provenance: Provenance,
    /// Stages whose output a capture lacks, where it is our own that is compared with.
    pub own: Vec<PipelineStage>,
    /// Each mistake.
    pub trials: Vec<PipelineTrial>,
    /// Our own stages without a mistake, on each run.
    pub clean: Vec<PipelineCleanRun>,
}

/// What was noticed of one mistake.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineTrial {
    /// The mistake.
    #[serde(flatten)]
    pub fault: PipelineFault,
    /// What came of it.
    pub outcome: TrialOutcome,
    /// The stages that differ although they were fed by the reference.
    pub source: Vec<PipelineStage>,
    /// How far its stage is from the reference's: see [`PipelineCleanRun::differences`].
    pub difference: f64,
    /// Diarization error rate of all that follows; none where the networks would have to listen again.
    pub der: Option<f64>,
}

/// Our own stages without a mistake.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineCleanRun {
    /// The captured run.
    pub run: String,
    /// By stage, fed by the reference: the part of the decisions that differ, or the largest relative error of vectors.
    pub differences: Vec<(PipelineStage, f64)>,
    /// Stages that differ by more than rounding.
    pub alarms: Vec<PipelineStage>,
    /// Diarization error rate of the turns, each stage fed by the one before.
    pub der: f64,
}

/// The error rate below which an ordinary comparison of turns says nothing.
const SMALL_DER: f64 = 0.01;

impl PipelineTrial {
    /// Whether an error rate below 1 % would have let it pass; none where there is no rate.
    #[must_use]
    pub fn passes_der(&self) -> Option<bool> {
        Some(self.der? < SMALL_DER)
    }
}

impl PipelineSelfTest {
    /// Its mistakes that are some.
    pub fn faults(&self) -> impl Iterator<Item = &PipelineTrial> {
        let real = |trial: &&PipelineTrial| trial.fault.equivalent.is_none();
        self.trials.iter().filter(real)
    }

    /// How many of them fulfil `what`.
    pub fn count(&self, what: impl Fn(&PipelineTrial) -> bool) -> usize {
        self.faults().filter(|trial| what(trial)).count()
    }

    /// Whether all that changes a stage was located, and no alarm was false.
    #[must_use]
    pub fn passed(&self) -> bool {
        let good = |trial: &PipelineTrial| trial.outcome.passes();
        self.trials.iter().all(good) && self.clean.iter().all(|run| run.alarms.is_empty())
    }
}

/// The truth of one run: what was captured, and of what was not our own.
struct Golden<'a> {
    name: &'a str,
    outputs: Outputs,
}

/// Puts each of `faults` into the stages that follow the networks of each of `runs`, which have at least a segmentation and
/// embeddings: trials, runs without a mistake, and stages that no run has captured.
///
/// # Errors
/// [`Misfit`], of the first run whose outputs do not fit each other.
#[expect(clippy::type_complexity, reason = "the parts of a self-test")]
pub fn try_faults(
    faults: &[PipelineFault],
    runs: &[(String, CapturedRun)],
    setting: &Setting,
) -> Result<
    (
        Vec<PipelineTrial>,
        Vec<PipelineCleanRun>,
        Vec<PipelineStage>,
    ),
    Misfit,
> {
    let golden = runs.iter().map(|(name, run)| Golden::new(name, run, setting));
    let golden = golden.collect::<Result<Vec<_>, _>>()?;
    let clean = golden.iter().map(|golden| golden.clean(setting)).collect();
    let trials = faults.iter().map(|fault| trial(fault, &golden, setting));
    let trials = trials.collect();
    let lacking = |stage: &PipelineStage| runs.iter().any(|(_, run)| !run.has(*stage));
    let own = PipelineStage::ALL.into_iter().filter(lacking).collect();
    Ok((trials, clean, own))
}

impl<'a> Golden<'a> {
    fn new(name: &'a str, run: &'a CapturedRun, setting: &Setting) -> Result<Self, Misfit> {
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

    /// Our stages with `fault`: what each gives that is fed by the reference, and the outputs of those that feed each
    /// other.
    fn run(&self, fault: Option<&PipelineFault>, setting: &Setting) -> (Vec<f64>, Outputs) {
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

    fn clean(&self, setting: &Setting) -> PipelineCleanRun {
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

fn trial(fault: &PipelineFault, golden: &[Golden<'_>], setting: &Setting) -> PipelineTrial {
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
        // The embeddings are the captured ones, whatever frames they would be pooled over.
        der: (fault.stage != PipelineStage::Masks).then_some(der),
    }
}
