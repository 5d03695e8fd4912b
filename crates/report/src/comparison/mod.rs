//! A comparison as a document.

mod annotations;
pub mod junit;
pub mod sarif;
mod weights;
mod words;

use maud::Markup;
use soundalike_compare::{Evidence, Figure, FrameCount, Report, StageReport, Verdict, nan_max};
use soundalike_metrics::DiarizationErrorRate;

pub use annotations::annotations;
pub use weights::wrong_tensor;
pub use words::{finding, inconclusive, title};
use words::{measure, measured};

use crate::{
    document::{
        Block, Cell, Document, Item, Row, Table, Tone,
        picture::{Timeline, heatmap, scatter},
    },
    percent,
};

/// Inputs with pictures, the worst first: each takes up to 60 kB.
const DRAWN: usize = 3;
/// Shown stages of a budget.
const BUDGETED: usize = 8;
/// Fewest adjacent passing stages that are folded into one row.
const FOLD: usize = 3;

/// The result, then the stages, then the parts that only a page shows.
#[must_use]
pub fn document(report: &Report) -> Document {
    let mut document = Document::new(words::title(report), &report.provenance.command);
    let about = words::provenance(report).into_iter().map(Item::from);
    document.facts(about.chain(weights::items(report)));
    let (tone, finding) = (tone(words::verdict(report)), words::finding(report));
    document.blocks.push(Block::Finding(tone, finding));
    let output = words::output(report).into_iter().map(Item::from);
    let coverage = words::coverage(report).into_iter().map(Item::from);
    let facts = output.chain(words::gate(report)).chain(coverage);
    let notes = report.notes.iter().cloned().map(Item::from);
    document.facts(facts.chain(words::matched(report)).chain(notes));
    document.table("", stages(report));
    document.blocks.extend(legend(report));
    let mut page = Document::default();
    outputs(report, &mut page);
    decisions(report, &mut page);
    embeddings(report, &mut page);
    budget(report, &mut page);
    document.blocks.push(Block::PageOnly(page.blocks));
    document
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Exact => Tone::Good,
        Verdict::OverPrecise | Verdict::Inconclusive | Verdict::Precision => Tone::Warning,
        Verdict::Structural => Tone::Bad,
        Verdict::NotObserved | Verdict::NotComparable | Verdict::FreeOnly => Tone::Neutral,
    }
}

/// How to read the table of stages.
fn legend(report: &Report) -> impl Iterator<Item = Block> {
    let r = format!(
        "{} is the error in units of {} on this input; below 4 it is only rounding.",
        measured(report),
        words::rounding(report)
    );
    let mark = "A stage marked > causes the error; an exact stage with a large free-running R only passes it on.";
    let mark = (!report.source.is_empty()).then(|| mark.to_owned());
    [r].into_iter().chain(mark).map(Block::Note)
}

fn stages(report: &Report) -> Table {
    let r = measured(report);
    let header = format!(
        "stage | +shape | >{r} forced | >{r} free | bars | >R local | >max error | >1 - corr | +>rms ratio | verdict"
    );
    let bars = [
        "teacher-forced: the stage's own error",
        "free-running: the error a user gets",
    ];
    let mut table = Table::new(&header).with_bars(4, bars);
    let passes = |stage: &StageReport| stage.verdict == Verdict::Exact || unseen(stage);
    let incomparable = |stage: &StageReport| stage.verdict == Verdict::NotComparable;
    let alike = |a: &_, b: &_| passes(a) && passes(b) || incomparable(a) && incomparable(b);
    // Unobserved stages are shown only if there are no others.
    let any_seen = report.stages.iter().any(|stage| !unseen(stage));
    for run in report.stages.chunk_by(alike) {
        let rows = run.chunks(1).map(|stage| row(report, stage));
        if run.len() >= FOLD && !(any_seen && run.iter().all(unseen)) {
            table.rows.push(Row {
                parts: rows.collect(),
                ..row(report, run)
            });
            continue;
        }
        for (stage, row) in run.iter().zip(rows) {
            table.rows.push(match unseen(stage) {
                true if any_seen => Row::folded_away([row]),
                _ => row,
            });
        }
    }
    table
}

