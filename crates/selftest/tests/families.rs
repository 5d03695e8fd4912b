//! The value of a wrong parameter is estimated, not looked up.

#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]
#![expect(clippy::panic, reason = "a test that panics has failed")]

use std::io::{Read, Seek};

use soundalike_compare::{Diagnosis, EXACT_R, KeptReference, Named, ReferenceTrace};
use soundalike_convert::Bundle;
use soundalike_network::{Cause, Graph};
use soundalike_selftest::{
    Decoding, Diagnostician, Fault, Identification, Injector, Trial, built_in_trace,
};

#[path = "../../../tests/support/assets.rs"]
mod data;

/// A stage, and the mistake with the value of a parameter.
type Variant = (&'static [&'static str], Cause);

/// The faults with these values.
fn faults(variants: &[Variant]) -> Vec<Fault> {
    let fault = |(stages, cause): &Variant| Fault::of_parameter(stages, *cause);
    variants
        .iter()
        .map(|variant| fault(variant).expect("a parameter"))
        .collect()
}

/// Injects `faults` into the network of `bundle` and compares it with `trace`.
fn trials<R: Read + Seek>(
    bundle: &Bundle,
    mut trace: ReferenceTrace<R>,
    faults: &[Fault],
) -> Vec<Trial> {
    let windows = [trace.window().expect("its window")];
    let mut reference = KeptReference::of(&mut trace, &windows).expect("a reference");
    let decoding = Decoding::new(bundle);
    let diagnostician = Diagnostician::new(bundle);
    let mut bench = Injector {
        bundle,
        decode: &decoding,
        reference: &mut reference,
        windows: &windows,
        diagnostician: Some(&diagnostician),
        budget: None,
    };
    // Some faults are not of this network, or of masks that this window does not have.
    let tried = faults.iter().map(|fault| bench.try_fault(fault));
    tried.filter_map(|trial| trial.expect("a trial")).collect()
}

/// Each trial has the name of its parameter and an interval that holds its value.
fn assert_estimated(trials: &[Trial]) {
    for trial in trials {
        let cause = trial.fault.cause.expect("a cause");
        let stage = trial.fault.stages[0];
        let Some(Diagnosis {
            cause: Named::Known(found),
            estimate: Some(estimate),
            r,
            text,
            ..
        }) = &trial.diagnosis
        else {
            panic!(
                "{stage} {cause}: {:?} {:?}",
                trial.diagnosis, trial.undiagnosed
            );
        };
        println!("| {stage} | {cause} | {text} | {:.1} | {r:.2} |", trial.r);
        let value = cause.value().expect("a value");
        assert!(found.is_like(cause), "{cause}: {text}");
        assert!(
            (estimate.low..=estimate.high).contains(&value) && *r < EXACT_R,
            "{cause}: {text}"
        );
        // The interval is no wider than what the error allows, and keeps the right value out.
        assert!(
            !(estimate.low..=estimate.high).contains(&estimate.right),
            "{cause}: {text}"
        );
        // Two digits where the error is 100 times the rounding.
        let width = (estimate.high - estimate.low) / (value - estimate.right).abs();
        assert!(trial.r < 100.0 || width < 0.1, "{cause}: {text}");
    }
}

fn segmentation(variants: &[Variant]) -> Vec<Trial> {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let trace = built_in_trace().expect("the built-in trace");
    let found = trials(&bundle, trace, &faults(variants));
    assert_eq!(found.len(), variants.len());
    found
}

#[test]
fn slopes_epsilons_and_biases_of_a_segmentation_are_estimated() {
    const RELU: &[&str] = &["linear.0.leaky_relu"];
    const NORM: &[&str] = &["sincnet.norm1d.0"];
    const LINEAR: &[&str] = &["linear.0"];
    const CONV: &[&str] = &["sincnet.conv1d.1"];
    assert_estimated(&segmentation(&[
        (RELU, Cause::Slope(0.02)),
        (RELU, Cause::Slope(0.2)),
        (RELU, Cause::Slope(-0.3)),
        (RELU, Cause::Slope(0.010_1)),
        (RELU, Cause::Slope(0.010_000_1)),
        (NORM, Cause::Eps(1e-2)),
        (NORM, Cause::Eps(3e-4)),
        (NORM, Cause::Eps(2.5e-6)),
        (NORM, Cause::Eps(1.01e-5)),
        (LINEAR, Cause::BiasTimes(0.5)),
        (LINEAR, Cause::BiasTimes(-1.0)),
        (LINEAR, Cause::BiasTimes(3.0)),
        (LINEAR, Cause::BiasTimes(1.001)),
        (CONV, Cause::BiasTimes(0.25)),
    ]));
}

