//! `soundalike inspect`: what is in a file.

use std::{fmt::Write, path::PathBuf};

use soundalike_convert::Inspection;

use crate::{output, tensor_table};

/// Say what is in a checkpoint, a bundle, a trace or a pipeline directory; runs nothing in it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file or directory
    file: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: super::Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let inspection = Inspection::of(&args.file)?;
    let text = match args.format {
        super::Format::Json => serde_json::to_string_pretty(&inspection)? + "\n",
        super::Format::Table => render(&inspection),
    };
    output::to_stdout(text.as_bytes())
}

fn render(inspection: &Inspection) -> String {
    let mut text = format!(
        "{}: {}, SHA-256 {}\n",
        inspection.file, inspection.format, inspection.sha256
    );
    if let Some(architecture) = &inspection.architecture {
        let _ = writeln!(
            text,
            "{}",
            tensor_table::network(architecture, inspection.specifications.as_ref())
        );
    }
    if let Some(problem) = &inspection.problem {
        let _ = writeln!(text, "cannot be converted: {problem}");
    }
    if !inspection.foreign_globals.is_empty() {
        let _ = writeln!(
            text,
            "mentions {}; nothing of it was run",
            inspection.foreign_globals.join(", ")
        );
    }
    for note in &inspection.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if !inspection.details.is_null()
        && let Ok(details) = serde_json::to_string_pretty(&inspection.details)
    {
        let _ = writeln!(text, "{details}");
    }
    if !inspection.tensors.is_empty() {
        let _ = writeln!(
            text,
            "\n{}\n\n{}",
            tensor_table::table(&inspection.tensors),
            tensor_table::totals(&inspection.counts)
        );
    }
    for model in &inspection.models {
        let _ = write!(text, "\n{}", render(model));
    }
    text
}
