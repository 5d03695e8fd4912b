//! Faults that a run of one observed window cannot have: in batches, in long windows, behind the last stage.

use ndarray::{Array3, ArrayD, Axis, s};
use serde::Serialize;
use soundalike_compare::{
    Candidate, CompareError, Decode, Engine, EngineError, PathCheck, Probe, Reference, Window,
    compare,
};
use soundalike_convert::Bundle;
use soundalike_network::Graph;

use super::{Production, SAMPLE_STEP, paused};
use crate::{
    CandleEngine,
    draft::{Draft, fault},
    self_test::about,
};

/// A fault that only the path of users has.
#[derive(Debug, Clone, Serialize)]
pub struct PathFault {
    /// Its id on the command line.
    pub id: &'static str,
    /// What is wrong, in words.
    pub text: &'static str,
    /// Where it or a similar fault was.
    pub seen_in: &'static str,
    #[serde(skip)]
    change: Change,
}

/// The change of outputs.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Of a batch, `[window, frame, score]` or `[window, speaker, value]`, that begins with a window of this number.
    Batch(fn(&mut Array3<f32>, usize)),
    /// The same, for scores only.
    Scores(fn(&mut Array3<f32>, usize)),
    /// Of what a run returns after its last stage.
    Returned(fn(&mut ArrayD<f64>)),
}

/// The result for one fault.
#[derive(Debug, Clone, Serialize)]
pub struct PathTrial {
    /// The fault.
    #[serde(flatten)]
    pub fault: PathFault,
    /// The checks of the paths that it changes.
    pub checks: Vec<PathCheck>,
}

impl PathTrial {
    /// The check that noticed it.
    #[must_use]
    pub fn noticed(&self) -> Option<&PathCheck> {
        self.checks.iter().find(|check| check.wrong > 0)
    }
}

impl Draft {
    fn on_path(self, change: Change) -> PathFault {
        PathFault {
            id: self.id,
            text: self.text,
            seen_in: self.seen_in,
            change,
        }
    }
}

/// Sequences that the LSTM kernel runs together.
const TILE: usize = 12;

impl PathFault {
    /// All of them, for an `embedding` network or a segmentation.
    #[must_use]
    pub fn catalogue(embedding: bool) -> Vec<Self> {
        let all = vec![
            fault("last-of-a-tile")
                .text(
                    "the last of 12 sequences that run together gets the result of the one before",
                )
                .seen_in("a kernel's tile with one row too few")
                .on_path(Change::Batch(|found, _| {
                    for row in (TILE - 1..found.len_of(Axis(0))).step_by(TILE) {
                        repeat(found, row);
                    }
                })),
            fault("second-is-first")
                .text("the second window of a batch gets the result of the first")
                .seen_in("a stride of 0 over the batch")
                .on_path(Change::Batch(|found, _| {
                    if found.len_of(Axis(0)) > 1 {
                        repeat(found, 1);
                    }
                })),
            fault("tail-of-a-batch")
                .text("the last window of a batch gets the result of the one before")
                .seen_in("the rest of a loop over tiles of 4")
                .on_path(Change::Batch(|found, _| {
                    let last = found.len_of(Axis(0)) - 1;
                    if last > 0 {
                        repeat(found, last);
                    }
                })),
            fault("batches-in-reverse")
                .text("the windows of a batch come out in reverse order")
                .seen_in("workers whose results are taken as they come")
                .on_path(Change::Batch(|found, _| found.invert_axis(Axis(0)))),
            fault("second-batch-late")
                .text("from the second batch on, each window gets the result of the one before")
                .seen_in("an offset that is rounded once a batch")
                .on_path(Change::Batch(|found, first| {
                    if first > 0 {
                        (1..found.len_of(Axis(0)))
                            .rev()
                            .for_each(|row| repeat(found, row));
                    }
                })),
            fault("behind-silence-shifted")
                .text("behind a window without speech, each window gets the result of the next")
                .seen_in("silent windows are left out of a batch, and their places are not kept")
                .on_path(Change::Batch(|found, _| {
                    let silent = |row: usize| row > 0 && quiet(found, row);
                    let rows = found.len_of(Axis(0));
                    let from = (0..rows).find(|row| silent(*row)).unwrap_or(rows);
                    for row in from..rows.saturating_sub(1) {
                        copy(found, Axis(0), row + 1, row);
                    }
                })),
            fault("frames-in-8-bits")
                .text("the numbers of frames wrap at 256")
                .seen_in("an index of 8 bits")
                .on_path(Change::Scores(|found, _| {
                    for frame in 256..found.len_of(Axis(1)) {
                        copy(found, Axis(1), frame - 256, frame);
                    }
                })),
            fault("last-frame-missing")
                .text("the last frame repeats the one before")
                .seen_in("the rest of a loop over tiles of frames")
                .on_path(Change::Scores(|found, _| {
                    let last = found.len_of(Axis(1)) - 1;
                    copy(found, Axis(1), last - 1, last);
                })),
            fault("state-carried-over")
                .text("a window begins with the state in which the one before ended")
                .seen_in("sherpa-onnx, streaming LSTMs: a state that is not cleared")
                .on_path(Change::Scores(|found, _| {
                    let last = found.len_of(Axis(1)) - 1;
                    for row in 1..found.len_of(Axis(0)) {
                        let state = found.slice(s![row - 1, last, ..]).to_owned();
                        let mut first = found.slice_mut(s![row, 0, ..]);
                        first.zip_mut_with(&state, |score, state| *score += 0.01 * state);
                    }
                })),
            fault("batches-rounded")
                .text("results of batches have 11 bits")
                .seen_in("f16 on the fast path only")
                .on_path(Change::Batch(|found, _| {
                    // Veltkamp's split: adding and subtracting 2^13 times the value leaves the upper 11 bits.
                    found.mapv_inplace(|x| {
                        let up = x * 8193.0;
                        up - (up - x)
                    });
                })),
            fault("returned-is-not-observed")
                .text("what a run returns is not the output of its last stage")
                .seen_in("a layer behind the last observed one")
                .on_path(Change::Returned(|output| {
                    output.mapv_inplace(|x| x * (1.0 + 1e-6));
                })),
        ];
        let scores = |fault: &Self| matches!(fault.change, Change::Scores(_));
        let fits = all
            .into_iter()
            .filter(|fault| !(embedding && scores(fault)));
        fits.collect()
    }

