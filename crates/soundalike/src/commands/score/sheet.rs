//! Scores as words and tables, whatever writes them down.

use soundalike_metrics::{Convention, Figures, Mapping, RecordingReport, Report, Speaker, Spread};

use super::scores::Scores;

/// One thing below the other.
pub(super) enum Block {
    /// What follows.
    Heading(String),
    /// A line.
    Words(String),
    /// Sentences, one below the other.
    List(Vec<String>),
    /// Rows of cells.
    Table(Table),
}

/// Rows of cells under a header.
pub(super) struct Table {
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// The columns that hold text; the others hold numbers and stand on the right.
    pub(super) text: Vec<usize>,
}

/// What stands where there is no number.
const NONE: &str = "-";

/// The name of all recordings together.
pub(super) const TOTAL: &str = "TOTAL";

/// The scores for somebody who has read the notes.
pub(super) fn of(scores: &Scores) -> Vec<Block> {
    let mut blocks: Vec<Block> = scores
        .reports
        .iter()
        .map(|report| Block::Words(conditions(report, scores)))
        .collect();
    blocks.push(Block::Table(rates(scores)));
    if scores.recordings.len() > 1 {
        blocks.push(Block::Table(spreads(scores)));
    }
    blocks.extend(rest(scores));
    if let ([_], [report, ..]) = (&scores.recordings[..], &scores.reports[..]) {
        blocks.extend(report.recordings.first().map(speakers).map(Block::Table));
    }
    blocks.extend(differences(scores));
    blocks
}

/// The scores for a file that is read without what was said on stderr.
pub(super) fn of_a_document(scores: &Scores) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(printable(&scores.title))];
    blocks.extend(of(scores));
    let notes = scores.reports.first().map_or(&[][..], |r| &r.notes);
    if !notes.is_empty() {
        blocks.push(Block::Heading("Notes".to_owned()));
        let notes = notes.iter().map(|note| printable(&note.to_string()));
        blocks.push(Block::List(notes.collect()));
    }
    blocks
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
        words += &format!(", within {}", printable(uem));
    }
    words
}

/// A row for each recording and convention, and for all recordings together.
fn rates(scores: &Scores) -> Table {
    let several = scores.reports.len() > 1;
    let mut header = vec!["recording"];
    if several {
        header.push("scorer");
    }
    header.extend([
        "DER %",
        "missed %",
        "false alarm %",
        "confusion %",
        "JER %",
        "speech s",
        "speakers hyp/ref",
    ]);
    let mut rows = Vec::new();
    for verdicts in scores.by_recording() {
        for (index, (convention, recording)) in verdicts.into_iter().enumerate() {
            let name = if index == 0 {
                printable(&recording.uri)
            } else {
                String::new()
            };
            let count = recording.speaker_count;
            let speakers = format!("{}/{}", count.hypothesis, count.reference);
            let scorer = several.then(|| convention.to_string());
            rows.push(row(name, scorer, &recording.figures, speakers));
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
        rows.push(row(name.to_owned(), scorer, &report.pooled, speakers));
    }
    let text = (0..=usize::from(several)).collect();
    Table { header, rows, text }
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
    let header = vec![
        "over recordings",
        "min",
        "lower quartile",
        "median",
        "upper quartile",
        "max",
        "mean",
    ];
    let several = scores.reports.len() > 1;
    let mut rows = Vec::new();
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
            rows.push([name].into_iter().chain(numbers).collect());
        }
    }
    Table {
        header,
        rows,
        text: vec![0],
    }
}

/// The pooled rates that have no column. Purity and coverage are the same in every convention.
fn rest(scores: &Scores) -> Vec<Block> {
    let Some(report) = scores.reports.first() else {
        return Vec::new();
    };
    let figures = &report.pooled;
    let percent = |rate: f64| percent(Some(rate));
    let header = vec![
        "speech or silence",
        "error %",
        "accuracy %",
        "precision %",
        "recall %",
        "F %",
    ];
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
        [name].into_iter().chain(rates.map(percent)).collect()
    });
    let mut blocks = vec![Block::Table(Table {
        header,
        rows: rows.collect(),
        text: vec![0],
    })];
    let options = &report.options;
    let cut = options.collar > 0.0 || options.skip_overlap || scores.uem.is_some();
    blocks.push(Block::Words(format!(
        "purity {} %, coverage {} %, F {} %{}",
        percent(figures.purity),
        percent(figures.coverage),
        percent(figures.purity_coverage_f),
        if cut { ", of all that is said" } else { "" }
    )));
    if scores.recordings.len() > 1 {
        blocks.push(Block::Words(format!(
            "speakers too many or too few: {} per recording",
            decimals(figures.speaker_count_error, 2)
        )));
    }
    blocks
}

/// Who was taken for whom, and how long everybody speaks.
fn speakers(recording: &RecordingReport) -> Table {
    let header = vec![
        "reference",
        "turns",
        "speech s",
        "hypothesis",
        "turns",
        "speech s",
    ];
    let cells = |speaker: Option<&Speaker>| match speaker {
        Some(speaker) => [
            printable(&speaker.label),
            speaker.turns.to_string(),
            decimals(speaker.speaking_time, 3),
        ],
        None => [NONE.to_owned(), String::new(), String::new()],
    };
    let mut left: Vec<_> = recording.hypothesis_speakers.iter().collect();
    let mut rows = Vec::new();
    for reference in &recording.reference_speakers {
        let partner = recording
            .mapping
            .iter()
            .find(|(_, r)| *r == reference.label);
        let at = partner.and_then(|(h, _)| left.iter().position(|s| s.label == *h));
        let hypothesis = at.map(|at| left.remove(at));
        rows.push([cells(Some(reference)), cells(hypothesis)].concat());
    }
    rows.extend(
        left.into_iter()
            .map(|s| [cells(None), cells(Some(s))].concat()),
    );
    Table {
        header,
        rows,
        text: vec![0, 3],
    }
}

/// Why the conventions differ, recording by recording.
fn differences(scores: &Scores) -> Vec<Block> {
    let Some(differences) = &scores.differences else {
        return Vec::new();
    };
    let mut blocks = Vec::new();
    let mut agreed = Vec::new();
    for (verdicts, reasons) in scores.by_recording().zip(differences) {
        let Some((_, first)) = verdicts.first() else {
            continue;
        };
        let name = printable(&first.uri);
        let rate = |report: &RecordingReport| percent(report.figures.der);
        let same = verdicts.iter().all(|(_, r)| rate(r) == rate(first));
        if reasons.is_empty() && same {
            agreed.push(name);
            continue;
        }
        blocks.push(Block::Heading(match (same, reasons.is_empty()) {
            (true, _) => format!("{name}: the error rates agree, although"),
            (false, false) => format!("{name}: the scorers differ because"),
            (false, true) => {
                format!("{name}: the scorers differ for a reason that is not known here")
            }
        }));
        if !reasons.is_empty() {
            let reasons = reasons.iter().map(|reason| printable(&reason.to_string()));
            blocks.push(Block::List(reasons.collect()));
        }
    }
    if agreed.len() == scores.recordings.len() {
        blocks.push(Block::Words(
            "the scorers agree: nothing here is seen differently by any of them".to_owned(),
        ));
    } else if !agreed.is_empty() {
        blocks.push(Block::Words(format!(
            "the scorers agree on {}",
            agreed.join(", ")
        )));
    }
    blocks
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

/// `text` without characters that would move the cursor of a terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
