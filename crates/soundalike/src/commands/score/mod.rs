//! `soundalike score`: how far one diarization is from another.
//!
//! [`inputs`] reads, [`Scores`] computes, [`sheet`] makes a document of it; [`json`] and [`csv`] have every number, under
//! keys that stay.

mod csv;
mod inputs;
mod json;
mod scores;
mod sheet;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use soundalike_metrics::{Convention, Mapping, Options, pair};

use super::seconds;
use crate::{
    document::{
        self, html, markdown, printable,
        terminal::{self, Screen},
    },
    output::{Inputs, Output, Outputs},
    terminal::Terminal,
};
use scores::Scores;

/// Score a diarization against a reference: DER, JER and the rest
///
/// The numbers are those of pyannote.metrics, md-eval or dscore, whichever --as asks for. Rates are pooled:
/// the seconds of all recordings are added, then divided. Recordings are paired by the name in the file (the
/// second column of RTTM); a single one on each side is paired whatever it is called. A reference without
/// hypothesis counts as missed, a hypothesis without reference is not scored, and both are said on stderr. An
/// RTTM file without turns is a recording named as the file, in which nobody speaks.
#[derive(Debug, clap::Args)]
#[command(override_usage = "soundalike score [OPTIONS] <REF> <HYP>...\n       \
                      soundalike score [OPTIONS] -r <REF>... -s <HYP>...")]
pub(crate) struct Args {
    /// The truth: an RTTM file, or a directory for all .rttm files in it
    #[arg(
        value_name = "REF",
        required_unless_present = "references",
        conflicts_with_all = ["references", "hypotheses"]
    )]
    reference: Option<PathBuf>,
    /// What is scored: RTTM files and directories, of one system
    #[arg(value_name = "HYP", required_unless_present = "references")]
    hypothesis: Vec<PathBuf>,
    /// Several references, as md-eval and dscore take them
    #[arg(short = 'r', long = "reference", value_name = "REF", num_args = 1.., requires = "hypotheses")]
    references: Vec<PathBuf>,
    /// Several hypotheses, of one system
    #[arg(short = 's', long = "hypothesis", value_name = "HYP", num_args = 1.., requires = "references")]
    hypotheses: Vec<PathBuf>,
    /// Whose definitions: pyannote (pyannote.metrics 4), md-eval (NIST, version 22) or dscore (1.1)
    #[arg(
        long = "as",
        value_name = "SCORER",
        default_value_t,
        value_parser = PossibleValuesParser::new(Convention::ALL.map(Convention::name))
            .try_map(|name| name.parse::<Convention>())
    )]
    convention: Convention,
    /// All three scorers, and in words why they differ
    #[arg(long, conflicts_with = "convention")]
    all: bool,
    /// Seconds not scored around each boundary of a reference turn, as the scorer means it: in pyannote the
    /// whole width (0.5 removes 0.25 s on each side), in md-eval and dscore each side (0.25 removes the same)
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = seconds)]
    collar: f64,
    /// Do not score where two or more turns of the reference overlap
    #[arg(long)]
    skip_overlap: bool,
    /// Map speakers greedily, the pair with most time in common first, as GreedyDiarizationErrorRate of
    /// pyannote.metrics does; the other scorers have no such choice
    #[arg(long)]
    greedy: bool,
    /// What is scored: a UEM file, or a directory for all .uem files in it [default: from the first to the last
    /// boundary of both sides; of the reference in md-eval]
    #[arg(long, value_name = "FILE")]
    uem: Option<PathBuf>,
    /// Order of the recordings
    #[arg(long, value_enum, default_value_t)]
    sort: Order,
    /// How to print it [default: what the name in -o ends in, else table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// File to write to [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Order of the recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// By name
    #[default]
    Name,
    /// Highest diarization error rate first
    Worst,
}

