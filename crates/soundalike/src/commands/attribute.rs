//! `soundalike attribute`: the cost of each stage of another pipeline in DER.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use soundalike_convert::{Bundle, Clustering, ModelRole};
use soundalike_diarize::{
    clustering::Plda, segmentation::Segmenter, speaker_embedding::SpeakerEmbedder,
};
use soundalike_model::Kernels;
use soundalike_report::document::{Block, Document, Table, Tone};
use soundalike_selftest::{
    Attribution, CapturedRun, PipelineParameters, PipelineStage, SpliceOutcome, SpliceScore,
    attribute,
};

use super::{ReportFormat, compare::command_line, named_model, on_cpu};
use crate::output::{Inputs, Outputs};

/// Measure how much DER each stage of another pipeline costs
///
/// Takes the reference's run, replaces the output of one stage at a time by the candidate's, and computes the later
/// stages from it. Both are directories with the outputs of the stages: segmentations.npz, raw_embeddings.npz,
/// plda_embeddings.npz, vbx_state.npz, clustering.npz and reconstruction.npz, of which any may be missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with the outputs of the reference
    reference: PathBuf,
    /// Directory with the outputs of the candidate
    candidate: PathBuf,
    /// Pipeline of both, by its name or directory
    #[arg(long, value_name = "NAME|DIR")]
    model: PathBuf,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let captures = [&args.reference, &args.candidate];
    let inputs = Inputs::default()
        .models([&args.model], "model")
        .directories(captures, &["npz", "rttm"], "captured output");
    let output = Outputs::new(inputs).open(args.output.as_deref(), "-o")?;
    let attribution = find(&args.reference, &args.candidate, &args.model)?;
    let (document, path) = (document(&attribution), args.output.as_deref());
    let text = args.format.render(&attribution, &document, path)?;
    output.write(text.as_bytes())
}

/// Splices each stage of the run captured in `candidate` into that in `reference`, both of the pipeline in `model`.
fn find(reference: &Path, candidate: &Path, model: &Path) -> anyhow::Result<Attribution> {
    let (setting, _) = setting(model)?;
    let truth = CapturedRun::read(reference)?;
    check_reference(reference, &truth)?;
    let trial = CapturedRun::read(candidate)?;
    ensure!(
        PipelineStage::SPLICED.iter().any(|stage| trial.has(*stage)),
        "{}: has no stage output, expected files such as segmentations.npz",
        candidate.display()
    );
    attribute(&truth, &trial, &setting).with_context(|| {
        let (reference, model) = (reference.display(), model.display());
        format!("{reference}: an output does not match the others or {model}")
    })
}

/// Refuses a run without the stages that splicing needs.
pub(super) fn check_reference(directory: &Path, run: &CapturedRun) -> anyhow::Result<()> {
    for stage in [PipelineStage::Segmentation, PipelineStage::Embeddings] {
        ensure!(
            run.has(stage),
            "{}: has no {}, which splicing needs; give a directory with segmentations.npz and raw_embeddings.npz",
            directory.display(),
            stage.name()
        );
    }
    Ok(())
}

/// The clustering parameters of the pipeline in `directory`, and its PLDA.
pub(super) fn setting(directory: &Path) -> anyhow::Result<(PipelineParameters, Bundle)> {
    let pipeline = named_model::pipeline(directory)?;
    let pipeline = pipeline
        .with_context(|| format!("{}: is a network, expected a pipeline", directory.display()))?;
    let config = pipeline.config();
    let shown = directory.display();
    let Clustering::VBx { threshold, fa, fb } = config.clustering else {
        bail!("{shown}: does not cluster by VBxClustering, whose stages alone can be spliced");
    };
    let part = |part: ModelRole| {
        let model = pipeline.model(part);
        model.with_context(|| format!("{shown}: the pipeline has no {part}"))
    };
    // Gives frame counts only: no weights need to be packed for kernels.
    let engine = on_cpu(Kernels::Portable);
    let segmenter = Segmenter::new(part(ModelRole::Segmentation)?, &engine)?
        .with_step(config.segmentation_step)?;
    let exclude_overlap = config.embedding_exclude_overlap;
    let embedder = SpeakerEmbedder::new(part(ModelRole::Embedding)?, exclude_overlap, &engine)?;
    let plda = part(ModelRole::Plda)?;
    let setting = PipelineParameters {
        threshold,
        fa,
        fb,
        min_duration_off: config.min_duration_off,
        plda: Plda::new(plda)?,
        grid: segmenter.grid(),
        frames: segmenter.frames(),
        min_clean_frames: embedder.min_clean_frames(segmenter.frames(), segmenter.windows().length),
    };
    Ok((setting, plda.clone()))
}

