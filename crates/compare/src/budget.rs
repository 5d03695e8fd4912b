//! Propagation budget: does rounding explain the error at the output?

use ndarray::ArrayD;
use serde::Serialize;

use crate::{
    Candidate, CompareError, Figure, Reference, Report, STRUCTURAL_R, Window,
    floors::rms,
    observe::{Outputs, observe},
};

/// What the errors of the stages amount to at the output: root mean squares over all inputs.
///
/// The *gain* of what follows a stage is measured, not estimated: the candidate's own output of the stage is
/// put into the f64 reference, and what then changes at the output is the error that comes of it. Errors of
/// different stages are taken for independent: their squares add up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// Each stage that was fed by the reference, in order of execution.
    pub stages: Vec<BudgetStage>,
    /// Error at the output if every stage had the rounding of the reference's own f32 and no more.
    pub rounding: f64,
    /// Error at the output that the candidate's own errors of the stages predict.
    pub predicted: f64,
    /// Error of the candidate at the output, feeding itself.
    pub observed: f64,
    /// What that means.
    pub text: String,
}

/// One stage of a [`Budget`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStage {
    /// Canonical name.
    pub name: String,
    /// Error of the candidate's stage, fed by the reference.
    pub error: f64,
    /// The same error of the reference's own f32.
    pub floor: f64,
    /// What an error becomes at the output, over what it is.
    pub gain: f64,
    /// What the candidate's error becomes at the output.
    pub at_output: f64,
}

/// An error at the output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Propagation {
    /// What the errors of the stages come to there, by the gains of a [`Budget`].
    pub predicted: f64,
    /// What it is.
    pub observed: f64,
}

impl Budget {
    /// Measures how the errors of `candidate`'s stages reach the output.
    ///
    /// # Errors
    /// [`CompareError::NoGains`] where the reference or the candidate cannot be run with a stage replaced,
    /// and [`CompareError`] where either fails.
    pub fn measure(
        reference: &mut dyn Reference,
        candidate: &Candidate,
        windows: &[Window],
    ) -> Result<Self, CompareError> {
        let mut sums = Sums::default();
        for window in windows {
            sums.add(reference, candidate, window)?;
        }
        Ok(sums.finish(windows.len()))
    }

    /// What the errors of another candidate's stages, fed by the reference, come to at the output by these gains, and what
    /// is observed there: to first order, which a large error is beyond. None where a stage has no error that could be
    /// measured.
    #[must_use]
    pub fn predict(&self, report: &Report) -> Option<Propagation> {
        let mut squares = 0.0;
        for stage in &self.stages {
            let found = report.stages.iter().find(|found| found.name == stage.name);
            let error = found.and_then(|found| found.teacher_forced.as_ref());
            squares += (stage.gain * error?.rms_error).powi(2);
        }
        let last = report.stages.last()?.free_running.as_ref()?.rms_error;
        let propagation = Propagation {
            predicted: squares.sqrt(),
            observed: last,
        };
        (squares.is_finite() && last.is_finite()).then_some(propagation)
    }

