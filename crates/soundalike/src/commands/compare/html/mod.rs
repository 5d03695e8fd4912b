//! A report as one page, with nothing outside of it.

mod heatmap;
mod scatter;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use soundalike_compare::{Evidence, Figure, Report, Share, StageReport, Verdict};
use soundalike_metrics::{DiarizationErrorRate, Picture};

use super::{
    rows::{self, Row},
    table::figure,
    weights, words,
};

const STYLE: &str = include_str!("report.css");
/// Inputs that are drawn, the worst first: each takes up to 60 kB.
const DRAWN: usize = 3;
/// Stages up to which all are shown at first.
const UNFOLDED: usize = 40;
/// Marks on the scale of R, and what stands there.
const MARKS: [(f64, &str); 4] = [(1.0, "1"), (1e2, "100"), (1e4, "1e4"), (1e6, "1e6")];

/// A complete page.
pub(super) fn render(report: &Report) -> String {
    let title = words::title(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                pre { (report.provenance.command) }
                p.soft {
                    (words::inputs(report))
                    @for line in words::provenance(report) { br; (line) }
                }
                (weights(report))
                p.finding.(class(words::verdict(report))) { (words::finding(report)) }
                (lines(&[words::output(report), words::gate(report), words::coverage(report)].concat()))
                (stages(report))
                (outputs(report))
                (decisions(report))
                (embeddings(report))
                (budget(report))
            }
        }
    };
    page.into_string()
}

/// Lines with those that are indented below them.
fn lines(lines: &[String]) -> Markup {
    html! {
        ul {
            @for line in lines {
                @if let Some(detail) = line.strip_prefix("  ") {
                    ul { li { (detail) } }
                } @else {
                    li { (line) }
                }
            }
        }
    }
}

fn weights(report: &Report) -> Markup {
    html! {
        div.soft { (lines(&weights::words(report))) }
    }
}

fn stages(report: &Report) -> Markup {
    let folded = rows::folded(&report.stages);
    let r = rows::measured(report);
    html! {
        h2 { "Stages" }
        p.soft.legend {
            (r) " is the error in units of " (words::rounding(report)) " on this input; below 4 (the dark line) nothing else is in it."
            i.forced {} "teacher-forced: whose error it is"
            i.free {} "free-running: what a user gets"
        }
        @if folded.len() < report.stages.len() {
            p { label {
                input #fold type="checkbox" checked[report.stages.len() > UNFOLDED];
                " fold stages that pass"
            } }
        }
        div.wide { table {
            tr {
                th.text { "stage" } th.text { "shape" } th { (r) " forced" } th { (r) " free" } th { (scale()) }
                th { "R local" } th { "max error" } th { "1 - corr" } th { "rms ratio" } th.text { "verdict" }
            }
            @for run in folded {
                @if run.len() > 1 {
                    (row(report, run, "run"))
                    @for stage in run.chunks(1) { (row(report, stage, "part")) }
                } @else {
                    (row(report, run, "single"))
                }
            }
        } }
    }
}

fn row(report: &Report, stages: &[StageReport], kind: &str) -> Markup {
    let row = Row::new(report, stages);
    // Of several stages neither a shape nor a gain can be told.
    let only = match stages {
        [only] => Some(only),
        _ => None,
    };
    let shape = only.map(|stage| {
        let sizes: Vec<_> = stage.shape.iter().map(ToString::to_string).collect();
        sizes.join(" × ")
    });
    let gain = only
        .and_then(|stage| stage.free_running.as_ref())
        .map(|error| error.rms_ratio);
    html! {
        tr.(kind).source[row.source] {
            td.text { code { @if row.source { "> " } (row.name) } }
            td.text { @if let Some(shape) = shape { (shape) } @if only.is_some_and(|stage| stage.degenerate) { " degenerate" } }
            td { (figure(row.forced)) }
            td { (figure(row.free)) }
            td { (bars(&row)) }
            td { (figure(row.local)) }
            td { (figure(row.max_abs)) }
            td { (figure(row.lack)) }
            td { @if let Some(gain) = gain { (format!("{gain:.4}")) } }
            td.text.verdict.(class(row.verdict)) { (row.verdict) }
        }
    }
}

fn bars(row: &Row) -> Markup {
    let width = |r: f64| format!("width:{:.1}%", 100.0 * rows::on_scale(r));
    html! {
        div.track {
            @if let Some(r) = row.forced { i.forced style=(width(r)) {} }
            @if let Some(r) = row.free { i.free style=(width(r)) {} }
        }
    }
}

fn scale() -> Markup {
    html! {
        div.scale {
            @for (mark, text) in MARKS {
                span style=(format!("left:{:.1}%", 100.0 * rows::on_scale(mark))) { (text) }
            }
        }
    }
}

