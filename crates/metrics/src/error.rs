//! Errors of RTTM and UEM files.

use std::path::PathBuf;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The writer failed.
    #[error("the annotation cannot be written")]
    Write(#[from] std::io::Error),
    /// A line is not of the format.
    #[error("{origin}:{line}:{column}: {problem}")]
    Syntax {
        /// The name of the file or text.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column of the field, in characters from 1.
        column: usize,
        /// The problem of the field.
        problem: Problem,
    },
    /// RTTM and UEM separate columns by whitespace: a name must not be empty or contain any.
    #[error(
        "{what} `{value}` cannot be written: columns are separated by whitespace, so a name must not be empty or contain any; rename it"
    )]
    Name {
        /// "uri" or "label".
        what: &'static str,
        /// The name.
        value: String,
    },
    /// Two annotations of one recording on one side.
    #[error("the {side} has `{uri}` twice; remove or rename one")]
    DuplicateUri {
        /// "reference" or "hypothesis".
        side: &'static str,
        /// The name of the recording.
        uri: String,
    },
}

/// The problem of a field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are not UTF-8.
    #[error(
        "not UTF-8; is this a text file? Save it as UTF-8 (of Latin-1: iconv -f latin1 -t utf-8)"
    )]
    NotUtf8,
    /// A byte order mark of UTF-16, and text that is not UTF-16.
    #[error("not UTF-16, though it begins so; is this a text file?")]
    DamagedUtf16,
    /// A name with a space, which shifts all columns behind it.
    #[error(
        "{found} columns: {what} `{name}` seems to have a space, which separates columns; rename it"
    )]
    Space {
        /// Number of columns in the line.
        found: usize,
        /// "uri" or "label".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A number of a language with decimal commas.
    #[error("{what} `{found}` has a decimal comma, expected a point")]
    DecimalComma {
        /// Name of the column.
        what: &'static str,
        /// Its text.
        found: String,
    },
    /// The line ends too early.
    #[error("{found} columns, expected at least {expected}")]
    TooFewColumns {
        /// Number of columns in the line.
        found: usize,
        /// Number of columns that are read.
        expected: usize,
    },
    /// The first column is not a type of RTTM.
    #[error("unknown type `{0}`, expected SPEAKER or another type of RTTM")]
    UnknownType(String),
    /// Not a number.
    #[error("{what} `{found}` is not a number")]
    NotANumber {
        /// Name of the column.
        what: &'static str,
        /// Its text.
        found: String,
    },
    /// NaN, an infinity, or a sum that overflows.
    #[error("{what} `{found}` is not a finite number")]
    NotFinite {
        /// Name of the column.
        what: &'static str,
        /// Its text.
        found: String,
    },
    /// A duration below zero.
    #[error("duration {0} is negative")]
    NegativeDuration(f64),
    /// More speakers in one recording than can be mapped.
    #[error("more than {0} speakers in one recording")]
    TooManySpeakers(usize),
    /// A region of a UEM that ends before it starts.
    #[error("the region ends at {end}, before it starts at {start}")]
    Reversed {
        /// Start in seconds.
        start: f64,
        /// End in seconds.
        end: f64,
    },
}
