//! `soundalike gate`: makes the limits of a comparison.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use soundalike_compare::{KnownGood, learn};

use super::read_text;
use crate::output::{Inputs, Outputs};

/// Limit divided by the worst error of known-good runs: the largest R of segmentation-3.0 varies by a factor of 1.42
/// between speech, silence, padding, an offset, clipping and scaling.
const MARGIN: f64 = 1.5;

/// Create a gate: a file of limits for `compare --gate`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Learn(Learn),
}

/// Learn limits from known-good runs
///
/// The limit of a stage is its worst error in these reports times a margin. Limits of R are at least 1 (PyTorch's own
/// f32) and at most those of an exact stage (R 4, R local 32). Decisions must be equal and get no margin. A report is
/// refused if it failed its gate, has a stage that is not exact (as in f16 and bf16), is of another model or lacks
/// stages. Each limit names its report.
#[derive(Debug, clap::Args)]
struct Learn {
    /// Reports of known-good runs: compare --format json
    #[arg(required = true, value_name = "REPORT.json")]
    runs: Vec<PathBuf>,
    /// Factor between the worst good error and the limit, above 1
    #[arg(long, value_name = "X", default_value_t = MARGIN, value_parser = margin)]
    margin: f64,
    /// Write the gate to this file [default: stdout]
    #[arg(short, long, value_name = "GATE.toml")]
    output: Option<PathBuf>,
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(margin) if margin.is_finite() && margin > 1.0 => Ok(margin),
        _ => Err("expected a number above 1".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Learn(args) = &args.command;
    let inputs = Inputs::default().files(&args.runs, "known-good run");
    let output = Outputs::new(inputs).open(args.output.as_deref(), "-o")?;
    let runs = args.runs.iter().map(|path| known_good(path));
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    let text = heading(&runs, args.margin) + &learn(&runs, args.margin)?.to_toml()?;
    output.write(text.as_bytes())
}

/// The rule of all limits, as a comment.
fn heading(runs: &[KnownGood], margin: f64) -> String {
    let model = runs.first().map_or("", KnownGood::model);
    // A line feed in the name of a foreign model must not end the comment.
    let model: String = model.chars().filter(|c| !c.is_control()).collect();
    format!(
        "# {model}: {margin} times the worst error of known-good runs at each stage ({} times for 1 - correlation, which\n\
         # grows with the square of R). Limits of R are at least 1, PyTorch's own f32, and at most those of an exact\n\
         # stage. Decisions have no margin.\n\n",
        margin * margin
    )
}

fn known_good(path: &Path) -> anyhow::Result<KnownGood> {
    let origin = path.display().to_string();
    Ok(KnownGood::parse(&read_text(path)?, &origin)?)
}