fn outputs(report: &Report) -> Markup {
    let mut shown: Vec<_> = report.evidence.iter().collect();
    let worst = |evidence: &&Evidence| {
        let output = report
            .inputs
            .get(evidence.input)
            .and_then(|input| input.output.as_ref());
        // NaN is the worst that can be.
        output.map_or(0.0, |output| {
            if output.max_abs.is_nan() {
                f64::INFINITY
            } else {
                output.max_abs
            }
        })
    };
    shown.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
    html! {
        @if !shown.is_empty() { h2 { "Output" } }
        @if shown.len() > DRAWN {
            p.soft { "The " (DRAWN) " of " (shown.len()) " inputs with the largest errors." }
        }
        @for evidence in shown.into_iter().take(DRAWN) { (output(report, evidence)) }
    }
}

fn output(report: &Report, evidence: &Evidence) -> Markup {
    let input = report.inputs.get(evidence.input);
    let (start, duration) = input.map_or((0.0, 0.0), |input| (input.start, input.duration));
    let (ours, theirs) = (&evidence.scores.candidate, &evidence.scores.reference);
    let picture = evidence.turns.as_ref().map(|turns| {
        let der = DiarizationErrorRate::default();
        Picture::new(der, &turns.reference, &turns.candidate, None).svg()
    });
    html! {
        @if let Some(input) = input { h3 { (input) } }
        div.outputs {
            @if ours.dim() == theirs.dim() {
                // Embeddings do not lie in time.
                @if input.and_then(|input| input.output.as_ref()).is_some_and(|output| output.embeddings.is_empty()) {
                    (heatmap::draw((ours - theirs).view(), start, duration))
                }
                (scatter::draw(theirs.view(), ours.view()))
            }
        }
        @if let Some(picture) = picture { div.picture { (PreEscaped(picture)) } }
    }
}

/// What is decided, class by class.
fn decisions(report: &Report) -> Markup {
    let output = report.output.as_ref();
    let Some(decisions) = output.and_then(|output| output.decisions.as_ref()) else {
        return Markup::default();
    };
    let share = |share: &Share| match share.frames {
        0 => "-".to_owned(),
        frames => words::percent(share.agreeing as f64 / frames as f64),
    };
    let means = &decisions.per_class_mean;
    html! {
        h2 { "Decisions" }
        p {
            "The largest error can change the decision in " (decisions.margins.flippable) " frames: so many are decided by no "
            "more than twice that."
            @for (speaker, agreement) in decisions.per_speaker_agreement.iter().enumerate() {
                " Speaker " (speaker + 1) ": " (share(agreement)) " of the frames alike."
            }
        }
        div.wide { table {
            tr { th.text { "class" } th { "frames" } th { "decided alike" } th { "mean, candidate" } th { "mean, reference" } }
            @for (class, agreement) in decisions.per_class_agreement.iter().enumerate() {
                tr {
                    td.text { (class) }
                    td { (agreement.frames) }
                    td { (share(agreement)) }
                    td { (figure(means.candidate.get(class).copied())) }
                    td { (figure(means.reference.get(class).copied())) }
                }
            }
        } }
    }
}

/// Embeddings one by one.
fn embeddings(report: &Report) -> Markup {
    let embeddings = report
        .output
        .as_ref()
        .map_or(&[][..], |output| &output.embeddings);
    html! {
        @if !embeddings.is_empty() {
            h2 { "Embeddings" }
            div.wide { table {
                tr {
                    th { "1 - cosine" } th { "of PyTorch's f32" } th { "length over the reference's - 1" } th { "of PyTorch's f32" }
                }
                @for embedding in embeddings {
                    tr {
                        td { (Figure(1.0 - embedding.cosine)) }
                        td { (Figure(1.0 - embedding.reference_cosine)) }
                        td { (Figure(embedding.rms_ratio - 1.0)) }
                        td { (Figure(embedding.reference_rms_ratio - 1.0)) }
                    }
                }
            } }
        }
    }
}

/// What the errors of the stages become at the output; the largest.
fn budget(report: &Report) -> Markup {
    let Some(budget) = &report.budget else {
        return Markup::default();
    };
    let mut stages: Vec<_> = budget.stages.iter().collect();
    stages.sort_by(|a, b| b.at_output.total_cmp(&a.at_output));
    html! {
        h2 { "Propagation budget" }
        p { (budget.text) "." }
        p.soft {
            "A stage's own error is put into the f64 reference; what becomes of it at the output is its gain. "
            "Root mean squares, the " (BUDGETED.min(stages.len())) " of " (stages.len()) " stages that matter most at the output."
        }
        div.wide { table {
            tr { th.text { "stage" } th { "own error" } th { "PyTorch's f32" } th { "gain" } th { "at the output" } }
            @for stage in stages.into_iter().take(BUDGETED) {
                tr {
                    td.text { code { (stage.name) } }
                    td { (Figure(stage.error)) }
                    td { (Figure(stage.floor)) }
                    td { (Figure(stage.gain)) }
                    td { (Figure(stage.at_output)) }
                }
            }
        } }
    }
}

/// Stages of a budget that are shown.
const BUDGETED: usize = 8;

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Exact => "exact",
        Verdict::Precision => "precision",
        Verdict::Structural => "structural",
        Verdict::NotObserved | Verdict::NotComparable => "unseen",
    }
}
