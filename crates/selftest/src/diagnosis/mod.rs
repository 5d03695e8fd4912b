//! Diagnosis of a faulty stage: known mistakes are replayed on the reference, one at a time, and the one that
//! reproduces the output of the candidate is the diagnosis.

mod distance;
mod estimate;
mod exposed;
mod repeated;

use ndarray::ArrayD;
use soundalike_compare::{
    Candidate, CompareError, Diagnosis, EXACT_R, Estimate, Explanation, Figure, Named, Observation,
    ObservedStage, Reference, Report, RunnerUp, STRUCTURAL_R, Signature, StageReport, Undiagnosed,
    Window,
};
use soundalike_convert::Bundle;
use soundalike_network::Cause;
use soundalike_torch::{BUILT, Error, Hypothesis, Mistake, replay};

use self::{
    distance::r,
    estimate::{Outcome, estimate},
    repeated::Repeated,
};

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
        let undiagnosed = |reason: &str| Undiagnosed {
            stage: report.source.first().cloned(),
            reason: reason.to_owned(),
            tried: BUILT,
            engine: None,
            signature: None,
        };
        let unknown = |reason: &str| Ok(Explanation::Unknown(undiagnosed(reason)));
        let Some(name) = report.source.first() else {
            return unknown("no stage was blamed");
        };
        if blamed(report).is_some_and(StageReport::is_unsteady) {
            return unknown(
                "state carried over from one run to the next, or random numbers: the stage is right on the reference's input, and wrong in the free run, which is right up to it",
            );
        }
        let Some(window) = worst_window(report, windows) else {
            return unknown("the input with its largest error is not available");
        };
        match ObservedStage::of(reference, candidate, window, name)? {
            Observation::Fed(case) if is_fed(report) => self.explain(&case),
            Observation::Fused => Ok(Explanation::Fused(undiagnosed(
                "the candidate computes the stage fused with those before it",
            ))),
            Observation::Fed(_) | Observation::NotShown if !is_fed(report) => {
                unknown("the stage was not fed by the reference, so its error may be inherited")
            }
            Observation::Fed(_) | Observation::NotShown => {
                unknown("the candidate does not expose the stage")
            }
        }
    }

    fn explain(&self, case: &ObservedStage) -> Result<Explanation, CompareError> {
        let mut found = Found {
            case,
            withheld: &self.withheld,
            mistakes: Vec::new(),
            explained: false,
            undefined: None,
            or_a_gain: None,
        };
        let (stage, operands, output) = (&case.stage.name, &case.operands, &case.output);
        let replayed = replay(self.bundle, stage, operands, output, &mut |mistake| {
            found.see(mistake)
        });
        match replayed {
            Ok(()) => {}
            Err(Error::NotBuilt) => {
                return Ok(found.undiagnosed(format!(
                    "replaying known mistakes on the reference needs libtorch: {}",
                    Error::NotBuilt
                )));
            }
            Err(error) => return Err(CompareError::Reference(error.into())),
        }
        if !found.explained
            && let Some(Repeated { golden, text }) = Repeated::of(case)
        {
            found.add(r(case, &golden, &golden), Cause::FrameRepeated, text, None);
        }
        Ok(found.explanation())
    }
}

/// The errors of the first stage that `report` blames.
fn blamed(report: &Report) -> Option<&StageReport> {
    let name = report.source.first()?;
    report.stages.iter().find(|stage| stage.name == *name)
}

/// Whether the reference fed the first stage that `report` blames.
fn is_fed(report: &Report) -> bool {
    blamed(report).is_some_and(|stage| stage.teacher_forced.is_some())
}

/// The window with the largest error of the first stage that `report` blames.
fn worst_window<'a>(report: &Report, windows: &'a [Window]) -> Option<&'a Window> {
    let stage = blamed(report)?;
    let error = stage
        .teacher_forced
        .as_ref()
        .or(stage.free_running.as_ref())?;
    windows.get(error.worst_input)
}

