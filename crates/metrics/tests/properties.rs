//! What holds for every pair of annotations and for every text.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may panic and print like the tests themselves"
)]

mod cases;

use proptest::prelude::*;
use soundalike_metrics::{
    Annotation, Convention, DiarizationErrorRate, Mapping, Recording, Scope, ScoreOptions,
    ScoreReport, Segment, Turn, compare_conventions, coverage, detection, jaccard, purity, rttm,
    uem,
};

/// Sums of some hundred seconds below 100 s: rounding stays far below.
const ROUNDING: f64 = 1e-9;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING
}

/// Times that no scorer expects.
fn wild() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -10.0..10.0_f64,
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(1e15),
        Just(-1e15),
    ]
}

fn wild_annotation() -> impl Strategy<Value = Annotation> {
    prop::collection::vec((wild(), wild(), ".{0,3}"), 0..8).prop_map(|turns| {
        Annotation::from_turns(
            "wild",
            turns.into_iter().map(|(s, e, who)| Turn::new(s, e, who)),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_second_of_the_reference_is_missed_confused_or_correct(case in cases::case()) {
        let der = DiarizationErrorRate { collar: case.collar, skip_overlap: case.skip_overlap, ..Default::default() };
        let c = der.components(&case.reference(), &case.hypothesis(), case.uem().as_ref());
        prop_assert!(close(c.total, c.missed_detection + c.confusion + c.correct));
        prop_assert!([c.total, c.missed_detection, c.confusion, c.correct, c.false_alarm].iter().all(|x| *x >= 0.0));
    }

    #[test]
    fn exchanging_the_sides_exchanges_missed_and_false_alarm(case in cases::case()) {
        let der = DiarizationErrorRate::default();
        let (reference, hypothesis) = (case.reference(), case.hypothesis());
        let one = der.components(&reference, &hypothesis, case.uem().as_ref());
        let other = der.components(&hypothesis, &reference, case.uem().as_ref());
        prop_assert!(close(one.missed_detection, other.false_alarm));
        prop_assert!(close(one.false_alarm, other.missed_detection));
        prop_assert!(close(purity(&reference, &hypothesis).correct, coverage(&hypothesis, &reference).correct));
    }

    #[test]
    fn nothing_is_wrong_with_the_reference_itself(case in cases::case()) {
        let reference = case.reference();
        let der = DiarizationErrorRate { collar: case.collar, skip_overlap: case.skip_overlap, ..Default::default() };
        prop_assert_eq!(der.components(&reference, &reference, case.uem().as_ref()).error(), 0.0);
        // Without overlap md-eval can score what it has not mapped: see `md_eval.rs`.
        let options = ScoreOptions { collar: case.collar, ..Default::default() };
        for convention in Convention::ALL {
            let verdict = convention.score(options, &reference, &reference, case.uem().as_ref());
            prop_assert_eq!(verdict.score.components.error(), 0.0, "{}", convention);
        }
    }

    #[test]
    fn shifting_both_sides_changes_nothing(case in cases::case_of(cases::Clock::Coarse)) {
        // Half seconds and whole seconds are exact in f64.
        let later = |a: &Annotation| Annotation::from_turns("later", a.turns().iter().map(|t| {
            Turn::new(t.segment.start + 100.0, t.segment.end + 100.0, t.speaker.as_str())
        }));
        let (reference, hypothesis) = (case.reference(), case.hypothesis());
        let der = DiarizationErrorRate { collar: 0.5, skip_overlap: case.skip_overlap, ..Default::default() };
        prop_assert_eq!(
            der.components(&reference, &hypothesis, None),
            der.components(&later(&reference), &later(&hypothesis), None)
        );
    }

    #[test]
    fn the_optimal_mapping_is_not_worse_than_the_greedy_one(case in cases::case()) {
        // Where no speaker overlaps themselves, time in common is time that is correct.
        let alone = |a: Annotation| {
            let turns = a.labels().into_iter().flat_map(|who| {
                let support = a.label_timeline(who).support();
                support.segments().iter().map(|s| Turn::new(s.start, s.end, who)).collect::<Vec<_>>()
            });
            Annotation::from_turns("alone", turns)
        };
        let (reference, hypothesis) = (alone(case.reference()), alone(case.hypothesis()));
        let with = |mapping| DiarizationErrorRate { mapping, ..Default::default() };
        let optimal = with(Mapping::Optimal).components(&reference, &hypothesis, None);
        let greedy = with(Mapping::Greedy).components(&reference, &hypothesis, None);
        // Slices of a microsecond are time in common but are not scored.
        prop_assert!(optimal.correct >= greedy.correct - 1e-4);
    }

    #[test]
    fn scorers_that_differ_have_a_reason(case in cases::case()) {
        let options = ScoreOptions { collar: case.collar, skip_overlap: case.skip_overlap, ..Default::default() };
        let comparison = compare_conventions(options, &case.reference(), &case.hypothesis(), case.uem().as_ref());
        let rates: Vec<_> = comparison.verdicts.iter().map(|v| v.rate).collect();
        let differ = rates.iter().any(|r| match (r, rates[0]) {
            (Some(a), Some(b)) => (a - b).abs() > ROUNDING,
            (a, b) => a.is_some() != b.is_some(),
        });
        prop_assert!(!differ || !comparison.reasons.is_empty(), "{:?}", rates);
        prop_assert!(comparison.reasons.iter().all(|r| !r.to_string().contains("NaN")));
    }

    #[test]
    fn what_is_written_is_read_again(case in cases::case_of(cases::Clock::Rttm)) {
        let turns = case.reference().turns().to_vec();
        let turns = turns.into_iter().filter(|t| !t.speaker.contains(' ') && t.segment.duration() > 0.001);
        let annotation = Annotation::from_turns("file", turns);
        let mut text = Vec::new();
        rttm::write(&annotation, &mut text).unwrap();
        let again = rttm::parse_bytes(&text, "text").unwrap();
        if annotation.is_empty() {
            prop_assert!(again.is_empty());
        } else {
            let mut twice = Vec::new();
            rttm::write(&again[0], &mut twice).unwrap();
            prop_assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(twice).unwrap());
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = rttm::parse_bytes(&bytes, "bytes");
        let _ = uem::parse_bytes(&bytes, "bytes");
    }

    #[test]
    fn no_line_makes_the_readers_panic(
        columns in prop::collection::vec(prop_oneof![
            Just("SPEAKER".to_owned()), Just("x".to_owned()), Just("<NA>".to_owned()), Just("-1".to_owned()),
            Just("nan".to_owned()), Just("1e999".to_owned()), Just("0".to_owned()), Just("1.5".to_owned()), "\\PC{0,4}",
        ], 0..12),
        separator in "[ \t]{1,2}",
    ) {
        let line = columns.join(&separator);
        let _ = rttm::parse(&line, "line");
        let _ = uem::parse(&line, "line");
    }

    #[test]
    fn no_times_make_a_scorer_panic(
        reference in wild_annotation(),
        hypothesis in wild_annotation(),
        uem in prop::option::of(prop::collection::vec((wild(), wild()), 0..3)),
        collar in wild(),
        skip_overlap in any::<bool>(),
    ) {
        let uem = uem.map(|uem| uem.into_iter().map(|(s, e)| Segment::new(s, e)).collect());
        let options = ScoreOptions { collar, skip_overlap, ..Default::default() };
        let scope = Scope { collar, skip_overlap };
        let _ = compare_conventions(options, &reference, &hypothesis, uem.as_ref());
        let _ = jaccard(scope, &reference, &hypothesis, uem.as_ref());
        let _ = detection(scope, &reference, &hypothesis, uem.as_ref());
        let der = DiarizationErrorRate { collar, skip_overlap, mapping: Mapping::Greedy };
        let _ = der.regions(&reference, &hypothesis, uem.as_ref());
        let recording = Recording { reference, hypothesis, uem };
        for convention in Convention::ALL {
            let _ = ScoreReport::new(convention, options, std::slice::from_ref(&recording), Vec::new());
        }
    }
}
