//! What comparisons in other projects were blind to, ours sees: each was found in a real tool.

use std::{collections::BTreeMap, fs::File};

use ndarray::{ArrayD, Axis, Slice};
use ndarray_npy::NpzWriter;
use soundalike_compare::{
    About, ActivationTrace, Audit, Candidate, Engine as _, NameMap, Provenance, Report, Window,
    compare,
};
use soundalike_convert::Bundle;
use soundalike_model::{Engine, Kernels};
use soundalike_selftest::{CandleEngine, Decoding, built_in_trace};

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn window() -> Window {
    let mut reference = built_in_trace().expect("the built-in trace");
    reference.window().expect("its window")
}

/// Compares our own activations with the built-in trace, of which `change` has changed the stage `name`.
fn with(name: &str, change: impl Fn(ArrayD<f64>) -> ArrayD<f64>) -> Report {
    let bundle = embedded();
    let portable = Engine {
        kernels: Kernels::Portable,
        ..Engine::default()
    };
    let network = CandleEngine::load(&bundle, &portable).expect("a network");
    let mut stages: BTreeMap<String, ArrayD<f64>> = BTreeMap::new();
    let run = network.run(&window(), &mut |name, value| {
        stages.insert(name.to_owned(), value);
        Ok(None)
    });
    run.expect("a forward pass");
    let value = stages.remove(name).expect("the stage");
    stages.insert(name.to_owned(), change(value));
    let mut reference = built_in_trace().expect("the built-in trace");
    let about = About {
        model: "segmentation-3.0".into(),
        reference: "the built-in trace".into(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    let decoding = Decoding::new(&bundle);
    let candidate = Candidate::Activations(Box::new(stages));
    compare(&mut reference, &candidate, &[window()], &decoding, about).expect("a comparison")
}

#[test]
fn a_gain_that_no_correlation_and_no_cosine_sees() {
    let report = with("classifier", |x| x * 3.0);
    assert_eq!(report.source, ["classifier"]);
    let stage = report
        .stages
        .iter()
        .find(|stage| stage.name == "classifier");
    let error = stage.and_then(|stage| stage.free_running.as_ref());
    let error = error.expect("an error");
    assert!(error.correlation > 1.0 - 1e-9);
    assert!((error.rms_ratio - 3.0).abs() < 1e-4);
}

#[test]
fn a_permutation_that_no_mean_over_the_tensor_sees() {
    let turned = |x: ArrayD<f64>| x.select(Axis(2), &(0..128).rev().collect::<Vec<_>>());
    let report = with("linear.0", turned);
    assert_eq!(report.source, ["linear.0"]);
}

#[test]
fn a_lost_frame_that_cutting_to_the_shorter_length_hides() {
    let report = with("activation", |x| {
        x.slice_axis(Axis(1), Slice::from(..-1)).to_owned()
    });
    assert_eq!(report.source, ["activation"]);
    assert!(report.output.is_none());
}

#[test]
fn an_output_of_zeros_that_skipping_rows_near_zero_hides() {
    let report = with("activation", |x| x * 0.0);
    assert_eq!(report.source, ["activation"]);
    let output = report.output.expect("an output");
    // Of zeros there is none.
    assert!(output.correlation.is_nan());
}

#[test]
fn a_size_that_broadcasting_would_hide() {
    let report = with("linear.1", |x| {
        x.slice_axis(Axis(1), Slice::from(..1)).to_owned()
    });
    assert_eq!(report.source, ["linear.1"]);
}

#[test]
fn values_that_are_not_numbers_are_equal_to_nothing() {
    let report = with("lstm.2", |x| x.mapv(|_| f64::NAN));
    assert_eq!(report.source, ["lstm.2"]);
}

#[test]
fn an_input_that_is_another_one_is_refused() {
    let mut window = window();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("port.npz");
    let mut npz = NpzWriter::new(File::create(&path).expect("a file"));
    npz.add_array("waveform", &window.waveform)
        .expect("an array");
    npz.finish().expect("a file");
    let trace = ActivationTrace::open(&path, &NameMap::default()).expect("a trace");
    assert!(trace.check_window(&window).is_ok());
    window.waveform.invert_axis(Axis(2));
    assert!(trace.check_window(&window).is_err());
}

#[test]
fn weights_of_fewer_bits_are_seen_before_anything_runs() {
    let bundle = embedded();
    let half = bundle.edited(|name, _, values| {
        if name == "linear.0.weight" {
            values
                .iter_mut()
                .for_each(|x| *x = (*x * 1024.0).round() / 1024.0);
        }
    });
    let half = half.expect("a bundle");
    let audit = Audit::new(&bundle, Some(&half));
    let differences = audit.candidate.expect("differences");
    assert_eq!(differences.differing.len(), 1, "{differences:?}");
}
