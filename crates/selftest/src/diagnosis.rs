//! Diagnosis of a faulty stage: known mistakes are replayed on the reference, one at a time, and the one that
//! reproduces the output of the candidate is the diagnosis.

use ndarray::ArrayD;
use soundalike_compare::{
    Candidate, CompareError, Diagnosis, EXACT_R, Explanation, Figure, LEAST_FLOOR, Observation,
    ObservedStage, Reference, Report, RunnerUp, STRUCTURAL_R, Signature, Undiagnosed, Window, rms,
};
use soundalike_convert::Bundle;
use soundalike_network::Cause;
use soundalike_torch::{Error, Hypothesis, replay};

/// Part of an error that a hypothesis may leave unexplained because its own rounding is larger.
const UNEXPLAINED: f64 = 0.01;

/// Identifies known mistakes of ports.
#[derive(Debug)]
pub struct Diagnostician<'a> {
    bundle: &'a Bundle,
    /// Mistakes to ignore.
    withheld: Vec<Cause>,
}

impl<'a> Diagnostician<'a> {
    /// For candidates of the model in `bundle`.
    #[must_use]
    pub fn new(bundle: &'a Bundle) -> Self {
        Self {
            bundle,
            withheld: Vec::new(),
        }
    }

    /// Ignores these mistakes.
    #[must_use]
    pub fn without(self, withheld: impl IntoIterator<Item = Cause>) -> Self {
        Self {
            withheld: withheld.into_iter().collect(),
            ..self
        }
    }

    /// Diagnoses the first stage that `report` blames, on the input with its largest error.
    ///
    /// # Errors
    /// [`CompareError`] if a side fails. A missing libtorch is not an error: the result is [`Explanation::Unknown`].
    pub fn diagnose(
        &self,
        reference: &mut dyn Reference,
        candidate: &Candidate,
        windows: &[Window],
        report: &Report,
    ) -> Result<Explanation, CompareError> {
        let unknown = |reason: &str| {
            Ok(Explanation::Unknown(Undiagnosed {
                stage: report.source.first().cloned(),
                reason: reason.to_owned(),
                signature: None,
            }))
        };
        let Some(name) = report.source.first() else {
            return unknown("no stage was blamed");
        };
        let stage = report.stages.iter().find(|stage| stage.name == *name);
        let Some(error) = stage.and_then(|stage| stage.teacher_forced.as_ref()) else {
            return unknown(
                "the stage was not fed by the reference, so its error may be inherited",
            );
        };
        let Some(window) = windows.get(error.worst_input) else {
            return unknown("the input with its largest error is not available");
        };
        match ObservedStage::of(reference, candidate, window, name)? {
            Observation::Fed(case) => self.explain(&case),
            Observation::Fused => unknown(
                "the candidate computes the stage fused with those before it; --candidate candle-cpu-portable exposes every stage",
            ),
            Observation::NotShown => unknown("the candidate does not expose the stage"),
        }
    }

    fn explain(&self, case: &ObservedStage) -> Result<Explanation, CompareError> {
        // The best variant of each mistake, such as which two outputs are swapped.
        let mut found: Vec<(f64, Cause, String)> = Vec::new();
        let mut undefined: Vec<Cause> = Vec::new();
        let mut see = |mistake: Hypothesis| {
            if self.withheld.contains(&mistake.cause) {
                return Ok(());
            }
            if mistake.golden.iter().any(|x| !x.is_finite())
                && case.output.iter().all(|x| x.is_finite())
            {
                undefined.push(mistake.cause);
                return Ok(());
            }
            let Some(r) = r(case, &mistake.golden, &mistake.rounded) else {
                return Ok(());
            };
            let known = found
                .iter_mut()
                .find(|(_, cause, _)| *cause == mistake.cause);
            match known {
                Some(known) if known.0 <= r => {}
                Some(known) => *known = (r, mistake.cause, mistake.text),
                None => found.push((r, mistake.cause, mistake.text)),
            }
            Ok(())
        };
        let replayed = replay(self.bundle, &case.stage.name, &case.operands, &mut see);
        let undiagnosed = |reason: String| {
            let reason = match &undefined[..] {
                [] => reason,
                [first, ..] => format!("{reason}; {first} gives values that are not finite here"),
            };
            Explanation::Unknown(Undiagnosed {
                stage: Some(case.stage.name.clone()),
                reason,
                signature: Some(Signature::of(case)),
            })
        };
        match replayed {
            Ok(()) => {}
            Err(Error::NotBuilt) => {
                return Ok(undiagnosed(format!(
                    "replaying known mistakes on the reference needs libtorch: {}",
                    Error::NotBuilt
                )));
            }
            Err(error) => return Err(CompareError::Reference(error.into())),
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut found = found.into_iter();
        let best = found.next();
        let runner_up = found.next().map(|(r, cause, _)| RunnerUp { cause, r });
        Ok(match (best, &runner_up) {
            (Some((r, cause, _)), _) if r >= EXACT_R => undiagnosed(format!(
                "not one of the known mistakes (nearest: {cause}, R {})",
                Figure(r)
            )),
            (None, _) => undiagnosed("not one of the known mistakes".to_owned()),
            // Within rounding, both reproduce it.
            (Some((_, cause, _)), Some(second)) if second.r < STRUCTURAL_R => undiagnosed(format!(
                "not told apart: {cause} and {} explain it equally well",
                second.cause
            )),
            (Some((r, cause, text)), _) => Explanation::Known(Diagnosis {
                stage: case.stage.name.clone(),
                cause,
                text,
                r,
                runner_up,
            }),
        })
    }
}

/// The distance of the candidate from a reference with a mistake, in units of the rounding of that reference. `None` if
/// their shapes differ.
fn r(case: &ObservedStage, golden: &ArrayD<f64>, rounded: &ArrayD<f64>) -> Option<f64> {
    if golden.shape() != case.output.shape() {
        return None;
    }
    let error = rms((&case.output - golden).view());
    // The rounding of the stage without the mistake is the least possible. A mistake that rounds far more (an
    // exponential, a gate order that makes a layer chaotic) must not match only because of that: it has to explain all
    // but a hundredth of the error.
    let usual = (case.floors.whole / rms(case.golden.view())).max(LEAST_FLOOR) * rms(golden.view());
    if !usual.is_finite() {
        // The stage should have returned zeros: its relative rounding is undefined.
        return None;
    }
    let own = rms((rounded - golden).view());
    let unexplained = if case.golden.shape() == case.output.shape() {
        UNEXPLAINED * rms((&case.output - &*case.golden).view()) / EXACT_R
    } else {
        0.0
    };
    let floor = own.max(usual).min(unexplained.max(STRUCTURAL_R * usual));
    let r = if error == 0.0 { 0.0 } else { error / floor };
    Some(if r.is_nan() { f64::INFINITY } else { r })
}
