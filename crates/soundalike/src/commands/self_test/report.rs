//! A self-test as a document.

use soundalike_compare::{Figure, Propagation, Verdict};
use soundalike_report::{
    document::{Block, Document, Table, Tone},
    near_one, percent,
};
use soundalike_selftest::{
    BaselineGate, Identification, InsensitiveInput, SelfTest, Trial, TrialOutcome,
};

/// The result as a document: the counts, then the details.
pub(super) fn document(test: &SelfTest) -> Document {
    let mut document = Document::new(
        "Self-test: are faults detected, located and identified?",
        &test.provenance.command,
    );
    let inputs: Vec<_> = test.inputs.iter().map(ToString::to_string).collect();
    let (all, inputs) = (test.faults().count(), inputs.join(", "));
    let (model, reference) = (&test.model, &test.reference);
    document.paragraph(format!(
        "{model}: {all} faults, one at a time, against {reference} on {inputs}"
    ));
    if all == 0 && test.paths.is_empty() {
        let words = "INCONCLUSIVE: no fault was injected.".to_owned();
        document.blocks.push(Block::Finding(Tone::Neutral, words));
    }
    document.facts(totals(test));
    document.table("Faults that baseline metrics miss", baseline_metrics(test));
    document.table("Faults", faults(test));
    document.table("Faults of the path that `diarize` takes", paths(test));
    document.list("Not located, or not identified", shortcomings(test));
    document.list("Below the rounding floor", below(test));
    document.list("Located, but without effect at the output", void(test));
    document.list("Equivalent changes, which are no faults", equivalent(test));
    document.table("Clean runs", clean(test));
    document.list("Errors at the output", budget(test));
    document.list("Insensitive inputs", insensitive_inputs(&test.blindness));
    document.list("Left out", test.left_out.iter().cloned());
    document
}

fn totals(test: &SelfTest) -> Vec<String> {
    let located = test.count(|trial| trial.outcome == TrialOutcome::Located);
    let detected = test.count(|trial| trial.outcome.detected());
    let below = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let mut lines = vec![format!(
        "Located at their stage: {located} of {detected} that exceed the limits; {below} below the rounding floor."
    )];
    let tried = test.count(|trial| trial.natively.is_some() && trial.outcome.detected());
    let found = test.count(|trial| trial.natively == Some(true) && trial.outcome.detected());
    if tried > 0 {
        lines.push(format!(
            "Detected with the kernels of this machine too: {found} of {tried} faults of weights."
        ));
    }
    let known =
        test.count(|trial| trial.fault.cause.is_some() && trial.naming != Identification::NotTried);
    let of = |naming: Identification| test.count(|trial| trial.naming == naming);
    if known > 0 {
        lines.push(format!(
            "Identified: {} of {known}; mistaken for another: {}; without a diagnosis, as expected: {} of {}.",
            of(Identification::Right),
            of(Identification::Wrong),
            of(Identification::Unknown),
            test.count(|trial| trial.fault.cause.is_none() && trial.naming != Identification::NotTried),
        ));
    } else {
        lines.push("Identified: not tried, this build has no libtorch.".to_owned());
    }
    if !test.paths.is_empty() {
        let noticed = test.paths.iter().filter(|trial| trial.noticed().is_some());
        lines.push(format!(
            "Noticed on the path that `diarize` takes: {} of {} faults that only batches, long windows or the end of a run have.",
            noticed.count(),
            test.paths.len()
        ));
    }
    let alarms = test.clean.iter().filter(|run| !run.alarms.is_empty());
    let trials = test.trials.iter();
    let equivalent = trials.filter(|trial| trial.fault.equivalent.is_some());
    let is_alarm = |trial: &&Trial| trial.outcome == TrialOutcome::FalseAlarm;
    lines.push(format!(
        "False alarms: {} in {} clean runs, {} in {} runs with an equivalent change.",
        alarms.count(),
        test.clean.len(),
        equivalent.clone().filter(is_alarm).count(),
        equivalent.count()
    ));
    lines
}

