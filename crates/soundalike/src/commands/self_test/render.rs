//! A self-test for people.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Row, Table, TableStyle, presets};
use soundalike_compare::{Figure, Propagation, Verdict};
use soundalike_selftest::{Blindness, Naming, OrdinaryGate, SelfTest, Trial, TrialOutcome};

use crate::commands::compare::words::{near_one, percent};

/// Of 53 faults, those that each of the ordinary gates let pass when they were put into PyTorch itself, in place of our
/// engine: segmentation-3.0 of the official package with its real weights, worst of three windows of ten seconds of real
/// speech. Typed in from that measurement, which was made once, before there was a self-test; nothing here makes it anew.
const MEASURED_BEFORE: [usize; OrdinaryGate::ALL.len()] = [12, 20, 21, 18, 12, 24, 16];
/// Of the same 53, those that R let pass.
const MISSED_BY_R_BEFORE: usize = 3;

/// For a terminal.
pub(super) fn terminal(test: &SelfTest) -> String {
    render(test, &Style::TERMINAL)
}

/// For a file that is kept.
pub(super) fn markdown(test: &SelfTest) -> String {
    format!(
        "# Would it have noticed?\n\n```sh\n{}\n```\n\n{}",
        test.provenance.command,
        render(test, &Style::MARKDOWN)
    )
}

/// How headings, points and tables look.
pub(super) struct Style {
    pub(super) table: TableStyle,
    pub(super) heading: &'static str,
    pub(super) point: &'static str,
}

impl Style {
    pub(super) const TERMINAL: Self = Self {
        table: presets::NOTHING,
        heading: "",
        point: "  ",
    };
    pub(super) const MARKDOWN: Self = Self {
        table: presets::ASCII_MARKDOWN,
        heading: "## ",
        point: "- ",
    };

    /// A table without white space at the ends of its lines.
    pub(super) fn lines(table: &Table) -> String {
        let mut lines = String::new();
        for line in table.to_string().lines() {
            let _ = writeln!(lines, "{}", line.trim_end());
        }
        lines
    }

    /// One point a line.
    pub(super) fn points(&self, lines: impl IntoIterator<Item = String>) -> String {
        let points = lines.into_iter();
        points
            .map(|line| format!("{}{line}\n", self.point))
            .collect()
    }
}

fn render(test: &SelfTest, style: &Style) -> String {
    let mut text = String::new();
    let inputs: Vec<_> = test.inputs.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        text,
        "{}: {} faults, one at a time, against {} on {}\n\n{}\n",
        test.model,
        test.faults().count(),
        test.reference,
        inputs.join(", "),
        totals(test).join("\n")
    );
    let mut section = |heading: &str, body: String| {
        if !body.is_empty() {
            let _ = writeln!(text, "{}{heading}\n\n{}", style.heading, body.trim_end());
            text.push('\n');
        }
    };
    let (table, points) = (
        |table: Table| Style::lines(&table),
        |lines: Vec<String>| style.points(lines),
    );
    section(
        "What ordinary comparisons miss",
        table(ordinary(test, &style.table)),
    );
    section("Faults", table(faults(test, &style.table)));
    section("Not located, or not named", points(shortcomings(test)));
    section("Below the floor", points(below(test)));
    section(
        "Void at the output, and flagged where they are",
        points(void(test)),
    );
    section("No faults at all", points(equivalent(test)));
    section("Without a fault", table(clean(test, &style.table)));
    section(
        "What errors come to at the output",
        style.points(budget(test)),
    );
    section("What an input hides", points(blindness(&test.blindness)));
    section("Left out", points(test.left_out.clone()));
    text.truncate(text.trim_end().len());
    text + "\n"
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
    let alarms = test
        .clean
        .iter()
        .filter(|run| !run.alarms.is_empty())
        .count();
    let equivalent: Vec<_> = test
        .trials
        .iter()
        .filter(|trial| trial.fault.equivalent.is_some())
        .collect();
    let false_alarms = equivalent
        .iter()
        .filter(|trial| trial.outcome == TrialOutcome::FalseAlarm)
        .count();
    lines.push(format!(
        "False alarms: {alarms} in {} runs without a fault, {false_alarms} in {} with a change that is none.",
        test.clean.len(),
        equivalent.len()
    ));
    lines
}

pub(super) fn header(table: &mut Table, names: &[&str], left: usize) {
    let cells = names.iter().enumerate().map(|(index, name)| {
        let alignment = if index < left {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        };
        Cell::new(name).set_alignment(alignment)
    });
    table.set_header(Row::from(cells.collect::<Vec<_>>()));
}

pub(super) fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

