//! Error budget: does rounding explain the error at the output?

use ndarray::ArrayD;
use serde::Serialize;

use crate::{
    Candidate, CompareError, Figure, Reference, Report, STRUCTURAL_R, Window, floors::rms,
    observed::observe,
};

/// The errors of the stages and their effect at the output: root mean squares over all inputs.
///
/// The *gain* of the stages after a stage is measured: the candidate's output of the stage is put into the f64 reference, and
/// the change at the output is its effect. Errors of different stages are taken as independent: their squares add up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// Each stage that was fed by the reference, in order of execution.
    pub stages: Vec<BudgetStage>,
    /// Error at the output if every stage had exactly the rounding of the reference's own f32.
    pub rounding: f64,
    /// Error at the output that the candidate's teacher-forced errors predict.
    pub predicted: f64,
    /// Error of the free-running candidate at the output.
    pub observed: f64,
    /// The conclusion in words.
    pub text: String,
}

/// One stage of a [`Budget`]: root mean square errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStage {
    pub name: String,
    /// Of the candidate, fed by the reference.
    pub error: f64,
    /// Of the reference's own f32.
    pub floor: f64,
    /// `at_output` over `error`.
    pub gain: f64,
    /// Of the output, from the candidate's error at this stage alone.
    pub at_output: f64,
}

/// An error at the output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Propagation {
    /// From the errors of the stages, by the gains of a [`Budget`].
    pub predicted: f64,
    /// Of the free-running candidate.
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
        // Sums of squares over the windows; the gains come at the end.
        let mut stages: Vec<BudgetStage> = Vec::new();
        let mut observed = 0.0;
        for window in windows {
            let own = own_outputs(reference, candidate, window)?;
            observed += rms((&own.free - &own.golden).view()).powi(2);
            for (stage, output) in own.stages {
                let changed = reference.output_with(window, &stage.name, &output)?;
                let known = stages.iter().position(|sum| sum.name == stage.name);
                let place = known.unwrap_or(stages.len());
                if known.is_none() {
                    stages.push(BudgetStage {
                        error: 0.0,
                        floor: 0.0,
                        ..stage.clone()
                    });
                }
                let sum = &mut stages[place];
                sum.error += stage.error.powi(2);
                sum.floor += stage.floor.powi(2);
                sum.at_output += rms((changed - &own.golden).view()).powi(2);
            }
        }
        let mean = |squares: f64| (squares / windows.len().max(1) as f64).sqrt();
        for stage in &mut stages {
            for squares in [&mut stage.error, &mut stage.floor, &mut stage.at_output] {
                *squares = mean(*squares);
            }
            // An error of 0 has no measurable gain.
            if stage.error != 0.0 {
                stage.gain = stage.at_output / stage.error;
            }
        }
        Ok(Self::new(stages, mean(observed)))
    }

    /// The error at the output that these gains predict from the teacher-forced errors of another candidate, and the observed
    /// one. To first order: large errors do not follow it. None where a stage has no finite error.
    #[must_use]
    pub fn predict(&self, report: &Report) -> Option<Propagation> {
        let mut squares = 0.0;
        for stage in &self.stages {
            let found = report.stages.iter().find(|found| found.name == stage.name);
            let error = found.and_then(|found| found.teacher_forced.as_ref());
            squares += (stage.gain * error?.rms_error).powi(2);
        }
        let observed = report.stages.last()?.free_running.as_ref()?.rms_error;
        (squares.is_finite() && observed.is_finite()).then(|| Propagation {
            predicted: squares.sqrt(),
            observed,
        })
    }

    fn new(stages: Vec<BudgetStage>, observed: f64) -> Self {
        let together = |of: &dyn Fn(&BudgetStage) -> f64| {
            let squares = stages.iter().map(|stage| of(stage).powi(2));
            squares.sum::<f64>().sqrt()
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

/// The outputs of both sides on one window.
struct Own {
    /// The candidate's stages, fed by the reference: their errors and outputs, in f32, which holds all bits of a network in
    /// f32 or less.
    stages: Vec<(BudgetStage, ArrayD<f32>)>,
    /// The output of the free-running candidate.
    free: ArrayD<f64>,
    golden: ArrayD<f64>,
}

fn own_outputs(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
) -> Result<Own, CompareError> {
    let mut stages = Vec::new();
    let mut last = None;
    observe(reference, candidate, window, &mut |stage, outputs| {
        let fed = outputs.forced.is_some();
        let same = |output: &ArrayD<f64>| output.shape() == stage.golden.shape();
        // The error of a direction is part of that of its layer.
        let own = outputs.fed && !stage.stage.is_part();
        if let Some(forced) = outputs.forced.filter(|output| own && same(output)) {
            let errors = BudgetStage {
                name: stage.stage.name.clone(),
                error: rms((&forced - &*stage.golden).view()),
                floor: stage.forced.whole,
                gain: 0.0,
                at_output: 0.0,
            };
            stages.push((errors, forced.mapv(|x| x as f32)));
        }
        let free = outputs.free.filter(same);
        last = free.map(|free| (free, (*stage.golden).clone()));
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
