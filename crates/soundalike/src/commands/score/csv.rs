//! Scores for spreadsheets: RFC 4180, rates as fractions, times in seconds, all digits.
//!
//! A line per recording and convention, in the order of the recordings, then one per convention whose `recording` is
//! `TOTAL`: pooled seconds, and the number of all speakers. A cell is empty if the convention has no such number.
//! Columns may be added at the end.

use super::scores::{Line, Scores};
use soundalike_report::document::Table;

/// Names of the columns, as in JSON.
const HEADER: &str = "recording|convention|der|missed_detection|false_alarm|confusion|correct|total|jer|\
purity|coverage|purity_coverage_f|detection_error_rate|detection_accuracy|detection_precision|\
detection_recall|detection_f1|speaker_count_error|reference_speakers|hypothesis_speakers";

pub(super) fn table(scores: &Scores) -> Table {
    Table::of(HEADER, scores.lines().iter().map(row))
}

fn row(line: &Line<'_>) -> impl Iterator<Item = String> + use<> {
    let (figures, count) = (line.figures, line.count);
    let (parts, detection) = (&figures.components, &figures.detection);
    let numbers = [
        figures.der,
        Some(parts.missed_detection),
        Some(parts.false_alarm),
        Some(parts.confusion),
        Some(parts.correct),
        Some(parts.total),
        figures.jer,
        Some(figures.purity),
        Some(figures.coverage),
        Some(figures.purity_coverage_f),
        Some(detection.error_rate),
        Some(detection.accuracy),
        Some(detection.precision),
        Some(detection.recall),
        Some(detection.f1),
        Some(figures.speaker_count_error),
        Some(count.reference as f64),
        Some(count.hypothesis as f64),
    ];
    let numbers = numbers.map(|n| n.map_or_else(String::new, |n| n.to_string()));
    let names = [line.name.to_owned(), line.convention.to_string()];
    names.into_iter().chain(numbers)
}
