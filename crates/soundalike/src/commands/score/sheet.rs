//! Scores as a document.

use soundalike_metrics::{Convention, Mapping, RecordingReport, ScoreReport, Speaker};
use soundalike_report::document::{Block, Document, Table};

use super::scores::Scores;

/// In place of a missing number.
const NONE: &str = "-";

/// The scores without title and notes: stderr has the notes.
pub(super) fn on_a_terminal(scores: &Scores) -> Document {
    let mut document = Document::default();
    let reports = scores.reports.iter();
    document.facts(reports.map(|report| conditions(report, scores)));
    document.table("", rates(scores));
    if scores.recordings.len() > 1 {
        document.table("", spreads(scores));
    }
    rest(scores, &mut document);
    if let ([_], [report, ..]) = (&scores.recordings[..], &scores.reports[..])
        && let Some(recording) = report.recordings.first()
    {
        document.table("", speakers(recording));
    }
    differences(scores, &mut document);
    document
}

/// The scores with title and notes.
pub(super) fn in_a_file(scores: &Scores) -> Document {
    let mut document = on_a_terminal(scores);
    document.title = scores.title.clone();
    let notes = scores.reports.first().map_or(&[][..], |r| &r.notes);
    document.list("Notes", notes.iter().map(ToString::to_string));
    document
}

/// The scores with title, notes and a picture of each recording.
pub(super) fn with_pictures(scores: &Scores) -> Document {
    let mut document = in_a_file(scores);
    let pictures = scores.pictures().map(|picture| picture.draw()).collect();
    document.blocks.push(Block::Pictures(pictures));
    document
}

/// The scoring options of a report.
fn conditions(report: &ScoreReport, scores: &Scores) -> String {
    let side = report.collar_per_side;
    let mut words = format!("{}: ", report.convention);
    words += &match side > 0.0 {
        true => format!(
            "collar of {} s in all, {side} s on each side of a boundary",
            2.0 * side
        ),
        false => "no collar".to_owned(),
    };
    words += match report.options.skip_overlap {
        true => ", overlap not scored",
        false => ", overlap scored",
    };
    if report.convention == Convention::Pyannote && report.options.mapping == Mapping::Greedy {
        words += ", speakers mapped greedily";
    }
    if let Some(uem) = &scores.uem {
        words += &format!(", within {uem}");
    }
    words
}

/// A row per recording and convention, and the totals.
fn rates(scores: &Scores) -> Table {
    let several = scores.reports.len() > 1;
    let scorer = if several { "scorer | " } else { "" };
    let mut table = Table::new(&format!(
        "recording | {scorer}>DER\n% | >missed\n% | >false alarm\n% | >confusion\n% | >JER\n% | >speech\ns | \
         >speakers\nhyp/ref"
    ));
    for line in scores.lines() {
        let parts = &line.figures.components;
        let share = |seconds: f64| (parts.total > 0.0).then(|| seconds / parts.total);
        let rates = [
            line.figures.der,
            share(parts.missed_detection),
            share(parts.false_alarm),
            share(parts.confusion),
            line.figures.jer,
        ];
        let name = if line.is_first { line.name } else { "" };
        let mut cells = vec![name.to_owned()];
        cells.extend(several.then(|| line.convention.to_string()));
        cells.extend(rates.map(percent));
        cells.push(decimals(parts.total, 3));
        cells.push(format!(
            "{}/{}",
            line.count.hypothesis, line.count.reference
        ));
        table.row(cells);
    }
    table
}

/// Quartiles of the rates over the recordings.
fn spreads(scores: &Scores) -> Table {
    let header =
        "over recordings | >min | >lower quartile | >median | >upper quartile | >max | >mean";
    let mut table = Table::new(header);
    let several = scores.reports.len() > 1;
    for report in &scores.reports {
        for (rate, spread) in [("DER %", &report.der), ("JER %", &report.jer)] {
            let Some(spread) = spread else { continue };
            let name = match several {
                true => format!("{} {rate}", report.convention),
                false => rate.to_owned(),
            };
            let numbers = [
                spread.min,
                spread.lower_quartile,
                spread.median,
                spread.upper_quartile,
                spread.max,
                spread.mean,
            ];
            let numbers = numbers.map(|number| percent(Some(number)));
            table.row([name].into_iter().chain(numbers));
        }
    }
    table
}

