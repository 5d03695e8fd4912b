//! What can be wrong with a file of annotations.

use std::fmt;
use std::path::PathBuf;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The writer that was handed in failed.
    #[error("writing an annotation")]
    Write(#[from] std::io::Error),
    /// A line does not say what the format demands.
    #[error("{origin}:{line}:{column}: {problem}")]
    Syntax {
        /// The file, or whatever else the text came from.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column of the field, in characters from 1.
        column: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// RTTM and UEM separate columns by whitespace: a name must not hold any, nor be empty.
    #[error(
        "{what} `{value}` cannot be written: columns are separated by whitespace, so a name must have some characters and no whitespace; rename it"
    )]
    Name {
        /// "uri" or "label".
        what: &'static str,
        /// The name.
        value: String,
    },
    /// One recording stands twice on one side.
    #[error("the {side} has `{uri}` twice: which one is meant? remove or rename one")]
    DuplicateUri {
        /// "reference" or "hypothesis".
        side: &'static str,
        /// The name of the recording.
        uri: String,
    },
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The line ends too early.
    TooFewColumns {
        /// Columns in the line.
        found: usize,
        /// Columns that are read.
        expected: usize,
    },
    /// The first column is not a type of RTTM.
    UnknownType(String),
    /// Not a number.
    NotANumber {
        /// Name of the column.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// NaN, an infinity, or a sum that overflows.
    NotFinite {
        /// Name of the column.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// A duration below zero.
    NegativeDuration(f64),
    /// More speakers in one recording than anybody can map.
    TooManySpeakers(usize),
    /// A region of a UEM that ends before it starts.
    Reversed {
        /// Where it starts.
        start: f64,
        /// Where it ends.
        end: f64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => write!(f, "not UTF-8 text; is this really a text file?"),
            Self::TooFewColumns { found, expected } => {
                write!(f, "{found} columns, expected at least {expected}")
            }
            Self::UnknownType(found) => write!(
                f,
                "unknown type `{found}`, expected SPEAKER or another type of RTTM"
            ),
            Self::NotANumber { what, found } => write!(f, "{what} `{found}` is not a number"),
            Self::NotFinite { what, found } => write!(f, "{what} `{found}` is not a finite number"),
            Self::NegativeDuration(d) => write!(f, "duration {d} is negative"),
            Self::TooManySpeakers(limit) => {
                write!(f, "more than {limit} speakers in one recording")
            }
            Self::Reversed { start, end } => {
                write!(f, "the region ends at {end}, before it starts at {start}")
            }
        }
    }
}
