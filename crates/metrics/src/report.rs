//! All numbers of all recordings, ready to be rendered.

use serde::Serialize;
use statrs::statistics::{Data, Distribution, Max, Min, OrderStatistics};

use crate::recordings::{Note, Recording};
use crate::{
    Annotation, Components, Convention, Detection, Jaccard, Options, Scope, Share, Speaker,
    SpeakerCount, Timeline, Verdict, coverage, detection, f_measure, md_eval, purity,
    speaker_count,
};

/// The scores of one recording, or of several pooled. Rates are fractions, times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Diarization error rate; None where the convention has none (see [`Verdict::rate`]).
    pub der: Option<f64>,
    /// What it is made of.
    pub components: Components,
    /// Jaccard error rate; md-eval has none.
    pub jer: Option<f64>,
    /// How far each speaker of the hypothesis is one speaker of the reference.
    pub purity: f64,
    /// How far each speaker of the reference is one speaker of the hypothesis.
    pub coverage: f64,
    /// Harmonic mean of purity and coverage.
    pub purity_coverage_f: f64,
    /// Speech against silence.
    pub detection: DetectionFigures,
    /// Speakers too many or too few; the mean of it where several recordings are pooled.
    pub speaker_count_error: f64,
}

/// Speech against silence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetectionFigures {
    /// Seconds.
    pub seconds: Detection,
    /// See [`Detection::error_rate`].
    pub error_rate: f64,
    /// See [`Detection::accuracy`].
    pub accuracy: f64,
    /// See [`Detection::precision`].
    pub precision: f64,
    /// See [`Detection::recall`].
    pub recall: f64,
    /// See [`Detection::f1`].
    pub f1: f64,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingReport {
    /// Its name.
    pub uri: String,
    /// Its scores.
    pub figures: Figures,
    /// Pairs of a hypothesis and a reference label that were taken for the same speaker.
    pub mapping: Vec<(String, String)>,
    /// Number of speakers who talk in the scored part.
    pub speaker_count: SpeakerCount,
    /// Turns and speaking time of the reference.
    pub reference_speakers: Vec<Speaker>,
    /// Turns and speaking time of the hypothesis.
    pub hypothesis_speakers: Vec<Speaker>,
}

/// How a rate is spread over the recordings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Recordings that have the rate.
    pub recordings: usize,
    /// The lowest.
    pub min: f64,
    /// A quarter of the recordings lies below.
    pub lower_quartile: f64,
    /// Half of the recordings lies below.
    pub median: f64,
    /// Three quarters of the recordings lie below.
    pub upper_quartile: f64,
    /// The highest.
    pub max: f64,
    /// The mean over recordings. Not the rate of the corpus: that is pooled.
    pub mean: f64,
}

/// All recordings under one convention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whose definitions.
    pub convention: Convention,
    /// What it was told.
    pub options: Options,
    /// Seconds of the collar on each side of a boundary; twice that is the whole width.
    pub collar_per_side: f64,
    /// One by one, in the order given.
    pub recordings: Vec<RecordingReport>,
    /// All together: seconds are added, then divided.
    pub pooled: Figures,
    /// Diarization error rates over the recordings; None without recordings.
    pub der: Option<Spread>,
    /// Jaccard error rates over the recordings.
    pub jer: Option<Spread>,
    /// What the reader should know about the files.
    pub notes: Vec<Note>,
}

impl Report {
    /// Scores all recordings.
    pub fn new(
        convention: Convention,
        options: Options,
        recordings: &[Recording],
        notes: Vec<Note>,
    ) -> Self {
        let parts: Vec<Parts> = recordings
            .iter()
            .map(|r| Parts::of(convention, options, r))
            .collect();
        let reports: Vec<RecordingReport> = recordings
            .iter()
            .zip(&parts)
            .map(|(r, p)| p.report(r))
            .collect();
        let spread = |rate: fn(&Figures) -> Option<f64>| {
            Spread::of(reports.iter().filter_map(|r| rate(&r.figures)))
        };
        Self {
            convention,
            options,
            collar_per_side: convention.collar_per_side(options.collar),
            pooled: pooled(convention, &parts),
            der: spread(|f| f.der),
            jer: spread(|f| f.jer),
            recordings: reports,
            notes,
        }
    }
}

impl Spread {
    /// The spread of `values`; None of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut data = Data::new(values.into_iter().collect::<Vec<f64>>());
        if data.is_empty() {
            return None;
        }
        let mean = data.mean()?;
        Some(Self {
            recordings: data.len(),
            min: data.min(),
            lower_quartile: data.lower_quartile(),
            median: data.quantile(0.5),
            upper_quartile: data.upper_quartile(),
            max: data.max(),
            mean,
        })
    }
}

