//! A fault in the candidate is found, at its stage and nowhere else.

use std::{collections::BTreeMap, sync::Arc};

use ndarray::{ArrayD, Axis, Slice};
use soundalike_compare::{
    About, Candidate, CompareError, Engine as _, Meaning, Provenance, Report, StageReport, Verdict,
    Window, compare,
};
use soundalike_convert::Bundle;
use soundalike_model::{DType, Engine, Kernels};
use soundalike_selftest::{CandleEngine, Decoding, Fault, built_in_trace};

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn catalogue() -> Vec<Fault> {
    Fault::catalogue(&embedded().architecture().graph(true).expect("a network"))
}

fn network(bundle: &Bundle) -> CandleEngine {
    CandleEngine::load(bundle, &Engine::default()).expect("a network")
}

fn window() -> Window {
    let mut reference = built_in_trace().expect("the built-in trace");
    reference.window().expect("its window")
}

/// Compares with the built-in trace.
fn against_the_trace(candidate: &Candidate) -> std::result::Result<Report, CompareError> {
    let mut reference = built_in_trace().expect("the built-in trace");
    let bundle = embedded();
    let decoding = Decoding::new(&bundle);
    let about = About {
        model: "segmentation-3.0".into(),
        reference: "the built-in trace".into(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    compare(&mut reference, candidate, &[window()], &decoding, about)
}

fn with_fault(id: Option<&str>) -> Report {
    let bundle = embedded();
    let catalogue = catalogue();
    let candidate = match catalogue.iter().find(|fault| Some(fault.id) == id) {
        Some(fault) => fault
            .candidate(&bundle, DType::F32)
            .expect("a network with a fault"),
        None => Candidate::Engine(Box::new(network(&bundle))),
    };
    against_the_trace(&candidate).expect("a comparison")
}

#[test]
fn without_a_fault_there_is_no_source() {
    let report = with_fault(None);
    assert_eq!(report.source, Vec::<String>::new());
    let verdicts = report.stages.iter().map(|stage| stage.verdict);
    assert!(
        verdicts
            .clone()
            .all(|verdict| verdict != Verdict::Structural)
    );
    assert!(verdicts.clone().any(|verdict| verdict == Verdict::Exact));
    let task = report.task.expect("a task");
    assert_eq!(
        (task.der, task.num_speakers.reference),
        (0.0, task.num_speakers.candidate)
    );
    let output = report.output.expect("an output");
    assert_eq!(output.frame_agreement(), Some(1.0));
    assert_eq!(report.evidence.len(), 1);
}

#[test]
fn relu_for_leaky_relu_is_blamed_on_its_two_stages_only() {
    let report = with_fault(Some("relu-for-leaky-relu"));
    assert_eq!(
        report.source,
        ["linear.0.leaky_relu", "linear.1.leaky_relu"]
    );
    // The victims fail free-running: this is what hides the culprit from a comparison of outputs alone.
    let victim = report
        .stages
        .iter()
        .find(|stage| stage.name == "linear.1")
        .expect("linear.1");
    assert_eq!(victim.verdict, Verdict::Exact);
    let free = victim.free_running.as_ref();
    assert!(free.is_some_and(|error| error.r > 1e3));
}

#[test]
fn behind_an_output_of_another_shape_nothing_is_blamed_that_cannot_be_compared() {
    let verdict = |report: &Report, name: &str| {
        let stage = report.stages.iter().find(|stage| stage.name == name);
        stage.map(|stage| stage.verdict).expect("a stage")
    };
    let report = with_fault(Some("sinc-stride-wrong"));
    assert_eq!(report.source, ["sincnet.conv1d.0"]);
    let behind = report
        .stages
        .iter()
        .skip_while(|stage| stage.name != "sincnet.conv1d.0")
        .skip(1);
    for stage in behind {
        assert_eq!(stage.verdict, Verdict::NotComparable, "{}", stage.name);
        assert_eq!(stage.teacher_forced, None, "{}", stage.name);
    }
    // The frame that the first pool loses is one that the second has no use for: from there on all is as before.
    let report = with_fault(Some("pool-loses-a-frame"));
    assert_eq!(report.source, ["sincnet.pool1d.0"]);
    assert_eq!(verdict(&report, "sincnet.norm1d.0"), Verdict::NotComparable);
    assert_eq!(verdict(&report, "lstm.0"), Verdict::Exact);
}

/// The outputs of all stages, changed by `change` on their way.
fn activations(change: impl Fn(&str, ArrayD<f64>) -> ArrayD<f64>) -> BTreeMap<String, ArrayD<f64>> {
    // Kernels would take several stages at once.
    let portable = Engine {
        kernels: Kernels::Portable,
        ..Engine::default()
    };
    let network = CandleEngine::load(&embedded(), &portable).expect("a network");
    let mut stages = BTreeMap::new();
    let run = network.run(&window(), &mut |name, value| {
        let value = change(name, value);
        stages.insert(name.to_owned(), value.clone());
        Ok(Some(Arc::new(value.mapv(|x| x as f32))))
    });
    run.expect("a forward pass");
    stages
}

#[test]
fn another_engines_error_is_blamed_on_the_first_stage_that_is_wrong() {
    let mut stages = activations(|name, value| match name {
        "lstm.2" => value * 1.01,
        _ => value,
    });
    stages.remove("linear.0");
    stages.insert("dropout".into(), ArrayD::zeros(vec![1]));
    let report =
        against_the_trace(&Candidate::Activations(Box::new(stages))).expect("a comparison");
    assert_eq!(report.source, ["lstm.2"]);
    assert_eq!(report.missing, ["linear.0"]);
    assert_eq!(report.unexpected, ["dropout"]);
}

#[test]
fn a_lost_frame_and_not_a_number_are_structural_where_they_are() {
    let stages = activations(|name, value| match name {
        // A frame less, and everything after it on one frame less: nothing is cut to the shorter length.
        "linear.0" => value.slice_axis(Axis(1), Slice::from(..-1)).to_owned(),
        _ => value,
    });
    let report =
        against_the_trace(&Candidate::Activations(Box::new(stages))).expect("a comparison");
    assert_eq!(report.source, ["linear.0"]);
    assert!(report.output.is_none());

    let stages = activations(|name, value| match name {
        "linear.0" => value.mapv(|_| f64::NAN),
        _ => value,
    });
    let report =
        against_the_trace(&Candidate::Activations(Box::new(stages))).expect("a comparison");
    assert_eq!(report.source, ["linear.0"]);
    let output = report.output.expect("an output");
    assert_eq!(output.frame_agreement(), Some(0.0));
}

#[test]
fn a_candidate_with_other_names_only_is_not_observed_anywhere() {
    let stages = [("output".to_owned(), ArrayD::zeros(vec![1]))];
    let report = against_the_trace(&Candidate::Activations(Box::new(
        stages.into_iter().collect::<BTreeMap<_, _>>(),
    )));
    let report = report.expect("a report without a finding");
    let unseen = |stage: &StageReport| stage.verdict == Verdict::NotObserved;
    assert!(report.stages.iter().all(unseen));
    assert_eq!(report.missing.len(), report.stages.len());
    assert_eq!(report.unexpected, ["output"]);
    assert!(report.output.is_none());
}

#[test]
fn an_activation_substituted_in_the_builder_is_found_at_its_stage() {
    // The hyperparameters as they stand in the header, with another activation in the same number of bytes.
    let (from, to) = (r#"\"log-softmax\""#, r#"\"sigmoid\"    "#);
    let mut bytes = embedded().bytes().to_vec();
    let place = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes());
    let place = place.expect("the header names the activation");
    bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
    let bundle = Bundle::from_bytes(bytes, "a test").expect("a bundle");
    let candidate = Candidate::Engine(Box::new(network(&bundle)));
    let report = against_the_trace(&candidate).expect("a comparison");
    assert_eq!(report.source, ["activation"]);
}

#[test]
fn a_candidate_that_fails_ends_the_comparison_with_one_error() {
    let mut reference = built_in_trace().expect("the built-in trace");
    let candidate = Candidate::Engine(Box::new(network(&embedded())));
    let short = Window {
        waveform: ArrayD::zeros(vec![1, 1, 100]),
        ..window()
    };
    let about = About {
        model: "segmentation-3.0".into(),
        reference: "the built-in trace".into(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    let decoding = Meaning::Likeliest;
    let failed = compare(&mut reference, &candidate, &[short], &decoding, about);
    let error = failed.map(|_| ()).expect_err("too short");
    let CompareError::Candidate(error) = error else {
        panic!("{error}");
    };
    let error = error.to_string();
    assert!(error.starts_with("waveforms have shape"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}
