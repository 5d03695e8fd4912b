//! A report as a table, on a terminal and in Markdown.

use std::{collections::BTreeSet, fmt::Write};

use comfy_table::{Cell, CellAlignment, Color, Row, Table, TableStyle, presets};
use soundalike_harness::{Report, StageError, StageReport, Verdict};

/// Where the bar of R begins and ends, as powers of ten.
const BAR: (f64, f64) = (-1.0, 6.0);
/// Characters of a full bar.
const BAR_WIDTH: f64 = 14.0;
/// Stages in a row that pass, from which on they become one line.
const FOLD: usize = 3;

/// Failures of a gate that are shown.
const SHOWN_FAILURES: usize = 5;

/// For a terminal; `verbose` shows every stage.
pub(super) fn terminal(report: &Report, verbose: bool) -> String {
    let mut text = format!("{}\n\n", heading(report));
    let _ = writeln!(
        text,
        "{}\n",
        table(report, presets::NOTHING, verbose).trim_fmt()
    );
    for line in summary(report) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// For a pull request: every stage.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = format!("## {}\n\n", heading(report));
    for line in summary(report) {
        let _ = writeln!(text, "{line}  ");
    }
    let _ = writeln!(text, "\n{}", table(report, presets::ASCII_MARKDOWN, true));
    text
}

fn heading(report: &Report) -> String {
    let inputs: Vec<_> = report.inputs.iter().map(ToString::to_string).collect();
    format!(
        "{}: {} against {}, {}",
        report.model,
        report.candidate,
        report.reference,
        inputs.join(", ")
    )
}

fn table(report: &Report, style: TableStyle, all: bool) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header([
        "",
        "stage",
        "R forced",
        "",
        "R free",
        "R local",
        "max error",
        "1 - corr.",
        "verdict",
    ]);
    let mut stages = report.stages.as_slice();
    while let Some(stage) = stages.first() {
        let passing = stages
            .iter()
            .take_while(|stage| stage.verdict == Verdict::Exact)
            .count();
        let run = if all || passing < FOLD { 1 } else { passing };
        let name = match run {
            1 => stage.name.clone(),
            _ => format!("{} .. {} ({run} stages)", stage.name, stages[run - 1].name),
        };
        let mark = if report.source.contains(&stage.name) {
            ">"
        } else {
            ""
        };
        table.add_row(row(mark, name, &stages[..run]));
        stages = &stages[run..];
    }
    for column in [2, 4, 5, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The worst of `stages`, which share a verdict.
fn row(mark: &str, name: String, stages: &[StageReport]) -> Row {
    let largest = |of: &dyn Fn(&StageReport) -> Option<f64>| {
        stages
            .iter()
            .filter_map(of)
            .fold(None, |largest: Option<f64>, value| {
                Some(largest.map_or(value, |largest| {
                    if value.is_nan() {
                        value
                    } else {
                        largest.max(value)
                    }
                }))
            })
    };
    let forced = largest(&|stage| stage.teacher_forced.as_ref().map(|error| error.r));
    let free = largest(&|stage| stage.free_running.as_ref().map(|error| error.r));
    let both = |stage: &StageReport, of: &dyn Fn(&StageError) -> f64| {
        [&stage.teacher_forced, &stage.free_running]
            .into_iter()
            .flatten()
            .map(of)
            .fold(None, |largest: Option<f64>, value| {
                Some(largest.map_or(value, |x| x.max(value)))
            })
    };
    let local = largest(&|stage| both(stage, &|error| error.r_local));
    let error = largest(&|stage| stage.free_running.as_ref().map(|error| error.max_abs));
    let correlation = largest(&|stage| {
        stage
            .free_running
            .as_ref()
            .map(|error| 1.0 - error.correlation)
            .filter(|x| !x.is_nan())
    });
    let verdict = stages
        .first()
        .map_or(Verdict::NotObserved, |stage| stage.verdict);
    let color = match verdict {
        Verdict::Exact => Color::Green,
        Verdict::Precision => Color::Yellow,
        Verdict::Structural => Color::Red,
        Verdict::NotObserved => Color::Reset,
    };
    let mut cells = vec![Cell::new(mark), Cell::new(name)];
    cells.extend(
        [
            ratio(forced),
            bar(forced.or(free)),
            ratio(free),
            ratio(local),
        ]
        .map(Cell::new),
    );
    cells.extend([small(error), small(correlation.map(|x| x.max(0.0)))].map(Cell::new));
    cells.push(Cell::new(verdict).fg(color));
    cells.into()
}

/// R to three figures.
fn ratio(r: Option<f64>) -> String {
    match r {
        None => "-".to_owned(),
        Some(r) if r.is_nan() => "NaN".to_owned(),
        Some(r) if r.is_infinite() => "inf".to_owned(),
        Some(r) if r < 100.0 => format!("{r:.2}"),
        Some(r) if r < 1e5 => format!("{r:.0}"),
        Some(r) => format!("{r:.1e}"),
    }
}

fn small(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| {
        if value == 0.0 {
            "0".to_owned()
        } else {
            format!("{value:.1e}")
        }
    })
}

