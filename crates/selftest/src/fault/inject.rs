//! A probe that replaces the outputs of faulty stages before another probe sees them.

use soundalike_compare::{Operands, Window};
use soundalike_model::{DType, Probe, Result, Tensor, TensorError};
use soundalike_network::{Graph, Operand, Stage};

use super::{Call, Substitution};
use crate::engine::to_tensor;

/// A probe that replaces the outputs of faulty stages before another probe sees them.
pub(crate) struct Inject<'a> {
    substitution: &'a Substitution,
    window: &'a Window,
    inner: &'a mut dyn Probe,
    /// The outputs that later stages read.
    before: Operands<Tensor>,
}

impl<'a> Inject<'a> {
    /// Applies `substitution` before `inner`, in a run of the network of `graph` on `window`.
    pub(crate) fn new(
        substitution: &'a Substitution,
        graph: &Graph,
        window: &'a Window,
        inner: &'a mut dyn Probe,
    ) -> Self {
        Self {
            substitution,
            window,
            inner,
            before: Operands::new(graph.clone()),
        }
    }

    /// The operands of `stage` in f64.
    fn operands(&self, stage: &Stage) -> Result<Vec<Tensor>> {
        let operands = self.before.of(&stage.name).into_iter();
        operands
            .map(|(operand, value)| match (operand, value) {
                (Operand::Input, _) => to_tensor(&self.window.waveform)?.to_dtype(DType::F64),
                (Operand::Masks, _) => {
                    let masks = self.window.masks.as_ref();
                    let masks = masks.map(|masks| to_tensor(&masks.values)?.to_dtype(DType::F64));
                    masks.unwrap_or_else(|| Err(TensorError::msg("the window has no masks")))
                }
                (Operand::Stage(_), Some(value)) => value.to_dtype(DType::F64),
                (Operand::Stage(_), None) => Err(TensorError::msg(format!(
                    "an operand of {} was not observed",
                    stage.name
                ))),
            })
            .collect()
    }

    /// The replacement of `value`, the output of `stage`; `None` if it is kept.
    fn substitute(&self, stage: &Stage, value: &Tensor) -> Result<Option<Tensor>> {
        let graph = self.before.graph();
        if !self.substitution.replaces(stage, graph) {
            return Ok(None);
        }
        let substituted = (self.substitution.substitute)(&Call {
            stage,
            graph,
            operands: self.operands(stage)?,
            value: value.to_dtype(DType::F64)?,
            bundle: &self.substitution.bundle,
        })?;
        substituted.to_dtype(value.dtype())?.contiguous().map(Some)
    }
}

impl Probe for Inject<'_> {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let stage = self.before.graph().get(name);
        let substituted = stage.map(|stage| self.substitute(stage, &value));
        let substituted = substituted.transpose()?.flatten();
        let value = self.inner.observe(name, substituted.unwrap_or(value))?;
        self.before.keep(name, value.clone());
        Ok(value)
    }
}
