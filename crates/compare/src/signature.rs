//! The shape of an error whose cause is not known.

use std::{fmt, sync::Arc};

use ndarray::{Array1, ArrayD, Axis, Slice};
use serde::Serialize;

use crate::{
    Candidate, CompareError, Figure, ObservedStage, Reference, STRUCTURAL_R_LOCAL, Window,
    floors::{rms, rms_along},
    name_map::is_permutation,
    observed::observe,
};

/// Largest shift in frames, in both directions.
const FARTHEST: isize = 3;
/// Largest part of the error that may be left for a shift or a permutation of channels to be reported.
const EXPLAINED: f64 = 0.5;
/// Most channels for which the distances of all pairs are computed.
const MAX_CHANNELS: usize = 128;

/// The shape of an error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signature {
    /// Least-squares gain of the candidate over the golden output.
    pub gain: f64,
    /// Offset after that gain.
    pub offset: f64,
    /// Part of the error that gain and offset leave.
    pub left: f64,
    /// Frames by which the candidate is late, where that explains most of the error.
    pub shift: Option<isize>,
    /// Index of the golden channel in each place, where such a permutation explains most of the error.
    pub order: Option<Vec<usize>>,
    /// Number of wrong channels, and of all.
    pub channels: (usize, usize),
    /// Number of wrong frames, and of all; none where there are no frames.
    pub frames: Option<(usize, usize)>,
    /// Shapes of the candidate and of the reference, where they differ.
    pub shapes: Option<(Vec<usize>, Vec<usize>)>,
}

impl Signature {
    /// The signature of the error of the stage `name` on `window`, teacher-forced where it can be. None where the candidate
    /// does not show it.
    ///
    /// # Errors
    /// [`CompareError`] if a side fails.
    pub fn at(
        reference: &mut dyn Reference,
        candidate: &Candidate,
        window: &Window,
        name: &str,
    ) -> Result<Option<Self>, CompareError> {
        let mut found = None;
        observe(reference, candidate, window, &mut |stage, outputs| {
            if stage.stage.name != name {
                return Ok(Some(outputs.shown));
            }
            let (output, floors) = match (outputs.forced, outputs.free) {
                (Some(forced), _) => (Some(forced), &stage.forced),
                (None, free) => (free, &stage.free),
            };
            found = output.map(|output| {
                Self::of(&ObservedStage {
                    stage: stage.stage.clone(),
                    operands: Vec::new(),
                    output,
                    golden: Arc::clone(&stage.golden),
                    floors: floors.clone(),
                })
            });
            Ok(None)
        })?;
        Ok(found)
    }

    /// The signature of the error of `case`.
    #[must_use]
    pub fn of(case: &ObservedStage) -> Self {
        let (ours, golden) = (&case.output, &*case.golden);
        if ours.shape() != golden.shape() {
            return Self {
                gain: f64::NAN,
                offset: f64::NAN,
                left: 1.0,
                shift: None,
                order: None,
                channels: (0, 0),
                frames: None,
                shapes: Some((ours.shape().to_vec(), golden.shape().to_vec())),
            };
        }
        let error = ours - golden;
        let size = rms(error.view());
        let mean = |x: &ArrayD<f64>| x.mean().unwrap_or_default();
        let (a, b) = (golden - mean(golden), ours - mean(ours));
        let gain = (&a * &b).sum() / (&a * &a).sum();
        let offset = mean(ours) - gain * mean(golden);
        let left = rms((ours - &(golden * gain + offset)).view()) / size;
        let wrong = |axis: usize, floors: &Array1<f64>| {
            let least = case.floors.whole;
            let errors = rms_along(&error, axis);
            let hit = errors
                .iter()
                .zip(floors)
                .filter(|(error, floor)| **error >= STRUCTURAL_R_LOCAL * floor.max(least));
            (hit.count(), errors.len())
        };
        let (channel, frame) = (case.stage.axes.channel(), case.stage.axes.frame());
        Self {
            gain,
            offset,
            left,
            shift: frame.and_then(|axis| shift(ours, golden, axis, size)),
            order: order(ours, golden, channel, size),
            channels: wrong(channel, &case.floors.channel),
            frames: match (frame, &case.floors.frame) {
                (Some(axis), Some(floors)) => Some(wrong(axis, floors)),
                _ => None,
            },
            shapes: None,
        }
    }
}

/// The shift along `axis` that leaves the least of an error of `size`, if that is little.
fn shift(ours: &ArrayD<f64>, golden: &ArrayD<f64>, axis: usize, size: f64) -> Option<isize> {
    let length = golden.shape()[axis] as isize;
    let left = |by: isize| {
        let part = |x: &ArrayD<f64>, start: isize| {
            let end = start + length - by.abs();
            x.slice_axis(Axis(axis), Slice::from(start..end)).to_owned()
        };
        rms((part(ours, by.max(0)) - part(golden, (-by).max(0))).view())
    };
    (-FARTHEST..=FARTHEST)
        .filter(|by| *by != 0 && by.abs() < length)
        .map(|by| (by, left(by)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, left)| *left < EXPLAINED * size)
        .map(|(by, _)| by)
}

/// The permutation of the channels of `golden` that leaves the least of an error of `size`, if that is little.
fn order(ours: &ArrayD<f64>, golden: &ArrayD<f64>, axis: usize, size: f64) -> Option<Vec<usize>> {
    let channels = golden.shape()[axis];
    if channels > MAX_CHANNELS {
        return None;
    }
    let nearest = |channel: usize| {
        let distance = |other: usize| {
            let ours = ours.index_axis(Axis(axis), channel);
            let golden = golden.index_axis(Axis(axis), other);
            let squares = ours.iter().zip(golden).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>()
        };
        (0..channels).min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
    };
    let order: Vec<usize> = (0..channels).filter_map(nearest).collect();
    let left = rms((ours - &golden.select(Axis(axis), &order)).view());
    let permuted = is_permutation(&order) && !order.is_sorted();
    (permuted && left < EXPLAINED * size).then_some(order)
}

impl fmt::Display for Signature {
    /// `gain 0.75, offset 0 (0.1 % of the error is left); all 256 channels, all 57 frames`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((ours, golden)) = &self.shapes {
            return write!(f, "shape {ours:?} in place of {golden:?}");
        }
        write!(
            f,
            "gain {}, offset {} ({:.0} % of the error is left)",
            Figure(self.gain),
            Figure(self.offset),
            100.0 * self.left
        )?;
        if self.gain < 0.0 {
            f.write_str(", the other sign")?;
        }
        if let Some(by) = self.shift {
            let direction = if by > 0 { "late" } else { "early" };
            write!(f, ", {} frame(s) {direction}", by.abs())?;
        }
        if let Some(order) = &self.order {
            let places = order.iter().enumerate();
            let moved = places.filter(|(place, from)| place != *from);
            let moved = moved.map(|(place, from)| format!("{from} at {place}"));
            let moved: Vec<String> = moved.take(4).collect();
            write!(f, ", channels in another order ({}, ...)", moved.join(", "))?;
        }
        let of = |(hit, all): (usize, usize), what: &str| match hit == all {
            true => format!("all {all} {what}"),
            false => format!("{hit} of {all} {what}"),
        };
        write!(f, "; {}", of(self.channels, "channels"))?;
        match self.frames {
            Some(frames) => write!(f, ", {}", of(frames, "frames")),
            None => Ok(()),
        }
    }
}
