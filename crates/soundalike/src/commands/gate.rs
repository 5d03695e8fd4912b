//! `soundalike gate`: limits that a comparison has to keep.

use std::path::PathBuf;

use clap::Subcommand;
use soundalike_compare::{KnownGood, learn};

use super::read_text;
use crate::output::{Inputs, Outputs};

/// How much worse than the worst known-good run is still good: the largest R of segmentation-3.0 differs by a
/// factor of 1.42 between speech, silence, padding, an offset, clipping and scaling.
const MARGIN: f64 = 1.5;

/// Make a gate: limits that `compare --gate` holds a comparison to
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Learn(Learn),
}

/// Learn limits from runs that are known to be good
///
/// Each stage is limited to its worst error in these runs times a margin, R never below 1 (what PyTorch's
/// own f32 has) and never above the bars of an exact stage (R 4, R_local 32). Decisions get no margin. Runs
/// that failed their gate, have a stage that is not exact, are of another model or show fewer stages are
/// refused. Each limit says which run it is from.
#[derive(Debug, clap::Args)]
struct Learn {
    /// Reports of good runs: compare --format json
    #[arg(required = true, value_name = "RUN.json")]
    runs: Vec<PathBuf>,
    /// How many times the worst good error is still good; more than 1
    #[arg(long, value_name = "X", default_value_t = MARGIN, value_parser = margin)]
    margin: f64,
    /// Where to write the gate [default: stdout]
    #[arg(short, long, value_name = "GATE.toml")]
    output: Option<PathBuf>,
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(margin) if margin.is_finite() && margin > 1.0 => Ok(margin),
        _ => Err("expected a number above 1".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Learn(args) = &args.command;
    let inputs = Inputs::default().files(&args.runs, "one of the runs to learn from");
    let output = Outputs::new(inputs).open(args.output.as_deref(), "-o")?;
    let runs: Vec<_> = args.runs.iter().map(known_good).collect::<Result<_, _>>()?;
    let text = heading(&runs, args.margin) + &learn(&runs, args.margin)?.to_toml()?;
    output.write(text.as_bytes())
}

/// The rule by which all limits were made.
fn heading(runs: &[KnownGood], margin: f64) -> String {
    let model = runs.first().map_or("", KnownGood::model);
    // A name that somebody else chose stays on its line.
    let model: String = model.chars().filter(|c| !c.is_control()).collect();
    format!(
        "# {model}: {margin} times the worst error that known-good runs show at each stage ({} times what a correlation\n\
         # lacks: it grows with the square of R). R is limited to no less than 1, which PyTorch's own f32 has, and to no\n\
         # more than the bars of an exact stage. Decisions have no margin.\n\n",
        margin * margin
    )
}

fn known_good(path: &PathBuf) -> anyhow::Result<KnownGood> {
    let origin = path.display().to_string();
    Ok(KnownGood::parse(&read_text(path)?, &origin)?)
}
