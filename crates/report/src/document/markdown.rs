//! A document in Markdown with GitHub's tables.

use std::fmt::Write;

use super::{Block, Cell, Column, Document, Item, Kind, Row, Table, printable};

/// Renders the document; `level` is that of the title, 1 in a file and 2 within a text.
#[must_use]
pub fn render(document: &Document, level: usize) -> String {
    let title = escaped(&document.title);
    let mut parts = vec![format!("{} {title}\n", "#".repeat(level))];
    if let Some(command) = &document.command {
        let command = printable(command);
        let fence = "`".repeat(longest_run(&command).max(2) + 1);
        parts.push(format!("{fence}sh\n{command}\n{fence}\n"));
    }
    parts.extend(document.blocks.iter().filter_map(|part| block(part, level)));
    parts.join("\n")
}

/// A block; `None` if Markdown omits it.
fn block(block: &Block, level: usize) -> Option<String> {
    Some(match block {
        Block::Heading(text) => format!("{} {}\n", "#".repeat(level + 1), escaped(text)),
        Block::Paragraph(text) | Block::Note(text) => format!("{}\n", escaped(text)),
        Block::Finding(_, text) => format!("**{}**\n", escaped(text)),
        Block::Facts(items) | Block::List(items) => items.iter().map(item).collect(),
        Block::Table(found) => table(found),
        Block::Pictures(_) | Block::PageOnly(_) => return None,
    })
}

fn item(item: &Item) -> String {
    let mut text = format!("- {}\n", escaped(&item.text));
    for detail in &item.details {
        text += &format!("  - {}\n", escaped(detail));
    }
    text
}

/// A table; the rows that others sum up are folded below it.
fn table(table: &Table) -> String {
    let mut text = rows(table, table.folded());
    if table.is_folded() {
        let _ = write!(
            text,
            "\n<details><summary>all {} rows</summary>\n\n{}\n</details>\n",
            table.unfolded().count(),
            rows(table, table.unfolded())
        );
    }
    text
}

fn rows<'a>(table: &Table, rows: impl Iterator<Item = &'a Row>) -> String {
    let shown = |column: &Column| !column.page_only && !matches!(column.kind, Kind::Bars(_));
    let columns = table.columns.iter().filter(|column| shown(column));
    let rules = columns.clone().map(|column| match column.kind {
        Kind::Number => "---:",
        Kind::Text | Kind::Bars(_) => "---",
    });
    let mut text = line(columns.clone().map(|column| escaped(&column.heading())));
    let _ = writeln!(text, "|{}|", rules.collect::<Vec<_>>().join("|"));
    for row in rows {
        let cells = row.cells.iter().zip(&table.columns);
        let cells = cells.filter(|(_, column)| shown(column));
        let mut cells: Vec<_> = cells.map(|(found, _)| cell(found)).collect();
        if let Some(first) = cells.first_mut().filter(|_| row.marked) {
            *first = format!("**> {first}**");
        }
        text += &line(cells.into_iter());
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Toned(_, text) => escaped(text),
        Cell::Code(text) => code(text),
        Cell::Bars(_) => String::new(),
    }
}

/// `text` as code, or as text if it holds a character that cannot be escaped in code.
fn code(text: &str) -> String {
    if text.is_empty() || text.contains(['`', '|', '\\']) {
        escaped(text)
    } else {
        format!("`{}`", printable(text))
    }
}

/// The most backticks in a row.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}

/// `text` with a backslash before each character that Markdown interprets.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let text = text.trim();
    // A number and a full stop at the start would begin a list.
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut escaped = String::new();
    for (at, c) in text.char_indices() {
        let next = text[at + c.len_utf8()..].chars().next();
        let special = match c {
            '\\' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '~' | '|' | '`' | '$' => true,
            // `&lt;`
            '&' => next.is_some_and(|next| next == '#' || next.is_alphabetic()),
            '-' | '+' => at == 0 && next.is_some_and(|next| next == ' ' || next == c),
            '.' | ')' => at == number && number > 0 && next.is_none_or(|next| next == ' '),
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
