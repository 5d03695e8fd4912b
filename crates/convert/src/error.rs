//! What can be wrong with a file, as data. `Display` is one lower-case line: the path first, then
//! what was found, what was expected, and the next step where there is one. A cause is returned by
//! `source()` and not repeated in the line.

use std::path::{Path, PathBuf};

use crate::Dtype;
use crate::archive::ArchiveError;
use crate::bundle::BUNDLE_FORMAT;
use crate::checkpoint::CheckpointError;
use crate::name::quoted_name;
use crate::npz::NpzError;
use crate::onnx::OnnxError;
use crate::pickle::PickleError;
use crate::pipeline::PipelineError;
use soundalike_network::{Expected, Hyperparameter};

/// What is wrong with a file: which file, and what.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    kind: Box<ErrorKind>,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The kind is part of this error's own sentence; what caused it is below.
        self.kind.source()
    }
}

impl Error {
    /// The file or directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system said no.
    #[error("{action} failed")]
    Io {
        /// What was tried: `opening`, `reading`, `writing`, ...
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory without the files of a pipeline, a model or a PLDA.
    #[error(
        "is a directory without config.yaml, pipeline.json, pytorch_model.bin or plda.npz with xvec_transform.npz; give a model file or a pipeline directory"
    )]
    Directory,
    /// A pipeline directory where one model was asked for.
    #[error(
        "is a pipeline directory, and one model was asked for; give its segmentation, embedding or plda"
    )]
    PipelineForModel,
    /// A device, a pipe: something without an end.
    #[error("is not a regular file; copy its contents into one")]
    NotAFile,
    /// A file with nothing in it.
    #[error("is empty")]
    Empty,
    /// A file of no known format.
    #[error(
        "is not a model: starts with {0}, expected a PyTorch checkpoint (zip), an ONNX export or a bundle (safetensors)"
    )]
    Format(String),
    /// A numpy archive given where a model was expected.
    #[error(
        "is a numpy archive, not a model; the PLDA is given as the directory that holds plda.npz and xvec_transform.npz"
    )]
    NumpyArchive,
    /// A safetensors file that is not one of our bundles.
    #[error(
        "is a safetensors file without the metadata key `soundalike`; convert the original checkpoint instead"
    )]
    NotABundle,
    /// A safetensors file that lies about itself. The library's text includes its causes, so it is printed here and is
    /// not the `source()`.
    #[error("is not a valid safetensors file: {0}")]
    Safetensors(safetensors::SafeTensorError),
    /// Metadata of a bundle that cannot be read.
    #[error("metadata of the bundle cannot be read; convert the original again")]
    Metadata(#[source] serde_json::Error),
    /// A bundle of another format version than [`BUNDLE_FORMAT`].
    #[error("bundle has format {0}, this program reads {expected}; convert the original again", expected = BUNDLE_FORMAT)]
    BundleFormat(u32),
    /// A tensor of an element type that no network here uses.
    #[error("tensor {} has element type {dtype}, which is not supported", quoted_name(.tensor))]
    ElementType {
        /// Its name.
        tensor: String,
        /// safetensors' or PyTorch's name of the type.
        dtype: String,
    },
    /// Tensors with infinities or NaN in them.
    #[error("{} not finite: {}; the weights are broken", plural(.0.len(), "tensor is", "tensors are"), listed(.0))]
    NotFinite(Vec<NotFinite>),
    /// Tensors that do not fit the architecture: all of them.
    #[error("tensors do not fit {architecture}: {}", differences(missing, unexpected, differing).join("; "))]
    Tensors {
        /// The architecture with its depth.
        architecture: String,
        /// Tensors the network needs and the file lacks.
        missing: Vec<Expected>,
        /// Tensors the file has and the network does not know.
        unexpected: Vec<Found>,
        /// Tensors of another shape or type than the network needs.
        differing: Vec<(Expected, Found)>,
    },
    /// A hyperparameter that is missing, of another type or out of range.
    #[error(transparent)]
    Hyperparameter(#[from] Hyperparameter),
    /// A specification that makes no sense, or does not fit the network.
    #[error("specification {} is {found}, expected {expected}", quoted_name(.field))]
    Specification {
        /// pyannote's name of it.
        field: &'static str,
        /// The value in the file.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A network this project does not know.
    #[error(
        "holds {} ({}), which is not one of PyanNet, WeSpeakerResNet34, WeSpeakerResNet152, WeSpeakerResNet221, WeSpeakerResNet293; {tensors} tensors under {}",
        class.as_deref().unwrap_or("a network without a class name"),
        module.as_deref().unwrap_or("no module named"),
        quoted(prefixes),
    )]
    UnknownArchitecture {
        /// Name of the class in the checkpoint.
        class: Option<String>,
        /// Module of the class in the checkpoint.
        module: Option<String>,
        /// First parts of the names of its tensors.
        prefixes: Vec<String>,
        /// How many tensors there are.
        tensors: usize,
    },
    /// Tensors with values that became infinite in the wished type.
    #[error("{dtype} cannot hold {}: {}; use bf16 or f32", plural(.1.len(), "tensor", "tensors"), listed(.1), dtype = .0)]
    Overflow(Dtype, Vec<NotFinite>),
    /// A type that weights cannot be converted to.
    #[error("weights cannot be converted to {0}; use f32, f16 or bf16")]
    CastTarget(Dtype),
    /// The file on disk is not what was written to it. The number is that of the first byte that differs.
    #[error("differs from what was written at byte {0}; the disk is not to be trusted")]
    ReadBack(usize),
    /// A zip archive that is damaged, hostile or of another kind.
    #[error(transparent)]
    Zip(#[from] ArchiveError),
    /// A pickle that is damaged or hostile.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A checkpoint that is not one of pyannote's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An ONNX export that is damaged or of another network.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A numpy array that is damaged or of another kind.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A pipeline directory that is incomplete or not understood.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// A tensor with values that are not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFinite {
    /// Its name.
    pub tensor: String,
    /// How many of its values are infinite or NaN.
    pub values: usize,
}

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({})",
            quoted_name(&self.tensor),
            plural(self.values, "value", "values")
        )
    }
}

