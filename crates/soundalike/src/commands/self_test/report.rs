//! A self-test as a document.

use soundalike_compare::{Figure, Propagation, Verdict};
use soundalike_selftest::{Blindness, Naming, OrdinaryGate, SelfTest, Trial, TrialOutcome};

use crate::commands::compare::words::{near_one, percent};
use crate::document::{Block, Document, Table, Tone};

/// The counts first, then what they are made of.
pub(super) fn document(test: &SelfTest) -> Document {
    let mut document = Document::new("Would it have noticed?", &test.provenance.command);
    let inputs: Vec<_> = test.inputs.iter().map(ToString::to_string).collect();
    let (all, inputs) = (test.faults().count(), inputs.join(", "));
    let (model, reference) = (&test.model, &test.reference);
    document.paragraph(format!(
        "{model}: {all} faults, one at a time, against {reference} on {inputs}"
    ));
    if all == 0 {
        let words = "INCONCLUSIVE: no fault was tried.".to_owned();
        document.blocks.push(Block::Finding(Tone::Neutral, words));
    }
    document.facts(totals(test));
    document.table("What ordinary comparisons miss", ordinary(test));
    document.table("Faults", faults(test));
    document.list("Not located, or not named", shortcomings(test));
    document.list("Below the floor", below(test));
    document.list("Void at the output, and flagged where they are", void(test));
    document.list("No faults at all", equivalent(test));
    document.table("Without a fault", clean(test));
    document.list("What errors come to at the output", budget(test));
    document.list("What an input hides", blindness(&test.blindness));
    document.list("Left out", test.left_out.iter().cloned());
    document
}

fn totals(test: &SelfTest) -> Vec<String> {
    let located = test.count(|trial| trial.outcome == TrialOutcome::Located);
    let detected = test.count(|trial| trial.outcome.detected());
    let below = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let mut lines = vec![format!(
        "Located to the stage: {located} of {detected} that reach the bars; {below} below the floor."
    )];
    let known = test.count(|trial| trial.fault.cause.is_some() && trial.naming != Naming::NotTried);
    let of = |naming: Naming| test.count(|trial| trial.naming == naming);
    if known > 0 {
        lines.push(format!(
            "Called by their name: {} of {known}; taken for another: {}; unknown, as they should be: {} of {}.",
            of(Naming::Right),
            of(Naming::Wrong),
            of(Naming::Unknown),
            test.count(|trial| trial.fault.cause.is_none() && trial.naming != Naming::NotTried),
        ));
    } else {
        lines.push("Causes: not tried, this build has no libtorch.".to_owned());
    }
    let alarms = test.clean.iter().filter(|run| !run.alarms.is_empty());
    let trials = test.trials.iter();
    let equivalent = trials.filter(|trial| trial.fault.equivalent.is_some());
    let is_alarm = |trial: &&Trial| trial.outcome == TrialOutcome::FalseAlarm;
    lines.push(format!(
        "False alarms: {} in {} runs without a fault, {} in {} with a change that is none.",
        alarms.count(),
        test.clean.len(),
        equivalent.clone().filter(is_alarm).count(),
        equivalent.count()
    ));
    lines
}

fn ordinary(test: &SelfTest) -> Table {
    let mut table = Table::new("gate | >faults that it misses");
    let all = test.faults().count();
    for gate in OrdinaryGate::ALL {
        if test.count(|trial| trial.ordinary.passes(gate).is_some()) > 0 {
            let missed = test.count(|trial| trial.ordinary.passes(gate) == Some(true));
            table.row([gate.text().to_owned(), format!("{missed} of {all}")]);
        }
    }
    let missed = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let ours = "R and R_local, every stage".to_owned();
    table.row([ours, format!("{missed} of {all}")]);
    table
}

fn faults(test: &SelfTest) -> Table {
    let propagated = match test.budget {
        Some(_) => " | >error at the output | >predicted",
        None => "",
    };
    let numbers = ">R | >R local | >frames alike | >1 - corr | >1 - cosine | >DER";
    let mut table = Table::new(&format!("fault | blamed | named | {numbers}{propagated}"));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for trial in test.faults() {
        let ordinary = &trial.ordinary;
        let mut row = vec![
            trial.fault.id.to_owned(),
            blamed(trial),
            named(trial),
            Figure(trial.r).to_string(),
            Figure(trial.r_local).to_string(),
            or_none(ordinary.frame_agreement.map(percent)),
            or_none(ordinary.correlation.map(lacks)),
            or_none(ordinary.cosine.map(lacks)),
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

/// What a correlation lacks of 1.
fn lacks(value: f64) -> String {
    Figure((1.0 - value).max(0.0)).to_string()
}

fn blamed(trial: &Trial) -> String {
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

fn named(trial: &Trial) -> String {
    match (trial.naming, &trial.diagnosis) {
        (Naming::NotTried, _) => "-".to_owned(),
        (Naming::Right, Some(diagnosis)) => format!("yes (R {})", Figure(diagnosis.r)),
        (_, Some(diagnosis)) => format!("as {}", diagnosis.cause),
        _ => "unknown".to_owned(),
    }
}

fn shortcomings(test: &SelfTest) -> Vec<String> {
    let words = |trial: &Trial| match &trial.outcome {
        TrialOutcome::Misplaced { strays } => {
            Some(format!("blamed as well: {}", strays.join(", ")))
        }
        TrialOutcome::Failed { message } => Some(format!("the network fails: {message}")),
        _ => {
            let undiagnosed = trial.undiagnosed.as_ref()?;
            let expected = match trial.naming {
                Naming::Unknown => "as it should be",
                _ => "although it is known",
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

/// Of each of `trials` its fault and the `words` about it, if there are any.
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
    Table::of("run | blamed | >largest R | >largest R local", rows)
}

/// Whether rounding explains the error without a fault, and how well gains tell that of one.
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
        format!("without a fault, {}", budget.text),
        format!(
            "of {} faults, {} have an error at the output within {CLOSE} times what the gains of the clean run predict, which \
             were measured with errors as small as rounding; the others are beyond the first order",
            ratios().count(),
            close.count()
        ),
    ]
}

/// Times by which an error may be off and is still told well: gains depend on direction.
const CLOSE: f64 = 10.0;

fn blindness(inputs: &[Blindness]) -> Vec<String> {
    let words = |blind: &Blindness| {
        let mut words = format!(
            "{}: {} of {} faults leave all decisions as they are; {} stay below the bars",
            blind.input,
            blind.same_decisions.len(),
            blind.faults,
            blind.hidden.len()
        );
        for (index, hidden) in blind.hidden.iter().enumerate() {
            let shown = match hidden.shown_by.as_slice() {
                [] => "no input here shows it".to_owned(),
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
