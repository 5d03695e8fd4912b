//! Runs without a fault: every alarm is a false alarm.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayD, Axis};
use serde::Serialize;
use soundalike_compare::{
    Candidate, CompareError, Decode, Engine as _, PathCheck, Reference, Report, StageError, Window,
    compare, nan_max,
};
use soundalike_convert::Bundle;
use soundalike_model::DType;

use super::{SelfTestError, about};
use crate::{CandleEngine, FaultError};

/// A run without a fault.
#[derive(Debug, Clone, Serialize)]
pub struct CleanRun {
    /// The variation of the run.
    pub what: String,
    /// The largest R of any stage; of a dtype below f32 the largest R_d.
    pub r: f64,
    /// The largest R_local of any stage.
    pub r_local: f64,
    /// Stages that were blamed.
    pub alarms: Vec<String>,
}

/// Runs the network without a fault.
pub struct CleanRunner<'a> {
    /// The model.
    pub bundle: &'a Bundle,
    /// The decoding of its output.
    pub decode: &'a dyn Decode,
}

impl CleanRunner<'_> {
    /// Compares the network in `dtype` on `window`.
    ///
    /// # Errors
    /// [`SelfTestError`] if either side fails.
    pub fn run(
        &self,
        reference: &mut dyn Reference,
        window: &Window,
        dtype: DType,
        what: &str,
    ) -> Result<CleanRun, SelfTestError> {
        let candidate = Candidate::Engine(Box::new(portable(self.bundle, dtype)?));
        self.judge(reference, &candidate, window, what)
    }

    /// Compares another `candidate` without a fault.
    ///
    /// # Errors
    /// [`SelfTestError`] if either side fails.
    pub fn judge(
        &self,
        reference: &mut dyn Reference,
        candidate: &Candidate,
        window: &Window,
        what: &str,
    ) -> Result<CleanRun, SelfTestError> {
        let about = about(reference, what);
        let windows = std::slice::from_ref(window);
        let report = compare(reference, candidate, windows, self.decode, about)?;
        Ok(CleanRun::new(what, &report))
    }
}

impl CleanRun {
    fn new(what: &str, report: &Report) -> Self {
        let stages = report.stages.iter();
        let errors =
            stages.flat_map(|stage| stage.teacher_forced.iter().chain(&stage.free_running));
        let largest = |of: fn(&StageError) -> f64| errors.clone().map(of).fold(0.0, nan_max);
        Self {
            what: what.to_owned(),
            r: largest(|error| error.r_d.unwrap_or(error.r)),
            r_local: largest(|error| error.r_local),
            alarms: report.source.clone(),
        }
    }
}

impl CleanRun {
    /// The outputs on a path of users, which must be the compared ones.
    #[must_use]
    pub fn of_path(what: String, check: &PathCheck) -> Self {
        Self {
            what,
            r: 0.0,
            r_local: 0.0,
            alarms: check.first.iter().cloned().collect(),
        }
    }
}

/// The free-running activations of the network of `bundle` for `window` at the first and the last place of a batch of
/// `size`.
///
/// # Errors
/// [`SelfTestError`] if it fails.
pub fn in_batches(
    bundle: &Bundle,
    window: &Window,
    size: usize,
) -> Result<Vec<Candidate>, SelfTestError> {
    let engine = portable(bundle, DType::F32)?;
    let one: Vec<f32> = window.waveform.iter().copied().collect();
    let samples = one.len();
    let silent = vec![0.0; samples];
    // The places between are silent: the places of a batch must not affect each other.
    let ends = |row: usize| row == 0 || row + 1 == size;
    let rows = (0..size).flat_map(|row| if ends(row) { &one } else { &silent });
    let batch = Window {
        waveform: Array3::from_shape_vec((size, 1, samples), rows.copied().collect())
            .map_or_else(|_| window.waveform.clone(), Array3::into_dyn),
        ..window.clone()
    };
    let graph = engine.graph(false);
    let mut stages: Vec<(String, ArrayD<f64>)> = Vec::new();
    let run = engine.run(&batch, &mut |name, value| {
        stages.push((name.to_owned(), value));
        Ok(None)
    });
    run.map_err(CompareError::Candidate)?;
    let place = |row: usize| {
        let row_of = |(name, values): &(String, ArrayD<f64>)| {
            // A stage of weights alone has no batch axis.
            let constant = graph.get(name).is_some_and(|stage| stage.is_constant());
            let rows = if constant {
                0..values.len_of(Axis(0))
            } else {
                row..row + 1
            };
            (
                name.clone(),
                values.slice_axis(Axis(0), rows.into()).to_owned(),
            )
        };
        let activations: BTreeMap<_, _> = stages.iter().map(row_of).collect();
        Candidate::Activations(Box::new(activations))
    };
    let places = if size == 1 {
        vec![0]
    } else {
        vec![0, size - 1]
    };
    Ok(places.into_iter().map(place).collect())
}

/// The network of `bundle` in `dtype`, with every stage exposed.
fn portable(bundle: &Bundle, dtype: DType) -> Result<CandleEngine, SelfTestError> {
    Ok(CandleEngine::portable(bundle, dtype).map_err(FaultError::from)?)
}
