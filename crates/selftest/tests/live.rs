//! The live reference is what the official package computed.
//!
//! The window in `reference/segmentation-3.0/` is always compared; more windows (silence, padding, offset,
//! clipping, a low level) where `SOUNDALIKE_CAPTURES` names the directory that `scripts/capture_suite.sh` filled.

#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use soundalike_compare::{
    About, Candidate, EXACT_R, Provenance, Reference, ReferenceStage, ReferenceTrace, Report,
    StageError, StageReport, Verdict, Window, compare,
};
use soundalike_convert::Bundle;
use soundalike_model::{DType, Engine, Kernels};
use soundalike_selftest::{CandleEngine, Decoding, built_in_trace, torch_reference};
use soundalike_torch::LowPrecision;

#[path = "../../../tests/support/assets.rs"]
mod data;

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

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

/// The live reference shows the stages of `trace`, with its goldens and its floors.
fn assert_reproduces<R: Read + Seek>(case: &str, trace: &mut ReferenceTrace<R>) {
    let window = trace.window().expect("its window");
    let mut live = torch_reference(&embedded(), None).expect("libtorch");
    let names = |reference: &dyn Reference| -> Vec<String> {
        let graph = reference.graph(&window).expect("a graph");
        graph
            .stages()
            .iter()
            .map(|stage| stage.name.clone())
            .collect()
    };
    assert_eq!(names(&live), names(trace));
    let pairs = stages(&mut live, &window)
        .into_iter()
        .zip(stages(trace, &window));
    let (mut least, mut most) = (1.0_f64, 1.0_f64);
    for (live, trace) in pairs {
        let name = format!("{case} {}", trace.stage.name);
        // The operations and parameters are ours alone.
        let known = |stage: &soundalike_network::Stage| {
            let stage = stage.clone();
            (stage.name, stage.operands, stage.axes, stage.part_of)
        };
        assert_eq!(known(&live.stage), known(&trace.stage), "{name}");
        assert_eq!(live.degenerate, trace.degenerate, "{name}");
        assert_eq!(live.golden.shape(), trace.golden.shape(), "{name}");
        let rms = |x: &ndarray::ArrayD<f64>| x.mapv(|x| x * x).mean().unwrap_or_default().sqrt();
        let apart = rms(&(&*live.golden - &*trace.golden));
        // The golden of the one and of the other are both exact engines of f64, whose unit is 2^-29 of that of
        // f32: as far apart as two exact f32 engines, so much finer.
        let allowed = 2.0 * EXACT_R / 2.0_f64.powi(29);
        let floor = trace.free.whole.max(rms(&trace.golden) / 2.0_f64.powi(25));
        assert!(apart <= allowed * floor, "{name}: {apart} of {floor}");
        for (live, trace) in [(&live.free, &trace.free), (&live.forced, &trace.forced)] {
            let ratio = match (live.whole, trace.whole) {
                (live, trace) if live == trace => 1.0,
                (live, trace) => live / trace,
            };
            (least, most) = (least.min(ratio), most.max(ratio));
            // The capture may be of another processor, whose kernels take sums in another order: two exact
            // engines.
            assert!(
                ratio < EXACT_R && ratio > 1.0 / EXACT_R,
                "{name}: floor {} of {}",
                live.whole,
                trace.whole
            );
        }
    }
    println!("{case}: floors are {least:.6} to {most:.6} of the capture's");
}

#[test]
fn the_live_reference_is_the_trace_of_the_package() {
    let mut trace = built_in_trace().expect("the built-in trace");
    assert_reproduces("built-in", &mut trace);
}

fn candidate(dtype: DType) -> (Candidate, Decoding) {
    let bundle = embedded();
    let engine = Engine {
        dtype,
        ..Engine::default()
    };
    let network = CandleEngine::load(&bundle, &engine).expect("a network");
    (Candidate::Engine(Box::new(network)), Decoding::new(&bundle))
}

fn report(reference: &mut dyn Reference, dtype: DType) -> Report {
    let mut trace = built_in_trace().expect("the built-in trace");
    on(trace.window().expect("its window"), reference, dtype)
}