fn unseen(stage: &StageReport) -> bool {
    stage.verdict == Verdict::NotObserved
}

/// A row for one or several stages, with the worst figures.
fn row(report: &Report, stages: &[StageReport]) -> Row {
    let all = || stages.iter();
    let forced = || all().filter_map(|stage| stage.teacher_forced.as_ref());
    let free = || all().filter_map(|stage| stage.free_running.as_ref());
    let forced_r = forced().map(measure).reduce(nan_max);
    let free_r = free().map(measure).reduce(nan_max);
    // That of the error that decides the verdict.
    let local = all().filter_map(|stage| {
        let decides = stage
            .teacher_forced
            .as_ref()
            .or(stage.free_running.as_ref())?;
        Some(decides.r_local)
    });
    let largest = free().map(|error| error.max_abs);
    // Constants have no correlation.
    let distance = free().map(|error| 1.0 - error.correlation);
    let distance = distance
        .filter(|distance| !distance.is_nan())
        .reduce(f64::max);
    let (seen, number) = (all().filter(|s| !unseen(s)).count(), stages.len());
    let of_seen = match seen == number || seen == 0 {
        true => String::new(),
        false => format!("{seen} of "),
    };
    let name = match stages {
        [] => String::new(),
        [stage] => stage.name.clone(),
        [first, .., last] => format!("{} .. {} ({of_seen}{number} stages)", first.name, last.name),
    };
    // Several stages have no common shape or gain.
    let (shape, gain) = match stages {
        [only] => {
            let gain = free().map(|error| format!("{:.4}", error.rms_ratio));
            (shape(only), gain.collect())
        }
        _ => Default::default(),
    };
    let verdict = all().map(|stage| stage.verdict).max();
    let verdict = verdict.unwrap_or(Verdict::NotObserved);
    Row {
        marked: all().any(|stage| report.source.contains(&stage.name)),
        ..Row::new([
            Cell::Code(name),
            Cell::Text(shape),
            figure(forced_r).into(),
            figure(free_r).into(),
            Cell::Bars([forced_r, free_r]),
            figure(local.reduce(nan_max)).into(),
            figure(largest.reduce(nan_max)).into(),
            figure(distance.map(|distance| distance.max(0.0))).into(),
            Cell::Text(gain),
            Cell::Toned(tone(verdict), verdict.to_string()),
        ])
    }
}

fn shape(stage: &StageReport) -> String {
    let sizes: Vec<_> = stage.shape.iter().map(ToString::to_string).collect();
    let degenerate = if stage.degenerate { " degenerate" } else { "" };
    sizes.join(" × ") + degenerate
}

/// A number, or `-`.
fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| Figure(value).to_string())
}

fn outputs(report: &Report, page: &mut Document) {
    let input = |evidence: &Evidence| report.inputs.get(evidence.input);
    let worst = |evidence: &Evidence| {
        let output = input(evidence).and_then(|input| input.output.as_ref());
        // NaN is the worst.
        output.map_or(0.0, |output| match output.max_abs {
            error if error.is_nan() => f64::INFINITY,
            error => error,
        })
    };
    let mut shown: Vec<_> = report.evidence.iter().collect();
    shown.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
    for evidence in shown.iter().take(DRAWN) {
        let name = input(evidence).map_or(String::new(), |input| format!(" on {input}"));
        page.heading(format!("Output{name}"));
        let pictures = pictures(report, evidence);
        page.blocks.push(Block::Pictures(pictures));
    }
    if shown.len() > DRAWN {
        let all = shown.len();
        let text = format!("The {DRAWN} of {all} inputs with the largest errors are shown.");
        page.blocks.push(Block::Note(text));
    }
}

