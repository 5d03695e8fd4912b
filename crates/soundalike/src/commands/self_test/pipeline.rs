//! `soundalike self-test --run DIR`: would it have noticed, behind the networks?

use std::{fmt::Write, path::PathBuf};

use anyhow::Context;
use comfy_table::{Cell, Table};
use soundalike_compare::{EngineInfo, Figure, Provenance};
use soundalike_selftest::{
    CapturedRun, PipelineFault, PipelineSelfTest, PipelineStage, PipelineTrial, SELF_TEST_SCHEMA,
    TrialOutcome, try_faults,
};

use super::{
    Args,
    render::{Style, header, new_table, right},
};
use crate::commands::{
    ReportFormat,
    attribute::{check_reference, setting},
    compare::{
        command_line,
        words::{listed, percent},
    },
};

/// Tries all mistakes on the captured `runs`; what is to be printed, and whether all of them were noticed.
pub(super) fn run(args: &Args, runs: &[PathBuf]) -> anyhow::Result<(String, bool)> {
    let found = find(args, runs)?;
    let text = match args.format {
        ReportFormat::Json => serde_json::to_string_pretty(&found)? + "\n",
        ReportFormat::Table => render(&found, &Style::TERMINAL),
        ReportFormat::Markdown => {
            let command = &found.provenance.command;
            let text = render(&found, &Style::MARKDOWN);
            format!(
                "# Would it have noticed, after the networks?\n\n```sh\n{command}\n```\n\n{text}"
            )
        }
    };
    Ok((text, found.passed()))
}

fn find(args: &Args, runs: &[PathBuf]) -> anyhow::Result<PipelineSelfTest> {
    let model = args.model.as_deref().context("--run needs --model DIR")?;
    let (setting, plda) = setting(model)?;
    let mut faults = PipelineFault::catalogue();
    super::only(&mut faults, &args.faults, |fault| fault.id)?;
    let mut captured = Vec::new();
    for directory in runs {
        let run = CapturedRun::read_all(directory)?;
        check_reference(directory, &run)?;
        let name = directory.file_name().unwrap_or(directory.as_os_str());
        captured.push((name.to_string_lossy().into_owned(), run));
    }
    let found = try_faults(&faults, &captured, &setting);
    let (trials, clean, own) = found.with_context(|| {
        let model = model.display();
        format!("--run: the outputs of a run do not fit each other, or not {model}")
    })?;
    Ok(PipelineSelfTest {
        schema: SELF_TEST_SCHEMA,
        model: model.display().to_string(),
        runs: captured.into_iter().map(|(name, _)| name).collect(),
        provenance: Provenance::here(
            command_line(),
            EngineInfo::default(),
            EngineInfo {
                engine: "soundalike-diarize".to_owned(),
                model_sha256: Some(plda.source().sha256.clone()),
                ..EngineInfo::default()
            },
        ),
        own,
        trials,
        clean,
    })
}

fn render(test: &PipelineSelfTest, style: &Style) -> String {
    let detected = test.count(|trial| trial.outcome.detected());
    let located = test.count(|trial| trial.outcome == TrialOutcome::Located);
    let below = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let scored = test.count(|trial| trial.der.is_some());
    let missed = test.count(|trial| trial.passes_der() == Some(true));
    let alarms = test.clean.iter().filter(|run| !run.alarms.is_empty());
    let none = || {
        let trials = test.trials.iter();
        trials.filter(|trial| trial.fault.equivalent.is_some())
    };
    let false_alarms = none().filter(|trial| trial.outcome == TrialOutcome::FalseAlarm);
    let mut text = format!(
        "{}: {} mistakes after the networks, one at a time, against {}\n\n\
         Located to the stage: {located} of {detected} that change it by more than rounding; {below} below the floor.\n\
         DER < 1 % misses {missed} of {scored}.\n\
         False alarms: {} in {} runs without a mistake, {} in {} with a change that is none.\n\n",
        test.model,
        test.faults().count(),
        listed(test.runs.iter().cloned()),
        alarms.count(),
        test.clean.len(),
        false_alarms.count(),
        none().count(),
    );
    let mut section = |heading: &str, body: String| {
        if !body.trim().is_empty() {
            let _ = writeln!(text, "{}{heading}\n\n{}\n", style.heading, body.trim_end());
        }
    };
    section("Mistakes", Style::lines(&trials(test, style)));
    section(
        "Below the floor",
        style.points(
            test.faults()
                .filter(|trial| trial.outcome == TrialOutcome::BelowTheFloor)
                .map(|trial| {
                    let difference = Figure(trial.difference);
                    format!(
                        "{}: {}; differs by {difference}",
                        trial.fault.id, trial.fault.text
                    )
                }),
        ),
    );
    section(
        "Void in the turns, and flagged where they are",
        style.points(test.faults().filter_map(|trial| {
            let proof = trial.fault.void?;
            Some(format!("{}: {proof}", trial.fault.id))
        })),
    );
    section(
        "No mistakes at all",
        style.points(none().filter_map(|trial| {
            let proof = trial.fault.equivalent?;
            Some(format!("{}: {proof}", trial.fault.id))
        })),
    );
    section("Without a mistake", Style::lines(&clean(test, style)));
    section("What it is compared with", style.points(notes(test)));
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn trials(test: &PipelineSelfTest, style: &Style) -> Table {
    let mut table = new_table(&style.table);
    header(
        &mut table,
        &["mistake", "in", "blamed", "differs by", "DER of the turns"],
        3,
    );
    for trial in test.faults() {
        table.add_row(vec![
            Cell::new(trial.fault.id),
            Cell::new(trial.fault.stage.name()),
            Cell::new(names(&trial.source)),
            right(difference(trial)),
            right(trial.der.map_or("-".to_owned(), percent)),
        ]);
    }
    table
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

fn clean(test: &PipelineSelfTest, style: &Style) -> Table {
    let mut table = new_table(&style.table);
    header(
        &mut table,
        &["run", "blamed", "PLDA", "VBx", "DER of the turns"],
        2,
    );
    for run in &test.clean {
        let of = |wanted: PipelineStage| {
            let found = run.differences.iter().find(|(stage, _)| *stage == wanted);
            right(Figure(
                found.map_or(f64::NAN, |(_, difference)| *difference),
            ))
        };
        table.add_row(vec![
            Cell::new(&run.run),
            Cell::new(names(&run.alarms)),
            of(PipelineStage::Plda),
            of(PipelineStage::Vbx),
            right(percent(run.der)),
        ]);
    }
    table
}

fn notes(test: &PipelineSelfTest) -> Vec<String> {
    let mut notes = vec![
        "every stage is fed by the captured outputs of those before it, and compared with its own: decisions must be equal, \
         PLDA vectors within 1e-9 of the largest value, responsibilities within 1e-6; the error rate is that of all stages \
         feeding each other, on the captured embeddings"
            .to_owned(),
    ];
    if !test.own.is_empty() {
        notes.push(format!(
            "no capture holds these, which are our own without a mistake: {}",
            names(&test.own)
        ));
    }
    notes
}
