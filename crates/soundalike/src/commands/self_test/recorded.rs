//! `soundalike self-test --trace REF`: faults in the recorded tensors of any network.

use std::path::Path;

use serde::Serialize;
use soundalike_compare::{
    ActivationTrace, Candidate, Figure, NameMap, Provenance, RecordedFault, RecordedTrial,
    Reference, ReferenceTrace, Running, sensitivity,
};
use soundalike_report::{
    document::{Document, Table},
    listed, percent,
};
use soundalike_selftest::SELF_TEST_SCHEMA;

use crate::commands::compare::command_line;

/// The result, as JSON has it.
#[derive(Serialize)]
pub(super) struct RecordedSelfTest {
    schema: u32,
    reference: String,
    candidate: String,
    provenance: Provenance,
    trials: Vec<RecordedTrial>,
}

/// Correlation at which other tools call two tensors equal.
const USUAL: f64 = 0.999;

impl RecordedSelfTest {
    /// Tries all faults on the trace `reference` and, as the candidate, the trace `candidate`, or the reference rounded to f32.
    pub(super) fn find(reference: &Path, candidate: Option<&Path>) -> anyhow::Result<Self> {
        let mut trace = ReferenceTrace::open(reference)?;
        let window = trace.window()?;
        let (name, side) = match candidate {
            None => {
                let graph = trace.graph(&window)?;
                let mut stages = std::collections::BTreeMap::new();
                for stage in graph.stages() {
                    let golden = trace.golden(&stage.name)?;
                    stages.insert(stage.name.clone(), golden.mapv(|x| f64::from(x as f32)));
                }
                (
                    "the reference rounded to f32".to_owned(),
                    Candidate::Activations(Box::new(stages)),
                )
            }
            Some(path) => {
                let names = NameMap::default();
                let side = ActivationTrace::aligned(
                    path,
                    &names,
                    &mut trace,
                    &window,
                    Running::Free,
                    false,
                )?;
                (
                    format!("trace:{}", path.display()),
                    Candidate::Activations(Box::new(side)),
                )
            }
        };
        let trials = sensitivity(&mut trace, &side, &window)?;
        anyhow::ensure!(
            !trials.is_empty(),
            "no stage of the candidate is exact, so that a fault in it would show nothing; `soundalike compare` has the errors"
        );
        Ok(Self {
            schema: SELF_TEST_SCHEMA,
            reference: format!("trace:{}", reference.display()),
            candidate: name,
            provenance: Provenance::here(command_line(), trace.engine(), Default::default()),
            trials,
        })
    }

    /// Whether every fault was noticed.
    pub(super) fn passed(&self) -> bool {
        self.trials.iter().all(|trial| trial.noticed)
    }

    /// The counts, then what was not noticed.
    pub(super) fn document(&self) -> Document {
        let title = "Self-test of two traces: would a fault have been noticed?";
        let mut document = Document::new(title, &self.provenance.command);
        let (all, noticed) = (
            self.trials.len(),
            self.trials.iter().filter(|trial| trial.noticed).count(),
        );
        document.paragraph(format!(
            "{} against {}: {noticed} of {all} faults noticed, each in the recorded output of one stage",
            self.candidate, self.reference
        ));
        let mut table = Table::new(
            "fault | >stages | >noticed | >least R | >least R local | >correlation above 0.999",
        );
        for fault in RecordedFault::ALL {
            let tried: Vec<_> = self
                .trials
                .iter()
                .filter(|trial| trial.fault == fault)
                .collect();
            if tried.is_empty() {
                continue;
            }
            let count = |is: &dyn Fn(&RecordedTrial) -> bool| {
                tried.iter().filter(|trial| is(trial)).count()
            };
            let least = |of: fn(&RecordedTrial) -> f64| {
                Figure(
                    tried
                        .iter()
                        .map(|trial| of(trial))
                        .fold(f64::INFINITY, f64::min),
                )
                .to_string()
            };
            let share = |number: usize| percent(number as f64 / tried.len() as f64);
            table.row([
                fault.text().to_owned(),
                tried.len().to_string(),
                share(count(&|trial| trial.noticed)),
                least(|trial| trial.r),
                least(|trial| trial.r_local),
                share(count(&|trial| trial.correlation > USUAL)),
            ]);
        }
        document.table("", table);
        let unnoticed = RecordedFault::ALL.into_iter().filter_map(|fault| {
            let stages = self
                .trials
                .iter()
                .filter(|trial| trial.fault == fault && !trial.noticed);
            let stages: Vec<_> = stages
                .map(|trial| format!("{} (R {})", trial.stage, Figure(trial.r)))
                .collect();
            (!stages.is_empty())
                .then(|| format!("{}: {}", fault.text(), listed(stages.into_iter())))
        });
        document.list("Not noticed: less than rounding", unnoticed);
        document
    }
}
