//! One file per subcommand.

pub(crate) mod attribute;
pub(crate) mod bench;
mod clustering_args;
pub(crate) mod compare;
pub(crate) mod convert;
mod cpu_args;
pub(crate) mod diarize;
pub(crate) mod gate;
pub(crate) mod inspect;
mod precision;
pub(crate) mod recluster;
pub(crate) mod score;
pub(crate) mod self_test;
pub(crate) mod trace;
mod turns_output;

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For pull requests
    Markdown,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}
