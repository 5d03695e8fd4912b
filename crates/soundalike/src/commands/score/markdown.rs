//! Scores for a text: Markdown with tables as GitHub has them.

use super::sheet::{Block, Table};

/// The text.
pub(super) fn render(blocks: &[Block]) -> String {
    let mut text = String::new();
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        match block {
            Block::Heading(words) => text.push_str(&format!("## {}\n", escaped(words))),
            Block::Words(words) => text.push_str(&format!("{}\n", escaped(words))),
            Block::List(sentences) => {
                for sentence in sentences {
                    text.push_str(&format!("- {}\n", escaped(sentence)));
                }
            }
            Block::Table(table) => text.push_str(&rows(table)),
        }
    }
    text
}

fn rows(table: &Table) -> String {
    let mut text = line(&table.header);
    let rules: Vec<&str> = (0..table.header.len())
        .map(|i| {
            if table.text.contains(&i) {
                "---"
            } else {
                "---:"
            }
        })
        .collect();
    text.push_str(&format!("|{}|\n", rules.join("|")));
    for row in &table.rows {
        text.push_str(&line(row));
    }
    text
}

fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell.as_ref())).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// `text` with what means something to Markdown made to mean itself. Backticks stay: our own sentences put names
/// between them.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut quoted = false;
    for c in text.chars() {
        if c == '`' {
            quoted = !quoted;
        }
        // A bar ends a cell even between backticks.
        if c == '|'
            || (!quoted && matches!(c, '\\' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '~'))
        {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