fn document(attribution: &Attribution) -> Document {
    let rows = attribution.splices.iter().map(|splice| {
        let name = splice.stage.name();
        let (name, figures) = match &splice.outcome {
            SpliceOutcome::Score(score) => (name.to_owned(), cells(score)),
            SpliceOutcome::Misfit(misfit) => (format!("{name}: {misfit}"), Default::default()),
            SpliceOutcome::NotCaptured => (format!("{name}: not captured"), Default::default()),
        };
        [name].into_iter().chain(figures)
    });
    let header = "spliced stage | >DER | >confusion | >missed | >false alarm | >speakers";
    let mut document = Document::new("Cost of each stage in DER", &command_line());
    let finding = Block::Finding(Tone::Neutral, verdict(attribution));
    document.blocks = vec![finding, Block::Table(Table::of(header, rows))];
    document
}

fn cells(score: &SpliceScore) -> [String; 5] {
    let seconds = |seconds: f64| format!("{seconds:.3} s");
    [
        format!("{:.2} %", 100.0 * score.der),
        seconds(score.components.confusion),
        seconds(score.components.missed_detection),
        seconds(score.components.false_alarm),
        score.speakers.to_string(),
    ]
}

/// The costliest stage in a sentence; of equal ones the first, because the others follow from it.
fn verdict(attribution: &Attribution) -> String {
    let splices = attribution.splices.iter().rev();
    let scores = splices.filter_map(|splice| match &splice.outcome {
        SpliceOutcome::Score(score) => Some((splice.stage, score)),
        _ => None,
    });
    let worst = scores.max_by(|a, b| a.1.der.total_cmp(&b.1.der));
    let text = match worst {
        None => "INCONCLUSIVE: no stage could be spliced.".to_owned(),
        Some((_, score)) if score.components.error() == 0.0 => {
            "No stage of the candidate changes a turn of the reference.".to_owned()
        }
        Some((stage, score)) => format!(
            "Costliest stage: {}; spliced alone into the reference, it causes a DER of {:.2} %.",
            stage.name(),
            100.0 * score.der
        ),
    };
    let speakers = attribution.speakers;
    format!("{text} The reference has {speakers} speaker(s).")
}

#[cfg(test)]
mod tests {
    use soundalike_metrics::Components;
    use soundalike_report::document::{
        markdown,
        terminal::{self, Screen},
    };
    use soundalike_selftest::{ShapeMismatch, Splice};

    use super::*;

    fn splice(stage: PipelineStage, outcome: SpliceOutcome) -> Splice {
        Splice { stage, outcome }
    }

    fn attribution(splices: Vec<Splice>) -> Document {
        let found = Attribution {
            speakers: 2,
            splices,
        };
        Document {
            command: None,
            ..document(&found)
        }
    }

    #[test]
    fn the_costliest_stage_comes_first() {
        let components = Components {
            confusion: 1.5,
            missed_detection: 0.25,
            total: 10.0,
            ..Components::default()
        };
        let score = |components, der| SpliceScore {
            der,
            components,
            speakers: 3,
        };
        let found = attribution(vec![
            splice(
                PipelineStage::Segmentation,
                SpliceOutcome::Score(score(Components::default(), 0.0)),
            ),
            splice(
                PipelineStage::Plda,
                SpliceOutcome::Score(score(components, 0.175)),
            ),
            splice(
                PipelineStage::Embeddings,
                SpliceOutcome::Misfit(ShapeMismatch {
                    found: vec![1],
                    expected: vec![2],
                }),
            ),
            splice(PipelineStage::Vbx, SpliceOutcome::NotCaptured),
        ]);
        assert_eq!(
            terminal::render(&found, Screen::default()),
            "\
Cost of each stage in DER

Costliest stage: PLDA; spliced alone into the reference, it causes a DER of 17.50 %. The reference has 2 speaker(s).

spliced stage                                    DER  confusion   missed  false alarm  speakers
segmentation                                  0.00 %    0.000 s  0.000 s      0.000 s         3
PLDA                                         17.50 %    1.500 s  0.250 s      0.000 s         3
embeddings: has the shape [1], expected [2]
VBx: not captured
"
        );
        assert_eq!(
            markdown::render(&found, 1),
            "\
# Cost of each stage in DER

**Costliest stage: PLDA; spliced alone into the reference, it causes a DER of 17.50 %. The reference has 2 speaker(s).**

| spliced stage | DER | confusion | missed | false alarm | speakers |
|---|---:|---:|---:|---:|---:|
| segmentation | 0.00 % | 0.000 s | 0.000 s | 0.000 s | 3 |
| PLDA | 17.50 % | 1.500 s | 0.250 s | 0.000 s | 3 |
| embeddings: has the shape \\[1\\], expected \\[2\\] |  |  |  |  |  |
| VBx: not captured |  |  |  |  |  |
"
        );
    }

    #[test]
    fn nothing_spliced_is_no_result() {
        let found = attribution(vec![splice(PipelineStage::Vbx, SpliceOutcome::NotCaptured)]);
        let text = terminal::render(&found, Screen::default());
        assert!(
            text.contains("\nINCONCLUSIVE: no stage could be spliced."),
            "{text}"
        );
    }
}
