//! Faults put into a candidate on purpose, to see that they are found.

use soundalike_model::{Probe, Result, Tensor};

/// A mistake that real ports have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ReLU after the linear layers, which have LeakyReLU(0.01): the mistake of a public port that took its
    /// 88.6 % of correlation for rounding.
    ReluForLeakyRelu,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::ReluForLeakyRelu];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReluForLeakyRelu => "relu-for-leaky-relu",
        }
    }
}

/// A probe that replaces the outputs of faulty stages before another probe sees them.
pub(crate) struct Inject<'a> {
    fault: Option<Fault>,
    inner: &'a mut dyn Probe,
    /// What the network went on with after the last stage: the input of the next.
    input: Option<Tensor>,
}

impl<'a> Inject<'a> {
    /// Puts `fault` (or none) before `inner`.
    pub(crate) fn new(fault: Option<Fault>, inner: &'a mut dyn Probe) -> Self {
        Self {
            fault,
            inner,
            input: None,
        }
    }
}

impl Probe for Inject<'_> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let value = match (self.fault, &self.input) {
            (Some(Fault::ReluForLeakyRelu), Some(input))
                if name.starts_with("linear.") && name.ends_with(".leaky_relu") =>
            {
                input.relu()?
            }
            _ => value,
        };
        let value = self.inner.see(name, value)?;
        self.input = Some(value.clone());
        Ok(value)
    }
}
