//! Scores as a document.

use soundalike_metrics::{Convention, Figures, Mapping, RecordingReport, Report, Speaker, Spread};

use super::scores::Scores;
use crate::document::{Block, Document, Table};

/// What stands where there is no number.
const NONE: &str = "-";

/// The name of all recordings together.
pub(super) const TOTAL: &str = "TOTAL";

/// The scores below the command that asked for them and below the notes, which stderr has.
pub(super) fn on_a_terminal(scores: &Scores) -> Document {
    let mut document = Document::default();
    document.facts(
        scores
            .reports
            .iter()
            .map(|report| conditions(report, scores)),
    );
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

/// The scores with what was scored and with the notes.
pub(super) fn in_a_file(scores: &Scores) -> Document {
    let mut document = on_a_terminal(scores);
    document.title = scores.title.clone();
    let notes = scores.reports.first().map_or(&[][..], |r| &r.notes);
    document.list("Notes", notes.iter().map(ToString::to_string));
    document
}

/// The same and a picture of each recording.
pub(super) fn with_pictures(scores: &Scores) -> Document {
    let mut document = in_a_file(scores);
    let pictures = scores.pictures().map(|picture| picture.draw()).collect();
    document.blocks.push(Block::Pictures(pictures));
    document
}

/// Under which conditions a report was made.
fn conditions(report: &Report, scores: &Scores) -> String {
    let side = report.collar_per_side;
    let mut words = if side > 0.0 {
        format!(
            "{}: collar of {} s in all, {side} s on each side of a boundary",
            report.convention,
            2.0 * side
        )
    } else {
        format!("{}: no collar", report.convention)
    };
    words += if report.options.skip_overlap {
        ", overlap not scored"
    } else {
        ", overlap scored"
    };
    if report.convention == Convention::Pyannote && report.options.mapping == Mapping::Greedy {
        words += ", speakers mapped greedily";
    }
    if let Some(uem) = &scores.uem {
        words += &format!(", within {uem}");
    }
    words
}

/// A row for each recording and convention, and for all recordings together.
fn rates(scores: &Scores) -> Table {
    let several = scores.reports.len() > 1;
    let scorer = if several { "scorer | " } else { "" };
    let mut table = Table::new(&format!(
        "recording | {scorer}>DER\n% | >missed\n% | >false alarm\n% | >confusion\n% | >JER\n% | >speech\ns | \
         >speakers\nhyp/ref"
    ));
    for verdicts in scores.by_recording() {
        for (index, (convention, recording)) in verdicts.into_iter().enumerate() {
            let name = if index == 0 {
                recording.uri.clone()
            } else {
                String::new()
            };
            let count = recording.speaker_count;
            let speakers = format!("{}/{}", count.hypothesis, count.reference);
            let scorer = several.then(|| convention.to_string());
            table.row(row(name, scorer, &recording.figures, speakers));
        }
    }
    for (index, report) in scores.reports.iter().enumerate() {
        let name = if index == 0 { TOTAL } else { "" };
        let scorer = several.then(|| report.convention.to_string());
        let count = |number: fn(&RecordingReport) -> usize| -> usize {
            report.recordings.iter().map(number).sum()
        };
        let speakers = format!(
            "{}/{}",
            count(|r| r.speaker_count.hypothesis),
            count(|r| r.speaker_count.reference)
        );
        table.row(row(name.to_owned(), scorer, &report.pooled, speakers));
    }
    table
}

fn row(name: String, scorer: Option<String>, figures: &Figures, speakers: String) -> Vec<String> {
    let parts = &figures.components;
    let share = |seconds: f64| (parts.total > 0.0).then(|| seconds / parts.total);
    let mut cells = vec![name];
    cells.extend(scorer);
    cells.extend(
        [
            figures.der,
            share(parts.missed_detection),
            share(parts.false_alarm),
            share(parts.confusion),
            figures.jer,
        ]
        .map(percent),
    );
    cells.push(decimals(parts.total, 3));
    cells.push(speakers);
    cells
}

/// How the rates are spread over the recordings.
fn spreads(scores: &Scores) -> Table {
    let header =
        "over recordings | >min | >lower quartile | >median | >upper quartile | >max | >mean";
    let mut table = Table::new(header);
    let several = scores.reports.len() > 1;
    for report in &scores.reports {
        for (rate, spread) in [("DER %", &report.der), ("JER %", &report.jer)] {
            let Some(spread) = spread else { continue };
            let Spread {
                recordings: _,
                min,
                lower_quartile,
                median,
                upper_quartile,
                max,
                mean,
            } = *spread;
            let name = if several {
                format!("{} {rate}", report.convention)
            } else {
                rate.to_owned()
            };
            let numbers = [min, lower_quartile, median, upper_quartile, max, mean];
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
    let header =
        "speech or silence | >error\n% | >accuracy\n% | >precision\n% | >recall\n% | >F\n%";
    let mut table = Table::new(header);
    for report in &scores.reports {
        let detection = &report.pooled.detection;
        let rates = [
            detection.error_rate,
            detection.accuracy,
            detection.precision,
            detection.recall,
            detection.f1,
        ];
        let name = report.convention.to_string();
        table.row([name].into_iter().chain(rates.map(percent)));
    }
    document.table("", table);
    let options = &report.options;
    let cut = options.collar > 0.0 || options.skip_overlap || scores.uem.is_some();
    document.paragraph(format!(
        "purity {} %, coverage {} %, F {} %{}",
        percent(figures.purity),
        percent(figures.coverage),
        percent(figures.purity_coverage_f),
        if cut { ", of all that is said" } else { "" }
    ));
    if scores.recordings.len() > 1 {
        document.paragraph(format!(
            "speakers too many or too few: {} per recording",
            decimals(figures.speaker_count_error, 2)
        ));
    }
}

/// Who was taken for whom, and how long everybody speaks.
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
        let partner = recording
            .mapping
            .iter()
            .find(|(_, r)| *r == reference.label);
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
        document.heading(match (same, reasons.is_empty()) {
            (true, _) => format!("{name}: the error rates agree, although"),
            (false, false) => format!("{name}: the scorers differ because"),
            (false, true) => {
                format!("{name}: the scorers differ for a reason that is not known here")
            }
        });
        document.list("", reasons.iter().map(ToString::to_string));
    }
    if agreed.len() == scores.recordings.len() {
        document.paragraph(
            "the scorers agree: nothing here is seen differently by any of them".to_owned(),
        );
    } else if !agreed.is_empty() {
        document.paragraph(format!("the scorers agree on {}", agreed.join(", ")));
    }
}

/// A rate in percent.
fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| NONE.to_owned(), |rate| decimals(100.0 * rate, 2))
}

/// A number with so many decimals, and no minus before a zero.
fn decimals(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.to_owned(),
        _ => text,
    }
}
