//! `soundalike attribute`: what each stage of another pipeline costs in DER.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use comfy_table::{Cell, CellAlignment, Row, Table, TableStyle, presets};
use soundalike_convert::{Bundle, Clustering, Part, PipelineDirectory};
use soundalike_diarize::{
    clustering::Plda, segmentation::Segmenter, speaker_embedding::SpeakerEmbedder,
};
use soundalike_model::{Engine, Kernels};
use soundalike_selftest::{
    Attribution, CapturedRun, Outcome, PipelineStage, Score, Setting, attribute,
};

use crate::output::{Inputs, Outputs};

/// Measure what each stage of another pipeline costs in DER
///
/// The output of one stage of the candidate at a time is put into the reference's pipeline, which goes on from there.
/// Both are directories with the outputs of the stages: segmentations.npz, raw_embeddings.npz, ...
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with the outputs of the reference
    reference: PathBuf,
    /// Directory with the outputs of the candidate
    candidate: PathBuf,
    /// Pipeline directory of both
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: super::ReportFormat,
    /// Where to print it [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let captures = [&args.reference, &args.candidate];
    let inputs = Inputs::default()
        .models([&args.model], "model")
        .directories(captures, &["npz", "rttm"], "one of the captured outputs");
    let output = Outputs::new(inputs).open(args.output.as_deref(), "-o")?;
    let attribution = find(&args.reference, &args.candidate, &args.model)?;
    let text = match args.format {
        super::ReportFormat::Json => serde_json::to_string_pretty(&attribution)? + "\n",
        super::ReportFormat::Table => terminal(&attribution),
        super::ReportFormat::Markdown => markdown(&attribution),
    };
    output.write(text.as_bytes())
}

/// Splices each stage of the run captured in `candidate` into that in `reference`, both of the pipeline in
/// `model`.
fn find(reference: &Path, candidate: &Path, model: &Path) -> anyhow::Result<Attribution> {
    let (setting, _) = setting(model)?;
    let truth = CapturedRun::read(reference)?;
    check_reference(reference, &truth)?;
    let trial = CapturedRun::read(candidate)?;
    ensure!(
        PipelineStage::SPLICED.iter().any(|stage| trial.has(*stage)),
        "{}: has the output of no stage, expected files such as segmentations.npz",
        candidate.display()
    );
    attribute(&truth, &trial, &setting).with_context(|| {
        let (reference, model) = (reference.display(), model.display());
        format!("{reference}: an output does not fit the others, or not {model}")
    })
}

/// Refuses a run into which nothing can be put.
pub(super) fn check_reference(directory: &Path, run: &CapturedRun) -> anyhow::Result<()> {
    for stage in [PipelineStage::Segmentation, PipelineStage::Embeddings] {
        ensure!(
            run.has(stage),
            "{}: has no {}, without which there is nothing to splice into; give a directory with \
             segmentations.npz and raw_embeddings.npz",
            directory.display(),
            stage.name()
        );
    }
    Ok(())
}

/// How the pipeline in `directory` clusters, and its PLDA.
pub(super) fn setting(directory: &Path) -> anyhow::Result<(Setting, Bundle)> {
    let pipeline = PipelineDirectory::read(directory)?;
    let config = pipeline.config();
    let Clustering::VBx { threshold, fa, fb } = config.clustering else {
        anyhow::bail!(
            "{}: only the stages of VBxClustering are known",
            directory.display()
        );
    };
    let part = |part: Part| {
        let model = pipeline.model(part);
        model.with_context(|| format!("{}: the pipeline has no {part}", directory.display()))
    };
    // Only asked about frames, so that nothing is packed for kernels.
    let engine = Engine {
        kernels: Kernels::Portable,
        ..Engine::default()
    };
    let segmenter =
        Segmenter::new(part(Part::Segmentation)?, &engine)?.with_step(config.segmentation_step)?;
    let exclude_overlap = config.embedding_exclude_overlap;
    let embedder = SpeakerEmbedder::new(part(Part::Embedding)?, exclude_overlap, &engine)?;
    let plda = part(Part::Plda)?;
    let setting = Setting {
        threshold,
        fa,
        fb,
        min_duration_off: config.min_duration_off,
        plda: Plda::new(plda)?,
        grid: segmenter.grid(),
        frames: segmenter.frames(),
        min_alone: embedder.min_alone(segmenter.frames(), segmenter.windows().length),
    };
    Ok((setting, plda.clone()))
}

/// For a terminal.
fn terminal(attribution: &Attribution) -> String {
    format!(
        "{}\n\n{}\n",
        table(attribution, presets::NOTHING).trim_fmt(),
        verdict(attribution)
    )
}

/// For a pull request.
fn markdown(attribution: &Attribution) -> String {
    format!(
        "{}\n\n{}\n",
        verdict(attribution),
        table(attribution, presets::ASCII_MARKDOWN)
    )
}

fn table(attribution: &Attribution, style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    let headings = ["DER", "confusion", "missed", "false alarm", "speakers"];
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut header = Row::from(["spliced stage"]);
    for heading in headings {
        header.add_cell(right(heading.to_owned()));
    }
    table.set_header(header);
    for splice in &attribution.splices {
        let name = splice.stage.name();
        let mut row = Row::from([match &splice.outcome {
            Outcome::Score(_) => name.to_owned(),
            Outcome::Misfit(misfit) => format!("{name}: {misfit}"),
            Outcome::NotCaptured => format!("{name}: not captured"),
        }]);
        if let Outcome::Score(score) = &splice.outcome {
            for cell in cells(score) {
                row.add_cell(right(cell));
            }
        }
        table.add_row(row);
    }
    table
}

fn cells(score: &Score) -> [String; 5] {
    let seconds = |seconds: f64| format!("{seconds:.3} s");
    [
        format!("{:.2} %", 100.0 * score.der),
        seconds(score.components.confusion),
        seconds(score.components.missed_detection),
        seconds(score.components.false_alarm),
        score.speakers.to_string(),
    ]
}

/// Which stage costs most (of equals the first, whose output the others follow), in a sentence.
fn verdict(attribution: &Attribution) -> String {
    let scores = attribution
        .splices
        .iter()
        .rev()
        .filter_map(|splice| match &splice.outcome {
            Outcome::Score(score) => Some((splice.stage, score)),
            _ => None,
        });
    let worst = scores.max_by(|a, b| a.1.der.total_cmp(&b.1.der));
    let mut text = match worst {
        None => "No stage could be spliced.".to_owned(),
        Some((_, score)) if score.components.error() == 0.0 => {
            "No stage of the candidate changes a turn of the reference.".to_owned()
        }
        Some((stage, score)) => format!(
            "Costliest stage: {}; the candidate's alone brings the reference to a DER of {:.2} %.",
            stage.name(),
            100.0 * score.der
        ),
    };
    let speakers = attribution.speakers;
    let _ = write!(text, " The reference has {speakers} speaker(s).");
    text
}