/// How scores are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// All numbers, for programs
    Json,
    /// One line for each recording and scorer, for spreadsheets
    Csv,
    /// The table, for a text
    Markdown,
    /// The table and a picture of each recording that zooms; one page, nothing outside of it
    Html,
    /// The picture of one recording
    Svg,
}

impl Format {
    /// The format that the ending of a file name asks for.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "svg" => Some(Self::Svg),
            _ => None,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let (references, hypotheses) = sides(args);
    check(args);
    let output = open(args, &references, &hypotheses)?;

    let reference = inputs::references(&references, terminal)?;
    let hypothesis = inputs::hypotheses(&hypotheses, &reference, terminal)?;
    let uem = args.uem.as_deref().map(inputs::uem).transpose()?;
    let (mut recordings, notes) = pair(reference, hypothesis, uem.as_deref())?;
    for note in &notes {
        terminal.warn(&printable(&note.to_string()));
    }
    recordings.sort_by(|a, b| a.reference.uri.cmp(&b.reference.uri));

    let options = Options {
        collar: args.collar,
        skip_overlap: args.skip_overlap,
        mapping: match args.greedy {
            true => Mapping::Greedy,
            false => Mapping::Optimal,
        },
    };
    let title = format!("{} against {}", names(&hypotheses), names(&references));
    let convention = (!args.all).then_some(args.convention);
    let mut scores = Scores::new(title, convention, options, recordings, &notes);
    scores.uem = args.uem.as_ref().map(|path| path.display().to_string());
    if args.sort == Order::Worst {
        scores.worst_first();
    }

    let format = args
        .format
        .or_else(|| args.output.as_deref().and_then(Format::of))
        .unwrap_or(Format::Table);
    let text = match format {
        Format::Table => {
            let screen = Screen::of(args.output.as_deref());
            terminal::render(&sheet::on_a_terminal(&scores), screen)
        }
        Format::Json => json::render(&scores)?,
        Format::Csv => document::csv::render(&csv::table(&scores)),
        Format::Markdown => markdown::render(&sheet::in_a_file(&scores), 2),
        Format::Html => html::render(&sheet::with_pictures(&scores)),
        Format::Svg => svg(&scores)?,
    };
    output.write(text.as_bytes())
}

/// The picture of the only recording.
fn svg(scores: &Scores) -> anyhow::Result<String> {
    let number = scores.recordings.len();
    ensure!(
        number == 1,
        "an SVG file shows one recording and there are {number}; --format html shows all"
    );
    let picture = scores.pictures().next().context("no recording")?;
    Ok(picture.svg())
}

/// The paths of both sides, however they were given.
fn sides(args: &Args) -> (Vec<PathBuf>, Vec<PathBuf>) {
    match &args.reference {
        Some(reference) => (vec![reference.clone()], args.hypothesis.clone()),
        None => (args.references.clone(), args.hypotheses.clone()),
    }
}

/// Checks what clap cannot.
fn check(args: &Args) {
    if args.greedy && !args.all && args.convention != Convention::Pyannote {
        let convention = args.convention;
        let message = format!("--greedy is a choice of pyannote's; {convention} has none\n");
        clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
    }
}

/// Opens the output. All files of both sides and of the UEM are inputs.
fn open(args: &Args, references: &[PathBuf], hypotheses: &[PathBuf]) -> anyhow::Result<Output> {
    let what = "one of the files that are scored";
    let inputs = Inputs::default()
        .files(inputs::files(references, "rttm")?, what)
        .files(inputs::files(hypotheses, "rttm")?, what)
        .files(inputs::files(args.uem.as_slice(), "uem")?, what);
    Outputs::new(inputs).open(args.output.as_deref(), "-o")
}

/// The first path, and how many more there are.
fn names(paths: &[PathBuf]) -> String {
    match paths {
        [] => String::new(),
        [only] => only.display().to_string(),
        [first, more @ ..] => format!("{} and {} more", first.display(), more.len()),
    }
}
