//! Lines, columns and numbers of the text formats, with the place of everything that is wrong.

use crate::Error;
use crate::error::Problem;

/// The lines of a text that say something, each cut into columns.
pub(crate) struct Line<'a> {
    origin: &'a str,
    number: usize,
    text: &'a str,
    /// Byte offset and text of each column.
    columns: Vec<(usize, &'a str)>,
}

/// The text of `bytes`; says where it stops being UTF-8.
pub(crate) fn utf8<'a>(bytes: &'a [u8], origin: &str) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        Error::Syntax {
            origin: origin.to_owned(),
            line,
            column,
            problem: Problem::NotUtf8,
        }
    })
}

/// All lines but empty ones and comments (which start with `;` or `#`). A byte order mark is skipped.
pub(crate) fn lines<'a>(text: &'a str, origin: &'a str) -> impl Iterator<Item = Line<'a>> {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
        .filter_map(move |(index, text)| {
            let columns: Vec<(usize, &str)> = text
                .split_ascii_whitespace()
                // `word` is a part of `text`: the difference is its place.
                .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
                .collect();
            let first = columns.first()?.1;
            let comment = first.starts_with(';') || first.starts_with('#');
            (!comment).then_some(Line {
                origin,
                number: index + 1,
                text,
                columns,
            })
        })
}

impl<'a> Line<'a> {
    /// The columns, of which there must be at least `N`; the first `N` of them.
    pub(crate) fn columns<const N: usize>(&self) -> Result<[&'a str; N], Error> {
        let found = self.columns.len();
        let mut first = [""; N];
        if found < N {
            let problem = Problem::TooFewColumns { found, expected: N };
            return Err(self.at_byte(self.text.trim_end().len(), problem));
        }
        for (into, (_, word)) in first.iter_mut().zip(&self.columns) {
            *into = word;
        }
        Ok(first)
    }

    /// The first column.
    pub(crate) fn first(&self) -> &'a str {
        self.columns[0].1
    }

    /// The finite number in column `index` (from 0), which the error calls `what`.
    pub(crate) fn number(&self, index: usize, what: &'static str) -> Result<f64, Error> {
        let found = self.columns[index].1;
        let value: f64 = found.parse().map_err(|_| {
            self.error(
                index,
                Problem::NotANumber {
                    what,
                    found: found.to_owned(),
                },
            )
        })?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.error(
                index,
                Problem::NotFinite {
                    what,
                    found: found.to_owned(),
                },
            ))
        }
    }

    /// An error about column `index`.
    pub(crate) fn error(&self, index: usize, problem: Problem) -> Error {
        self.at_byte(self.columns[index].0, problem)
    }

    fn at_byte(&self, byte: usize, problem: Problem) -> Error {
        let column = self.text[..byte].chars().count() + 1;
        Error::Syntax {
            origin: self.origin.to_owned(),
            line: self.number,
            column,
            problem,
        }
    }
}

/// `name`, if it can stand in a column.
pub(crate) fn writable<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Error::Name {
            what,
            value: name.to_owned(),
        });
    }
    Ok(name)
}
