//! What is wrong with a stage, in words: known mistakes are put into the reference, one at a time, and the one that
//! gives what the candidate gives is it.

use ndarray::ArrayD;
use soundalike_compare::{
    Candidate, Case, CompareError, Diagnosis, EXACT_R, Explanation, Figure, LEAST_FLOOR,
    Observation, Reference, Report, RunnerUp, STRUCTURAL_R, Signature, Undiagnosed, Window, rms,
};
use soundalike_convert::Bundle;
use soundalike_network::Cause;
use soundalike_torch::{Error, Hypothesis, replay};

/// Part of an error that a mistake may leave unexplained by the rounding that it brings with it.
const UNEXPLAINED: f64 = 0.01;

/// Knows the mistakes of ports.
#[derive(Debug)]
pub struct Diagnostician<'a> {
    bundle: &'a Bundle,
    /// Mistakes that it is not to think of.
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

    /// The same without the mistakes of these names.
    #[must_use]
    pub fn without(self, withheld: impl IntoIterator<Item = Cause>) -> Self {
        Self {
            withheld: withheld.into_iter().collect(),
            ..self
        }
    }

    /// What is wrong with the first stage that `report` blames, on the input where it is worst.
    ///
    /// # Errors
    /// [`CompareError`] where a side fails. Without libtorch nothing fails: that is a reason not to know.
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
            return unknown("no stage is to blame");
        };
        let stage = report.stages.iter().find(|stage| stage.name == *name);
        let Some(error) = stage.and_then(|stage| stage.teacher_forced.as_ref()) else {
            return unknown(
                "the stage was not fed by the reference, so its error may not be its own",
            );
        };
        let Some(window) = windows.get(error.worst_input) else {
            return unknown("its input is gone");
        };
        match Case::of(reference, candidate, window, name)? {
            Observation::Fed(case) => self.explain(&case),
            Observation::Fused => unknown(
                "the candidate computes it together with the stages before it: of ours, --candidate candle-cpu-portable shows each by itself",
            ),
            Observation::NotShown => unknown("the candidate does not show the stage"),
        }
    }

    fn explain(&self, case: &Case) -> Result<Explanation, CompareError> {
        // The best of each mistake: it may have several variants, such as which two outputs are swapped.
        let mut found: Vec<(f64, Cause, String)> = Vec::new();
        let mut see = |mistake: Hypothesis| {
            if self.withheld.contains(&mistake.cause) {
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
                    "to put known mistakes into the reference takes libtorch: {}",
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
            // As much as rounding allows, both could be it.
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

/// How far the candidate is from a reference with a mistake, in units of the rounding of that reference. None where they
/// have different shapes.
fn r(case: &Case, golden: &ArrayD<f64>, rounded: &ArrayD<f64>) -> Option<f64> {
    if golden.shape() != case.output.shape() {
        return None;
    }
    let error = rms((&case.output - golden).view());
    // As much as the stage rounds without the mistake is the least that anybody does. What rounds far more with it (an
    // exponential, gates in an order that makes a layer chaotic) is not to hide behind that: it has to explain all but
    // a hundredth of the error.
    let usual = (case.floors.whole / rms(case.golden.view())).max(LEAST_FLOOR) * rms(golden.view());
    if !usual.is_finite() {
        // Nothing is known of how much a stage rounds that should have given 0.
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
