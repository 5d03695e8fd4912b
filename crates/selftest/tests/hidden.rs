//! Faults in stages that a candidate hides, and in what it keeps from one run to the next.

use ndarray::ArrayD;
use soundalike_compare::{
    About, Candidate, Engine, EngineError, Explanation, Probe, Provenance, Report, Undiagnosed,
    Window, compare,
};
use soundalike_convert::Bundle;
use soundalike_model::Kernels;
use soundalike_network::{Cause, Graph};
use soundalike_selftest::{CandleEngine, Decoding, Diagnostician, built_in_trace};
use soundalike_torch::BUILT;

/// Stages that the candidate fuses with those after them.
const HIDDEN: [&str; 3] = ["sincnet.conv1d.1", "sincnet.pool1d.1", "sincnet.norm1d.1"];
/// The stage that they are fused with.
const FUSED: &str = "sincnet.norm1d.1.leaky_relu";
const PORTABLE: &str = "candle-cpu-portable";

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn portable(bundle: &Bundle) -> CandleEngine {
    let engine = soundalike_model::Engine {
        kernels: Kernels::Portable,
        ..Default::default()
    };
    CandleEngine::load(bundle, &engine).expect("a network")
}

/// An engine that hides stages, with a change of a stage that it shows.
struct Changed {
    engine: CandleEngine,
    hidden: &'static [&'static str],
    /// Takes the name of a stage, and whether the run was fed.
    factor: fn(&str, bool) -> f64,
}

impl Engine for Changed {
    fn graph(&self, masked: bool) -> Graph {
        self.engine.graph(masked)
    }

    fn run(&self, window: &Window, probe: &mut Probe<'_>) -> Result<ArrayD<f64>, EngineError> {
        let mut fed = false;
        self.engine.run(window, &mut |name, value| {
            if self.hidden.contains(&name) {
                return Ok(None);
            }
            let value = value * (self.factor)(name, fed);
            let own = value.mapv(|x| x as f32);
            let with = probe(name, value)?;
            fed |= with.is_some();
            Ok(Some(with.unwrap_or_else(|| own.into())))
        })
    }
}

/// The comparison of `candidate` with the official package, and its diagnosis.
fn diagnosed(candidate: Changed, exposed: &Bundle) -> (Report, Explanation) {
    let candidate = Candidate::Engine(Box::new(candidate));
    let bundle = embedded();
    let decoding = Decoding::new(&bundle);
    let mut reference = built_in_trace().expect("the built-in trace");
    let windows = [reference.window().expect("its window")];
    let about = About {
        model: "segmentation-3.0".into(),
        reference: "the built-in trace".into(),
        candidate: "a test".into(),
        provenance: Provenance::default(),
    };
    let report = compare(&mut reference, &candidate, &windows, &decoding, about);
    let report = report.expect("a comparison");
    let diagnostician = Diagnostician::new(&bundle);
    let found = diagnostician.diagnose(&mut reference, &candidate, &windows, &report);
    let found = match found.expect("a diagnosis") {
        Explanation::Fused(_) => {
            let exposed = Candidate::Engine(Box::new(portable(exposed)));
            let by = (PORTABLE, &exposed);
            let found = diagnostician.diagnose_by(&mut reference, by, &windows, &decoding, &report);
            found.expect("a diagnosis")
        }
        found => found,
    };
    (report, found)
}

#[test]
fn a_fused_mistake_is_found_in_the_engine_that_fuses_nothing() {
    let other = embedded().edited(|name, _, values| {
        if name == "sincnet.conv1d.1.bias" {
            values.fill(0.0);
        }
    });
    let other = other.expect("a bundle");
    let candidate = Changed {
        engine: portable(&other),
        hidden: &HIDDEN[..1],
        factor: |_, _| 1.0,
    };
    let (report, found) = diagnosed(candidate, &other);
    assert_eq!(
        report.source.first().map(String::as_str),
        Some("sincnet.pool1d.1")
    );
    match found {
        Explanation::Known(diagnosis) => {
            assert_eq!(diagnosis.engine.as_deref(), Some(PORTABLE));
            assert_eq!(diagnosis.stage, "sincnet.conv1d.1");
            assert!(diagnosis.names(Cause::BiasLeftOut));
        }
        Explanation::Unknown(undiagnosed) if !BUILT => {
            assert_eq!(undiagnosed.engine.as_deref(), Some(PORTABLE));
            assert_eq!(undiagnosed.stage.as_deref(), Some("sincnet.conv1d.1"));
            assert!(undiagnosed.signature.is_some());
        }
        found => unreachable!("{found:?}"),
    }
}

#[test]
fn a_mistake_of_fused_kernels_alone_is_said_to_be_theirs() {
    let candidate = Changed {
        engine: portable(&embedded()),
        hidden: &HIDDEN,
        factor: |name, _| if name == FUSED { 1.01 } else { 1.0 },
    };
    let (report, found) = diagnosed(candidate, &embedded());
    assert_eq!(report.source.first().map(String::as_str), Some(FUSED));
    let Explanation::Unknown(Undiagnosed { reason, stage, .. }) = found else {
        unreachable!("{found:?}");
    };
    assert_eq!(stage.as_deref(), Some(FUSED));
    assert!(
        reason.contains("the fault is in the candidate's fused kernels"),
        "{reason}"
    );
}

#[test]
fn a_stage_that_differs_from_run_to_run_is_blamed_although_it_is_right_when_fed() {
    let candidate = Changed {
        engine: portable(&embedded()),
        hidden: &[],
        factor: |name, fed| if name == "lstm.2" && !fed { 1.01 } else { 1.0 },
    };
    let (report, found) = diagnosed(candidate, &embedded());
    assert_eq!(report.source, ["lstm.2"]);
    let Explanation::Unknown(undiagnosed) = found else {
        unreachable!("{found:?}");
    };
    assert!(
        undiagnosed
            .reason
            .starts_with("state carried over from one run to the next"),
        "{undiagnosed:?}"
    );
}
