//! Scores for people: aligned columns.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::sheet::Block;

/// The text; as wide as the terminal where it goes to one (`fit`), else as wide as it wants to be.
pub(super) fn render(blocks: &[Block], fit: bool) -> String {
    let mut text = String::new();
    let mut after_words = false;
    for block in blocks {
        let follows_closely = match block {
            Block::List(_) => true,
            Block::Words(_) => after_words,
            Block::Heading(_) | Block::Table(_) => false,
        };
        if !text.is_empty() && !follows_closely {
            text.push('\n');
        }
        after_words = matches!(block, Block::Words(_));
        match block {
            Block::Heading(words) | Block::Words(words) => {
                text.push_str(&lines(None, [words], fit));
            }
            Block::List(sentences) => text.push_str(&lines(Some("- "), sentences, fit)),
            Block::Table(table) => text.push_str(&columns(table, fit)),
        }
        text.push('\n');
    }
    text
}

fn empty(fit: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !fit {
        table.force_no_tty();
    }
    table
}

fn columns(from: &super::sheet::Table, fit: bool) -> String {
    let mut table = empty(fit);
    // The unit stands below the name.
    let header = from
        .header
        .iter()
        .enumerate()
        .map(|(index, name)| match name.rsplit_once(' ') {
            Some((name, unit)) if !from.text.contains(&index) => format!("{name}\n{unit}"),
            _ => (*name).to_owned(),
        });
    table.set_header(header);
    for row in &from.rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if index == 0 { (0, 1) } else { (1, 1) });
        if !from.text.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Sentences; behind a mark they go on below themselves.
fn lines<'a>(
    mark: Option<&str>,
    sentences: impl IntoIterator<Item = &'a String>,
    fit: bool,
) -> String {
    let mut table = empty(fit);
    for sentence in sentences {
        table.add_row(mark.into_iter().chain([sentence.as_str()]));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 0));
    }
    table.trim_fmt()
}
