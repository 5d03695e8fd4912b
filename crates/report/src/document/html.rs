//! A document as one self-contained HTML page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Block, Cell, Column, Document, Item, Kind, Row, Table, Tone, on_scale, printable};

const STYLE: &str = include_str!("html.css");
/// A table of more rows is folded at first.
const UNFOLDED: usize = 40;
/// Marks on the scale of bars. `html.css` draws their lines and the dark one at 4.
const MARKS: [(f64, &str); 4] = [(1.0, "1"), (1e2, "100"), (1e4, "1e4"), (1e6, "1e6")];

/// The document as one page.
#[must_use]
pub fn render(document: &Document) -> String {
    let title = printable(&document.title);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @if let Some(command) = &document.command { pre { (printable(command)) } }
                @for part in &document.blocks { (block(part)) }
            }
        }
    };
    page.into_string() + "\n"
}

fn block(part: &Block) -> Markup {
    html! {
        @match part {
            Block::Heading(text) => h2 { (printable(text)) },
            Block::Paragraph(text) => p { (printable(text)) },
            Block::Finding(tone, text) => p.finding.(class(*tone)) { (printable(text)) },
            Block::Note(text) => p.soft { (printable(text)) },
            Block::Facts(found) => ul.facts { (items(found)) },
            Block::List(found) => ul { (items(found)) },
            Block::Table(found) => (table(found)),
            Block::Pictures(pictures) => div.pictures {
                @for picture in pictures { (picture) }
            },
            Block::PageOnly(parts) => @for part in parts { (block(part)) },
        }
    }
}

fn items(items: &[Item]) -> Markup {
    html! {
        @for item in items {
            li {
                (printable(&item.text))
                @if !item.details.is_empty() {
                    ul { @for detail in &item.details { li { (printable(detail)) } } }
                }
            }
        }
    }
}

/// A table; a checkbox folds the rows that others sum up.
fn table(table: &Table) -> Markup {
    let folded = table.is_folded();
    let legends = table.columns.iter().filter_map(|column| match column.kind {
        Kind::Bars(legends) => Some(legends),
        Kind::Text | Kind::Number => None,
    });
    html! {
        @for [upper, lower] in legends {
            p.soft.legend { i.upper {} (upper) i.lower {} (lower) ". The dark line is at 4." }
        }
        div.wide {
            @if folded {
                p { label {
                    input.fold type="checkbox" checked[table.unfolded().count() > UNFOLDED];
                    " fold rows that pass"
                } }
            }
            table {
                tr { @for column in &table.columns { th class=[class_of(column)] { (heading(column)) } } }
                @for found in &table.rows {
                    @if found.parts.is_empty() {
                        (row(table, found, "single"))
                    } @else {
                        @if !found.cells.is_empty() { (row(table, found, "sum")) }
                        @for part in &found.parts { (row(table, part, "part")) }
                    }
                }
            }
        }
    }
}

fn class_of(column: &Column) -> Option<&'static str> {
    (column.kind == Kind::Text).then_some("text")
}

/// The name, or the marks of the scale.
fn heading(column: &Column) -> Markup {
    html! {
        @if let Kind::Bars(_) = column.kind {
            div.scale {
                @for (mark, text) in MARKS {
                    span style=(format!("left:{:.1}%", 100.0 * on_scale(mark))) { (text) }
                }
            }
        } @else {
            (column.heading())
        }
    }
}

fn row(table: &Table, row: &Row, kind: &str) -> Markup {
    html! {
        tr.(kind).marked[row.marked] {
            @for (index, (found, column)) in row.cells.iter().zip(&table.columns).enumerate() {
                td class=[class_of(column)] {
                    @if row.marked && index == 0 { "> " }
                    (cell(found))
                }
            }
        }
    }
}

fn cell(cell: &Cell) -> Markup {
    let width = |x: f64| format!("width:{:.1}%", 100.0 * on_scale(x));
    html! {
        @match cell {
            Cell::Text(text) => (printable(text)),
            Cell::Code(text) => code { (printable(text)) },
            Cell::Toned(tone, text) => span.(class(*tone)) { (printable(text)) },
            Cell::Bars([upper, lower]) => div.track {
                @if let Some(x) = upper { i.upper style=(width(*x)) {} }
                @if let Some(x) = lower { i.lower style=(width(*x)) {} }
            },
        }
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
        Tone::Neutral => "neutral",
    }
}
