//! What a comparison of two traces could have caught: faults in the recorded tensors.

use half::f16;
use ndarray::{ArrayD, Axis, Slice, Zip};
use serde::Serialize;

use crate::{
    Candidate, CompareError, Reference, ReferenceStage, StageError, Verdict, Window,
    observed::observe,
};

/// A fault of a recorded tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedFault {
    /// All values are 1 % larger.
    Scaled,
    /// Every frame is that before it, or every slice along the longest axis.
    Shifted,
    /// One channel is 10 % larger: the one with the largest values.
    OneChannel,
    /// One value is 0: the largest.
    OneElement,
    /// All values are rounded to f16.
    Half,
    /// Two axes of equal length are swapped.
    SwappedAxes,
}

impl RecordedFault {
    /// All faults.
    pub const ALL: [Self; 6] = [
        Self::Scaled,
        Self::Shifted,
        Self::OneChannel,
        Self::OneElement,
        Self::Half,
        Self::SwappedAxes,
    ];

    /// What the fault does.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Scaled => "all values 1 % larger",
            Self::Shifted => "late by one frame",
            Self::OneChannel => "one channel 10 % larger",
            Self::OneElement => "the largest value is 0",
            Self::Half => "rounded to f16",
            Self::SwappedAxes => "two axes of equal length swapped",
        }
    }

    /// `values` of `stage` with the fault. None where the stage cannot have it, or it changes nothing.
    fn inject(self, values: &ArrayD<f64>, stage: &ReferenceStage) -> Option<ArrayD<f64>> {
        let axes = &stage.stage.axes;
        let mut wrong = values.clone();
        match self {
            Self::Scaled => wrong *= 1.01,
            Self::Shifted => {
                let longest = || (0..values.ndim()).max_by_key(|axis| values.len_of(Axis(*axis)));
                let axis = Axis(axes.frame().or_else(longest)?);
                let length = values.len_of(axis) as isize;
                if length < 2 {
                    return None;
                }
                let before = values.slice_axis(axis, Slice::from(..length - 1));
                wrong.slice_axis_mut(axis, Slice::from(1..)).assign(&before);
            }
            Self::OneChannel => {
                let axis = Axis(axes.channel());
                if values.ndim() == 0 || values.len_of(axis) < 2 {
                    return None;
                }
                let size = |channel: &usize| {
                    let squares = values.index_axis(axis, *channel).mapv(|x| x * x);
                    squares.sum()
                };
                let most = (0..values.len_of(axis)).max_by(|a, b| size(a).total_cmp(&size(b)))?;
                wrong.index_axis_mut(axis, most).mapv_inplace(|x| 1.1 * x);
            }
            Self::OneElement => {
                let largest = wrong.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                *largest? = 0.0;
            }
            Self::Half => wrong.mapv_inplace(|x| f16::from_f64(x).to_f64()),
            Self::SwappedAxes => {
                let shape = values.shape();
                let pairs = (0..shape.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
                let (a, b) = pairs
                    .into_iter()
                    .find(|(a, b)| shape[*a] == shape[*b] && shape[*a] > 1)?;
                wrong.swap_axes(a, b);
                wrong = wrong.as_standard_layout().into_owned();
            }
        }
        let mut changed = false;
        Zip::from(&wrong)
            .and(values)
            .for_each(|a, b| changed |= a != b);
        changed.then_some(wrong)
    }
}

/// A fault in the recorded tensor of one stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedTrial {
    /// The stage.
    pub stage: String,
    /// The fault.
    pub fault: RecordedFault,
    /// Its error with the fault.
    pub r: f64,
    /// In the worst channel or frame.
    pub r_local: f64,
    /// With the golden output.
    pub correlation: f64,
    /// Whether the verdict is another one than without the fault.
    pub noticed: bool,
}

/// Injects every fault into every stage that is exact without it, one at a time.
///
/// # Errors
/// [`CompareError`] if a side fails.
pub fn sensitivity(
    reference: &mut dyn Reference,
    candidate: &Candidate,
    window: &Window,
) -> Result<Vec<RecordedTrial>, CompareError> {
    let mut trials = Vec::new();
    observe(reference, candidate, window, &mut |stage, outputs| {
        let shown = outputs.shown;
        let (values, floors) = match (outputs.forced, outputs.free) {
            (Some(forced), _) => (forced, &stage.forced),
            (None, Some(free)) => (free, &stage.free),
            (None, None) => return Ok(Some(shown)),
        };
        let error = |values: &ArrayD<f64>| {
            StageError::new(values, &stage.golden, floors, &stage.stage.axes)
        };
        if Verdict::of(&error(&values)) != Verdict::Exact {
            return Ok(Some(shown));
        }
        for fault in RecordedFault::ALL {
            let Some(wrong) = fault.inject(&values, stage) else {
                continue;
            };
            let error = error(&wrong);
            trials.push(RecordedTrial {
                stage: stage.stage.name.clone(),
                fault,
                r: error.r,
                r_local: error.r_local,
                correlation: error.correlation,
                noticed: Verdict::of(&error) != Verdict::Exact,
            });
        }
        Ok(Some(shown))
    })?;
    Ok(trials)
}
