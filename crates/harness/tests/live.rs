//! The live reference is what the official package computed.

#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

use std::collections::BTreeMap;

use soundalike_harness::{
    About, Candidate, Decoding, EXACT_R, Network, Provenance, Reference, ReferenceStage,
    ReferenceTrace, TorchReference, Window, compare,
};
use soundalike_model::{DType, Device};

/// All stages of a reference on `window`.
fn stages(reference: &mut dyn Reference, window: &Window) -> Vec<ReferenceStage> {
    let mut stages = Vec::new();
    let shown = reference.run(window, &mut |stage| {
        stages.push(stage.clone());
        Ok(true)
    });
    shown.expect("a reference run");
    stages
}

#[test]
fn the_live_reference_is_the_trace_of_the_package() {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let mut trace = ReferenceTrace::embedded().expect("the built-in trace");
    let window = trace.window().expect("its window");
    let mut live = TorchReference::load(&bundle).expect("libtorch");
    assert_eq!(
        live.names(&window).expect("names"),
        trace.names(&window).expect("names")
    );
    let pairs = stages(&mut live, &window)
        .into_iter()
        .zip(stages(&mut trace, &window));
    for (live, trace) in pairs {
        let name = &trace.stage.name;
        assert_eq!(live.stage, trace.stage);
        let size = trace.golden.iter().map(|x| x.abs()).fold(0.0, f64::max);
        let apart = (&*live.golden - &*trace.golden)
            .iter()
            .map(|x| x.abs())
            .fold(0.0, f64::max);
        // Both goldens are f64, whose rounding is 2^-29 of the f32 rounding that keeps outputs within 1e-4.
        assert!(
            apart <= 1e-4 / 2.0_f64.powi(29) * size.max(1.0),
            "{name}: {apart} of {size}"
        );
        for (way, live, trace) in [
            ("free", &live.free, &trace.free),
            ("forced", &live.forced, &trace.forced),
        ] {
            let ratio = if live.whole == trace.whole {
                1.0
            } else {
                live.whole / trace.whole
            };
            println!(
                "{name} {way}: floor {:.3e}, {ratio:.4} of the capture's",
                live.whole
            );
            // The capture may be of another processor, whose kernels take sums in another order: two exact
            // engines.
            assert!(
                ratio < EXACT_R && ratio > 1.0 / EXACT_R,
                "{name} {way}: {ratio}"
            );
        }
    }
}

#[test]
fn a_candidate_is_as_far_from_the_live_reference_as_from_the_trace() {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let network = Network::load(&bundle, DType::F32, &Device::Cpu).expect("a network");
    let decoding = Decoding::new(&bundle, network.geometry());
    let candidate = Candidate::Network {
        network,
        fault: None,
    };
    let mut trace = ReferenceTrace::embedded().expect("the built-in trace");
    let window = trace.window().expect("its window");
    let mut live = TorchReference::load(&bundle).expect("libtorch");
    let mut errors = |reference: &mut dyn Reference| -> BTreeMap<String, f64> {
        let about = About {
            model: "segmentation-3.0".into(),
            reference: reference.name(),
            candidate: "a test".into(),
            provenance: Provenance::default(),
        };
        let windows = [window.clone()];
        let report = compare(reference, &candidate, &windows, &decoding, about);
        let stages = report.expect("a comparison").stages.into_iter();
        stages
            .map(|stage| (stage.name, stage.free_running.expect("observed").rms_error))
            .collect()
    };
    let (live, trace) = (errors(&mut live), errors(&mut trace));
    for (name, expected) in trace {
        // Only the goldens differ, by f64 rounding.
        let found = live[&name];
        assert!(
            (found - expected).abs() <= 1e-6 * expected,
            "{name}: {found} {expected}"
        );
    }
}
