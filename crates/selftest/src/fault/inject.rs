//! A probe that replaces the outputs of faulty stages before another probe sees them.

use ndarray::ArrayD;
use soundalike_compare::{Operands, Window};
use soundalike_model::{DType, Device, Probe, Result, Tensor, TensorError};
use soundalike_network::{Graph, Op, Operand, Stage};

use super::{Call, Change, Substitution, matches, mel};

/// A probe that replaces the outputs of faulty stages before another probe sees them.
pub(crate) struct Inject<'a> {
    substitution: &'a Substitution,
    window: &'a Window,
    inner: &'a mut dyn Probe,
    /// What the network went on with, as long as a stage reads it.
    before: Operands<Tensor>,
}

impl<'a> Inject<'a> {
    /// Puts `substitution` before `inner`, in the network of `graph` on `window`.
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

    /// What `stage` is fed, in f64.
    fn operands(&self, stage: &Stage) -> Result<Vec<Tensor>> {
        let operands = self.before.of(&stage.name).into_iter();
        operands
            .map(|(operand, value)| match (operand, value) {
                (Operand::Input, _) => tensor(&self.window.waveform),
                (Operand::Masks, _) => {
                    let masks = self.window.masks.as_ref();
                    let masks = masks.map(|masks| masks.values.clone().into_dyn());
                    tensor(&masks.unwrap_or_default())
                }
                (Operand::Stage(_), Some(value)) => value.to_dtype(DType::F64),
                (Operand::Stage(_), None) => Err(TensorError::msg(format!(
                    "an operand of {} was not shown",
                    stage.name
                ))),
            })
            .collect()
    }

    /// What takes the place of `value`, the output of `stage`.
    fn substitute(&self, stage: &Stage, value: &Tensor) -> Result<Option<Tensor>> {
        let call = || {
            Ok::<_, TensorError>(Call {
                stage,
                graph: self.before.graph(),
                operands: self.operands(stage)?,
                value: value.to_dtype(DType::F64)?,
                bundle: &self.substitution.bundle,
            })
        };
        let substituted = match &self.substitution.change {
            Change::Stages(patterns, substitute) if matches(patterns, &stage.name) => {
                substitute(&call()?)?
            }
            Change::FilterBank(options) if matches!(stage.op, Op::Fbank(_)) => {
                mel::features(&call()?, options)?
            }
            Change::Stages(..) | Change::FilterBank(_) | Change::Weights(_) => return Ok(None),
        };
        substituted.to_dtype(value.dtype())?.contiguous().map(Some)
    }
}

impl Probe for Inject<'_> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let stage = self.before.graph().get(name);
        let substituted = match stage {
            Some(stage) => self.substitute(stage, &value)?,
            None => None,
        };
        let value = self.inner.see(name, substituted.unwrap_or(value))?;
        self.before.keep(name, value.clone());
        Ok(value)
    }
}

fn tensor(values: &ArrayD<f32>) -> Result<Tensor> {
    let flat: Vec<f32> = values.iter().copied().collect();
    Tensor::from_vec(flat, values.shape(), &Device::Cpu)?.to_dtype(DType::F64)
}