fn on(window: Window, reference: &mut dyn Reference, dtype: DType) -> Report {
    let (candidate, decoding) = candidate(dtype);
    let about = About {
        model: "segmentation-3.0".into(),
        reference: reference.name(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    compare(reference, &candidate, &[window], &decoding, about).expect("a comparison")
}

#[test]
fn a_candidate_is_as_far_from_the_live_reference_as_from_the_trace() {
    let errors = |reference: &mut dyn Reference| -> BTreeMap<String, f64> {
        let stages = report(reference, DType::F32).stages.into_iter();
        let error = |free: StageError| free.rms_error;
        stages
            .filter_map(|stage| Some((stage.name, error(stage.free_running?))))
            .collect()
    };
    let live = errors(&mut torch_reference(&embedded(), None).expect("libtorch"));
    let trace = errors(&mut built_in_trace().expect("the built-in trace"));
    assert!(trace.len() > 20);
    for (name, expected) in trace {
        // Only the goldens differ, by f64 rounding.
        let found = live[&name];
        assert!(
            (found - expected).abs() <= 1e-6 * expected,
            "{name}: {found} {expected}"
        );
    }
}

#[test]
fn fewer_bits_are_judged_by_a_reference_with_as_few() {
    for (dtype, low) in [
        (DType::F16, LowPrecision::F16),
        (DType::BF16, LowPrecision::BF16),
    ] {
        let mut live = torch_reference(&embedded(), Some(low)).expect("libtorch");
        let report = report(&mut live, dtype);
        let worst = |of: &dyn Fn(&StageReport) -> Option<f64>| {
            report.stages.iter().filter_map(of).fold(0.0, f64::max)
        };
        println!(
            "{dtype:?}: R_d at most {:.2} forced, {:.2} free; R {:.0} forced",
            worst(&|stage| stage.teacher_forced.as_ref()?.r_d),
            worst(&|stage| stage.free_running.as_ref()?.r_d),
            worst(&|stage| Some(stage.teacher_forced.as_ref()?.r)),
        );
        let odd: Vec<_> = report
            .stages
            .iter()
            .filter(|stage| stage.verdict == Verdict::Structural)
            .collect();
        assert!(odd.is_empty(), "{dtype:?}: {odd:?}");
    }
}

#[test]
fn silence_is_degenerate_and_no_bug() {
    let mut trace = built_in_trace().expect("the built-in trace");
    let window = trace.window().expect("its window");
    let silent = Window {
        waveform: window.waveform.mapv(|_| 0.0),
        ..window
    };
    let mut live = torch_reference(&embedded(), None).expect("libtorch");
    let report = on(silent, &mut live, DType::F32);
    for stage in &report.stages {
        let constant = stage.name == "sincnet.conv1d.0.filters";
        assert_eq!(stage.degenerate, !constant, "{}", stage.name);
        assert!(stage.verdict < Verdict::Structural, "{stage:?}");
    }
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn so_it_is_on_hard_input_with_the_second_reference_where_that_is_degenerate() {
        let directory = data::captures();
        for case in ["speech", "silence", "padded", "offset", "clipped", "scaled"] {
            let path = directory.join(case).with_extension("npz");
            let mut trace = ReferenceTrace::open(&path).expect("a trace");
            assert_reproduces(case, &mut trace);
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn a_fused_stage_has_the_floor_of_all_that_it_swallows() {
        let directory = data::captures();
        let checkpoint = directory.join("wespeaker/traced-34.ckpt");
        let bundle = soundalike_convert::load(&checkpoint).expect("a checkpoint");
        let mut trace = built_in_trace().expect("the built-in trace");
        let window = [trace.window().expect("its window")];
        for kernels in [Kernels::native(), Kernels::Portable] {
            let engine = Engine {
                kernels,
                ..Engine::default()
            };
            let network = CandleEngine::load(&bundle, &engine).expect("a network");
            let decoding = Decoding::new(&bundle);
            let candidate = Candidate::Engine(Box::new(network));
            let mut live = torch_reference(&bundle, None).expect("libtorch");
            let about = About {
                model: "traced-34".into(),
                reference: live.name(),
                candidate: format!("{kernels:?}"),
                provenance: Provenance::default(),
            };
            let report = compare(&mut live, &candidate, &window, &decoding, about);
            let report = report.expect("a comparison");
            let forced = |stage: &StageReport| {
                let error = stage.teacher_forced.as_ref()?;
                Some((error.r, stage.name.clone()))
            };
            let worst = report.stages.iter().filter_map(forced);
            let worst = worst.max_by(|a, b| a.0.total_cmp(&b.0));
            println!(
                "{kernels:?}: {} not observed, worst R {worst:?}",
                report.missing.len()
            );
            assert_eq!(report.source, Vec::<String>::new(), "{kernels:?}");
            assert_eq!(report.unexpected, Vec::<String>::new(), "{kernels:?}");
            let fused = !matches!(kernels, Kernels::Portable);
            assert_eq!(!report.missing.is_empty(), fused, "{kernels:?}");
        }
    }
}
