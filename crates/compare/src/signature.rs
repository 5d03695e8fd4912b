//! What an error looks like, where nobody knows its cause.

use std::fmt;

use ndarray::{ArrayD, Axis, Slice};
use serde::Serialize;

use crate::{
    Case, Figure, STRUCTURAL_R_LOCAL,
    floors::{rms, rms_along},
};

/// Frames by which a shift is looked for, either way.
const FARTHEST: isize = 3;
/// A shift or another order of channels is only said where it explains most of the error: this part of it is left.
const EXPLAINED: f64 = 0.5;

/// What an error looks like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signature {
    /// What the golden output has to be multiplied by to be nearest to the candidate's.
    pub gain: f64,
    /// What has to be added then.
    pub offset: f64,
    /// What is left of the error after both.
    pub left: f64,
    /// Frames by which the candidate is late, where that explains most of the error.
    pub shift: Option<isize>,
    /// Channels of the golden output in the order in which the candidate seems to have them, where that explains most of
    /// the error.
    pub order: Option<Vec<usize>>,
    /// Channels that are wrong, of how many.
    pub channels: (usize, usize),
    /// Frames that are wrong, of how many; none where there are no frames.
    pub frames: Option<(usize, usize)>,
    /// The shapes, where they differ: of the candidate and of the reference.
    pub shapes: Option<(Vec<usize>, Vec<usize>)>,
}

impl Signature {
    /// Of the error of `case`.
    #[must_use]
    pub fn of(case: &Case) -> Self {
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
        let wrong = |axis: usize, floors: &ndarray::Array1<f64>| {
            let least = case.floors.whole;
            let errors = rms_along(&error, axis);
            let hit = errors
                .iter()
                .zip(floors)
                .filter(|(error, floor)| **error >= STRUCTURAL_R_LOCAL * floor.max(least));
            (hit.count(), errors.len())
        };
        Self {
            gain,
            offset,
            left,
            shift: case
                .stage
                .axes
                .frame()
                .and_then(|axis| shift(ours, golden, axis, size)),
            order: order(ours, golden, case.stage.axes.channel(), size),
            channels: wrong(case.stage.axes.channel(), &case.floors.channel),
            frames: match (case.stage.axes.frame(), &case.floors.frame) {
                (Some(axis), Some(floors)) => Some(wrong(axis, floors)),
                _ => None,
            },
            shapes: None,
        }
    }
}

/// The shift along `axis` that leaves least of an error of `size`, if little.
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

/// The order of the channels of `golden` that leaves least of an error of `size`, if little and if it is one.
fn order(ours: &ArrayD<f64>, golden: &ArrayD<f64>, axis: usize, size: f64) -> Option<Vec<usize>> {
    let channels = golden.shape()[axis];
    let nearest = |channel: usize| {
        let distance = |other: &usize| {
            let (a, b) = (
                ours.index_axis(Axis(axis), channel),
                golden.index_axis(Axis(axis), *other),
            );
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
        };
        (0..channels).min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    // The distances of all pairs of more channels than networks have classes take long, and say little.
    if channels > 128 {
        return None;
    }
    let order: Vec<usize> = (0..channels).filter_map(nearest).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let permuted = sorted.iter().copied().eq(0..channels) && !order.is_sorted();
    let left = rms((ours - &golden.select(Axis(axis), &order)).view());
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
            write!(
                f,
                ", {} frame(s) {}",
                by.abs(),
                if by > 0 { "late" } else { "early" }
            )?;
        }
        if let Some(order) = &self.order {
            let moved = order
                .iter()
                .enumerate()
                .filter(|(place, from)| place != *from);
            let moved: Vec<String> = moved
                .take(4)
                .map(|(place, from)| format!("{from} at {place}"))
                .collect();
            write!(f, ", channels in another order ({}, ...)", moved.join(", "))?;
        }
        let of = |(hit, all): (usize, usize), what: &str| {
            if hit == all {
                format!("all {all} {what}")
            } else {
                format!("{hit} of {all} {what}")
            }
        };
        write!(f, "; {}", of(self.channels, "channels"))?;
        match self.frames {
            Some(frames) => write!(f, ", {}", of(frames, "frames")),
            None => Ok(()),
        }
    }
}
