//! Faults of the number of simultaneous speakers.

use ndarray::{Array3, Axis};
use soundalike_diarize::frames::FrameGrid;

use super::{Outputs, PipelineFault, PipelineStage, drifting, fault};

pub(super) fn catalogue() -> Vec<PipelineFault> {
    let stage = PipelineStage::Counts;
    vec![
        fault("counts-half-up")
            .text("halves are rounded up, not to even")
            .seen_in("round() of C and Rust against numpy's")
            .at(stage, |outputs, setting| {
                count(outputs, &setting.grid, |sum, of| (sum / of).round())
            }),
        fault("counts-rounded-down")
            .text("the mean number of speakers loses its fraction")
            .seen_in("integer division in ports")
            .at(stage, |outputs, setting| {
                count(outputs, &setting.grid, |sum, of| (sum / of).floor())
            }),
        fault("counts-rounded-up")
            .text("the mean number of speakers is rounded up")
            .seen_in("a variant")
            .at(stage, |outputs, setting| {
                count(outputs, &setting.grid, |sum, of| (sum / of).ceil())
            }),
        fault("counts-not-averaged")
            .text("windows are added up and not averaged")
            .seen_in("sagascript #80, a variant")
            .at(stage, |outputs, setting| {
                count(outputs, &setting.grid, |sum, _| sum.min(9.0))
            }),
        fault("counts-by-drifting-windows")
            .text("each window begins 59 frames after the last, which is 4 ms too early")
            .seen_in("FluidAudio #444: padding drifts")
            .at(stage, |outputs, setting| {
                let grid = drifting(&setting.grid);
                count(outputs, &grid, |sum, of| (sum / of).round_ties_even());
            }),
        fault("counts-in-f64")
            .text("the mean number of speakers in f64")
            .seen_in("numpy against f32")
            .at(stage, |outputs, setting| {
                count(outputs, &setting.grid, |sum, of| {
                    (f64::from(sum) / f64::from(of)).round_ties_even() as f32
                });
            })
            .equivalent(
                "sums of ones are whole numbers, and a quotient of small ones is a half in f32 \
                 where it is one",
            ),
    ]
}

/// The counts by another `rule`, a function of the sum of speakers over windows and of the number of windows.
fn count(outputs: &mut Outputs, grid: &FrameGrid, rule: fn(f32, f32) -> f32) {
    let speaking = outputs.segmentation.sum_axis(Axis(2)).insert_axis(Axis(2));
    let covering = Array3::ones(speaking.dim());
    let (speaking, covering) = (grid.sum(speaking.view()), grid.sum(covering.view()));
    let pairs = speaking.iter().zip(&covering);
    outputs.counts = pairs
        .map(|(speaking, covering)| rule(*speaking, covering.max(1.0)) as usize)
        .collect();
}