    fn new(stages: Vec<BudgetStage>, observed: f64) -> Self {
        let together = |of: &dyn Fn(&BudgetStage) -> f64| {
            stages
                .iter()
                .map(|stage| of(stage).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let rounding = together(&|stage| stage.gain * stage.floor);
        let predicted = together(&|stage| stage.at_output);
        let text = words(&stages, rounding, predicted, observed);
        Self {
            stages,
            rounding,
            predicted,
            observed,
            text,
        }
    }
}

fn words(stages: &[BudgetStage], rounding: f64, predicted: f64, observed: f64) -> String {
    let times = observed / rounding;
    let explained = times < STRUCTURAL_R;
    let [times, rounding, observed, predicted] = [times, rounding, observed, predicted].map(Figure);
    let rounding = format!(
        "PyTorch's own f32 errors, times the measured gain of the stages after them, come to {rounding} at the output"
    );
    if explained {
        return format!(
            "rounding explains the error: {rounding}, and {observed} is observed ({times} times)"
        );
    }
    let worst = stages
        .iter()
        .max_by(|a, b| a.at_output.total_cmp(&b.at_output));
    let worst = worst.map_or("no stage", |stage| &stage.name);
    format!(
        "rounding does not explain the error: {rounding}, and {observed} is observed ({times} times); the candidate's own errors come to {predicted}, most of it from {worst}"
    )
}

/// Squares, over the windows so far.
#[derive(Default)]
struct Sums {
    stages: Vec<(String, Squares)>,
    observed: f64,
}

#[derive(Default)]
struct Squares {
    error: f64,
    floor: f64,
    at_output: f64,
}

impl Sums {
    fn add(
        &mut self,
        reference: &mut dyn Reference,
        candidate: &Candidate,
        window: &Window,
    ) -> Result<(), CompareError> {
        let own = own_outputs(reference, candidate, window)?;
        let golden = own.golden;
        self.observed += rms((&own.free - &golden).view()).powi(2);
        for stage in own.stages {
            let output = reference.output_with(window, &stage.name, &stage.output)?;
            let squares = match self.stages.iter().position(|(name, _)| *name == stage.name) {
                Some(place) => &mut self.stages[place].1,
                None => {
                    self.stages.push((stage.name, Squares::default()));
                    let last = self.stages.len() - 1;
                    &mut self.stages[last].1
                }
            };
            squares.error += stage.error.powi(2);
            squares.floor += stage.floor.powi(2);
            squares.at_output += rms((output - &golden).view()).powi(2);
        }
        Ok(())
    }

    fn finish(self, windows: usize) -> Budget {
        let mean = |squares: f64| (squares / windows.max(1) as f64).sqrt();
        let stages = self.stages.into_iter().map(|(name, squares)| {
            let (error, at_output) = (mean(squares.error), mean(squares.at_output));
            BudgetStage {
                name,
                error,
                floor: mean(squares.floor),
                // An error of nothing has no measurable gain, and needs none.
                gain: if error == 0.0 { 0.0 } else { at_output / error },
                at_output,
            }
        });
        Budget::new(stages.collect(), mean(self.observed))
    }
}

/// What the candidate makes of the golden inputs.
struct Own {
    stages: Vec<OwnStage>,
    /// Its output, feeding itself.
    free: ArrayD<f64>,
    golden: ArrayD<f64>,
}

struct OwnStage {
    name: String,
    /// In f32, which holds all bits of a network in f32 or less.
    output: ArrayD<f32>,
    error: f64,
    floor: f64,
}

fn own_outputs(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
) -> Result<Own, CompareError> {
    let mut stages = Vec::new();
    let mut last = None;
    observe(reference, candidate, window, &mut |stage, outputs| {
        let name = &stage.stage.name;
        let Outputs {
            free,
            forced,
            fed: by_reference,
        } = outputs;
        let fed = forced.is_some();
        let same = |output: &ArrayD<f64>| output.shape() == stage.golden.shape();
        // A direction of a layer is not fed by itself: its error is in that of the layer.
        if let Some(forced) =
            forced.filter(|output| by_reference && same(output) && !stage.stage.is_part())
        {
            stages.push(OwnStage {
                name: name.clone(),
                error: rms((&forced - &*stage.golden).view()),
                floor: stage.forced.whole,
                output: forced.mapv(|x| x as f32),
            });
        }
        last = free
            .filter(same)
            .map(|free| (free, (*stage.golden).clone()));
        Ok(Some(fed))
    })?;
    match last {
        Some((free, golden)) if !stages.is_empty() => Ok(Own {
            stages,
            free,
            golden,
        }),
        _ => Err(CompareError::NoGains),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, error: f64, floor: f64, gain: f64) -> BudgetStage {
        BudgetStage {
            name: name.to_owned(),
            error,
            floor,
            gain,
            at_output: gain * error,
        }
    }

    #[test]
    fn squares_add_up_and_what_is_far_beyond_rounding_is_not_rounding() {
        let exact = [stage("a", 3.0, 3.0, 1.0), stage("b", 2.0, 2.0, 2.0)];
        let budget = Budget::new(exact.to_vec(), 6.0);
        assert_eq!((budget.rounding, budget.predicted), (5.0, 5.0));
        assert!(
            budget.text.starts_with("rounding explains"),
            "{}",
            budget.text
        );
        let wrong = [stage("a", 3.0, 3.0, 1.0), stage("b", 2000.0, 2.0, 2.0)];
        let budget = Budget::new(wrong.to_vec(), 4000.0);
        assert_eq!(budget.rounding, 5.0);
        assert!(
            budget.text.contains("800 times") && budget.text.ends_with("from b"),
            "{}",
            budget.text
        );
    }
}
