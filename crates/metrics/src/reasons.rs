//! The reasons of differences between the conventions, in words and seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use crate::{
    Annotation, Convention, ConventionScore, ScoreOptions, Segment, Timeline, Turn, md_eval,
    scope::Scope, segment::PRECISION, timeline::Support,
};

/// A property of a recording on which the conventions differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Reason {
    /// A collar is the whole width or on each side.
    Collar {
        /// The collar of the options.
        collar: f64,
        /// Reference speech that pyannote scores, in seconds.
        pyannote: f64,
        /// Reference speech that md-eval scores, in seconds.
        md_eval: f64,
    },
    /// Hypothesis speech before or after all reference speech, which md-eval does not score.
    OutsideReference {
        /// Seconds.
        seconds: f64,
    },
    /// Overlapping turns of one speaker.
    SelfOverlap {
        /// "reference" or "hypothesis".
        side: &'static str,
        /// The speaker.
        speaker: String,
        /// Seconds that pyannote counts more than once.
        seconds: f64,
    },
    /// A hypothesis speaker with another mapping before than after collars and overlap are removed.
    Mapping {
        /// The hypothesis speaker.
        speaker: String,
        /// Its reference speaker in pyannote.
        pyannote: Option<String>,
        /// Its reference speaker in md-eval.
        md_eval: Option<String>,
    },
    /// Times that are not whole milliseconds, which dscore rounds.
    Rounding {
        /// Number of boundaries that move.
        boundaries: usize,
    },
    /// Reference turns across an edge of the UEM: dscore crops them, which makes new boundaries with collars.
    CutTurns {
        /// Number of turns.
        turns: usize,
    },
    /// The reference has no speech within the UEM.
    NoReference,
    /// Speech in overlap or outside the UEM that md-eval scores by mistake.
    OverlapScored {
        /// Seconds.
        seconds: f64,
    },
    /// The Jaccard error rate, which dscore counts in frames, with collars and overlap.
    Jaccard {
        /// pyannote's rate.
        pyannote: f64,
        /// dscore's rate.
        dscore: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collar {
                collar,
                pyannote,
                md_eval,
            } => write!(
                f,
                "a collar of {collar} s is {} s on each side of a boundary in pyannote and {collar} s on each side in \
                 md-eval and dscore: pyannote scores {pyannote:.3} s of reference speech, md-eval {md_eval:.3} s \
                 (a collar of {} s in pyannote removes the same)",
                0.5 * collar,
                2.0 * collar
            ),
            Self::OutsideReference { seconds } => write!(
                f,
                "the hypothesis has {seconds:.3} s of speech before or after all reference speech: false alarm in \
                 pyannote and dscore, not scored by md-eval, whose default is the extent of the reference (give a UEM \
                 to make them agree)"
            ),
            Self::SelfOverlap {
                side,
                speaker,
                seconds,
            } => write!(
                f,
                "in the {side}, turns of `{speaker}` overlap: pyannote counts {seconds:.3} s more than once, md-eval \
                 and dscore once; dscore joins these turns before it skips overlap"
            ),
            Self::Mapping {
                speaker,
                pyannote,
                md_eval,
            } => {
                let name = |speaker: &Option<String>| match speaker {
                    Some(speaker) => format!("mapped to `{speaker}`"),
                    None => "not mapped".to_owned(),
                };
                write!(
                    f,
                    "`{speaker}` is {} in pyannote, which maps speakers on the scored regions, and {} in md-eval, which \
                     maps them before it removes collars and overlap",
                    name(pyannote),
                    name(md_eval)
                )
            }
            Self::Rounding { boundaries } => write!(
                f,
                "{boundaries} boundaries are not on whole milliseconds: dscore rounds onset and duration"
            ),
            Self::CutTurns { turns } => write!(
                f,
                "{turns} reference turns cross an edge of the UEM: dscore crops them there, and the crop is a boundary \
                 with its own collar"
            ),
            Self::NoReference => write!(
                f,
                "the reference has no speech here: in pyannote the rate is 0 % without false alarm and 100 % with any, \
                 in dscore the same for the file, which the total leaves out; md-eval leaves the file out"
            ),
            Self::OverlapScored { seconds } => write!(
                f,
                "md-eval scores {seconds:.3} s of reference speech in overlap or outside the UEM by mistake: a known \
                 defect, where an overlap ends as another begins or as the region ends"
            ),
            Self::Jaccard { pyannote, dscore } => write!(
                f,
                "dscore counts the Jaccard error rate in frames of 10 ms and always with collars and overlap: {:.2} % \
                 against {:.2} % in pyannote; md-eval has none",
                100.0 * dscore,
                100.0 * pyannote
            ),
        }
    }
}

