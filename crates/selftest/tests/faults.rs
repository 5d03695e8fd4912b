//! A fault in the candidate is found, at its stage and nowhere else.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use soundalike_convert::Bundle;
use soundalike_compare::{About, Candidate, CompareError, Provenance, Recorder, ReferenceTrace, Report, Verdict, Window, compare};
use soundalike_selftest::{Decoding, Fault, Network};
use soundalike_model::{DType, Device, Kernels, Probe, Result, Silent, Tensor};

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn network(bundle: &Bundle) -> Network {
    Network::load(bundle, DType::F32, &Device::Cpu, Kernels::native()).expect("a network")
}

fn window() -> Window {
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    reference.window().expect("its window")
}

/// Compares with the built-in trace.
fn against_the_trace(candidate: &Candidate) -> std::result::Result<Report, CompareError> {
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    let bundle = embedded();
    let decoding = Decoding::new(&bundle, network(&bundle).geometry());
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
    let catalogue = Fault::catalogue(bundle.architecture());
    let candidate = match catalogue.iter().find(|fault| Some(fault.id) == id) {
        Some(fault) => fault
            .candidate(&bundle, DType::F32)
            .expect("a network with a fault"),
        None => Candidate::Network {
            network: network(&bundle),
            fault: None,
        },
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
fn activations(change: impl Fn(&str, Tensor) -> Result<Tensor>) -> BTreeMap<String, ArrayD<f64>> {
    struct Changed<F>(F, Recorder);
    impl<F: Fn(&str, Tensor) -> Result<Tensor>> Probe for Changed<F> {
        fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
            let value = self.0(name, value)?;
            self.1.see(name, value)
        }
    }
    let mut probe = Changed(change, Recorder::default());
    // Kernels would take several stages at once.
    let network = Network::load(&embedded(), DType::F32, &Device::Cpu, Kernels::Portable);
    network
        .expect("a network")
        .forward(&window(), &mut probe)
        .expect("a forward pass");
    probe.1.into_stages().expect("stages").into_iter().collect()
}

#[test]
fn another_engines_error_is_blamed_on_the_first_stage_that_is_wrong() {
    let mut stages = activations(|name, value| match name {
        "lstm.2" => value * 1.01,
        _ => Ok(value),
    });
    stages.remove("linear.0");
    stages.insert("dropout".into(), ArrayD::zeros(vec![1]));
    let report = against_the_trace(&Candidate::Activations(stages)).expect("a comparison");
    assert_eq!(report.source, ["lstm.2"]);
    assert_eq!(report.missing, ["linear.0"]);
    assert_eq!(report.unexpected, ["dropout"]);
}

#[test]
fn a_lost_frame_and_not_a_number_are_structural_where_they_are() {
    let stages = activations(|name, value| match name {
        // A frame less, and everything after it on one frame less: nothing is cut to the shorter length.
        "linear.0" => value.narrow(1, 0, value.dim(1)? - 1),
        _ => Ok(value),
    });
    let report = against_the_trace(&Candidate::Activations(stages)).expect("a comparison");
    assert_eq!(report.source, ["linear.0"]);
    assert!(report.output.is_none());

    let stages = activations(|name, value| match name {
        "linear.0" => (&value * 0.0)?.log()? - (&value * 0.0)?.log()?,
        _ => Ok(value),
    });
    let report = against_the_trace(&Candidate::Activations(stages)).expect("a comparison");
    assert_eq!(report.source, ["linear.0"]);
    let output = report.output.expect("an output");
    assert_eq!(output.frame_agreement(), Some(0.0));
}

#[test]
fn names_that_are_all_unknown_are_refused() {
    let stages = [("output".to_owned(), ArrayD::zeros(vec![1]))];
    let refused = against_the_trace(&Candidate::Activations(stages.into_iter().collect()));
    let error = refused.map(|_| ()).expect_err("nothing to compare");
    assert!(
        error.to_string().contains("such as `activation`"),
        "{error}"
    );
}

#[test]
fn looking_changes_nothing() {
    let (network, window) = (network(&embedded()), window());
    let run = |probe: &mut dyn Probe| -> Vec<f32> {
        let scores = network.forward(&window, probe).expect("the forward pass");
        let scores = scores.flatten_all().and_then(|scores| scores.to_vec1());
        scores.expect("scores")
    };
    let silent = run(&mut Silent);
    assert_eq!(run(&mut Recorder::default()), silent);
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
    let candidate = Candidate::Network {
        network: network(&bundle),
        fault: None,
    };
    let report = against_the_trace(&candidate).expect("a comparison");
    assert_eq!(report.source, ["activation"]);
}

#[test]
fn a_candidate_that_fails_ends_the_comparison_with_one_error() {
    let mut reference = ReferenceTrace::embedded().expect("the built-in trace");
    let candidate = Candidate::Network {
        network: network(&embedded()),
        fault: None,
    };
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
    let decoding = Decoding::Likeliest;
    let failed = compare(&mut reference, &candidate, &[short], &decoding, about);
    let error = failed.map(|_| ()).expect_err("too short").to_string();
    assert!(
        error.starts_with("the candidate failed: waveforms have shape"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}
