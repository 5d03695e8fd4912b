//! A table for spreadsheets: RFC 4180, lines end in a line feed.

use super::{Column, Table};

/// The text: the header, then a line for each row.
pub(crate) fn render(table: &Table) -> String {
    let header = line(table.columns.iter().map(Column::heading));
    let rows = table.unfolded();
    let rows = rows.map(|row| line(row.cells.iter().map(|cell| cell.text().to_owned())));
    std::iter::once(header).chain(rows).collect()
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.map(quoted).collect();
    cells.join(",") + "\n"
}

/// A cell, in quotes where it needs them.
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}