/// A tensor as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// The tensors that do not fit, in the order of the arguments: one phrase for all that are missing, one for all that are
/// unexpected, and one for each that differs.
fn differences(
    missing: &[Expected],
    unexpected: &[Found],
    differing: &[(Expected, Found)],
) -> Vec<String> {
    let named = |name: &str, shape: &[usize]| format!("{} {shape:?}", quoted_name(name));
    let missing = missing.iter().map(|t| named(&t.name, &t.shape)).collect();
    let unexpected = unexpected
        .iter()
        .map(|t| named(&t.name, &t.shape))
        .collect();
    let lists: [(&str, Vec<String>); 2] = [("missing", missing), ("unexpected", unexpected)];
    let lists = lists.into_iter().filter(|(_, tensors)| !tensors.is_empty());
    let lists = lists.map(|(what, tensors)| format!("{what} {}", tensors.join(", ")));
    let differing = differing.iter().map(|(expected, found)| {
        let (name, shape) = (quoted_name(&found.name), &found.shape);
        if expected.shape == *shape {
            let (found, expected) = (found.dtype, expected.kind);
            return format!("{name} has shape {shape:?} of {found}, expected {expected}");
        }
        format!("{name} has shape {shape:?}, expected {:?}", expected.shape)
    });
    lists.chain(differing).collect()
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn listed<T: ToString>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(T::to_string).collect();
    texts.join(", ")
}

/// Bytes of an unknown file that are shown in the error.
pub(crate) const SHOWN_BYTES: usize = 16;

/// The first bytes of a file, readable.
pub(crate) fn start_of(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    format!("\"{}\"", start.escape_debug())
}

/// Names in backquotes, separated by commas.
pub(crate) fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted_name(name)).collect();
    names.join(", ")
}

impl ErrorKind {
    /// Puts the path before what is wrong.
    pub(crate) fn at(self, path: impl Into<PathBuf>) -> Error {
        Error {
            path: path.into(),
            kind: Box::new(self),
        }
    }

    /// For `map_err` after a call to the operating system.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}
