//! A report as a list of blocks, and the renderers that all reports share.
//!
//! A command turns its result into a [`Document`]; [`terminal`], [`markdown`] and [`html`] render it, and [`csv`] renders a
//! single [`Table`]. JSON is written by serde from the result. Text in a document is plain text: only the renderers escape
//! it.

pub mod csv;
pub mod html;
pub mod markdown;
pub mod picture;
pub mod terminal;

#[cfg(test)]
mod tests;

use maud::Markup;

/// A report.
#[derive(Debug, Default)]
pub struct Document {
    /// Heading of the document; a terminal omits an empty one.
    pub title: String,
    /// The command that reproduces it.
    pub command: Option<String>,
    /// From top to bottom.
    pub blocks: Vec<Block>,
}

/// One part of a document.
#[derive(Debug)]
pub enum Block {
    /// Heading of the blocks below.
    Heading(String),
    /// Sentences.
    Paragraph(String),
    /// The result in a sentence.
    Finding(Tone, String),
    /// How to read a table.
    Note(String),
    /// Short lines, one fact each.
    Facts(Vec<Item>),
    /// Sentences with bullets.
    List(Vec<Item>),
    /// A table.
    Table(Table),
    /// SVG, side by side; text formats omit it.
    Pictures(Vec<Markup>),
    /// Blocks that only a page shows.
    PageOnly(Vec<Block>),
}

impl Document {
    /// An empty document; `command` reproduces it, unless it is empty.
    pub fn new(title: impl Into<String>, command: &str) -> Self {
        Self {
            title: title.into(),
            command: (!command.is_empty()).then(|| command.to_owned()),
            blocks: Vec::new(),
        }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    /// Adds sentences.
    pub fn paragraph(&mut self, text: String) {
        self.blocks.push(Block::Paragraph(text));
    }

    /// Adds short lines.
    pub fn facts<I: Into<Item>>(&mut self, facts: impl IntoIterator<Item = I>) {
        let facts = facts.into_iter().map(Into::into).collect();
        self.blocks.push(Block::Facts(facts));
    }

    /// Adds a table if it has rows, under a heading if that is not empty.
    pub fn table(&mut self, heading: &str, table: Table) {
        let rows = !table.rows.is_empty();
        self.section(heading, rows.then_some(Block::Table(table)));
    }

    /// Adds bullets if there are any, under a heading if that is not empty.
    pub fn list(&mut self, heading: &str, points: impl IntoIterator<Item = String>) {
        let points: Vec<_> = points.into_iter().map(Item::from).collect();
        let any = !points.is_empty();
        self.section(heading, any.then_some(Block::List(points)));
    }

    fn section(&mut self, heading: &str, block: Option<Block>) {
        if block.is_some() && !heading.is_empty() {
            self.heading(heading);
        }
        self.blocks.extend(block);
    }
}

/// A line of a list, with its details below it.
#[derive(Debug)]
pub struct Item {
    /// The line.
    pub text: String,
    /// Lines below it.
    pub details: Vec<String>,
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        let details = Vec::new();
        Self { text, details }
    }
}

/// The colour of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Bad,
    /// Neither good nor bad.
    Neutral,
}

/// Rows of cells under a header.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

impl Table {
    /// An empty table. `header` lists the columns, separated by `|`. `>` marks a column of numbers, aligned on the right,
    /// and `+` a column that only a page shows. A line feed separates a name from its unit.
    #[must_use]
    pub fn new(header: &str) -> Self {
        let columns = header.split('|').map(|name| {
            let name = name.trim();
            let page_only = name.starts_with('+');
            let name = name.trim_start_matches('+');
            let (kind, name) = match name.strip_prefix('>') {
                Some(name) => (Kind::Number, name.to_owned()),
                None => (Kind::Text, name.to_owned()),
            };
            Column {
                name,
                kind,
                page_only,
            }
        });
        Self {
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// A table of `rows` under `header`, which is that of [`Self::new`].
    pub fn of<R: IntoIterator<Item: Into<Cell>>>(
        header: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let mut table = Self::new(header);
        table.rows.extend(rows.into_iter().map(Row::new));
        table
    }

    /// Makes a column one of [`Cell::Bars`]; `meanings` are those of the upper and the lower bar. Markdown omits it.
    #[must_use]
    pub fn with_bars(mut self, column: usize, meanings: [&'static str; 2]) -> Self {
        if let Some(column) = self.columns.get_mut(column) {
            column.kind = Kind::Bars(meanings);
        }
        self
    }

    /// Adds a row of cells, one for each column.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(Row::new(cells));
    }

    /// The rows without folded ones.
    fn folded(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.cells.is_empty())
    }

    /// The single rows, in place of the rows that sum them up.
    fn unfolded(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flat_map(|row| match row.parts.as_slice() {
            [] => std::slice::from_ref(row),
            parts => parts,
        })
    }

    /// Whether some rows sum up others.
    fn is_folded(&self) -> bool {
        self.rows.iter().any(|row| !row.parts.is_empty())
    }
}

#[derive(Debug)]
struct Column {
    /// Its name and, in a second line, the unit of its numbers.
    name: String,
    kind: Kind,
    page_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Aligned on the left.
    Text,
    /// Aligned on the right.
    Number,
    /// [`Cell::Bars`] with their meanings.
    Bars([&'static str; 2]),
}

impl Column {
    /// Name and unit in one line.
    fn heading(&self) -> String {
        self.name.replace('\n', " ")
    }
}

/// A row of a table.
#[derive(Debug, Default)]
pub struct Row {
    /// One for each column.
    pub cells: Vec<Cell>,
    /// Whether the row is highlighted.
    pub marked: bool,
    /// The rows that this one sums up. It may have no cells of its own.
    pub parts: Vec<Row>,
}

impl Row {
    /// A row of cells, one for each column.
    pub fn new<C: Into<Cell>>(cells: impl IntoIterator<Item = C>) -> Self {
        Self {
            cells: cells.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Rows that only the unfolded table shows.
    pub fn folded_away(parts: impl IntoIterator<Item = Row>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Plain text.
    Text(String),
    /// An identifier.
    Code(String),
    /// Text with a colour.
    Toned(Tone, String),
    /// Two numbers as bars on a logarithmic scale from 0.1 to 1e6, the upper and the lower one.
    Bars([Option<f64>; 2]),
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

impl Cell {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Code(text) | Self::Toned(_, text) => text,
            Self::Bars(_) => "",
        }
    }
}

/// The ends of the scale of [`Cell::Bars`].
const SCALE: (f64, f64) = (0.1, 1e6);

/// The place of `x` on [`SCALE`], from 0 to 1. NaN is at the end, as the worst.
fn on_scale(x: f64) -> f64 {
    if x.is_nan() {
        return 1.0;
    }
    let (low, high) = (SCALE.0.log10(), SCALE.1.log10());
    ((x.log10() - low) / (high - low)).clamp(0.0, 1.0)
}

/// `text` without characters that move a terminal's cursor or that XML forbids.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}
