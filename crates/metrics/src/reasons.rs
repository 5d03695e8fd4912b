//! Why the three scorers disagree about a recording, in words and seconds.

use std::fmt;

use serde::Serialize;

use crate::scope::Scope;
use crate::timeline::Support;
use crate::{Annotation, Convention, Options, Segment, Timeline, Verdict, md_eval};

/// Something in a recording on which the conventions differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Reason {
    /// A collar is the whole width or on each side.
    Collar {
        /// The collar, as asked for.
        collar: f64,
        /// Reference speech that pyannote scores, in seconds.
        pyannote: f64,
        /// Reference speech that md-eval scores, in seconds.
        md_eval: f64,
    },
    /// Speech of the hypothesis before or after all reference speech, which md-eval does not see.
    OutsideReference {
        /// Seconds.
        seconds: f64,
    },
    /// A speaker overlaps themselves.
    SelfOverlap {
        /// "reference" or "hypothesis".
        side: &'static str,
        /// Who.
        speaker: String,
        /// Seconds that pyannote counts more than once.
        seconds: f64,
    },
    /// A speaker of the hypothesis is mapped differently before and after collars and overlap are taken out.
    Mapping {
        /// The speaker of the hypothesis.
        speaker: String,
        /// Who that is in pyannote.
        pyannote: Option<String>,
        /// Who that is in md-eval.
        md_eval: Option<String>,
    },
    /// Times that are not whole milliseconds, which dscore rounds.
    Rounding {
        /// Boundaries that move.
        boundaries: usize,
    },
    /// Reference turns that cross the edge of the UEM: dscore cuts them, which makes new boundaries with collars.
    CutTurns {
        /// Turns.
        turns: usize,
    },
    /// The reference has no speech within the UEM.
    NoReference,
    /// Speech that md-eval scores although it was told not to, in overlap or outside the UEM.
    OverlapScored {
        /// Seconds.
        seconds: f64,
    },
    /// The Jaccard error rate, which dscore counts in frames and without a look at collars and overlap.
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
                 (ask pyannote for {} s to remove the same)",
                0.5 * collar,
                2.0 * collar
            ),
            Self::OutsideReference { seconds } => write!(
                f,
                "the hypothesis speaks {seconds:.3} s before or after all reference speech: false alarm in pyannote \
                 and dscore, unseen by md-eval, which scores the extent of the reference (give a UEM to make them agree)"
            ),
            Self::SelfOverlap {
                side,
                speaker,
                seconds,
            } => write!(
                f,
                "in the {side}, `{speaker}` overlaps themselves: pyannote counts {seconds:.3} s more than once, \
                 md-eval and dscore once; where overlap is skipped, dscore has joined these turns before"
            ),
            Self::Mapping {
                speaker,
                pyannote,
                md_eval,
            } => {
                let name = |who: &Option<String>| {
                    who.as_ref()
                        .map_or("nobody".to_owned(), |who| format!("`{who}`"))
                };
                write!(
                    f,
                    "`{speaker}` is {} in pyannote, which maps speakers on what is scored, and {} in md-eval, which \
                     maps them before collars and overlap are taken out",
                    name(pyannote),
                    name(md_eval)
                )
            }
            Self::Rounding { boundaries } => {
                write!(
                    f,
                    "{boundaries} boundaries are not on whole milliseconds: dscore rounds onset and duration"
                )
            }
            Self::CutTurns { turns } => write!(
                f,
                "{turns} reference turns cross an edge of the UEM: dscore cuts them there, and the cut is a boundary \
                 with a collar of its own"
            ),
            Self::NoReference => write!(
                f,
                "the reference has no speech here: pyannote says 0 % without false alarm and 100 % with any, dscore \
                 the same for the file but leaves it out of the total, md-eval leaves it out"
            ),
            Self::OverlapScored { seconds } => write!(
                f,
                "md-eval scores {seconds:.3} s of reference speech that it was told not to, in overlap or outside the \
                 UEM: an old mistake of its own, where an overlap ends just as another begins or as the region ends"
            ),
            Self::Jaccard { pyannote, dscore } => write!(
                f,
                "dscore counts the Jaccard error rate in frames of 10 ms and leaves collars and overlap in, whatever \
                 it was told: {:.2} % against {:.2} % in pyannote; md-eval has none",
                100.0 * dscore,
                100.0 * pyannote
            ),
        }
    }
}

/// What the three say about one recording, and why they differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// In the order of [`Convention::ALL`].
    pub verdicts: Vec<Verdict>,
    /// All that the conventions see differently here. Empty: they agree.
    pub reasons: Vec<Reason>,
}

