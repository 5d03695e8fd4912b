//! `soundalike score`: scores a diarization against a reference.
//!
//! [`inputs`] reads, [`Scores`] computes, [`sheet`] makes the document; [`json`] and [`csv`] have every number, under
//! stable keys.

mod csv;
mod inputs;
mod json;
mod scores;
mod sheet;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use soundalike_metrics::{Convention, Mapping, ScoreOptions, pair};
use soundalike_report::document::{
    self, html, markdown, printable,
    terminal::{self, Screen},
};

use super::seconds;
use crate::{
    output::{Inputs, Outputs},
    terminal::Terminal,
};
use scores::Scores;

/// Score a diarization against a reference: diarization error rate (DER), Jaccard error rate (JER) and more
///
/// Computes the numbers of pyannote.metrics, md-eval or dscore (--as). Rates are pooled: seconds are added over all
/// recordings, then divided. Recordings are paired by uri, the second column of RTTM; a single recording on each
/// side is always paired. A recording without a hypothesis counts as missed; one without a
/// reference is not scored; both are reported on stderr. An RTTM file without turns is a recording without speech, named like the
/// file.
#[derive(Debug, clap::Args)]
#[command(override_usage = "soundalike score [OPTIONS] <REF> <HYP>...\n       \
                      soundalike score [OPTIONS] -r <REF>... -s <HYP>...")]
pub(crate) struct Args {
    /// Reference: an RTTM file, or a directory for all .rttm files in it
    #[arg(
        value_name = "REF",
        required_unless_present = "references",
        conflicts_with_all = ["references", "hypotheses"]
    )]
    reference: Option<PathBuf>,
    /// Hypotheses of one system: RTTM files and directories
    #[arg(value_name = "HYP", required_unless_present = "references")]
    hypothesis: Vec<PathBuf>,
    /// Several references, as md-eval and dscore take them
    #[arg(short = 'r', long = "reference", value_name = "REF", num_args = 1.., requires = "hypotheses")]
    references: Vec<PathBuf>,
    /// Several hypotheses, of one system
    #[arg(short = 's', long = "hypothesis", value_name = "HYP", num_args = 1.., requires = "references")]
    hypotheses: Vec<PathBuf>,
    /// Scorer to follow: pyannote (pyannote.metrics 4), md-eval (NIST, version 22) or dscore (1.1)
    #[arg(
        long = "as",
        value_name = "SCORER",
        default_value_t,
        value_parser = PossibleValuesParser::new(Convention::ALL.map(Convention::name))
            .try_map(|name| name.parse::<Convention>())
    )]
    convention: Convention,
    /// Use all three scorers, and explain why they differ
    #[arg(long, conflicts_with = "convention")]
    all: bool,
    /// Do not score S seconds around each boundary of the reference: the whole width in pyannote, each side in md-eval
    /// and dscore (0.5 in pyannote is 0.25 in the others)
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = seconds)]
    collar: f64,
    /// Do not score where two or more turns of the reference overlap
    #[arg(long)]
    skip_overlap: bool,
    /// Map speakers greedily, the pair with the longest overlap first, as GreedyDiarizationErrorRate of
    /// pyannote.metrics does; the other scorers have no such option
    #[arg(long)]
    greedy: bool,
    /// Scored regions: a UEM file, or a directory for all .uem files in it [default: from the first to the last
    /// boundary of both sides; of the reference in md-eval]
    #[arg(long, value_name = "FILE")]
    uem: Option<PathBuf>,
    /// Order of the recordings
    #[arg(long, value_enum, default_value_t)]
    sort: Order,
    /// Format of the scores [default: from the extension of PATH, else table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the scores to this file [default: stdout]
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

/// Format of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Aligned columns
    Table,
    /// All numbers, for programs
    Json,
    /// One line per recording and scorer, for spreadsheets
    Csv,
    /// The table in Markdown
    Markdown,
    /// One self-contained page: the table, and a zoomable picture of each recording
    Html,
    /// The picture of one recording
    Svg,
}

impl Format {
    /// The format that the extension of `path` names.
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

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let (references, hypotheses) = match &args.reference {
        Some(reference) => (std::slice::from_ref(reference), &args.hypothesis),
        None => (&args.references[..], &args.hypotheses),
    };
    check(args);
    let what = "scored file";
    let files = Inputs::default()
        .files(inputs::files(references, "rttm")?, what)
        .files(inputs::files(hypotheses, "rttm")?, what)
        .files(inputs::files(args.uem.as_slice(), "uem")?, what);
    let output = Outputs::new(files).open(args.output.as_deref(), "-o")?;

    let reference = inputs::references(references, terminal)?;
    let hypothesis = inputs::hypotheses(hypotheses, &reference, terminal)?;
    let uem = args.uem.as_deref().map(inputs::uem).transpose()?;
    let (mut recordings, notes) = pair(reference, hypothesis, uem.as_deref())?;
    for note in &notes {
        terminal.warn(&printable(&note.to_string()));
    }
    recordings.sort_by(|a, b| a.reference.uri.cmp(&b.reference.uri));

    let options = ScoreOptions {
        collar: args.collar,
        skip_overlap: args.skip_overlap,
        mapping: match args.greedy {
            true => Mapping::Greedy,
            false => Mapping::Optimal,
        },
    };
    let title = format!("{} against {}", names(hypotheses), names(references));
    let convention = (!args.all).then_some(args.convention);
    let mut scores = Scores::new(title, convention, options, recordings, &notes);
    scores.uem = args.uem.as_ref().map(|path| path.display().to_string());
    if args.sort == Order::Worst {
        scores.worst_first();
    }

    let path = args.output.as_deref();
    let format = args.format.or_else(|| path.and_then(Format::of));
    let text = match format.unwrap_or(Format::Table) {
        Format::Table => terminal::render(&sheet::on_a_terminal(&scores), Screen::of(path)),
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
        "an SVG shows one recording, found {number}; use --format html"
    );
    let picture = scores.pictures().next().context("no recording")?;
    Ok(picture.svg())
}

/// Checks what clap cannot.
fn check(args: &Args) {
    if args.greedy && !args.all && args.convention != Convention::Pyannote {
        let convention = args.convention;
        let message =
            format!("--greedy is an option of pyannote; {convention} has no such option\n");
        clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
    }
}

/// The first path, and the number of others.
fn names(paths: &[PathBuf]) -> String {
    match paths {
        [] => String::new(),
        [only] => only.display().to_string(),
        [first, more @ ..] => format!("{} and {} more", first.display(), more.len()),
    }
}