/// Where one gain explains it too, and where the parameter does not matter.
#[test]
fn nothing_is_said_of_a_value_that_the_input_does_not_show() {
    const WAVEFORM: &[&str] = &["sincnet.wav_norm1d"];
    const LATER_NORM: &[&str] = &["sincnet.norm1d.1"];
    let found = segmentation(&[
        (WAVEFORM, Cause::Eps(2e-4)),
        (LATER_NORM, Cause::Eps(1.1e-5)),
    ]);
    let [of_one_channel, hidden] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(of_one_channel.diagnosis, None);
    let undiagnosed = of_one_channel.undiagnosed.as_ref().expect("a reason");
    assert!(
        undiagnosed
            .reason
            .contains("eps-2e-4 explains it, and so does a gain"),
        "{}",
        undiagnosed.reason
    );
    assert!(hidden.source.is_empty() && hidden.diagnosis.is_none());
}

mod captures {
    use super::*;

    /// Injects the faults that `choose` chooses of the network in `model`, and compares with `trace`.
    fn on_capture(model: &str, trace: &str, choose: impl Fn(&Graph) -> Vec<Fault>) -> Vec<Trial> {
        let captures = data::captures();
        let bundle = soundalike_convert::load(&captures.join(model)).expect("a checkpoint");
        let trace = ReferenceTrace::open(&captures.join(trace)).expect("a trace");
        let graph = bundle.architecture().graph(true).expect("a network");
        trials(&bundle, trace, &choose(&graph))
    }

    fn captured(model: &str, trace: &str, variants: &[Variant]) -> Vec<Trial> {
        let found = on_capture(model, trace, |_| faults(variants));
        assert_eq!(found.len(), variants.len());
        found
    }

    const MODEL: &str = "wespeaker/traced-34.ckpt";

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn parameters_of_a_speaker_embedding_are_estimated() {
        const FBANK: &[&str] = &["fbank"];
        const RELU: &[&str] = &["resnet.bn1.relu"];
        const NORM: &[&str] = &["resnet.bn1"];
        const LAST: &[&str] = &["resnet.seg_1"];
        assert_estimated(&captured(
            MODEL,
            "wespeaker/traced-34/whole.npz",
            &[
                (FBANK, Cause::Preemphasis(0.95)),
                (FBANK, Cause::Preemphasis(0.5)),
                (FBANK, Cause::Preemphasis(1.0)),
                (FBANK, Cause::Preemphasis(0.9701)),
                (FBANK, Cause::Low(0.0)),
                (FBANK, Cause::Low(60.0)),
                (FBANK, Cause::Low(133.0)),
                (FBANK, Cause::Low(20.1)),
                (RELU, Cause::Slope(0.01)),
                (RELU, Cause::Slope(0.2)),
                (NORM, Cause::Eps(1e-3)),
                (NORM, Cause::Eps(1e-6)),
                (LAST, Cause::BiasTimes(0.5)),
            ],
        ));
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn no_fault_of_a_speaker_embedding_is_mistaken_for_another() {
        let trials = on_capture(MODEL, "wespeaker/traced-34/whole.npz", Fault::catalogue);
        for trial in &trials {
            println!("{}: {:?}", trial.fault.id, trial.naming);
            let found = (&trial.diagnosis, &trial.undiagnosed);
            let expected = match (trial.fault.cause, trial.source.is_empty()) {
                (_, true) => Identification::NotTried,
                (None, false) => Identification::Unknown,
                (Some(_), false) => Identification::Right,
            };
            assert_eq!(trial.naming, expected, "{}: {found:?}", trial.fault.id);
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_lowest_frequency_of_sinc_filters_is_estimated() {
        const FILTERS: &[&str] = &["sincnet.conv1d.0.filters"];
        assert_estimated(&captured(
            "variants/segmentation-3.ckpt",
            "variants/segmentation-3.npz",
            &[
                (FILTERS, Cause::Low(60.0)),
                (FILTERS, Cause::Low(30.0)),
                (FILTERS, Cause::Low(45.0)),
                (FILTERS, Cause::Low(50.1)),
            ],
        ));
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_pooling_over_the_frames_of_speakers_is_diagnosed() {
        const POOL: &[&str] = &["resnet.pool"];
        const TRACE: &str = "wespeaker/traced-34/speakers.npz";
        let epsilons = [(POOL, Cause::Eps(1e-3)), (POOL, Cause::Eps(1e-5))];
        assert_estimated(&captured(MODEL, TRACE, &epsilons));
        let named = |catalogue: Vec<Fault>| {
            let pooling = catalogue.into_iter();
            pooling.filter(|fault| fault.id.starts_with("pool-") && fault.cause.is_some())
        };
        let trials = on_capture(MODEL, TRACE, |graph| {
            named(Fault::catalogue(graph)).collect()
        });
        assert_eq!(trials.len(), 5, "{trials:?}");
        for trial in trials {
            let found = (&trial.diagnosis, &trial.undiagnosed);
            assert_eq!(
                trial.naming,
                Identification::Right,
                "{}: {found:?}",
                trial.fault.id
            );
        }
    }
}
