//! All that is printed, computed once.

use soundalike_metrics::{
    Convention, DiarizationErrorRate, Note, Options, Reason, Recording, RecordingReport, Report,
    compare,
};

use crate::document::picture::Timeline;

/// The scores of all recordings under one convention or all of them.
pub(super) struct Scores {
    /// What was scored against what.
    pub(super) title: String,
    /// The UEM, by its path.
    pub(super) uem: Option<String>,
    /// Both sides of each recording, in the order of the reports.
    pub(super) recordings: Vec<Recording>,
    /// One for each convention; at least one.
    pub(super) reports: Vec<Report>,
    /// Where there are all conventions: for each recording why they differ.
    pub(super) differences: Option<Vec<Vec<Reason>>>,
}

impl Scores {
    /// The scores under one convention; where there is none, under all, and why they differ.
    pub(super) fn new(
        title: String,
        convention: Option<Convention>,
        options: Options,
        recordings: Vec<Recording>,
        notes: &[Note],
    ) -> Self {
        let report = |c| Report::new(c, options, &recordings, notes.to_vec());
        let reasons =
            |r: &Recording| compare(options, &r.reference, &r.hypothesis, r.uem.as_ref()).reasons;
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

    /// Sorts the recordings by the rate of the first convention, the highest first, those without one last.
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

    /// For each recording what the conventions say about it.
    pub(super) fn by_recording(&self) -> impl Iterator<Item = Vec<(Convention, &RecordingReport)>> {
        (0..self.recordings.len()).map(|i| {
            let reports = self.reports.iter();
            let verdicts = reports.map(|report| (report.convention, &report.recordings[i]));
            verdicts.collect()
        })
    }

    /// What there is to see of each recording: pyannote's regions, with a collar as wide as the convention's.
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
