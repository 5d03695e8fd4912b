//! A report for a terminal: one screen.

use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use soundalike_compare::{Figure, Report, Verdict};

use super::{
    rows::{self, Row},
    weights, words,
};

/// Characters of a full bar.
const BAR: usize = 10;

/// For a terminal; `all` shows every stage on a line of its own.
pub(super) fn render(report: &Report, all: bool) -> String {
    let mut lines = vec![words::title(report), words::inputs(report)];
    lines.extend(words::provenance(report));
    lines.extend(weights::words(report));
    lines.push(String::new());
    lines.push(table(report, all).trim_fmt());
    lines.push(String::new());
    if !report.source.is_empty() {
        lines.push(
            "> makes the error; an exact stage with a large free-running R only passes it on"
                .to_owned(),
        );
    }
    lines.push(words::finding(report));
    lines.extend(words::output(report));
    lines.extend(words::coverage(report));
    lines.extend(words::gate(report));
    lines.push(format!("reproduce: {}", report.provenance.command));
    lines.join("\n") + "\n"
}

fn table(report: &Report, all: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let r = rows::measured(report);
    let scale = format!("{:<5}{:>5}", rows::SCALE.0, "1e6");
    table.set_header([
        "",
        "stage",
        &format!("{r} forced"),
        &scale,
        &format!("{r} free"),
        &scale,
        "R local",
        "max error",
        "1 - corr",
        "verdict",
    ]);
    let rows = if all {
        report.stages.chunks(1).collect()
    } else {
        rows::folded(&report.stages)
    };
    for stages in rows {
        let row = Row::new(report, stages);
        table.add_row(cells(&row));
    }
    for column in [2, 4, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cells(row: &Row) -> Vec<Cell> {
    let color = match row.verdict {
        Verdict::Exact => Color::Green,
        Verdict::Precision => Color::Yellow,
        Verdict::Structural => Color::Red,
        Verdict::NotObserved | Verdict::NotComparable => Color::Reset,
    };
    let texts = [
        if row.source { ">" } else { "" }.to_owned(),
        row.name.clone(),
        figure(row.forced),
        bar(row.forced),
        figure(row.free),
        bar(row.free),
        figure(row.local),
        figure(row.max_abs),
        figure(row.lack),
    ];
    let mut cells: Vec<_> = texts.into_iter().map(Cell::new).collect();
    cells.push(Cell::new(row.verdict).fg(color));
    cells
}

/// A number, or that there is none.
pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| Figure(value).to_string())
}

/// R on a logarithmic scale, to an eighth of a character.
fn bar(r: Option<f64>) -> String {
    let length = r.map_or(0.0, |r| rows::on_scale(r) * BAR as f64);
    let eighths = (8.0 * length).round() as usize;
    let rest = PARTS[eighths % 8];
    "█".repeat(eighths / 8) + rest
}

/// The parts of a block, by eighths.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
