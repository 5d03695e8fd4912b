//! The formats of what `compare` finds.

use anyhow::bail;
use serde::Serialize;

use super::{Args, Format};
use crate::{
    document::{
        Document, html, markdown,
        terminal::{self, Screen},
    },
    terminal::Terminal,
};

/// Refuses, before any work, a format that the results of `option` do not have.
pub(super) fn check(args: &Args, option: &str) -> anyhow::Result<()> {
    if matches!(args.format, Format::Html | Format::Junit) {
        bail!(
            "compare {option} prints a table, JSON or Markdown: choose one of them with --format"
        );
    }
    Ok(())
}

/// `found`, whose document is `document`, in any format but JUnit, which is then a table. The title has `level` in
/// Markdown.
pub(super) fn render<T: Serialize>(
    args: &Args,
    terminal: &Terminal,
    found: &T,
    document: &Document,
    level: usize,
) -> anyhow::Result<String> {
    Ok(match args.format {
        Format::Json => serde_json::to_string_pretty(found)? + "\n",
        Format::Markdown => markdown::render(document, level),
        Format::Html => html::render(document),
        Format::Table | Format::Junit => {
            let unfolded = terminal.is_verbose();
            let screen = Screen::of(args.output.as_deref());
            terminal::render(document, Screen { unfolded, ..screen })
        }
    })
}