/// What is added up.
struct Parts {
    verdict: Verdict,
    purity: Share,
    coverage: Share,
    detection: Detection,
    speakers: SpeakerCount,
}

impl Parts {
    fn of(convention: Convention, options: Options, recording: &Recording) -> Self {
        let Recording {
            reference,
            hypothesis,
            uem,
        } = recording;
        let uem = uem.clone().or_else(|| default_uem(convention, reference));
        let scope = Scope {
            collar: 2.0 * convention.collar_per_side(options.collar),
            skip_overlap: options.skip_overlap,
        };
        Self {
            verdict: convention.score(options, reference, hypothesis, recording.uem.as_ref()),
            purity: purity(reference, hypothesis),
            coverage: coverage(reference, hypothesis),
            detection: detection(scope, reference, hypothesis, uem.as_ref()),
            speakers: speaker_count(reference, hypothesis, uem.as_ref()),
        }
    }

    fn report(&self, recording: &Recording) -> RecordingReport {
        let Self {
            verdict,
            purity,
            coverage,
            detection,
            speakers,
        } = self;
        RecordingReport {
            uri: recording.reference.uri.clone(),
            figures: figures(
                verdict.rate,
                verdict.score.components,
                verdict.jaccard_rate,
                *purity,
                *coverage,
                *detection,
                speakers.error() as f64,
            ),
            mapping: verdict.score.mapping.clone(),
            speaker_count: *speakers,
            reference_speakers: recording.reference.speakers(),
            hypothesis_speakers: recording.hypothesis.speakers(),
        }
    }
}

/// md-eval looks at the extent of the reference only; the others look at both, which is the default here.
fn default_uem(convention: Convention, reference: &Annotation) -> Option<Timeline> {
    (convention == Convention::MdEval).then(|| {
        md_eval::evaluated(reference, None)
            .segments()
            .iter()
            .copied()
            .collect()
    })
}

fn pooled(convention: Convention, parts: &[Parts]) -> Figures {
    let components: Components = parts.iter().map(|p| p.verdict.score.components).sum();
    let (mut purity, mut coverage, mut detection) =
        (Share::default(), Share::default(), Detection::default());
    let mut jaccard: Option<Jaccard> = None;
    let mut speaker_errors = 0.0;
    for part in parts {
        purity += part.purity;
        coverage += part.coverage;
        detection += part.detection;
        speaker_errors += part.speakers.error() as f64;
        if let Some(one) = part.verdict.jaccard {
            *jaccard.get_or_insert_default() += one;
        }
    }
    let der = match convention {
        Convention::Pyannote => Some(components.rate()),
        Convention::MdEval | Convention::Dscore => {
            (components.total > 0.0).then(|| components.rate())
        }
    };
    let jer = jaccard.map(|jaccard| match convention {
        // dscore: nobody in the reference of any recording; then it is all right or all wrong.
        Convention::Dscore if jaccard.speaker_count == 0.0 => f64::from(u8::from(
            parts.iter().any(|p| p.verdict.jaccard_rate == Some(1.0)),
        )),
        _ => jaccard.rate(),
    });
    let files = parts.len().max(1) as f64;
    figures(
        der,
        components,
        jer,
        purity,
        coverage,
        detection,
        speaker_errors / files,
    )
}

fn figures(
    der: Option<f64>,
    components: Components,
    jer: Option<f64>,
    purity: Share,
    coverage: Share,
    detection: Detection,
    speaker_count_error: f64,
) -> Figures {
    Figures {
        der,
        components,
        jer,
        purity: purity.rate(),
        coverage: coverage.rate(),
        purity_coverage_f: f_measure(purity.rate(), coverage.rate()),
        detection: DetectionFigures {
            seconds: detection,
            error_rate: detection.error_rate(),
            accuracy: detection.accuracy(),
            precision: detection.precision(),
            recall: detection.recall(),
            f1: detection.f1(),
        },
        speaker_count_error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;
    use crate::recordings::pair;

    #[test]
    fn a_corpus_is_pooled_not_averaged() {
        let file = |uri: &str, end: f64| Annotation::from_turns(uri, [Turn::new(0.0, end, "A")]);
        let references = vec![file("short", 1.0), file("long", 99.0)];
        let (recordings, notes) = pair(references, vec![file("long", 99.0)], None).unwrap();
        let report = Report::new(Convention::Pyannote, Options::default(), &recordings, notes);
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
            let report = Report::new(convention, Options::default(), &[], Vec::new());
            assert_eq!(report.der, None);
            assert_eq!(report.pooled.components, Components::default());
        }
    }
}