fn ordinary(test: &SelfTest, style: &TableStyle) -> Table {
    let mut table = new_table(style);
    // They were a segmentation network's.
    let segmentation = test
        .faults()
        .any(|trial| trial.ordinary.frame_agreement.is_some());
    let of_53 = |missed: usize| match segmentation {
        true => right(format!("{missed} of 53")),
        false => right("-"),
    };
    header(
        &mut table,
        &[
            "gate",
            "faults that it misses",
            "measured before, on PyTorch",
        ],
        1,
    );
    for (gate, before) in OrdinaryGate::ALL.into_iter().zip(MEASURED_BEFORE) {
        let judged = test.count(|trial| trial.ordinary.passes(gate).is_some());
        if judged == 0 {
            continue;
        }
        let missed = test.count(|trial| trial.ordinary.passes(gate) == Some(true));
        let all = test.faults().count();
        table.add_row(vec![
            Cell::new(gate.text()),
            right(format!("{missed} of {all}")),
            of_53(before),
        ]);
    }
    let missed = test.count(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let all = test.faults().count();
    table.add_row(vec![
        Cell::new("R and R_local, every stage"),
        right(format!("{missed} of {all}")),
        of_53(MISSED_BY_R_BEFORE),
    ]);
    table
}

pub(super) fn new_table(style: &TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(*style);
    table
}

fn faults(test: &SelfTest, style: &TableStyle) -> Table {
    let mut table = new_table(style);
    let mut headings = vec![
        "fault",
        "blamed",
        "named",
        "R",
        "R local",
        "frames alike",
        "1 - corr",
        "1 - cosine",
        "DER",
    ];
    if test.budget.is_some() {
        headings.extend(["error at the output", "predicted"]);
    }
    header(&mut table, &headings, 3);
    for trial in test.faults() {
        let lack = |value: Option<f64>| value.map_or("-".to_owned(), lacks);
        let rate = |value: Option<f64>| value.map_or("-".to_owned(), percent);
        let mut row = vec![
            Cell::new(trial.fault.id),
            Cell::new(blamed(trial)),
            Cell::new(named(trial)),
            right(Figure(trial.r)),
            right(Figure(trial.r_local)),
            right(rate(trial.ordinary.frame_agreement)),
            right(lack(trial.ordinary.correlation)),
            right(lack(trial.ordinary.cosine)),
            right(rate(trial.ordinary.der)),
        ];
        if test.budget.is_some() {
            let figure = |of: fn(&Propagation) -> f64| {
                let found = trial.propagation.as_ref().map(|found| Figure(of(found)));
                right(found.map_or("-".to_owned(), |found| found.to_string()))
            };
            row.extend([
                figure(|found| found.observed),
                figure(|found| found.predicted),
            ]);
        }
        table.add_row(row);
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
            let signature = undiagnosed
                .signature
                .as_ref()
                .map(|signature| format!("; {signature}"));
            let expected = match trial.naming {
                Naming::Unknown => "as it should be",
                _ => "although it is known",
            };
            Some(format!(
                "{} ({expected}){}",
                undiagnosed.reason,
                signature.unwrap_or_default()
            ))
        }
    };
    let trials = test
        .faults()
        .filter_map(|trial| Some(format!("{}: {}", trial.fault.id, words(trial)?)));
    trials.collect()
}

fn below(test: &SelfTest) -> Vec<String> {
    let trials = test
        .faults()
        .filter(|trial| trial.outcome == TrialOutcome::BelowTheFloor);
    let words = |trial: &Trial| {
        format!(
            "{}: {}; R {}, R local {}",
            trial.fault.id,
            trial.fault.text,
            Figure(trial.r),
            Figure(trial.r_local)
        )
    };
    trials.map(words).collect()
}

fn void(test: &SelfTest) -> Vec<String> {
    let trials = test.faults().filter_map(|trial| {
        let proof = trial.fault.void?;
        let correlation = trial
            .ordinary
            .correlation
            .map_or(String::new(), |correlation| {
                format!(" (output correlation {})", near_one(correlation))
            });
        Some(format!("{}: {proof}{correlation}", trial.fault.id))
    });
    trials.collect()
}

fn equivalent(test: &SelfTest) -> Vec<String> {
    let trials = test.trials.iter().filter_map(|trial| {
        let proof = trial.fault.equivalent?;
        Some(format!(
            "{}: {proof}; R {}",
            trial.fault.id,
            Figure(trial.r)
        ))
    });
    trials.collect()
}

fn clean(test: &SelfTest, style: &TableStyle) -> Table {
    let mut table = new_table(style);
    header(
        &mut table,
        &["run", "blamed", "largest R", "largest R local"],
        2,
    );
    for run in &test.clean {
        let blamed = if run.alarms.is_empty() {
            "none".to_owned()
        } else {
            run.alarms.join(", ")
        };
        table.add_row(vec![
            Cell::new(&run.what),
            Cell::new(blamed),
            right(Figure(run.r)),
            right(Figure(run.r_local)),
        ]);
    }
    table
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
        let hidden = blind.hidden.iter().map(|hidden| {
            let shown = match hidden.shown_by.as_slice() {
                [] => "no input here shows it".to_owned(),
                inputs => format!("shown by {}", inputs.join(", ")),
            };
            format!("{} (R {}; {shown})", hidden.fault, Figure(hidden.r))
        });
        let hidden: Vec<_> = hidden.collect();
        format!(
            "{}: {} of {} faults leave all decisions as they are; {} stay below the bars{}{}",
            blind.input,
            blind.same_decisions.len(),
            blind.faults,
            hidden.len(),
            if hidden.is_empty() { "" } else { ": " },
            hidden.join(", ")
        )
    };
    inputs.iter().map(words).collect()
}