/// The mistakes that were replayed, with the distances of the candidate from them.
struct Found<'a> {
    case: &'a ObservedStage,
    withheld: &'a [Cause],
    /// The best variant of each mistake, such as which two outputs are swapped.
    mistakes: Vec<Replayed>,
    /// Whether one with nothing to choose explains the candidate. With numbers to choose, more is explained: that one is the
    /// simpler explanation.
    explained: bool,
    /// One whose output is not finite.
    undefined: Option<Cause>,
    /// One that a gain explains as well.
    or_a_gain: Option<Cause>,
}

/// A mistake that was replayed.
struct Replayed {
    r: f64,
    cause: Cause,
    text: String,
    estimate: Option<Estimate>,
}

impl Found<'_> {
    fn see(&mut self, mistake: Mistake<'_>) -> Result<(), Error> {
        match mistake {
            Mistake::Fixed(hypothesis) => {
                self.replayed(hypothesis);
                self.explained = self.mistakes.iter().any(|known| known.r < EXACT_R);
            }
            Mistake::Fitted(_) | Mistake::Family(..) if self.explained => {}
            Mistake::Fitted(hypothesis) => self.replayed(hypothesis),
            Mistake::Family(family, compute) => match estimate(self.case, family, compute)? {
                Outcome::Explained(found) => {
                    self.add(Some(found.r), found.cause, found.text, Some(found.estimate));
                }
                Outcome::OrAGain(cause) => self.or_a_gain = Some(cause),
                Outcome::Nothing => {}
            },
        }
        Ok(())
    }

    fn replayed(&mut self, hypothesis: Hypothesis) {
        let Hypothesis {
            cause,
            text,
            golden,
            rounded,
        } = hypothesis;
        let finite = |values: &ArrayD<f64>| values.iter().all(|x| x.is_finite());
        if !finite(&golden) && finite(&self.case.output) {
            if !self.withheld.contains(&cause) {
                self.undefined = self.undefined.or(Some(cause));
            }
            return;
        }
        self.add(r(self.case, &golden, &rounded), cause, text, None);
    }

    /// Adds a mistake that leaves a distance of `r`; `None` if the shapes differ.
    fn add(&mut self, r: Option<f64>, cause: Cause, text: String, estimate: Option<Estimate>) {
        let Some(r) = r.filter(|_| !self.withheld.contains(&cause)) else {
            return;
        };
        let found = Replayed {
            r,
            cause,
            text,
            estimate,
        };
        let mut mistakes = self.mistakes.iter_mut();
        match mistakes.find(|known| known.cause == cause) {
            Some(known) if known.r <= r => {}
            Some(known) => *known = found,
            None => self.mistakes.push(found),
        }
    }

    fn undiagnosed(&self, mut reason: String) -> Explanation {
        if let Some(cause) = self.or_a_gain {
            reason += &format!("; {cause} explains it, and so does a gain");
        }
        if let Some(cause) = self.undefined {
            reason += &format!("; {cause} gives values that are not finite here");
        }
        Explanation::Unknown(Undiagnosed {
            stage: Some(self.case.stage.name.clone()),
            reason,
            tried: BUILT,
            engine: None,
            signature: Some(Signature::of(self.case)),
        })
    }

    fn explanation(mut self) -> Explanation {
        self.mistakes.sort_by(|a, b| a.r.total_cmp(&b.r));
        match &self.mistakes[..] {
            [] => self.undiagnosed("not one of the known mistakes".to_owned()),
            [best, ..] if best.r >= EXACT_R => self.undiagnosed(format!(
                "not one of the known mistakes (nearest: {}, R {})",
                best.cause,
                Figure(best.r)
            )),
            // Within rounding, both reproduce it.
            [best, second, ..] if second.r < STRUCTURAL_R => self.undiagnosed(format!(
                "not told apart: {} and {} explain it equally well",
                best.cause, second.cause
            )),
            [best, rest @ ..] => Explanation::Known(Diagnosis {
                stage: self.case.stage.name.clone(),
                cause: Named::Known(best.cause),
                text: best.text.clone(),
                r: best.r,
                engine: None,
                estimate: best.estimate,
                runner_up: rest.first().map(|next| RunnerUp {
                    cause: next.cause,
                    r: next.r,
                }),
            }),
        }
    }
}
