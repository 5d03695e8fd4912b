//! A probe that replaces the outputs of faulty stages before another probe sees them.

use std::collections::VecDeque;

use ndarray::ArrayD;
use soundalike_model::{DType, Device, Probe, Result, Tensor};

use super::{Call, Change, Substitution, matches};
use crate::{
    Window,
    layout::{MASKS, WAVEFORM, inputs},
};

/// How far back the operands of a stage lie: those of the sum that ends a bottleneck block.
const REACH: usize = 12;

/// A probe that replaces the outputs of faulty stages before another probe sees them.
pub(crate) struct Inject<'a> {
    substitution: Option<&'a Substitution>,
    window: &'a Window,
    inner: &'a mut dyn Probe,
    /// What the network went on with after the last stages.
    before: VecDeque<(String, Tensor)>,
}

impl<'a> Inject<'a> {
    /// Puts `substitution` (or none) before `inner`, on `window`.
    pub(crate) fn new(
        substitution: Option<&'a Substitution>,
        window: &'a Window,
        inner: &'a mut dyn Probe,
    ) -> Self {
        Self {
            substitution,
            window,
            inner,
            before: VecDeque::new(),
        }
    }

    /// What the stage `name` was fed, in f64.
    fn inputs(&self, name: &str) -> Result<Vec<Tensor>> {
        let names: Vec<&str> = self.before.iter().map(|(name, _)| name.as_str()).collect();
        let inputs = inputs(name, &names).into_iter();
        inputs
            .map(|input| match input {
                WAVEFORM => tensor(&self.window.waveform),
                MASKS => {
                    let masks = self.window.masks.as_ref();
                    let masks = masks.map(|masks| masks.values.clone().into_dyn());
                    tensor(&masks.unwrap_or_default())
                }
                stage => {
                    let found = self.before.iter().find(|(name, _)| name == stage);
                    let Some((_, value)) = found else {
                        return Err(soundalike_model::TensorError::msg(format!(
                            "{name} is fed by {stage}, which is not there"
                        )));
                    };
                    value.to_dtype(DType::F64)
                }
            })
            .collect()
    }
}

impl Probe for Inject<'_> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let Some(substitution) = self.substitution else {
            return self.inner.see(name, value);
        };
        let value = match substitution.change {
            Change::Stages(patterns, substitute) if matches(patterns, name) => {
                let call = Call {
                    name,
                    inputs: self.inputs(name)?,
                    value: value.to_dtype(DType::F64)?,
                    bundle: &substitution.bundle,
                };
                substitute(&call)?.to_dtype(value.dtype())?.contiguous()?
            }
            _ => value,
        };
        let value = self.inner.see(name, value)?;
        if self.before.len() == REACH {
            self.before.pop_front();
        }
        self.before.push_back((name.to_owned(), value.clone()));
        Ok(value)
    }
}

fn tensor(values: &ArrayD<f32>) -> Result<Tensor> {
    let flat: Vec<f32> = values.iter().copied().collect();
    Tensor::from_vec(flat, values.shape(), &Device::Cpu)?.to_dtype(DType::F64)
}
