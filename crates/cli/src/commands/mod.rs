//! One file per subcommand.

pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod diarize;
pub(crate) mod inspect;
pub(crate) mod score;

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}
