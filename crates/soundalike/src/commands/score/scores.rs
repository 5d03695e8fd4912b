//! The scores, computed once for all formats.

use soundalike_metrics::{
    Convention, DiarizationErrorRate, Figures, Note, Reason, Recording, RecordingReport,
    ScoreOptions, ScoreReport, SpeakerCount, compare_conventions,
};
use soundalike_report::document::picture::Timeline;

/// The scores of all recordings under one convention or all of them.
pub(super) struct Scores {
    /// Names of both sides.
    pub(super) title: String,
    /// Path of the UEM.
    pub(super) uem: Option<String>,
    /// Both sides of each recording, in the order of the reports.
    pub(super) recordings: Vec<Recording>,
    /// One per convention; at least one.
    pub(super) reports: Vec<ScoreReport>,
    /// With all conventions: the reasons why they differ, per recording.
    pub(super) differences: Option<Vec<Vec<Reason>>>,
}

/// A recording, or all together, under a convention.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// Whether it is the first line of that name.
    pub(super) is_first: bool,
    pub(super) convention: Convention,
    pub(super) figures: &'a Figures,
    pub(super) count: SpeakerCount,
}

/// The name of all recordings together.
const TOTAL: &str = "TOTAL";

impl Scores {
    /// The scores under `convention`, or under all conventions with the reasons why they differ.
    pub(super) fn new(
        title: String,
        convention: Option<Convention>,
        options: ScoreOptions,
        recordings: Vec<Recording>,
        notes: &[Note],
    ) -> Self {
        let report = |c| ScoreReport::new(c, options, &recordings, notes.to_vec());
        let reasons = |r: &Recording| {
            compare_conventions(options, &r.reference, &r.hypothesis, r.uem.as_ref()).reasons
        };
        let (reports, differences) = match convention {
            Some(convention) => (vec![report(convention)], None),
            None => (
                Convention::ALL.map(report).to_vec(),
                Some(recordings.iter().map(reasons).collect()),
            ),
        };
        Self {
            title,
            uem: None,
            recordings,
            reports,
            differences,
        }
    }

    /// Sorts the recordings by the first convention's DER, the highest first, those without one last.
    pub(super) fn worst_first(&mut self) {
        let rate = |i: &usize| self.reports[0].recordings[*i].figures.der.unwrap_or(-1.0);
        let mut order: Vec<usize> = (0..self.recordings.len()).collect();
        order.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        for report in &mut self.reports {
            report.recordings = permuted(&report.recordings, &order);
        }
        self.recordings = permuted(&self.recordings, &order);
        self.differences = self.differences.as_ref().map(|d| permuted(d, &order));
    }

    /// The lines of a table: each recording under all conventions, then the totals.
    pub(super) fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        for verdicts in self.by_recording() {
            for (index, (convention, recording)) in verdicts.into_iter().enumerate() {
                lines.push(Line {
                    name: &recording.uri,
                    is_first: index == 0,
                    convention,
                    figures: &recording.figures,
                    count: recording.speaker_count,
                });
            }
        }
        for (index, report) in self.reports.iter().enumerate() {
            let mut count = SpeakerCount::default();
            for recording in &report.recordings {
                count.reference += recording.speaker_count.reference;
                count.hypothesis += recording.speaker_count.hypothesis;
            }
            lines.push(Line {
                name: TOTAL,
                is_first: index == 0,
                convention: report.convention,
                figures: &report.pooled,
                count,
            });
        }
        lines
    }

    /// The reports of each recording under all conventions.
    pub(super) fn by_recording(&self) -> impl Iterator<Item = Vec<(Convention, &RecordingReport)>> {
        (0..self.recordings.len()).map(|i| {
            let reports = self.reports.iter();
            let verdicts = reports.map(|report| (report.convention, &report.recordings[i]));
            verdicts.collect()
        })
    }

    /// A picture of each recording: pyannote's regions, with a collar as wide as the convention's.
    pub(super) fn pictures(&self) -> impl Iterator<Item = Timeline> {
        let report = &self.reports[0];
        let der = DiarizationErrorRate {
            collar: 2.0 * report.collar_per_side,
            skip_overlap: report.options.skip_overlap,
            mapping: report.options.mapping,
        };
        let recordings = self.recordings.iter();
        recordings.map(move |r| Timeline::new(der, &r.reference, &r.hypothesis, r.uem.as_ref()))
    }
}

fn permuted<T: Clone>(values: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&i| values[i].clone()).collect()
}
