//! The scores of all recordings, as data.

use serde::Serialize;
use statrs::statistics::{Data, Distribution, Max, Min, OrderStatistics};

use crate::{
    Components, Convention, Detection, Jaccard, MatchedTime, Scope, ScoreOptions, Speaker,
    SpeakerCount, coverage, detection, f_measure, md_eval, purity,
    recordings::{Note, Recording},
    speaker_count,
};

/// The scores of one recording, or of several pooled. Rates are fractions, times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Diarization error rate; None where the convention has none (see [`ConventionScore::rate`](crate::ConventionScore::rate)).
    pub der: Option<f64>,
    /// Its components.
    pub components: Components,
    /// Jaccard error rate; md-eval has none.
    pub jer: Option<f64>,
    /// See [`purity`].
    pub purity: f64,
    /// See [`coverage`].
    pub coverage: f64,
    /// Harmonic mean of purity and coverage.
    pub purity_coverage_f: f64,
    /// Speech against silence.
    pub detection: DetectionFigures,
    /// Absolute difference of the speaker counts; the mean where several recordings are pooled.
    pub speaker_count_error: f64,
}

/// A [`Detection`] and its rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetectionFigures {
    pub seconds: Detection,
    pub error_rate: f64,
    pub accuracy: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingReport {
    /// Its name.
    pub uri: String,
    /// Its scores.
    pub figures: Figures,
    /// Pairs of a hypothesis and a reference label.
    pub mapping: Vec<(String, String)>,
    /// Numbers of speakers in the scored regions.
    pub speaker_count: SpeakerCount,
    /// Turns and speaking time of the reference.
    pub reference_speakers: Vec<Speaker>,
    /// Turns and speaking time of the hypothesis.
    pub hypothesis_speakers: Vec<Speaker>,
}

/// The distribution of a rate over the recordings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Number of recordings that have the rate.
    pub recordings: usize,
    /// Minimum.
    pub min: f64,
    /// First quartile.
    pub lower_quartile: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub upper_quartile: f64,
    /// Maximum.
    pub max: f64,
    /// Mean over recordings. The rate of the corpus is pooled instead.
    pub mean: f64,
}

/// All recordings under one convention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreReport {
    /// The convention.
    pub convention: Convention,
    /// The scoring options.
    pub options: ScoreOptions,
    /// Seconds of the collar on each side of a boundary, half of its width.
    pub collar_per_side: f64,
    /// The recordings, in the order given.
    pub recordings: Vec<RecordingReport>,
    /// The pooled scores: sums of seconds, then rates.
    pub pooled: Figures,
    /// Diarization error rates over the recordings; None without recordings.
    pub der: Option<Spread>,
    /// Jaccard error rates over the recordings.
    pub jer: Option<Spread>,
    /// Notes on the files.
    pub notes: Vec<Note>,
}

impl ScoreReport {
    /// Scores all recordings.
    #[must_use]
    pub fn new(
        convention: Convention,
        options: ScoreOptions,
        recordings: &[Recording],
        notes: Vec<Note>,
    ) -> Self {
        let scores = recordings.iter().map(|r| score(convention, options, r));
        let (recordings, sums): (Vec<RecordingReport>, Vec<Sums>) = scores.unzip();
        let spread = |rate: fn(&Figures) -> Option<f64>| {
            Spread::of(recordings.iter().filter_map(|r| rate(&r.figures)))
        };
        Self {
            convention,
            options,
            collar_per_side: convention.collar_per_side(options.collar),
            pooled: pooled(convention, &recordings, &sums),
            der: spread(|f| f.der),
            jer: spread(|f| f.jer),
            recordings,
            notes,
        }
    }
}

impl Spread {
    /// The distribution of `values`; None of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut data = Data::new(values.into_iter().collect::<Vec<f64>>());
        if data.is_empty() {
            return None;
        }
        Some(Self {
            mean: data.mean()?,
            recordings: data.len(),
            min: data.min(),
            lower_quartile: data.lower_quartile(),
            median: data.quantile(0.5),
            upper_quartile: data.upper_quartile(),
            max: data.max(),
        })
    }
}

/// The sums that rates are computed from.
#[derive(Default)]
struct Sums {
    components: Components,
    jaccard: Option<Jaccard>,
    purity: MatchedTime,
    coverage: MatchedTime,
    detection: Detection,
    speaker_count_error: f64,
}