    /// The outputs of a batch with this fault. `None` if it does not change any.
    fn batch(&self, found: &Array3<f32>, first: usize) -> Option<Array3<f32>> {
        let change = match self.change {
            Change::Batch(change) | Change::Scores(change) => change,
            Change::Returned(_) => return None,
        };
        let mut changed = found.clone();
        change(&mut changed, first);
        (changed != found).then_some(changed)
    }
}

/// Gives the window `row` the outputs of the window before it.
fn repeat(found: &mut Array3<f32>, row: usize) {
    copy(found, Axis(0), row - 1, row);
}

/// Gives the place `to` on `axis` the outputs of the place `from`.
fn copy(found: &mut Array3<f32>, axis: Axis, from: usize, to: usize) {
    let other = found.index_axis(axis, from).to_owned();
    found.index_axis_mut(axis, to).assign(&other);
}

/// Whether nobody speaks in the window `row`: its embeddings are zeros, or the first class is the likeliest in every frame.
fn quiet(found: &Array3<f32>, row: usize) -> bool {
    let rows = found.index_axis(Axis(0), row);
    let zeros = rows.iter().all(|value| *value == 0.0);
    zeros
        || rows
            .rows()
            .into_iter()
            .all(|row| row.iter().skip(1).all(|value| *value < row[0]))
}

impl Production<'_> {
    /// Runs the networks over the sample once, and changes what comes out by each of `faults`. Those that change nothing are
    /// left out.
    ///
    /// # Errors
    /// Where a network fails.
    pub fn try_faults(&self, faults: &[PathFault]) -> Result<Vec<PathTrial>, EngineError> {
        let trial = |fault: &PathFault| PathTrial {
            fault: fault.clone(),
            checks: Vec::new(),
        };
        let mut trials: Vec<PathTrial> = faults.iter().map(trial).collect();
        let (name, audio) = paused();
        self.run(name, audio, Some(SAMPLE_STEP), &mut |cut, outputs| {
            for trial in &mut trials {
                let changed = trial.fault.batch(&outputs.found, outputs.first);
                let check = self.check_of(&mut trial.checks, cut, outputs.path);
                outputs.count(changed.as_ref().unwrap_or(&outputs.found), check);
            }
        })?;
        trials.retain(|trial| trial.checks.iter().any(|check| check.differing > 0));
        Ok(trials)
    }
}

impl PathFault {
    /// Compares the network of `bundle` on `windows`, where its runs return other outputs by this fault. `None` for a fault of
    /// batches.
    ///
    /// # Errors
    /// Where a side fails.
    pub fn try_returned(
        &self,
        bundle: &Bundle,
        reference: &mut dyn Reference,
        windows: &[Window],
        decode: &dyn Decode,
    ) -> Result<Option<PathTrial>, CompareError> {
        let Change::Returned(change) = self.change else {
            return Ok(None);
        };
        let engine = CandleEngine::portable(bundle, soundalike_model::DType::F32)
            .map_err(|error| CompareError::Candidate(error.into()))?;
        let candidate = Candidate::Engine(Box::new(Returning { engine, change }));
        let about = about(reference, self.id);
        let report = compare(reference, &candidate, windows, decode, about)?;
        Ok(Some(PathTrial {
            fault: self.clone(),
            checks: report.production,
        }))
    }
}

/// A network that returns something else than the output of its last stage.
struct Returning {
    engine: CandleEngine,
    change: fn(&mut ArrayD<f64>),
}

impl Engine for Returning {
    fn graph(&self, masked: bool) -> Graph {
        self.engine.graph(masked)
    }

    fn run(&self, window: &Window, probe: &mut Probe<'_>) -> Result<ArrayD<f64>, EngineError> {
        let mut output = self.engine.run(window, probe)?;
        (self.change)(&mut output);
        Ok(output)
    }
}
