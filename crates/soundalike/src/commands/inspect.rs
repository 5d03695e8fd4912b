//! `soundalike inspect`: shows the contents of a file.

use std::path::PathBuf;

use soundalike_convert::Inspection;

use crate::{output, tensor_table};

/// Show what is in a checkpoint, bundle, trace or pipeline directory, without running code in it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint, bundle, trace or pipeline directory
    #[arg(value_name = "PATH")]
    file: PathBuf,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: super::Format,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let inspection = Inspection::of(&args.file)?;
    let text = match args.format {
        super::Format::Json => serde_json::to_string_pretty(&inspection)? + "\n",
        super::Format::Table => render(&inspection),
    };
    output::to_stdout(text.as_bytes())
}

fn render(inspection: &Inspection) -> String {
    let mut lines = vec![format!(
        "{}: {}, SHA-256 {}",
        inspection.file, inspection.format, inspection.sha256
    )];
    if let Some(architecture) = &inspection.architecture {
        let specifications = inspection.specifications.as_ref();
        lines.push(tensor_table::network(architecture, specifications));
    }
    if let Some(problem) = &inspection.problem {
        lines.push(format!("cannot be converted: {problem}"));
    }
    if !inspection.foreign_globals.is_empty() {
        let globals = inspection.foreign_globals.join(", ");
        lines.push(format!("names {globals}; none of it was run"));
    }
    lines.extend(inspection.notes.iter().map(|note| format!("note: {note}")));
    if !inspection.details.is_null()
        && let Ok(details) = serde_json::to_string_pretty(&inspection.details)
    {
        lines.push(details);
    }
    if !inspection.tensors.is_empty() {
        let totals = tensor_table::totals(&inspection.counts);
        lines.push(format!(
            "\n{}\n\n{totals}",
            tensor_table::table(&inspection.tensors)
        ));
    }
    let mut text = lines.join("\n") + "\n";
    for model in &inspection.models {
        text += &format!("\n{}", render(model));
    }
    text
}