impl Sums {
    fn figures(&self, der: Option<f64>, jer: Option<f64>) -> Figures {
        let (purity, coverage) = (self.purity.rate(), self.coverage.rate());
        Figures {
            der,
            components: self.components,
            jer,
            purity,
            coverage,
            purity_coverage_f: f_measure(purity, coverage),
            detection: DetectionFigures {
                seconds: self.detection,
                error_rate: self.detection.error_rate(),
                accuracy: self.detection.accuracy(),
                precision: self.detection.precision(),
                recall: self.detection.recall(),
                f1: self.detection.f1(),
            },
            speaker_count_error: self.speaker_count_error,
        }
    }
}

fn score(
    convention: Convention,
    options: ScoreOptions,
    recording: &Recording,
) -> (RecordingReport, Sums) {
    let Recording {
        reference,
        hypothesis,
        uem,
    } = recording;
    let verdict = convention.score(options, reference, hypothesis, uem.as_ref());
    // By default md-eval scores the extent of the reference, the others that of both sides.
    let extent = || {
        md_eval::evaluated(reference, None)
            .segments()
            .iter()
            .copied()
            .collect()
    };
    let default = (convention == Convention::MdEval).then(extent);
    let uem = uem.as_ref().or(default.as_ref());
    let scope = Scope {
        collar: 2.0 * convention.collar_per_side(options.collar),
        skip_overlap: options.skip_overlap,
    };
    let speaker_count = speaker_count(reference, hypothesis, uem);
    let sums = Sums {
        components: verdict.score.components,
        jaccard: verdict.jaccard,
        purity: purity(reference, hypothesis),
        coverage: coverage(reference, hypothesis),
        detection: detection(scope, reference, hypothesis, uem),
        speaker_count_error: speaker_count.error() as f64,
    };
    let report = RecordingReport {
        uri: reference.uri.clone(),
        figures: sums.figures(verdict.rate, verdict.jaccard_rate),
        mapping: verdict.score.mapping,
        speaker_count,
        reference_speakers: reference.speakers(),
        hypothesis_speakers: hypothesis.speakers(),
    };
    (report, sums)
}

fn pooled(convention: Convention, recordings: &[RecordingReport], parts: &[Sums]) -> Figures {
    let mut sums = Sums::default();
    for part in parts {
        sums.components += part.components;
        sums.purity += part.purity;
        sums.coverage += part.coverage;
        sums.detection += part.detection;
        sums.speaker_count_error += part.speaker_count_error;
        if let Some(jaccard) = part.jaccard {
            *sums.jaccard.get_or_insert_default() += jaccard;
        }
    }
    sums.speaker_count_error /= parts.len().max(1) as f64;
    let der = match convention {
        Convention::Pyannote => Some(sums.components.rate()),
        Convention::MdEval | Convention::Dscore => sums.components.rate_of_speech(),
    };
    let jer = sums.jaccard.map(|jaccard| match convention {
        // No recording has reference speech: dscore's rate is 1 with any hypothesis speech, else 0.
        Convention::Dscore if jaccard.speaker_count == 0.0 => {
            f64::from(recordings.iter().any(|r| r.figures.jer == Some(1.0)))
        }
        _ => jaccard.rate(),
    });
    sums.figures(der, jer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Annotation, Turn, recordings::pair};

    #[test]
    fn a_corpus_is_pooled_not_averaged() {
        let file = |uri: &str, end: f64| Annotation::from_turns(uri, [Turn::new(0.0, end, "A")]);
        let references = vec![file("short", 1.0), file("long", 99.0)];
        let (recordings, notes) = pair(references, vec![file("long", 99.0)], None).unwrap();
        let report = ScoreReport::new(
            Convention::Pyannote,
            ScoreOptions::default(),
            &recordings,
            notes,
        );
        assert_eq!(report.pooled.der, Some(0.01));
        let spread = report.der.unwrap();
        assert_eq!(
            (
                spread.recordings,
                spread.min,
                spread.median,
                spread.max,
                spread.mean
            ),
            (2, 0.0, 0.5, 1.0, 0.5)
        );
        assert_eq!(report.pooled.speaker_count_error, 0.5);
        assert_eq!(
            report.notes,
            [Note::NoHypothesis {
                uri: "short".into()
            }]
        );
    }

    #[test]
    fn quartiles_lie_between_their_neighbours() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max, spread.mean),
            (1.0, 3.0, 5.0, 3.0)
        );
        assert!(spread.lower_quartile > 1.0 && spread.lower_quartile < 3.0);
        assert!(spread.upper_quartile > 3.0 && spread.upper_quartile < 5.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn no_recordings_make_an_empty_report() {
        for convention in Convention::ALL {
            let report = ScoreReport::new(convention, ScoreOptions::default(), &[], Vec::new());
            assert_eq!(report.der, None);
            assert_eq!(report.pooled.components, Components::default());
        }
    }
}
