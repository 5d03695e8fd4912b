//! Frames that a candidate repeats.

use ndarray::{ArrayD, Axis};
use soundalike_compare::{ObservedStage, STRUCTURAL_R, rms};

/// Most places that are listed.
const LISTED: usize = 4;

/// The golden output with frames in place of those after them, as in the candidate.
pub(super) struct Repeated {
    pub(super) golden: ArrayD<f64>,
    /// The mistake, in words.
    pub(super) text: String,
}

impl Repeated {
    /// `None` if no frame of the candidate is nearer to the frame before it.
    pub(super) fn of(case: &ObservedStage) -> Option<Self> {
        let axis = Axis(case.stage.axes.frame()?);
        let (ours, right) = (&case.output, &*case.golden);
        let floors = case.floors.frame.as_ref()?;
        if ours.shape() != right.shape() {
            return None;
        }
        let frames = right.len_of(axis);
        let apart = |a: &ArrayD<f64>, at: usize, b: &ArrayD<f64>, other: usize| {
            rms((&a.index_axis(axis, at) - &b.index_axis(axis, other)).view())
        };
        // Of frames that are alike, such as those of silence, it cannot be told.
        let differs =
            |frame: &usize| apart(right, *frame, right, frame - 1) >= STRUCTURAL_R * floors[*frame];
        let places: Vec<usize> = (1..frames).filter(differs).collect();
        let is_before = |frame: &usize| {
            apart(ours, *frame, right, frame - 1) < apart(ours, *frame, right, *frame)
        };
        let found: Vec<usize> = places.iter().copied().filter(is_before).collect();
        let first = *found.first()?;
        let mut golden = right.clone();
        for frame in &found {
            let before = right.index_axis(axis, frame - 1);
            golden.index_axis_mut(axis, *frame).assign(&before);
        }
        let to_the_end = places.iter().filter(|place| **place >= first).count();
        let text = if found.len() == to_the_end && found.len() > 1 {
            format!(
                "frame {} repeated, and every frame after it one late",
                first - 1
            )
        } else {
            let listed = found
                .iter()
                .take(LISTED)
                .map(|frame| (frame - 1).to_string());
            let listed = listed.collect::<Vec<_>>().join(", ");
            match found.len() {
                1 => format!("frame {listed} repeated in place of the next"),
                n if n <= LISTED => format!("frames {listed} repeated in place of the next"),
                n => format!("{n} frames repeated in place of the next ({listed}, ...)"),
            }
        };
        Some(Self { golden, text })
    }
}