fn pictures(report: &Report, evidence: &Evidence) -> Vec<Markup> {
    let input = report.inputs.get(evidence.input);
    let (start, duration) = input.map_or((0.0, 0.0), |input| (input.start, input.duration));
    let (ours, theirs) = (&evidence.scores.candidate, &evidence.scores.reference);
    let output = input.and_then(|input| input.output.as_ref());
    let mut pictures = Vec::new();
    if ours.dim() == theirs.dim() {
        // Embeddings have no time axis.
        if output.is_some_and(|output| output.embeddings.is_empty()) {
            pictures.push(heatmap::draw((ours - theirs).view(), start, duration));
        }
        pictures.push(scatter::draw(theirs.view(), ours.view()));
    }
    pictures.extend(evidence.turns.as_ref().map(|turns| {
        let der = DiarizationErrorRate::default();
        Timeline::new(der, &turns.reference, &turns.candidate, None).draw()
    }));
    pictures
}

fn decisions(report: &Report, page: &mut Document) {
    let output = report.output.as_ref();
    let Some(decisions) = output.and_then(|output| output.decisions.as_ref()) else {
        return;
    };
    let share = |share: &FrameCount| match share.frames {
        0 => "-".to_owned(),
        frames => percent(share.agreeing as f64 / frames as f64),
    };
    let mut text = format!(
        "The largest error can change the decision in {} frames: their margin is at most twice that error.",
        decisions.margins.flippable
    );
    for (index, agreement) in decisions.per_speaker_agreement.iter().enumerate() {
        let (speaker, agreement) = (index + 1, share(agreement));
        text += &format!(" Speaker {speaker}: same decision in {agreement} of the frames.");
    }
    let means = &decisions.per_class_mean;
    let classes = decisions.per_class_agreement.iter().enumerate();
    let rows = classes.map(|(class, agreement)| {
        [
            class.to_string(),
            agreement.frames.to_string(),
            share(agreement),
            figure(means.candidate.get(class).copied()),
            figure(means.reference.get(class).copied()),
        ]
    });
    page.heading("Decisions");
    page.paragraph(text);
    let header = "class | >frames | >same decision | >mean, candidate | >mean, reference";
    page.table("", Table::of(header, rows));
}

fn embeddings(report: &Report, page: &mut Document) {
    let header = ">1 - cosine | >PyTorch's f32 | >length ratio - 1 | >PyTorch's f32";
    let embeddings = report.output.iter().flat_map(|output| &output.embeddings);
    let rows = embeddings.map(|embedding| {
        let figures = [
            1.0 - embedding.cosine,
            1.0 - embedding.reference_cosine,
            embedding.rms_ratio - 1.0,
            embedding.reference_rms_ratio - 1.0,
        ];
        figures.map(|x| Figure(x).to_string())
    });
    page.table("Embeddings", Table::of(header, rows));
}

