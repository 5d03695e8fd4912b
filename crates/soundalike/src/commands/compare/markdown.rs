//! A report for a pull request, a step summary or a file that is kept.

use std::fmt::Write;

use soundalike_compare::Report;

use super::{
    rows::{self, Row},
    table::figure,
    weights, words,
};

/// The report: what was found, then the stages, those that pass in one line and all of them folded away.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!(
        "## {}\n\n```sh\n{}\n```\n\n",
        escaped(&words::title(report)),
        report.provenance.command
    );
    let inputs = format!("on {}", words::inputs(report));
    list(
        &mut text,
        &[
            vec![inputs],
            words::provenance(report),
            weights::words(report),
        ]
        .concat(),
    );
    let _ = writeln!(text, "\n**{}**\n", escaped(&words::finding(report)));
    let found = [
        words::output(report),
        words::gate(report),
        words::coverage(report),
    ];
    list(&mut text, &found.concat());
    text.push('\n');
    let rows = rows::folded(&report.stages);
    table(&mut text, report, &rows);
    if rows.len() < report.stages.len() {
        let _ = writeln!(
            text,
            "\n<details><summary>all {} stages</summary>\n",
            report.stages.len()
        );
        table(
            &mut text,
            report,
            &report.stages.chunks(1).collect::<Vec<_>>(),
        );
        text.push_str("\n</details>\n");
    }
    text
}

/// One point for each line; what belongs to the line above is indented.
fn list(text: &mut String, lines: &[String]) {
    for line in lines {
        let (indent, line) = match line.strip_prefix("  ") {
            Some(detail) => ("  ", detail),
            None => ("", line.as_str()),
        };
        let _ = writeln!(text, "{indent}- {}", escaped(line));
    }
}

fn table(text: &mut String, report: &Report, rows: &[&[soundalike_compare::StageReport]]) {
    let r = rows::measured(report);
    let _ = writeln!(
        text,
        "| stage | {r} forced | {r} free | R local | max error | 1 - corr | verdict |\n|---|---:|---:|---:|---:|---:|---|"
    );
    for stages in rows {
        let row = Row::new(report, stages);
        let name = if row.source {
            format!("**> `{}`**", row.name)
        } else {
            format!("`{}`", row.name)
        };
        let figures = [row.forced, row.free, row.local, row.max_abs, row.lack].map(figure);
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            name.replace('|', "\\|"),
            figures.join(" | "),
            row.verdict
        );
    }
}

/// `text` with what means something to Markdown made to mean itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '~' | '|' | '`'
        ) {
            escaped.push('\\');
        }
        escaped.push(if c.is_control() { '\u{fffd}' } else { c });
    }
    escaped
}
