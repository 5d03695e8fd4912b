//! What network a file holds, with its hyperparameters, and which tensors that network needs.

mod plda;
mod pyannet;
mod wespeaker;

pub use plda::Plda;
pub use pyannet::{Activation, Linear, Lstm, PyanNet, SincFilters, SincNet};
pub use wespeaker::{Block, WeSpeakerResNet};

use serde::{Deserialize, Serialize};

use crate::Dtype;
use crate::error::{ErrorKind, Found, Hyperparameter};

/// What network a file holds, with its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", content = "hyperparameters")]
pub enum Architecture {
    /// Speaker segmentation: SincNet, LSTM, linear layers, classifier.
    PyanNet(PyanNet),
    /// Speaker embedding: a two-dimensional residual network on mel filter banks.
    WeSpeakerResNet(WeSpeakerResNet),
    /// The probabilistic linear discriminant analysis that compares embeddings.
    Plda(Plda),
}

impl Architecture {
    /// The name, with the depth where the name has one: `PyanNet`, `WeSpeakerResNet34`, `Plda`.
    pub fn name(&self) -> String {
        match self {
            Self::PyanNet(_) => "PyanNet".into(),
            Self::WeSpeakerResNet(resnet) => format!("WeSpeakerResNet{}", resnet.depth),
            Self::Plda(_) => "Plda".into(),
        }
    }

    /// Every tensor the network needs, in PyTorch's order of modules.
    pub fn tensors(&self) -> Vec<Expected> {
        match self {
            Self::PyanNet(pyannet) => pyannet.tensors(),
            Self::WeSpeakerResNet(resnet) => resnet.tensors(),
            Self::Plda(plda) => plda.tensors(),
        }
    }

    /// Refuses hyperparameters that no network can have, before anything is computed from them.
    pub(crate) fn check(&self) -> Result<(), Hyperparameter> {
        match self {
            Self::PyanNet(pyannet) => pyannet.check(),
            Self::WeSpeakerResNet(resnet) => resnet.check(),
            Self::Plda(plda) => plda.check(),
        }
    }

    /// Compares the tensors of a file with those the network needs and lists every difference.
    pub(crate) fn check_tensors<'a>(
        &self,
        found: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
    ) -> Result<(), ErrorKind> {
        let mut expected: std::collections::BTreeMap<String, Expected> = self
            .tensors()
            .into_iter()
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        let mut unexpected = Vec::new();
        let mut differing = Vec::new();
        for (name, dtype, shape) in found {
            let found = Found {
                name: name.into(),
                dtype,
                shape: shape.to_vec(),
            };
            match expected.remove(name) {
                None => unexpected.push(found),
                Some(tensor) if tensor.shape != shape || !tensor.kind.accepts(dtype) => {
                    differing.push((tensor, found));
                }
                Some(_) => {}
            }
        }
        let missing: Vec<Expected> = expected
            .into_values()
            .filter(|tensor| !tensor.optional)
            .collect();
        if missing.is_empty() && unexpected.is_empty() && differing.is_empty() {
            return Ok(());
        }
        unexpected.sort_by(|a, b| a.name.cmp(&b.name));
        Err(ErrorKind::Tensors {
            architecture: self.name(),
            missing,
            unexpected,
            differing,
        })
    }
}

/// One tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// PyTorch's name of it in the state dict.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What element types will do.
    pub kind: Kind,
    /// Whether training changes it.
    pub role: Role,
    /// Whether a file may lack it: `num_batches_tracked`, which evaluation does not read.
    pub optional: bool,
}

/// What element types will do for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any floating point type.
    Float,
    /// `i64`.
    Counter,
}

impl Kind {
    /// Whether a tensor of this type will do.
    pub fn accepts(self, dtype: Dtype) -> bool {
        match self {
            Self::Float => dtype.is_float(),
            Self::Counter => dtype == Dtype::I64,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Counter => "i64",
        })
    }
}

/// Whether training changes a tensor: PyTorch's parameters and buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A weight: `nn.Parameter`.
    Parameter,
    /// A constant or a statistic: `register_buffer` (`window_`, `n_`, `running_mean`,
    /// `running_var`, `num_batches_tracked`), and sinc filters that an export has already built.
    Buffer,
}

/// The list under construction: names are a prefix and a leaf.
#[derive(Default)]
struct Tensors(Vec<Expected>);

impl Tensors {
    fn parameter(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.push(name.into(), shape, Kind::Float, Role::Parameter, false);
    }

    fn buffer(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.push(name.into(), shape, Kind::Float, Role::Buffer, false);
    }

    /// `weight` and `bias` of a module.
    fn affine(&mut self, module: &str, weight: &[usize], bias: usize) {
        self.parameter(format!("{module}.weight"), weight);
        self.parameter(format!("{module}.bias"), &[bias]);
    }

    /// A `BatchNorm` module, with weight and bias if it is affine.
    fn batch_norm(&mut self, module: &str, channels: usize, affine: bool) {
        if affine {
            self.affine(module, &[channels], channels);
        }
        self.buffer(format!("{module}.running_mean"), &[channels]);
        self.buffer(format!("{module}.running_var"), &[channels]);
        let name = format!("{module}.num_batches_tracked");
        self.push(name, &[], Kind::Counter, Role::Buffer, true);
    }

    fn push(&mut self, name: String, shape: &[usize], kind: Kind, role: Role, optional: bool) {
        self.0.push(Expected {
            name,
            shape: shape.to_vec(),
            kind,
            role,
            optional,
        });
    }
}

/// Refuses a number outside `range`. The ranges are far beyond any real network; they keep what is
/// computed from the numbers small.
fn within(
    name: &'static str,
    found: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), Hyperparameter> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(Hyperparameter {
        name: name.into(),
        found: found.to_string(),
        expected: format!("{} to {}", range.start(), range.end()),
    })
}