/// The pooled rates that have no column. Purity and coverage are the same in every convention.
fn rest(scores: &Scores, document: &mut Document) {
    let Some(report) = scores.reports.first() else {
        return;
    };
    let figures = &report.pooled;
    let percent = |rate: f64| percent(Some(rate));
    let header = "speech detection | >error\n% | >accuracy\n% | >precision\n% | >recall\n% | >F\n%";
    let rows = scores.reports.iter().map(|report| {
        let detection = &report.pooled.detection;
        let rates = [
            detection.error_rate,
            detection.accuracy,
            detection.precision,
            detection.recall,
            detection.f1,
        ];
        let name = report.convention.to_string();
        [name].into_iter().chain(rates.map(percent))
    });
    document.table("", Table::of(header, rows));
    let options = &report.options;
    let cut = options.collar > 0.0 || options.skip_overlap || scores.uem.is_some();
    document.paragraph(format!(
        "purity {} %, coverage {} %, F {} %{}",
        percent(figures.purity),
        percent(figures.coverage),
        percent(figures.purity_coverage_f),
        if cut { ", on all speech" } else { "" }
    ));
    if scores.recordings.len() > 1 {
        document.paragraph(format!(
            "speaker count error: {} per recording",
            decimals(figures.speaker_count_error, 2)
        ));
    }
}

/// The mapping of speakers, with the speaking time of each.
fn speakers(recording: &RecordingReport) -> Table {
    let header = "reference | >turns | >speech\ns | hypothesis | >turns | >speech\ns";
    let mut table = Table::new(header);
    let cells = |speaker: Option<&Speaker>| match speaker {
        Some(speaker) => [
            speaker.label.clone(),
            speaker.turns.to_string(),
            decimals(speaker.speaking_time, 3),
        ],
        None => [NONE.to_owned(), String::new(), String::new()],
    };
    let mut left: Vec<_> = recording.hypothesis_speakers.iter().collect();
    for reference in &recording.reference_speakers {
        let mut mapping = recording.mapping.iter();
        let partner = mapping.find(|(_, r)| *r == reference.label);
        let at = partner.and_then(|(h, _)| left.iter().position(|s| s.label == *h));
        let hypothesis = at.map(|at| left.remove(at));
        table.row([cells(Some(reference)), cells(hypothesis)].concat());
    }
    for hypothesis in left {
        table.row([cells(None), cells(Some(hypothesis))].concat());
    }
    table
}

/// Why the conventions differ, recording by recording.
fn differences(scores: &Scores, document: &mut Document) {
    let Some(differences) = &scores.differences else {
        return;
    };
    let mut agreed = Vec::new();
    for (verdicts, reasons) in scores.by_recording().zip(differences) {
        let Some((_, first)) = verdicts.first() else {
            continue;
        };
        let name = first.uri.clone();
        let rate = |report: &RecordingReport| percent(report.figures.der);
        let same = verdicts.iter().all(|(_, r)| rate(r) == rate(first));
        if reasons.is_empty() && same {
            agreed.push(name);
            continue;
        }
        let why = match (same, reasons.is_empty()) {
            (true, _) => "the error rates agree, although",
            (false, false) => "the scorers differ because",
            (false, true) => "the scorers differ for an unknown reason",
        };
        document.heading(format!("{name}: {why}"));
        document.list("", reasons.iter().map(ToString::to_string));
    }
    if agreed.len() == scores.recordings.len() {
        document
            .paragraph("the scorers agree: their definitions make no difference here".to_owned());
    } else if !agreed.is_empty() {
        document.paragraph(format!("the scorers agree on {}", agreed.join(", ")));
    }
}

/// A rate in percent.
fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| NONE.to_owned(), |rate| decimals(100.0 * rate, 2))
}

/// A number with `decimals` decimals, and no minus before a zero.
fn decimals(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.to_owned(),
        _ => text,
    }
}
