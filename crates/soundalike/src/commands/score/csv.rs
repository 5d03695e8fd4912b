//! Scores for spreadsheets: RFC 4180, rates as fractions, times in seconds, every digit.
//!
//! A line for each recording and convention, in the order of the recordings, then one for each convention with
//! `recording` `TOTAL`, in which seconds are pooled and speakers counted together. A cell is empty where the
//! convention has no such number. Columns may be added behind the last one.

use soundalike_metrics::{Convention, Figures, SpeakerCount};

use super::{scores::Scores, sheet::TOTAL};
use crate::document::Table;

/// Names of the columns, as in JSON.
const HEADER: &str = "recording|convention|der|missed_detection|false_alarm|confusion|correct|total|jer|\
purity|coverage|purity_coverage_f|detection_error_rate|detection_accuracy|detection_precision|\
detection_recall|detection_f1|speaker_count_error|reference_speakers|hypothesis_speakers";

/// All numbers.
pub(super) fn table(scores: &Scores) -> Table {
    let verdicts = scores.by_recording().flatten();
    let recordings = verdicts.map(|(convention, recording)| {
        let (figures, count) = (&recording.figures, recording.speaker_count);
        row(&recording.uri, convention, figures, count)
    });
    let totals = scores.reports.iter().map(|report| {
        let count = super::sheet::speaker_count(report);
        row(TOTAL, report.convention, &report.pooled, count)
    });
    Table::of(HEADER, recordings.chain(totals))
}

fn row(
    name: &str,
    convention: Convention,
    figures: &Figures,
    count: SpeakerCount,
) -> impl Iterator<Item = String> {
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
    [name.to_owned(), convention.to_string()]
        .into_iter()
        .chain(numbers)
}
