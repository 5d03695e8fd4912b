//! The way from a layer to the probe and back.

use super::Tensor;
use crate::{Arithmetic, Error, Probe, Result};

/// Shows stages to a probe. While it lives, libtorch keeps no gradients.
pub(super) struct Stages<'a> {
    probe: &'a mut dyn Probe,
    arithmetic: Arithmetic,
    _no_grad: tch::NoGradGuard,
}

impl<'a> Stages<'a> {
    /// Sets libtorch to one thread, because the order of sums follows their number.
    pub(super) fn new(probe: &'a mut dyn Probe, arithmetic: Arithmetic) -> Self {
        tch::set_num_threads(1);
        Self {
            probe,
            arithmetic,
            _no_grad: tch::no_grad_guard(),
        }
    }

    /// What the probe makes of the stage `name`: of equal shape and precision, because libtorch would
    /// broadcast and promote whatever else it gave.
    ///
    /// Where fewer bits are imitated, both are rounded; not so the filter bank, whose energies 16 bits do not
    /// hold.
    pub(super) fn see(&mut self, name: &str, value: tch::Tensor) -> Result<tch::Tensor> {
        let arithmetic = self.arithmetic;
        let round = |value| match name {
            "fbank" | "fbank.centred" => Ok(value),
            _ => arithmetic.round(value),
        };
        let value = Tensor(round(value)?);
        let expected = (value.precision(), value.shape());
        let seen = self.probe.see(name, value)?;
        let found = (seen.precision(), seen.shape());
        if found == expected {
            return round(seen.0);
        }
        let words = |(precision, shape)| format!("{precision} {shape:?}");
        Err(Error::Replaced {
            stage: name.into(),
            expected: words(expected),
            found: words(found),
        })
    }
}
