//! The way from a layer to the probe and back.

use super::Tensor;
use crate::{Error, Probe, Result};

/// Shows stages to a probe.
pub(super) struct Stages<'a> {
    probe: &'a mut dyn Probe,
}

impl<'a> Stages<'a> {
    pub(super) fn new(probe: &'a mut dyn Probe) -> Self {
        Self { probe }
    }

    /// What the probe makes of the stage `name`: of equal shape and precision, because libtorch would
    /// broadcast and promote whatever else it gave.
    pub(super) fn see(&mut self, name: &str, value: tch::Tensor) -> Result<tch::Tensor> {
        let value = Tensor(value);
        let expected = (value.precision(), value.shape());
        let seen = self.probe.see(name, value)?;
        let found = (seen.precision(), seen.shape());
        if found == expected {
            return Ok(seen.0);
        }
        let words = |(precision, shape)| format!("{precision} {shape:?}");
        Err(Error::Replaced {
            stage: name.into(),
            expected: words(expected),
            found: words(found),
        })
    }
}
