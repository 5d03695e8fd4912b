//! Lines, columns and numbers of the text formats, with the positions of errors.

use std::{borrow::Cow, path::Path};

use crate::{Error, error::Problem};

/// A line that is neither empty nor a comment, split into columns.
pub(crate) struct Line<'a> {
    origin: &'a str,
    number: usize,
    text: &'a str,
    /// Byte offset and text of each column.
    columns: Vec<(usize, &'a str)>,
}

/// Parses the file at `path`.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&[u8], &str) -> Result<T, Error>,
) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes, &path.display().to_string())
}

/// The text of `bytes`: UTF-8, or UTF-16 with a byte order mark. An error has the position of the first byte that is
/// neither.
pub(crate) fn decoded<'a>(bytes: &'a [u8], origin: &str) -> Result<Cow<'a, str>, Error> {
    let wide = match bytes {
        [0xff, 0xfe, text @ ..] => Some((text, u16::from_le_bytes as fn([u8; 2]) -> u16)),
        [0xfe, 0xff, text @ ..] => Some((text, u16::from_be_bytes as fn([u8; 2]) -> u16)),
        _ => None,
    };
    if let Some((text, unit)) = wide {
        let (units, rest) = text.as_chunks();
        let units: Vec<u16> = units.iter().map(|&pair| unit(pair)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        return text.map(Cow::Owned).ok_or_else(|| Error::Syntax {
            origin: origin.to_owned(),
            line: 1,
            column: 1,
            problem: Problem::DamagedUtf16,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
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
    })?;
    Ok(Cow::Borrowed(text))
}

/// The lines without empty ones and comments (which start with `;` or `#`). A byte order mark is skipped.
pub(crate) fn lines<'a>(text: &'a str, origin: &'a str) -> impl Iterator<Item = Line<'a>> {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
        .filter_map(move |(index, text)| {
            let columns: Vec<(usize, &str)> = text
                .split_ascii_whitespace()
                // `word` is a part of `text`: the difference is its offset.
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
    /// The first `N` columns. Fewer are an error.
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

    /// All columns.
    pub(crate) fn words(&self) -> Vec<&'a str> {
        self.columns.iter().map(|&(_, word)| word).collect()
    }

    /// The first column.
    pub(crate) fn first(&self) -> &'a str {
        self.columns[0].1
    }

    /// The finite number in column `index` (from 0); `what` names the column in errors.
    pub(crate) fn number(&self, index: usize, what: &'static str) -> Result<f64, Error> {
        let found = self.columns[index].1;
        let value = found.parse::<f64>();
        if let Ok(value) = value
            && value.is_finite()
        {
            return Ok(value);
        }
        let found = found.to_owned();
        let problem = match value {
            Ok(_) => Problem::NotFinite { what, found },
            Err(_) if found.replacen(',', ".", 1).parse::<f64>().is_ok() => {
                Problem::DecimalComma { what, found }
            }
            Err(_) => Problem::NotANumber { what, found },
        };
        Err(self.error(index, problem))
    }

    /// The error of column `index`.
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

/// The column of a recording, `<NA>` without a name.
pub(crate) fn writable_uri(uri: &str) -> Result<&str, Error> {
    if uri.is_empty() {
        return Ok("<NA>");
    }
    writable("uri", uri)
}

/// `name`, if it can be a column.
pub(crate) fn writable<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Error::Name {
            what,
            value: name.to_owned(),
        });
    }
    Ok(name)
}
