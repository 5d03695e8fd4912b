//! Scores as a page: the tables, and below them a picture of each recording.

use std::fmt::Write;

use anyhow::{Context, ensure};

use super::scores::Scores;
use super::sheet::{self, Block};

/// Nothing outside of the page is used.
const STYLE: &str = "body{margin:1.5em;font-family:sans-serif;color:#222;line-height:1.4} \
table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums} \
th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd} \
th{border-bottom:1px solid #888} .text{text-align:left} h1{font-size:1.4em} h2{font-size:1.1em} \
p{margin:.3em 0} .picture>svg{width:100%;height:auto} .picture+.picture{margin-top:1em}";

/// A complete page.
pub(super) fn render(scores: &Scores) -> String {
    let title = escaped(&sheet::printable(&scores.title));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n"
    );
    let mut level = 1;
    for block in sheet::of_a_document(scores) {
        match block {
            Block::Heading(words) => {
                let _ = writeln!(page, "<h{level}>{}</h{level}>", escaped(&words));
                level = 2;
            }
            Block::Words(words) => {
                let _ = writeln!(page, "<p>{}</p>", escaped(&words));
            }
            Block::List(sentences) => {
                page.push_str("<ul>\n");
                for sentence in sentences {
                    let _ = writeln!(page, "<li>{}</li>", escaped(&sentence));
                }
                page.push_str("</ul>\n");
            }
            Block::Table(table) => page.push_str(&rows(&table)),
        }
    }
    for picture in scores.pictures() {
        let _ = writeln!(page, "<div class=\"picture\">\n{}</div>", picture.svg());
    }
    page.push_str("</body></html>\n");
    page
}

/// The picture alone.
pub(super) fn svg(scores: &Scores) -> anyhow::Result<String> {
    let number = scores.recordings.len();
    ensure!(
        number == 1,
        "an SVG file shows one recording and there are {number}; --format html shows all"
    );
    let picture = scores.pictures().next().context("no recording")?;
    Ok(picture.svg())
}

fn rows(table: &sheet::Table) -> String {
    let line = |tag: &str, cells: Vec<&str>| {
        let cells: String = cells
            .iter()
            .enumerate()
            .map(|(i, cell)| {
                let class = if table.text.contains(&i) {
                    " class=\"text\""
                } else {
                    ""
                };
                format!("<{tag}{class}>{}</{tag}>", escaped(cell))
            })
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let mut html = format!("<table>\n{}", line("th", table.header.clone()));
    for row in &table.rows {
        html += &line("td", row.iter().map(String::as_str).collect());
    }
    html + "</table>\n"
}

/// `text` that means nothing to HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
