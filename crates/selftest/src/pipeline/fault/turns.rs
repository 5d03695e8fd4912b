//! Faults of the reconstruction, of the turns and of their score.

use ndarray::{Array2, Array3};
use soundalike_diarize::frames::FrameGrid;
use soundalike_metrics::Annotation;

use super::{Outputs, PipelineFault, PipelineParameters, PipelineStage, drifting, fault};
use crate::pipeline::outputs::renamed;

pub(super) fn reconstruction() -> Vec<PipelineFault> {
    let stage = PipelineStage::Reconstruction;
    vec![
        fault("everybody-above-zero-speaks")
            .text("whoever is active in any window speaks, however many do")
            .seen_in("sagascript #80, a variant")
            .at(stage, |outputs, setting| {
                rebuilt(outputs, &setting.grid, f32::max, |sum, _, _| sum > 0.0)
            }),
        fault("local-speakers-added-up")
            .text("local speakers of one person in one window are added up")
            .seen_in("CrispASR #107")
            .at(stage, |outputs, setting| {
                rebuilt(outputs, &setting.grid, |a, b| a + b, most_active)
            })
            .equivalent(
                "local speakers of one window are never one person: the assignment is constrained",
            ),
        fault("one-speaker-at-a-time")
            .text("of several who speak at once the most active alone is kept")
            .seen_in("the exclusive diarization in place of the whole")
            .at(stage, |outputs, setting| {
                rebuilt(outputs, &setting.grid, f32::max, |_, place, count| {
                    place < count.min(1)
                });
            }),
        fault("windows-drift")
            .text("each window begins 59 frames after the last, which is 4 ms too early")
            .seen_in("FluidAudio #444, #807 (4.5 s late in the end)")
            .at(stage, |outputs, setting| {
                let grid = drifting(&setting.grid);
                rebuilt(outputs, &grid, f32::max, most_active);
            }),
        fault("the-largest-by-comparing")
            .text("a place in the order by comparing with all others in place of sorting")
            .seen_in("kernels on GPUs")
            .at(stage, |outputs, setting| {
                rebuilt(outputs, &setting.grid, f32::max, most_active)
            })
            .equivalent("of equals the lower index comes first in both"),
    ]
}

/// Whether a speaker at `place` in the order of activity is among the `count` most active.
fn most_active(_sum: f32, place: usize, count: usize) -> bool {
    place < count
}

/// The active speakers, with other rules to `join` local speakers of one cluster and to choose the active ones.
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
        fault("turns-from-frame-starts")
            .text("turns begin at the start of their first frame, not in its middle")
            .seen_in("pyannote-ggml learnings: 31 ms early")
            .at(stage, |outputs, setting| {
                turns_by(outputs, setting, |setting| setting.grid.duration = 0.0)
            }),
        fault("frames-as-long-as-their-step")
            .text("a frame is taken to cover 16.875 ms, not 61.9375")
            .seen_in("pyannote-ggml learnings")
            .at(stage, |outputs, setting| {
                turns_by(outputs, setting, |setting| {
                    setting.grid.duration = setting.grid.step
                })
            }),
        fault("frames-of-17-ms")
            .text("a frame is a part of the window's length over its frames")
            .seen_in("speech-core #111: about 5 % with 560 frames, 0.6 % with 589")
            .at(stage, |outputs, setting| {
                turns_by(outputs, setting, |setting| {
                    setting.grid.step = setting.grid.window_duration / setting.frames as f64;
                });
            }),
        fault("pauses-filled")
            .text("pauses under half a second are filled, as in older pipelines")
            .seen_in("pyannote 2 pipelines with newer weights")
            .at(stage, |outputs, setting| {
                turns_by(outputs, setting, |setting| setting.min_duration_off = 0.5)
            }),
        fault("turns-one-frame-long")
            .text("turns end one frame late")
            .seen_in("inclusive against exclusive ends")
            .at(stage, |outputs, setting| {
                let step = setting.grid.step;
                let longer = outputs.turns.turns().iter().map(|turn| {
                    let mut turn = turn.clone();
                    turn.segment.end += step;
                    turn
                });
                let longer: Vec<_> = longer.collect();
                outputs.turns = Annotation::from_turns(&*outputs.turns.uri, longer);
            }),
        fault("score-without-mapping")
            .text("speakers are compared by their names")
            .seen_in("FluidAudio #4 (81 to 17.7 %)")
            .at(PipelineStage::Score, |outputs, _| {
                outputs.score = unmapped(&renamed(&outputs.turns), &outputs.turns)
            }),
    ]
}

/// The turns with a changed setting.
fn turns_by(
    outputs: &mut Outputs,
    setting: &PipelineParameters,
    change: fn(&mut PipelineParameters),
) {
    let mut setting = setting.clone();
    change(&mut setting);
    outputs.compute(PipelineStage::Turns, &setting);
}

/// The part of the speaking time of `reference` in which `hypothesis` lacks the speaker of the same name.
fn unmapped(reference: &Annotation, hypothesis: &Annotation) -> f64 {
    let time = |turns: &Annotation, name: &str| {
        let timeline = turns.label_timeline(name).support();
        timeline.segments().to_vec()
    };
    let (mut missed, mut total) = (0.0, 0.0);
    for name in reference.labels() {
        let (ours, theirs) = (time(reference, name), time(hypothesis, name));
        let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
        let common = pairs.map(|(a, b)| a.end.min(b.end) - a.start.max(b.start));
        let common: f64 = common.filter(|common| *common > 0.0).sum();
        let all: f64 = ours.iter().map(|segment| segment.duration()).sum();
        (missed, total) = (missed + all - common, total + all);
    }
    if total == 0.0 { 0.0 } else { missed / total }
}
