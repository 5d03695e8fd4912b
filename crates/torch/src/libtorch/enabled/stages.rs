//! Passes the output of each layer to the probe.

use soundalike_network::{Graph, Op};

use super::tensor::{kind, shape, to_array, to_tensor};
use crate::{Arithmetic, Error, Probe, Result};

/// Passes stages to a probe. While it exists, libtorch computes no gradients.
pub(super) struct Stages<'a, 'p> {
    probe: &'a mut Probe<'p>,
    graph: &'a Graph,
    arithmetic: Arithmetic,
    _no_grad: tch::NoGradGuard,
}

impl<'a, 'p> Stages<'a, 'p> {
    /// Sets libtorch to one thread, because the order of sums depends on the number of threads.
    pub(super) fn new(probe: &'a mut Probe<'p>, graph: &'a Graph, arithmetic: Arithmetic) -> Self {
        tch::set_num_threads(1);
        Self {
            probe,
            graph,
            arithmetic,
            _no_grad: tch::no_grad_guard(),
        }
    }

    /// Passes the output `value` of the stage `name` to the probe and returns what the next stage reads.
    ///
    /// At low precision, outputs and their replacements are rounded, except those of the filter bank: its energies do
    /// not fit into 16 bits.
    pub(super) fn see(&mut self, name: &str, value: tch::Tensor) -> Result<tch::Tensor> {
        let stage = self.graph.get(name).ok_or_else(|| Error::NoStage {
            name: name.to_owned(),
        })?;
        let arithmetic = self.arithmetic;
        let round = |value| match stage.op {
            Op::Fbank(_) | Op::Centre { .. } => Ok(value),
            _ => arithmetic.round(value),
        };
        let value = round(value)?;
        let Some(replaced) = (self.probe)(name, to_array(&value)?)? else {
            return Ok(value);
        };
        if replaced.shape() != shape(&value) {
            return Err(Error::Replaced {
                stage: name.into(),
                expected: shape(&value),
                found: replaced.shape().to_vec(),
            });
        }
        round(to_tensor(&replaced)?.f_to_kind(kind(arithmetic.precision()))?)
    }
}
