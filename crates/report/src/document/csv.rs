//! A table as CSV: RFC 4180, but lines end in a line feed.

use super::{Column, Table};

/// The text: the header, then a line for each row.
pub fn render(table: &Table) -> String {
    let header = line(table.columns.iter().map(Column::heading));
    let rows = table.unfolded();
    let rows = rows.map(|row| line(row.cells.iter().map(|cell| cell.text().to_owned())));
    std::iter::once(header).chain(rows).collect()
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.map(quoted).collect();
    cells.join(",") + "\n"
}

/// A cell, quoted if it must be.
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}