/// The scores of one recording under all conventions, and the reasons of their differences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// In the order of [`Convention::ALL`].
    pub verdicts: Vec<ConventionScore>,
    /// Empty where the conventions agree.
    pub reasons: Vec<Reason>,
}

/// Scores a recording under all conventions and finds the reasons of their differences.
#[must_use]
pub fn compare_conventions(
    options: ScoreOptions,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
) -> Comparison {
    let verdicts = Convention::ALL.map(|c| c.score(options, reference, hypothesis, uem));
    let reasons = reasons(options, reference, hypothesis, uem, &verdicts);
    Comparison {
        verdicts: verdicts.to_vec(),
        reasons,
    }
}

fn reasons(
    options: ScoreOptions,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
    [pyannote, md_eval, dscore]: &[ConventionScore; 3],
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let evaluated = md_eval::evaluated(reference, uem);
    if reference.timeline().crop(&evaluated).is_empty() {
        reasons.push(Reason::NoReference);
    }
    if options.collar > 0.0 {
        reasons.push(Reason::Collar {
            collar: options.collar,
            pyannote: pyannote.score.components.total,
            md_eval: md_eval.score.components.total,
        });
    }
    if uem.is_none() && !reference.is_empty() {
        let speakers = hypothesis.speakers();
        let all = speakers.iter().map(|s| s.speaking_time).sum::<f64>();
        let seconds = all - speaking_time(hypothesis, &evaluated);
        if seconds > PRECISION {
            reasons.push(Reason::OutsideReference { seconds });
        }
    }
    for (side, annotation) in [("reference", reference), ("hypothesis", hypothesis)] {
        for speaker in annotation.speakers() {
            let turns = annotation.turns().iter();
            let turns = turns.filter(|turn| turn.speaker == speaker.label);
            let all = turns.map(|turn| turn.segment.duration()).sum::<f64>();
            let seconds = all - speaker.speaking_time;
            if seconds > PRECISION {
                reasons.push(Reason::SelfOverlap {
                    side,
                    speaker: speaker.label,
                    seconds,
                });
            }
        }
    }
    reasons.extend(mappings(pyannote, md_eval));
    let edges = |segment: &Segment| [segment.start, segment.end];
    let turns = reference.turns().iter().chain(hypothesis.turns());
    let regions = uem.map_or(&[][..], Timeline::segments);
    let segments = turns.map(|turn| &turn.segment).chain(regions);
    let boundaries = segments.flat_map(edges).filter(|&time| off_grid(time));
    let boundaries = boundaries.count();
    if boundaries > 0 {
        reasons.push(Reason::Rounding { boundaries });
    }
    if uem.is_some() && (options.collar > 0.0 || options.skip_overlap) {
        let edges: Vec<f64> = evaluated.segments().iter().flat_map(edges).collect();
        let crosses = |turn: &&Turn| {
            let Segment { start, end } = turn.segment;
            edges.iter().any(|&edge| start < edge && edge < end)
        };
        let turns = reference.turns().iter().filter(crosses).count();
        if turns > 0 {
            reasons.push(Reason::CutTurns { turns });
        }
    }
    if options.skip_overlap {
        let scope = Scope {
            collar: 2.0 * options.collar.max(0.0),
            skip_overlap: true,
        };
        let proper = speaking_time(reference, &scope.within(reference, &evaluated));
        let seconds = md_eval.score.components.total - proper;
        if seconds > PRECISION {
            reasons.push(Reason::OverlapScored { seconds });
        }
    }
    if let (Some(pyannote), Some(dscore)) = (pyannote.jaccard_rate, dscore.jaccard_rate)
        && (pyannote - dscore).abs() > VISIBLE
    {
        reasons.push(Reason::Jaccard { pyannote, dscore });
    }
    reasons
}

