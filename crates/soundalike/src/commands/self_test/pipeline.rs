//! `soundalike self-test --run DIR`: injects faults into the pipeline after the networks.

use anyhow::Context;
use soundalike_compare::{EngineInfo, Figure, Provenance};
use soundalike_report::{
    document::{Document, Table},
    listed, percent,
};
use soundalike_selftest::{
    CapturedRun, PipelineFault, PipelineSelfTest, PipelineStage, PipelineTrial, SELF_TEST_SCHEMA,
    TrialOutcome, try_faults,
};

use super::Args;
use crate::commands::{
    attribute::{check_reference, setting},
    compare::command_line,
};

/// Tries the faults that `args` name on the captured runs.
pub(super) fn find(args: &Args) -> anyhow::Result<PipelineSelfTest> {
    let model = args.subject.model.as_deref();
    let model = model.context("--run needs --model DIR")?;
    let (setting, plda) = setting(model)?;
    let mut faults = PipelineFault::catalogue();
    super::known(&args.faults, faults.iter().map(|fault| fault.id).collect())?;
    faults.retain(|fault| super::wanted(&args.faults, fault.id));
    let mut captured = Vec::new();
    for directory in &args.run {
        let run = CapturedRun::read_all(directory)?;
        check_reference(directory, &run)?;
        let name = directory.file_name().unwrap_or(directory.as_os_str());
        captured.push((name.to_string_lossy().into_owned(), run));
    }
    let found = try_faults(&faults, &captured, &setting);
    let (trials, clean, own) = found.with_context(|| {
        let model = model.display();
        format!("--run: the outputs of a run do not match each other or {model}")
    })?;
    let engine = EngineInfo {
        engine: "soundalike-diarize".to_owned(),
        model_sha256: Some(plda.source().sha256.clone()),
        ..EngineInfo::default()
    };
    Ok(PipelineSelfTest {
        schema: SELF_TEST_SCHEMA,
        model: model.display().to_string(),
        runs: captured.into_iter().map(|(name, _)| name).collect(),
        provenance: Provenance::here(command_line(), EngineInfo::default(), engine),
        own,
        trials,
        clean,
    })
}

/// The result as a document: the counts, then the details.
pub(super) fn document(test: &PipelineSelfTest) -> Document {
    let title = "Self-test of the pipeline: are faults after the networks located?";
    let mut document = Document::new(title, &test.provenance.command);
    let (model, all) = (&test.model, test.faults().count());
    let runs = listed(test.runs.iter().cloned());
    document.paragraph(format!(
        "{model}: {all} faults after the networks, one at a time, against {runs}"
    ));
    document.facts(totals(test));
    let below = |trial: &PipelineTrial| trial.outcome == TrialOutcome::BelowTheFloor;
    let below = test.faults().filter(|trial| below(trial)).map(|trial| {
        let (id, text, difference) = (trial.fault.id, trial.fault.text, Figure(trial.difference));
        format!("{id}: {text}; differs by {difference}")
    });
    let proof = |(id, proof): (&str, &str)| format!("{id}: {proof}");
    let void = test.faults().map(|trial| &trial.fault);
    let void = void.filter_map(|fault| Some((fault.id, fault.void?)));
    let none = test.trials.iter().map(|trial| &trial.fault);
    let none = none.filter_map(|fault| Some((fault.id, fault.equivalent?)));
    document.table("Faults", trials(test));
    document.list("Below the rounding floor", below);
    document.list("Located, but without effect on the turns", void.map(proof));
    document.list("Equivalent changes, which are no faults", none.map(proof));
    document.table("Clean runs", clean(test));
    document.list("Method", notes(test));
    document
}

fn totals(test: &PipelineSelfTest) -> [String; 3] {
    let outcome = |outcome| test.count(|trial| trial.outcome == outcome);
    let trials = test.trials.iter();
    let equivalent = trials.filter(|trial| trial.fault.equivalent.is_some());
    let alarms = test.clean.iter().filter(|run| !run.alarms.is_empty());
    let is_alarm = |trial: &&PipelineTrial| trial.outcome == TrialOutcome::FalseAlarm;
    [
        format!(
            "Located at their stage: {} of {} that change it by more than rounding; {} below the rounding floor.",
            outcome(TrialOutcome::Located),
            test.count(|trial| trial.outcome.detected()),
            outcome(TrialOutcome::BelowTheFloor)
        ),
        format!(
            "A gate of DER < 1 % misses {} of {}.",
            test.count(|trial| trial.passes_der() == Some(true)),
            test.count(|trial| trial.der.is_some())
        ),
        format!(
            "False alarms: {} in {} clean runs, {} in {} runs with an equivalent change.",
            alarms.count(),
            test.clean.len(),
            equivalent.clone().filter(is_alarm).count(),
            equivalent.count()
        ),
    ]
}

fn trials(test: &PipelineSelfTest) -> Table {
    let rows = test.faults().map(|trial| {
        [
            trial.fault.id.to_owned(),
            trial.fault.stage.name().to_owned(),
            names(&trial.source),
            difference(trial),
            trial.der.map_or("-".to_owned(), percent),
        ]
    });
    let header = "fault | stage | located at | >difference | >DER of the turns";
    Table::of(header, rows)
}

fn difference(trial: &PipelineTrial) -> String {
    match trial.fault.stage {
        PipelineStage::Plda | PipelineStage::Vbx | PipelineStage::Embeddings => {
            Figure(trial.difference).to_string()
        }
        _ if trial.difference.is_infinite() => "other shape".to_owned(),
        _ => percent(trial.difference),
    }
}

fn names(stages: &[PipelineStage]) -> String {
    match stages {
        [] => "none".to_owned(),
        stages => listed(stages.iter().map(|stage| stage.name().to_owned())),
    }
}

fn clean(test: &PipelineSelfTest) -> Table {
    let rows = test.clean.iter().map(|run| {
        let of = |wanted: PipelineStage| {
            let found = run.differences.iter().find(|(stage, _)| *stage == wanted);
            let difference = found.map_or(f64::NAN, |(_, difference)| *difference);
            Figure(difference).to_string()
        };
        [
            run.run.clone(),
            names(&run.alarms),
            of(PipelineStage::Plda),
            of(PipelineStage::Vbx),
            percent(run.der),
        ]
    });
    Table::of(
        "run | false alarms | >PLDA | >VBx | >DER of the turns",
        rows,
    )
}

fn notes(test: &PipelineSelfTest) -> Vec<String> {
    let mut notes = vec![
        "each stage gets the captured outputs of the stages before it, and its output is compared with the captured one: \
         decisions must be equal, PLDA vectors within 1e-9 of the largest value, responsibilities within 1e-6; the DER is \
         that of all stages in sequence, from the captured embeddings"
            .to_owned(),
    ];
    if !test.own.is_empty() {
        notes.push(format!(
            "not captured, so our own outputs without a fault are the reference: {}",
            names(&test.own)
        ));
    }
    notes
}
