//! The two ways of running.

use std::{
    collections::BTreeSet,
    io::{Read, Seek},
};

use ndarray::ArrayD;
use soundalike_model::{Probe, Result, Tensor, TensorError};

use crate::{ReferenceTrace, lockstep::to_f64};

/// Keeps every stage and changes nothing: free-running.
#[derive(Debug, Default)]
pub struct Recorder {
    stages: Vec<(String, Tensor)>,
}

impl Recorder {
    /// The stages in order of execution, widened to f64.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn into_stages(self) -> Result<Vec<(String, ArrayD<f64>)>> {
        self.stages
            .into_iter()
            .map(|(name, value)| Ok((name, to_f64(&value)?)))
            .collect()
    }
}

impl Probe for Recorder {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.stages.push((name.to_owned(), value.clone()));
        Ok(value)
    }
}

/// Keeps every stage and returns the reference's: teacher-forced. Each stage gets the golden input, rounded
/// to the dtype of the network.
///
/// Parts of a stage (the directions of an LSTM layer) keep their own value, or the stage they stand in would
/// be compared with itself.
pub struct Teacher<'a, R: Read + Seek> {
    reference: &'a mut ReferenceTrace<R>,
    recorder: Recorder,
    parts: BTreeSet<String>,
}

impl<'a, R: Read + Seek> Teacher<'a, R> {
    /// Teaches by `reference`.
    pub fn new(reference: &'a mut ReferenceTrace<R>) -> Self {
        let stages = &reference.manifest().stages;
        let parts = stages
            .iter()
            .flat_map(|stage| stage.parts.clone())
            .collect();
        Self {
            reference,
            recorder: Recorder::default(),
            parts,
        }
    }

    /// What each stage made of the golden input, in order of execution, widened to f64.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn into_stages(self) -> Result<Vec<(String, ArrayD<f64>)>> {
        self.recorder.into_stages()
    }
}

impl<R: Read + Seek> Probe for Teacher<'_, R> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let value = self.recorder.see(name, value)?;
        if self.parts.contains(name) {
            return Ok(value);
        }
        let golden = self.reference.golden(name).map_err(TensorError::wrap)?;
        let (values, _) = golden.mapv(|x| x as f32).into_raw_vec_and_offset();
        Tensor::from_vec(values, golden.shape(), value.device())?.to_dtype(value.dtype())
    }
}
