//! What is wrong, in words: right, or not at all.

use soundalike_compare::{
    About, Candidate, Explanation, KeptReference, Provenance, Window, compare,
};
use soundalike_convert::Bundle;
use soundalike_model::{DType, Engine, Kernels};
use soundalike_network::Cause;
use soundalike_selftest::{
    CandleEngine, Decoding, Diagnostician, Fault, Identification, Injector, Trial, TrialOutcome,
    built_in_trace, torch_reference,
};
use soundalike_torch::LowPrecision;

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn catalogue() -> Vec<Fault> {
    Fault::catalogue(&embedded().architecture().graph(true).expect("a network"))
}

fn network(bundle: &Bundle) -> CandleEngine {
    let portable = Engine {
        kernels: Kernels::Portable,
        ..Engine::default()
    };
    CandleEngine::load(bundle, &portable).expect("a network")
}

fn kept() -> (KeptReference, Window) {
    let mut trace = built_in_trace().expect("the built-in trace");
    let window = trace.window().expect("its window");
    let kept = KeptReference::of(&mut trace, std::slice::from_ref(&window));
    (kept.expect("a reference"), window)
}

/// What is said to `faults` by one who does not think of `withheld`.
fn trials(faults: &[Fault], withheld: &[Cause]) -> Vec<Trial> {
    let bundle = embedded();
    let decoding = Decoding::new(&bundle);
    let (mut reference, window) = kept();
    let diagnostician = Diagnostician::new(&bundle).without(withheld.iter().copied());
    let mut bench = Injector {
        bundle: &bundle,
        decode: &decoding,
        reference: &mut reference,
        windows: &[window],
        diagnostician: Some(&diagnostician),
        budget: None,
    };
    let tried = faults
        .iter()
        .map(|fault| bench.try_fault(fault).expect("a trial"));
    tried.flatten().collect()
}