/// Scores a recording under all conventions and looks for what they see differently.
pub fn compare(
    options: Options,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
) -> Comparison {
    let verdicts: Vec<Verdict> = Convention::ALL
        .iter()
        .map(|c| c.score(options, reference, hypothesis, uem))
        .collect();
    let reasons = reasons(options, reference, hypothesis, uem, &verdicts);
    Comparison { verdicts, reasons }
}

fn reasons(
    options: Options,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
    verdicts: &[Verdict],
) -> Vec<Reason> {
    let [pyannote, md_eval, dscore] = verdicts else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    let evaluated = md_eval::evaluated(reference, uem);
    if reference.timeline().crop(&evaluated).is_empty() {
        reasons.push(Reason::NoReference);
    }
    if options.collar > 0.0 {
        let (pyannote, md_eval) = (
            pyannote.score.components.total,
            md_eval.score.components.total,
        );
        reasons.push(Reason::Collar {
            collar: options.collar,
            pyannote,
            md_eval,
        });
    }
    if uem.is_none() && !reference.is_empty() {
        let seconds = hypothesis
            .speakers()
            .iter()
            .map(|s| s.speaking_time)
            .sum::<f64>()
            - speaking_time(hypothesis, &evaluated);
        if seconds > crate::PRECISION {
            reasons.push(Reason::OutsideReference { seconds });
        }
    }
    for (side, annotation) in [("reference", reference), ("hypothesis", hypothesis)] {
        for speaker in annotation.speakers() {
            let of_speaker = annotation
                .turns()
                .iter()
                .filter(|t| t.speaker == speaker.label);
            let seconds =
                of_speaker.map(|t| t.segment.duration()).sum::<f64>() - speaker.speaking_time;
            if seconds > crate::PRECISION {
                reasons.push(Reason::SelfOverlap {
                    side,
                    speaker: speaker.label,
                    seconds,
                });
            }
        }
    }
    reasons.extend(mappings(pyannote, md_eval));
    let boundaries = [reference, hypothesis]
        .iter()
        .flat_map(|a| a.turns())
        .flat_map(|t| [t.segment.start, t.segment.end])
        .chain(
            uem.into_iter()
                .flat_map(|uem| uem.segments())
                .flat_map(|s| [s.start, s.end]),
        )
        .filter(|&time| off_grid(time))
        .count();
    if boundaries > 0 {
        reasons.push(Reason::Rounding { boundaries });
    }
    if options.collar > 0.0 || options.skip_overlap {
        let crosses = |segment: &Segment, edge: f64| segment.start < edge && edge < segment.end;
        let edges: Vec<f64> = evaluated
            .segments()
            .iter()
            .flat_map(|s| [s.start, s.end])
            .collect();
        let turns = reference
            .turns()
            .iter()
            .filter(|t| edges.iter().any(|&e| crosses(&t.segment, e)))
            .count();
        if uem.is_some() && turns > 0 {
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
        if seconds > crate::PRECISION {
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

/// The speakers that are mapped differently.
fn mappings(pyannote: &Verdict, md_eval: &Verdict) -> Vec<Reason> {
    let find = |verdict: &Verdict, speaker: &str| {
        verdict
            .score
            .mapping
            .iter()
            .find(|(h, _)| h == speaker)
            .map(|(_, r)| r.clone())
    };
    let mut speakers: Vec<&String> = pyannote
        .score
        .mapping
        .iter()
        .chain(&md_eval.score.mapping)
        .map(|(h, _)| h)
        .collect();
    speakers.sort();
    speakers.dedup();
    let mut reasons = Vec::new();
    for speaker in speakers {
        let (pyannote, md_eval) = (find(pyannote, speaker), find(md_eval, speaker));
        if pyannote != md_eval {
            reasons.push(Reason::Mapping {
                speaker: speaker.clone(),
                pyannote,
                md_eval,
            });
        }
    }
    reasons
}

/// Seconds that the speakers talk within `support`, overlap within one speaker counted once.
fn speaking_time(annotation: &Annotation, support: &Support) -> f64 {
    annotation
        .labels()
        .iter()
        .map(|label| annotation.label_timeline(label).crop(support).duration())
        .sum()
}

/// A difference of rates that is seen where two decimals of a percent are printed.
const VISIBLE: f64 = 1e-4;

/// Not a whole number of milliseconds, as far as an f64 can tell.
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
        let plain = Options::default();
        let collar = Options {
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
            let comparison = compare(
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
        let comparison = compare(
            Options::default(),
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
