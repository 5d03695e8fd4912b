//! `soundalike inspect`: what is in a file.

use std::path::PathBuf;

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
        lines.push(format!("mentions {globals}; nothing of it was run"));
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
    let text = lines.join("\n") + "\n";
    let models = inspection.models.iter();
    text + &models
        .map(|model| format!("\n{}", render(model)))
        .collect::<String>()
}