#[test]
fn all_but_one_are_identified_and_none_as_another() {
    let catalogue = catalogue();
    let trials = trials(&catalogue, &[]);
    let below: Vec<_> = trials
        .iter()
        .filter(|trial| trial.outcome == TrialOutcome::BelowTheFloor)
        .map(|trial| trial.fault.id)
        .collect();
    // Their R is 0.6: of these norms the variance is far above either epsilon.
    assert_eq!(below, ["norm1-eps-1e-6", "norm2-eps-1e-6"]);
    let located = trials.iter().filter(|trial| {
        matches!(
            trial.outcome,
            TrialOutcome::Located | TrialOutcome::Equivalent
        )
    });
    assert_eq!(located.count() + below.len(), catalogue.len());
    let known: Vec<_> = trials
        .iter()
        .filter(|trial| trial.fault.cause.is_some() && trial.outcome == TrialOutcome::Located)
        .collect();
    let right = known
        .iter()
        .filter(|trial| trial.naming == Identification::Right);
    let right = right.count();
    println!("called by their name: {right} of {}", known.len());
    for trial in known
        .iter()
        .filter(|trial| trial.naming != Identification::Right)
    {
        println!(
            "{}: {:?} {:?}",
            trial.fault.id, trial.diagnosis, trial.undiagnosed
        );
    }
    // All but lstm-gates-ifog, which makes a layer chaotic.
    assert_eq!((right, known.len()), (83, 84));
    let wrong: Vec<_> = trials
        .iter()
        .filter(|trial| trial.naming == Identification::Wrong)
        .map(|trial| (trial.fault.id, &trial.diagnosis))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_mistake_that_nobody_thinks_of_is_unknown_and_not_another() {
    let catalogue = catalogue();
    let mut causes: Vec<Cause> = Vec::new();
    for cause in catalogue.iter().filter_map(|fault| fault.cause) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    // Each third of them in turn.
    for part in 0..3 {
        let withheld: Vec<Cause> = causes.iter().skip(part).step_by(3).copied().collect();
        let faults: Vec<Fault> = catalogue
            .iter()
            .filter(|fault| fault.cause.is_some_and(|cause| withheld.contains(&cause)))
            .cloned()
            .collect();
        let trials = trials(&faults, &withheld);
        assert!(trials.len() > causes.len() / 4);
        for trial in trials {
            assert_eq!(trial.diagnosis, None, "{}", trial.fault.id);
        }
    }
}

#[test]
fn a_fault_in_an_engine_of_fewer_bits_is_found_at_its_stage() {
    let bundle = embedded();
    let decoding = Decoding::new(&bundle);
    let (_, window) = kept();
    let windows = [window];
    let catalogue = catalogue();
    for (dtype, low) in [
        (DType::BF16, LowPrecision::BF16),
        (DType::F16, LowPrecision::F16),
    ] {
        let mut reference = torch_reference(&bundle, Some(low)).expect("a reference");
        // By other functions, and by other weights.
        for id in ["relu-for-leaky-relu", "classifier-bias-missing"] {
            let fault = catalogue.iter().find(|fault| fault.id == id);
            let fault = fault.expect("a fault");
            let candidate = fault.candidate(&bundle, dtype).expect("a network");
            let about = About {
                model: "segmentation-3.0".into(),
                reference: "torch".into(),
                candidate: id.into(),
                provenance: Provenance::default(),
            };
            let report = compare(&mut reference, &candidate, &windows, &decoding, about);
            let report = report.expect("a comparison");
            let names: Vec<String> = report.stages.iter().map(|s| s.name.clone()).collect();
            let expected: Vec<_> = fault.stages_among(&names).into_iter().cloned().collect();
            assert_eq!(report.source, expected, "{dtype:?} {id}");
        }
    }
}

/// What is said to a network with other weights: the first stage to blame, and the cause.
fn changed(edit: impl FnMut(&str, &[usize], &mut [f32])) -> (Vec<String>, Explanation) {
    let bundle = embedded();
    let other = bundle.edited(edit).expect("a bundle");
    let candidate = Candidate::Engine(Box::new(network(&other)));
    let (mut reference, window) = kept();
    let windows = [window];
    let about = About {
        model: "segmentation-3.0".into(),
        reference: "the built-in trace".into(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    let decoding = Decoding::new(&bundle);
    let report = compare(&mut reference, &candidate, &windows, &decoding, about);
    let report = report.expect("a comparison");
    let cause = Diagnostician::new(&bundle)
        .diagnose(&mut reference, &candidate, &windows, &report)
        .expect("a diagnosis");
    (report.source, cause)
}

#[test]
fn what_the_catalogue_did_not_think_of_is_located_and_unknown() {
    let (source, cause) = changed(|name, shape, values| {
        if name == "linear.0.weight" {
            let row = shape[1];
            values[17 * row..18 * row]
                .iter_mut()
                .for_each(|x| *x *= 1.01);
        }
    });
    assert_eq!(source, ["linear.0"]);
    let Explanation::Unknown(undiagnosed) = cause else {
        panic!("{cause:?}");
    };
    let signature = undiagnosed.signature.expect("a signature");
    assert_eq!(signature.channels, (1, 128), "{signature}");

    let (source, cause) = changed(|name, shape, values| {
        if name == "sincnet.conv1d.2.weight" {
            let filter = shape[1] * shape[2];
            values[7 * filter..8 * filter]
                .iter_mut()
                .for_each(|x| *x = -*x);
        }
    });
    assert_eq!(source, ["sincnet.conv1d.2"]);
    assert!(matches!(cause, Explanation::Unknown(_)), "{cause:?}");

    let (source, cause) = changed(|name, shape, values| {
        if name == "linear.1.weight" {
            let before = values.to_vec();
            for (place, value) in values.iter_mut().enumerate() {
                *value = before[place % shape[1] * shape[1] + place / shape[1]];
            }
        }
    });
    assert_eq!(source, ["linear.1"]);
    assert!(
        matches!(&cause, Explanation::Known(diagnosis) if diagnosis.names(Cause::InAndOutSwapped)),
        "{cause:?}"
    );
}

#[test]
fn an_off_by_one_in_pooling_has_its_name() {
    let catalogue = catalogue();
    let fault = catalogue
        .into_iter()
        .find(|fault| fault.id == "pool-one-off");
    let found = trials(&[fault.expect("the fault")], &[]);
    assert_eq!(
        found[0].naming,
        Identification::Right,
        "{:?}",
        found[0].undiagnosed
    );
    assert_eq!(found[0].source[0], "sincnet.pool1d.0");
}
