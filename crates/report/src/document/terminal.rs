//! A document as text with aligned columns.

use std::path::Path;

use comfy_table::{CellAlignment, Color, ContentArrangement, Table as Grid, presets};

use super::{
    Block, Cell, Column, Document, Item, Kind, Row, SCALE, Table, Tone, on_scale, printable,
};

/// The target of the text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// Stdout: if it is a terminal, the text has its width and its colours.
    pub stdout: bool,
    /// Show the rows that others sum up.
    pub unfolded: bool,
}

impl Screen {
    /// For a file, or stdout if there is none.
    #[must_use]
    pub fn of(output: Option<&Path>) -> Self {
        Self {
            stdout: output.is_none(),
            unfolded: false,
        }
    }
}

/// Characters of a full bar: two for each power of ten.
const BAR: usize = 14;

/// The document as text.
#[must_use]
pub fn render(document: &Document, screen: Screen) -> String {
    let mut text = String::new();
    if !document.title.is_empty() {
        text += &(line("", &document.title, screen) + "\n");
    }
    let mut before = None;
    for block in &document.blocks {
        let Some(lines) = lines(block, screen) else {
            continue;
        };
        if !text.is_empty() && !follows_closely(before, block) {
            text.push('\n');
        }
        text += &(lines + "\n");
        before = Some(block);
    }
    if let Some(command) = &document.command {
        text += &format!("\nreproduce: {}\n", printable(command));
    }
    text
}

/// Whether `block` follows the block above it, or the title, without an empty line.
fn follows_closely(before: Option<&Block>, block: &Block) -> bool {
    match block {
        Block::Facts(_) | Block::List(_) => !matches!(before, Some(Block::Table(_))),
        Block::Table(_) => matches!(before, Some(Block::Heading(_))),
        Block::Paragraph(_) => matches!(before, Some(Block::Paragraph(_))),
        Block::Note(_) => matches!(before, Some(Block::Note(_))),
        _ => false,
    }
}

/// A block; `None` if a terminal omits it.
fn lines(block: &Block, screen: Screen) -> Option<String> {
    match block {
        Block::Heading(text)
        | Block::Paragraph(text)
        | Block::Finding(_, text)
        | Block::Note(text) => Some(line("", text, screen)),
        Block::Facts(found) => items("", found, screen),
        Block::List(found) => items("- ", found, screen),
        Block::Table(found) => Some(table(found, screen)),
        Block::Pictures(_) | Block::PageOnly(_) => None,
    }
}

fn items(mark: &str, items: &[Item], screen: Screen) -> Option<String> {
    let indented = " ".repeat(mark.len()) + "  ";
    let mut lines = Vec::new();
    for item in items {
        lines.push(line(mark, &item.text, screen));
        let details = item.details.iter();
        lines.extend(details.map(|detail| line(&indented, detail, screen)));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A sentence, wrapped with a hanging indent behind its mark.
fn line(mark: &str, sentence: &str, screen: Screen) -> String {
    let mut grid = grid(screen);
    // An empty column would be one character wide.
    let mark = (!mark.is_empty()).then(|| mark.to_owned());
    grid.add_row(mark.into_iter().chain([printable(sentence)]));
    for column in grid.column_iter_mut() {
        column.set_padding((0, 0));
    }
    grid.trim_fmt()
}

fn grid(screen: Screen) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !screen.stdout {
        grid.force_no_tty();
    }
    grid
}

/// A table, without a line feed at the end.
#[must_use]
pub fn table(table: &Table, screen: Screen) -> String {
    let rows: Vec<&Row> = match screen.unfolded {
        true => table.unfolded().collect(),
        false => table.folded().collect(),
    };
    let marks = rows.iter().any(|row| row.marked);
    let shown = |column: &&Column| !column.page_only;
    let columns = || table.columns.iter().filter(shown);
    let mut grid = grid(screen);
    let mark = |mark: &str| marks.then(|| comfy_table::Cell::new(mark));
    let header = columns().map(|column| comfy_table::Cell::new(heading(column)));
    grid.set_header(mark("").into_iter().chain(header).collect::<Vec<_>>());
    for row in rows {
        let cells = row.cells.iter().zip(&table.columns);
        let cells = cells.filter(|(_, column)| shown(column));
        let cells = cells.map(|(found, _)| cell(found));
        let mark = mark(if row.marked { ">" } else { "" });
        grid.add_row(mark.into_iter().chain(cells).collect::<Vec<_>>());
    }
    let kinds = columns().map(|column| column.kind);
    let kinds = marks.then_some(Kind::Text).into_iter().chain(kinds);
    for ((index, column), kind) in grid.column_iter_mut().enumerate().zip(kinds) {
        column.set_padding(match index {
            0 if marks => (1, 0),
            0 => (0, 1),
            _ => (1, 1),
        });
        if kind == Kind::Number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let legends = columns().filter_map(|column| match column.kind {
        Kind::Bars([upper, lower]) => Some(format!("▀ {upper}   ▄ {lower}")),
        Kind::Text | Kind::Number => None,
    });
    let lines = std::iter::once(grid.trim_fmt()).chain(legends);
    lines.collect::<Vec<_>>().join("\n")
}

/// The name, and the unit below it.
fn heading(column: &Column) -> String {
    match column.kind {
        Kind::Bars(_) => format!("{:<7}{:>7}", SCALE.0, format!("{:.0e}", SCALE.1)),
        Kind::Text | Kind::Number => column.name.clone(),
    }
}

fn cell(cell: &Cell) -> comfy_table::Cell {
    match cell {
        Cell::Text(text) | Cell::Code(text) => comfy_table::Cell::new(printable(text)),
        Cell::Toned(tone, text) => comfy_table::Cell::new(printable(text)).fg(match tone {
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Neutral => Color::Reset,
        }),
        Cell::Bars(values) => comfy_table::Cell::new(bars(*values)),
    }
}

/// Two bars in one line, in its upper and its lower half.
fn bars(values: [Option<f64>; 2]) -> String {
    let [upper, lower] = values.map(|value| {
        let part = value.map_or(0.0, on_scale);
        (part * BAR as f64).round() as usize
    });
    let parts = (0..BAR).map(|at| match (at < upper, at < lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    });
    parts.collect()
}