fn baseline_metrics(test: &SelfTest) -> Table {
    let mut table = Table::new("metric | >missed faults");
    let all = test.faults().count();
    for gate in BaselineGate::ALL {
        if test.count(|trial| trial.ordinary.passes(gate).is_some()) > 0 {
            let missed = test.count(|trial| trial.ordinary.passes(gate) == Some(true));
            table.row([gate.text().to_owned(), format!("{missed} of {all}")]);
        }
    }
    let missed = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let ours = "R and R_local at every stage".to_owned();
    table.row([ours, format!("{missed} of {all}")]);
    table
}

fn faults(test: &SelfTest) -> Table {
    let propagated = match test.budget {
        Some(_) => " | >error at the output | >predicted",
        None => "",
    };
    let numbers = ">R | >R local | >same decision | >1 - corr | >1 - cosine | >DER";
    let mut table = Table::new(&format!(
        "fault | located at | identified | {numbers}{propagated}"
    ));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for trial in test.faults() {
        let ordinary = &trial.ordinary;
        let mut row = vec![
            trial.fault.id.to_owned(),
            located_at(trial),
            identified(trial),
            Figure(trial.r).to_string(),
            Figure(trial.r_local).to_string(),
            or_none(ordinary.frame_agreement.map(percent)),
            or_none(ordinary.correlation.map(from_one)),
            or_none(ordinary.cosine.map(from_one)),
            or_none(ordinary.der.map(percent)),
        ];
        if test.budget.is_some() {
            let figure = |of: fn(&Propagation) -> f64| {
                let found = trial.propagation.as_ref();
                or_none(found.map(|found| Figure(of(found)).to_string()))
            };
            row.push(figure(|found| found.observed));
            row.push(figure(|found| found.predicted));
        }
        table.row(row);
    }
    table
}

fn paths(test: &SelfTest) -> Table {
    let mut table = Table::new("fault | noticed by | >wrong outputs | >of | first");
    for trial in &test.paths {
        let (by, wrong, of, first) = match trial.noticed() {
            None => ("nothing", 0, 0, "-"),
            Some(check) => {
                let first = check.first.as_deref().unwrap_or("-");
                (check.path.name(), check.wrong, check.outputs, first)
            }
        };
        let [by, first] = [by, first].map(str::to_owned);
        let id = trial.fault.id.to_owned();
        table.row([id, by, wrong.to_string(), of.to_string(), first]);
    }
    table
}

/// 1 - `value`.
fn from_one(value: f64) -> String {
    Figure((1.0 - value).max(0.0)).to_string()
}

fn located_at(trial: &Trial) -> String {
    match (&trial.outcome, trial.source.as_slice()) {
        (TrialOutcome::Failed { .. }, _) => "the network fails".to_owned(),
        (_, []) => match trial.verdict() {
            Verdict::Precision => "none (precision)".to_owned(),
            _ => "none".to_owned(),
        },
        (_, [one]) => one.clone(),
        (_, [first, rest @ ..]) => format!("{first} and {} more", rest.len()),
    }
}

fn identified(trial: &Trial) -> String {
    match (trial.naming, &trial.diagnosis) {
        (Identification::NotTried, _) => "-".to_owned(),
        (Identification::Right, Some(diagnosis)) => format!("yes (R {})", Figure(diagnosis.r)),
        (_, Some(diagnosis)) => format!("as {}", diagnosis.cause),
        _ => "unknown".to_owned(),
    }
}

