//! The recorded activations of a candidate.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::{Running, TraceError};

/// The recorded activations of a candidate, by stage.
pub trait Activations: Send + Sync {
    /// The names of the stages.
    fn stages(&self) -> Vec<String>;

    /// The output of `stage`; none where it was not recorded in this way of running.
    ///
    /// # Errors
    /// [`TraceError`] where it cannot be read.
    fn output(&self, stage: &str, running: Running) -> Result<Option<ArrayD<f64>>, TraceError>;

    /// The shape of what was recorded, where it is known without reading it.
    fn shape(&self, _stage: &str, _running: Running) -> Option<Vec<usize>> {
        None
    }
}

/// Of a free run.
impl Activations for BTreeMap<String, ArrayD<f64>> {
    fn stages(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn output(&self, stage: &str, running: Running) -> Result<Option<ArrayD<f64>>, TraceError> {
        Ok(match running {
            Running::Free => self.get(stage).cloned(),
            Running::Forced => None,
        })
    }
}