/// The speakers with different mappings.
fn mappings(pyannote: &ConventionScore, md_eval: &ConventionScore) -> Vec<Reason> {
    let pairs = |verdict: &ConventionScore| -> BTreeMap<String, String> {
        verdict.score.mapping.iter().cloned().collect()
    };
    let (pyannote, md_eval) = (pairs(pyannote), pairs(md_eval));
    let speakers: BTreeSet<&String> = pyannote.keys().chain(md_eval.keys()).collect();
    let differing = speakers.into_iter().filter_map(|speaker| {
        let (pyannote, md_eval) = (pyannote.get(speaker), md_eval.get(speaker));
        (pyannote != md_eval).then(|| Reason::Mapping {
            speaker: speaker.clone(),
            pyannote: pyannote.cloned(),
            md_eval: md_eval.cloned(),
        })
    });
    differing.collect()
}

/// Seconds of speech within `support`; overlap within one speaker counts once.
fn speaking_time(annotation: &Annotation, support: &Support) -> f64 {
    let labels = annotation.labels().into_iter();
    let times = labels.map(|label| annotation.label_timeline(label).crop(support).duration());
    times.sum()
}

/// The smallest difference of rates that shows in two decimals of a percent.
const VISIBLE: f64 = 1e-4;

/// Whether a time is not a whole number of milliseconds, within the rounding of f64.
fn off_grid(seconds: f64) -> bool {
    (seconds * 1000.0 - (seconds * 1000.0).round()).abs() > 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    fn annotation(turns: &[(f64, f64, &str)]) -> Annotation {
        Annotation::from_turns(
            "x",
            turns
                .iter()
                .map(|&(start, end, who)| Turn::new(start, end, who)),
        )
    }

    #[test]
    fn every_reason_is_found_where_it_is_the_only_one() {
        let plain = ScoreOptions::default();
        let collar = ScoreOptions {
            collar: 0.5,
            ..plain
        };
        let cases = [
            (
                "collar",
                collar,
                vec![(0.0, 9.0, "A")],
                vec![(0.0, 9.0, "1")],
            ),
            (
                "outside-reference",
                plain,
                vec![(1.0, 9.0, "A")],
                vec![(0.0, 9.0, "1")],
            ),
            (
                "self-overlap",
                plain,
                vec![(0.0, 9.0, "A"), (1.0, 2.0, "A")],
                vec![(0.0, 9.0, "1")],
            ),
            (
                "rounding",
                plain,
                vec![(0.0, 9.00049, "A")],
                vec![(0.0, 9.0, "1")],
            ),
            ("no-reference", plain, vec![], vec![(0.0, 9.0, "1")]),
            (
                "jaccard",
                plain,
                vec![(0.0, 0.104, "A")],
                vec![(0.0, 0.1, "1")],
            ),
        ];
        for (name, options, reference, hypothesis) in cases {
            let comparison = compare_conventions(
                options,
                &annotation(&reference),
                &annotation(&hypothesis),
                None,
            );
            let kinds: Vec<String> = comparison
                .reasons
                .iter()
                .map(|r| {
                    serde_json::to_value(r).unwrap()["kind"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect();
            assert_eq!(kinds, [name]);
        }
    }

    #[test]
    fn agreement_has_no_reasons() {
        let both = annotation(&[(0.0, 4.0, "A"), (3.0, 9.0, "B")]);
        let comparison = compare_conventions(
            ScoreOptions::default(),
            &both,
            &annotation(&[(0.0, 9.0, "1")]),
            None,
        );
        assert_eq!(comparison.reasons, []);
        assert!(
            comparison
                .verdicts
                .iter()
                .all(|v| v.rate == comparison.verdicts[0].rate)
        );
    }

    #[test]
    fn the_words_hold_the_numbers() {
        let reason = Reason::Collar {
            collar: 0.5,
            pyannote: 8.5,
            md_eval: 8.0,
        };
        assert!(reason.to_string().starts_with(
            "a collar of 0.5 s is 0.25 s on each side of a boundary in pyannote and 0.5 s on each side in md-eval"
        ));
    }
}