/// R on a logarithmic scale, from a tenth to a million.
fn bar(r: Option<f64>) -> String {
    let Some(r) = r else { return String::new() };
    let (low, high) = BAR;
    let length = if r.is_nan() {
        1.0
    } else {
        ((r.log10() - low) / (high - low)).clamp(0.0, 1.0)
    };
    "=".repeat((length * BAR_WIDTH).round() as usize)
}

/// What was found, in words.
fn summary(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    match report.source.first() {
        None => lines.push(worst(report)),
        Some(first) => lines.extend(blame(report, first)),
    }
    if let Some(output) = &report.output {
        let decided = output
            .decisions
            .as_ref()
            .map_or(String::new(), |decisions| {
                let ties = match decisions.near_ties {
                    0 => String::new(),
                    ties => format!(" ({ties} near-ties)"),
                };
                let (agree, frames) = (100.0 * decisions.frame_agreement, output.frames);
                format!(", {agree:.2} % of {frames} frames decided alike{ties}")
            });
        lines.push(format!(
            "output: correlation {}{decided}, largest error {:.1e}{}",
            near_one(output.correlation),
            output.max_abs,
            report.task.as_ref().map_or(String::new(), |task| format!(
                "; decoded, DER {:.4}",
                task.der
            ))
        ));
    }
    lines.extend(report.budget.as_ref().map(|budget| budget.text.clone()));
    if !report.missing.is_empty() {
        lines.push(format!("not observed: {}", report.missing.join(", ")));
    }
    if !report.unexpected.is_empty() {
        lines.push(format!(
            "unknown to the reference: {}",
            report.unexpected.join(", ")
        ));
    }
    match &report.gate {
        Some(gate) if gate.passed => lines.push("gate: passed".to_owned()),
        Some(gate) => {
            lines.push(format!(
                "gate: FAILED, {} limit(s) not kept",
                gate.failures.len()
            ));
            lines.extend(
                gate.failures
                    .iter()
                    .take(SHOWN_FAILURES)
                    .map(|failure| format!("  {}", failure.text)),
            );
            if let Some(more) = gate
                .failures
                .len()
                .checked_sub(SHOWN_FAILURES)
                .filter(|more| *more > 0)
            {
                lines.push(format!("  and {more} more (--format json lists them)"));
            }
            let reasons: BTreeSet<_> = gate
                .failures
                .iter()
                .map(|failure| &failure.because)
                .collect();
            lines.extend(
                reasons
                    .into_iter()
                    .map(|because| format!("because {because}")),
            );
        }
        None => {}
    }
    lines
}

/// No stage is wrong: the one that comes closest.
fn worst(report: &Report) -> String {
    let of = |stage: &StageReport| {
        let error = stage
            .teacher_forced
            .as_ref()
            .or(stage.free_running.as_ref());
        error.map(|error| (error.r, stage.name.clone()))
    };
    let worst = report
        .stages
        .iter()
        .filter_map(of)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match worst {
        Some((r, name)) => {
            format!("rounding: the largest error is {r:.2} times PyTorch's own f32, at {name}")
        }
        None => "nothing was compared".to_owned(),
    }
}

/// The stages that make the error.
fn blame(report: &Report, first: &str) -> Vec<String> {
    let Some(stage) = report.stages.iter().find(|stage| stage.name == *first) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(error) = &stage.teacher_forced {
        lines.push(format!(
            "not rounding: {first} is wrong. On the reference's own input its error is {} times PyTorch's f32 ({} in the worst channel or frame: channel {}{})",
            ratio(Some(error.r)),
            ratio(Some(error.r_local)),
            error.worst_channel,
            error.worst_frame.map_or(String::new(), |frame| format!(", frame {frame}"))
        ));
    } else if let Some(error) = &stage.free_running {
        lines.push(format!(
            "not rounding: {first} is the first stage that is wrong, its error {} times PyTorch's f32; the stages after it may be its victims",
            ratio(Some(error.r))
        ));
    }
    if report.source.len() > 1 {
        lines.push(format!("so are: {}", report.source[1..].join(", ")));
    }
    lines
}

/// A correlation near 1 as what it lacks.
fn near_one(correlation: f64) -> String {
    let lacks = 1.0 - correlation;
    if lacks < 1e-4 {
        format!("1 - {:.0e}", lacks.max(0.0))
    } else {
        format!("{correlation:.4}")
    }
}