fn shortcomings(test: &SelfTest) -> Vec<String> {
    let words = |trial: &Trial| match &trial.outcome {
        outcome
            if trial
                .natively
                .is_some_and(|found| found != outcome.detected()) =>
        {
            Some(
                "found with portable kernels or with those of this machine, but not with both"
                    .to_owned(),
            )
        }
        TrialOutcome::Misplaced { strays } => {
            Some(format!("flagged as well: {}", strays.join(", ")))
        }
        TrialOutcome::Failed { message } => Some(format!("the network fails: {message}")),
        _ => {
            let undiagnosed = trial.undiagnosed.as_ref()?;
            let expected = match trial.naming {
                Identification::Unknown => "as expected",
                _ => "although the fault is known",
            };
            let mut words = format!("{} ({expected})", undiagnosed.reason);
            if let Some(signature) = &undiagnosed.signature {
                words += &format!("; {signature}");
            }
            Some(words)
        }
    };
    lines(test.faults(), words)
}

/// The fault and the `words` of each of `trials` that has words.
fn lines<'a>(
    trials: impl Iterator<Item = &'a Trial>,
    words: impl Fn(&Trial) -> Option<String>,
) -> Vec<String> {
    trials
        .filter_map(|trial| Some(format!("{}: {}", trial.fault.id, words(trial)?)))
        .collect()
}

fn below(test: &SelfTest) -> Vec<String> {
    let below = |trial: &&Trial| trial.outcome == TrialOutcome::BelowTheFloor;
    lines(test.faults().filter(below), |trial| {
        let [r, local] = [trial.r, trial.r_local].map(Figure);
        Some(format!("{}; R {r}, R local {local}", trial.fault.text))
    })
}

fn void(test: &SelfTest) -> Vec<String> {
    lines(test.faults(), |trial| {
        let mut words = trial.fault.void?.to_owned();
        if let Some(correlation) = trial.ordinary.correlation {
            words += &format!(" (output correlation {})", near_one(correlation));
        }
        Some(words)
    })
}

fn equivalent(test: &SelfTest) -> Vec<String> {
    lines(test.trials.iter(), |trial| {
        let proof = trial.fault.equivalent?;
        Some(format!("{proof}; R {}", Figure(trial.r)))
    })
}

fn clean(test: &SelfTest) -> Table {
    let rows = test.clean.iter().map(|run| {
        let alarms = match run.alarms.as_slice() {
            [] => "none".to_owned(),
            alarms => alarms.join(", "),
        };
        let [r, local] = [run.r, run.r_local].map(|r| Figure(r).to_string());
        [run.what.clone(), alarms, r, local]
    });
    Table::of("run | false alarms | >largest R | >largest R local", rows)
}

/// Whether rounding explains the error of the clean run, and how well its gains predict the errors of faults.
fn budget(test: &SelfTest) -> Vec<String> {
    let Some(budget) = &test.budget else {
        return Vec::new();
    };
    let ratios = || {
        let found = test.faults().filter_map(|trial| trial.propagation);
        found.map(|found| found.predicted / found.observed)
    };
    let close = ratios().filter(|ratio| (1.0 / CLOSE..=CLOSE).contains(ratio));
    vec![
        format!("clean run: {}", budget.text),
        format!(
            "for {1} of {0} faults, the error at the output is within a factor of {CLOSE} of the prediction by the gains of the \
             clean run, which were measured with errors as small as rounding; the others are beyond the first order",
            ratios().count(),
            close.count()
        ),
    ]
}

/// Largest factor between an error and a good prediction: gains depend on direction.
const CLOSE: f64 = 10.0;

fn insensitive_inputs(inputs: &[InsensitiveInput]) -> Vec<String> {
    let words = |blind: &InsensitiveInput| {
        let mut words = format!(
            "{}: {} of {} faults change no decision; {} stay below the limits",
            blind.input,
            blind.same_decisions.len(),
            blind.faults,
            blind.hidden.len()
        );
        for (index, hidden) in blind.hidden.iter().enumerate() {
            let shown = match hidden.shown_by.as_slice() {
                [] => "no input shows it".to_owned(),
                inputs => format!("shown by {}", inputs.join(", ")),
            };
            let separator = if index == 0 { ": " } else { ", " };
            let (fault, r) = (&hidden.fault, Figure(hidden.r));
            words += &format!("{separator}{fault} (R {r}; {shown})");
        }
        words
    };
    inputs.iter().map(words).collect()
}
