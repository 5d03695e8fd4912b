//! Mistakes in putting the windows back together, in reading off turns and in scoring them.

use ndarray::{Array2, Array3};
use soundalike_diarize::frames::FrameGrid;
use soundalike_metrics::Annotation;

use super::{Outputs, PipelineFault, PipelineStage, Setting, drifting, fault};
use crate::pipeline::outputs::renamed;

pub(super) fn reconstruction() -> Vec<PipelineFault> {
    let stage = PipelineStage::Reconstruction;
    vec![
        fault(
            "everybody-above-zero-speaks",
            "whoever is active in any window speaks, however many do",
            "sagascript #80, a variant",
            stage,
            |outputs, setting| rebuilt(outputs, &setting.grid, f32::max, |sum, _, _| sum > 0.0),
        ),
        fault(
            "local-speakers-added-up",
            "local speakers of one person in one window are added up",
            "CrispASR #107",
            stage,
            |outputs, setting| {
                rebuilt(
                    outputs,
                    &setting.grid,
                    |a, b| a + b,
                    |_, place, count| place < count,
                );
            },
        )
        .equivalent(
            "local speakers of one window are never one person: the assignment is constrained",
        ),
        fault(
            "one-speaker-at-a-time",
            "of several who speak at once the most active alone is kept",
            "the exclusive diarization in place of the whole",
            stage,
            |outputs, setting| {
                rebuilt(outputs, &setting.grid, f32::max, |_, place, count| {
                    place < count.min(1)
                });
            },
        ),
        fault(
            "windows-drift",
            "each window begins 59 frames after the last, which is 4 ms too early",
            "FluidAudio #444, #807 (4.5 s late in the end)",
            stage,
            |outputs, setting| {
                let grid = drifting(&setting.grid);
                rebuilt(outputs, &grid, f32::max, |_, place, count| place < count);
            },
        ),
        fault(
            "the-largest-by-comparing",
            "a place in the order by comparing with all others in place of sorting",
            "kernels on GPUs",
            stage,
            |outputs, setting| {
                rebuilt(outputs, &setting.grid, f32::max, |_, place, count| {
                    place < count
                });
            },
        )
        .equivalent("of equals the lower index comes first in both"),
    ]
}

/// Who speaks, by what each window adds to the activity of a speaker and by the grid.
fn rebuilt(
    outputs: &mut Outputs,
    grid: &FrameGrid,
    join: fn(f32, f32) -> f32,
    chosen: fn(f32, usize, usize) -> bool,
) {
    let (windows, frames, _) = outputs.segmentation.dim();
    let columns = outputs.active.ncols();
    let mut clustered = Array3::<f32>::zeros((windows, frames, columns));
    for ((window, local), speaker) in outputs.assignment.indexed_iter() {
        let Some(speaker) = speaker.filter(|speaker| *speaker < columns) else {
            continue;
        };
        for frame in 0..frames {
            let value = &mut clustered[[window, frame, speaker]];
            *value = join(*value, outputs.segmentation[[window, frame, local]]);
        }
    }
    let activations = grid.sum(clustered.view());
    let rows = activations.nrows().min(outputs.counts.len());
    outputs.active = Array2::from_shape_fn((rows, columns), |(frame, speaker)| {
        let row = activations.row(frame);
        let before = |other: &usize| {
            row[*other] > row[speaker] || (row[*other] == row[speaker] && *other < speaker)
        };
        let place = (0..columns).filter(before).count();
        chosen(row[speaker], place, outputs.counts[frame])
    });
}

pub(super) fn turns() -> Vec<PipelineFault> {
    let stage = PipelineStage::Turns;
    vec![
        fault(
            "turns-from-frame-starts",
            "turns begin at the start of their first frame, not in its middle",
            "pyannote-ggml learnings: 31 ms early",
            stage,
            |outputs, setting| {
                let grid = FrameGrid {
                    duration: 0.0,
                    ..setting.grid
                };
                on_frames(outputs, setting, grid);
            },
        ),
        fault(
            "frames-as-long-as-their-step",
            "a frame is taken to cover 16.875 ms, not 61.9375",
            "pyannote-ggml learnings",
            stage,
            |outputs, setting| {
                let grid = FrameGrid {
                    duration: setting.grid.step,
                    ..setting.grid
                };
                on_frames(outputs, setting, grid);
            },
        ),
        fault(
            "frames-of-17-ms",
            "a frame is a part of the window's length over its frames",
            "speech-core #111: about 5 % with 560 frames, 0.6 % with 589",
            stage,
            |outputs, setting| {
                let grid = FrameGrid {
                    step: setting.grid.window_duration / setting.frames as f64,
                    ..setting.grid
                };
                on_frames(outputs, setting, grid);
            },
        ),
        fault(
            "pauses-filled",
            "pauses under half a second are filled, as in older pipelines",
            "pyannote 2 pipelines with newer weights",
            stage,
            |outputs, setting| {
                let setting = Setting {
                    min_duration_off: 0.5,
                    ..setting.clone()
                };
                outputs.compute(PipelineStage::Turns, &setting);
            },
        ),
        fault(
            "turns-one-frame-long",
            "turns end one frame late",
            "inclusive against exclusive ends",
            stage,
            |outputs, setting| {
                let step = setting.grid.step;
                let longer = outputs.turns.turns().iter().map(|turn| {
                    let mut turn = turn.clone();
                    turn.segment.end += step;
                    turn
                });
                outputs.turns =
                    Annotation::from_turns(&*outputs.turns.uri, longer.collect::<Vec<_>>());
            },
        ),
        fault(
            "score-without-mapping",
            "speakers are compared by their names",
            "FluidAudio #4 (81 to 17.7 %)",
            PipelineStage::Score,
            |outputs, _| outputs.score = unmapped(&renamed(&outputs.turns), &outputs.turns),
        ),
    ]
}

/// The turns on other frames.
fn on_frames(outputs: &mut Outputs, setting: &Setting, grid: FrameGrid) {
    let setting = Setting {
        grid,
        ..setting.clone()
    };
    outputs.compute(PipelineStage::Turns, &setting);
}

/// The part of the speaking time of `reference` in which the speaker of the same name does not speak in `hypothesis`.
fn unmapped(reference: &Annotation, hypothesis: &Annotation) -> f64 {
    let time = |turns: &Annotation, name: &str| {
        let timeline = turns.label_timeline(name).support();
        timeline.segments().to_vec()
    };
    let (mut missed, mut total) = (0.0, 0.0);
    for name in reference.labels() {
        let (said, heard) = (time(reference, name), time(hypothesis, name));
        let common: f64 = said
            .iter()
            .flat_map(|a| {
                heard
                    .iter()
                    .map(move |b| a.end.min(b.end) - a.start.max(b.start))
            })
            .filter(|common| *common > 0.0)
            .sum();
        let all: f64 = said.iter().map(|segment| segment.duration()).sum();
        (missed, total) = (missed + all - common, total + all);
    }
    if total == 0.0 { 0.0 } else { missed / total }
}