/// The stages with the largest errors at the output.
fn budget(report: &Report, page: &mut Document) {
    let Some(budget) = &report.budget else {
        return;
    };
    let mut stages: Vec<_> = budget.stages.iter().collect();
    stages.sort_by(|a, b| b.at_output.total_cmp(&a.at_output));
    let (shown, all) = (BUDGETED.min(stages.len()), stages.len());
    let rows = stages.into_iter().take(BUDGETED).map(|stage| {
        let figures = [stage.error, stage.floor, stage.gain, stage.at_output];
        let figures = figures.map(|x| Cell::Text(Figure(x).to_string()));
        [Cell::Code(stage.name.clone())].into_iter().chain(figures)
    });
    let header = "stage | >own error | >PyTorch's f32 | >gain | >at the output";
    page.heading("Propagation budget");
    page.paragraph(format!("{}.", budget.text));
    page.blocks.push(Block::Note(format!(
        "Each stage's own error is added to the f64 reference; the gain is the error at the output divided by it. Root mean \
         squares, the {shown} of {all} stages with the largest error at the output."
    )));
    page.table("", Table::of(header, rows));
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

    use std::collections::BTreeMap;

    use soundalike_compare::{About, Candidate, Gate, Input, Provenance, compare};
    use soundalike_selftest::{Decoding, built_in_trace};

    use super::*;
    use crate::document::{
        html, markdown,
        terminal::{self, Screen},
    };

    /// A report whose stages have these verdicts and no errors.
    pub(crate) fn report(verdicts: &[(&str, Verdict)]) -> Report {
        let mut reference = built_in_trace().unwrap();
        let window = reference.window().unwrap();
        let nothing = Candidate::Activations(Box::new(BTreeMap::new()));
        let about = About {
            model: "segmentation-3.0".to_owned(),
            reference: "torch".to_owned(),
            candidate: "trace:port.npz".to_owned(),
            provenance: Provenance {
                command: "soundalike compare".to_owned(),
                soundalike: "0.1.0".to_owned(),
                cpu: "a processor".to_owned(),
                threads: 2,
                ..Provenance::default()
            },
        };
        let mut report =
            compare(&mut reference, &nothing, &[], &Decoding::Embedding, about).unwrap();
        report.inputs = vec![Input::new(&window)];
        let stage = |(name, verdict): &(&str, Verdict)| StageReport {
            name: (*name).to_owned(),
            shape: vec![1, 2],
            degenerate: false,
            teacher_forced: None,
            free_running: None,
            verdict: *verdict,
            folded: Vec::new(),
            matched: None,
        };
        report.stages = verdicts.iter().map(stage).collect();
        report.missing = verdicts
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let gate = Gate::parse("", "the gate").unwrap();
        report.gate = Some(gate.judge(&report, "the gate").unwrap());
        report
    }

    #[test]
    fn nothing_compared_is_no_pass() {
        let stages = [
            ("linear.0", Verdict::NotObserved),
            ("linear.0.leaky_relu", Verdict::NotObserved),
        ];
        let found = document(&report(&stages));
        assert_eq!(
            terminal::render(&found, Screen::default()),
            "\
segmentation-3.0: trace:port.npz against torch
on sample.wav 12.9-13.9 s
soundalike 0.1.0, a processor, 2 threads
reference: unknown engine
candidate: unknown engine

INCONCLUSIVE: nothing was compared. The candidate has none of the 2 stages of the reference.
gate: INCONCLUSIVE, no limit applied
not observed in the candidate: linear.0, linear.0.leaky_relu

stage                R forced  R free  0.1        1e6  R local  max error  1 - corr  verdict
linear.0                    -       -                        -          -         -  not observed
linear.0.leaky_relu         -       -                        -          -         -  not observed
▀ teacher-forced: the stage's own error   ▄ free-running: the error a user gets

R is the error in units of PyTorch's own f32 rounding on this input; below 4 it is only rounding.

reproduce: soundalike compare
"
        );
        let markdown = markdown::render(&found, 2);
        assert!(
            markdown.contains("\n**INCONCLUSIVE: nothing was compared."),
            "{markdown}"
        );
        let page = html::render(&found);
        assert!(
            page.contains("<p class=\"finding neutral\">INCONCLUSIVE: nothing"),
            "{page}"
        );
        for text in [markdown, page] {
            assert!(
                !text.contains("passed") && !text.contains("no bug"),
                "{text}"
            );
        }
    }

    #[test]
    fn stages_of_other_shapes_alone_are_no_pass() {
        let stages = [
            ("linear.0", Verdict::NotObserved),
            ("linear.1", Verdict::NotComparable),
        ];
        let words = words::finding(&report(&stages));
        assert!(
            words.starts_with("INCONCLUSIVE: nothing could be compared."),
            "{words}"
        );
    }
}
