//! Errors of files, as data. `Display` is one lower-case line: the path, what was found, what was expected, and the next
//! step if there is one. A cause is returned by `source()` and not repeated in the line.

use std::path::{Path, PathBuf};

use crate::{
    Dtype, Integers, WeightType,
    archive::ArchiveError,
    bundle::{BUNDLE_FORMAT, INTEGER_FORMAT},
    checkpoint::CheckpointError,
    name::quoted_name,
    not_a_model::NotAModel,
    npz::NpzError,
    onnx::OnnxError,
    pickle::PickleError,
    pipeline::PipelineError,
};
use soundalike_network::{HyperparameterError, TensorSpec};

/// An error of a file: the path and the problem.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    kind: Box<ErrorKind>,
}

impl Error {
    /// The problem alone, for another path.
    pub(crate) fn into_kind(self) -> ErrorKind {
        *self.kind
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Display` includes the kind. Its cause comes next.
        self.kind.source()
    }
}

impl Error {
    /// The file or directory, as given by the caller.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The problem.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// The problem of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused an operation.
    #[error("{action} failed")]
    Io {
        /// The operation: `opening`, `reading`, `writing`, ...
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A directory with no pipeline, model or PLDA.
    #[error(
        "is a directory without config.yaml, pipeline.json, pytorch_model.bin or plda.npz with xvec_transform.npz; give a model file or a pipeline directory"
    )]
    Directory,
    /// A pipeline directory in place of one model.
    #[error(
        "is a pipeline directory, expected one model; give its segmentation, embedding or plda"
    )]
    PipelineForModel,
    /// A device or a pipe, which may have no end.
    #[error("is not a regular file; copy its contents into one")]
    NotAFile,
    /// An empty file.
    #[error("is empty")]
    Empty,
    /// A file of an unknown format. Its first bytes are shown.
    #[error(
        "is not a model: starts with {0}, expected a PyTorch checkpoint (zip), an ONNX export or a bundle (safetensors)"
    )]
    Format(String),
    /// The leftover of a download in place of a file.
    #[error(transparent)]
    NotAModel(#[from] NotAModel),
    /// A numpy archive in place of a model.
    #[error(
        "is a numpy archive, not a model; for a PLDA, give the directory of plda.npz and xvec_transform.npz"
    )]
    NumpyArchive,
    /// A safetensors file that is not a bundle.
    #[error(
        "is a safetensors file without the metadata key `soundalike`; convert the original checkpoint instead"
    )]
    NotABundle,
    /// A damaged safetensors file. The text of the library's error includes its causes, so the error is not returned by
    /// `source()`.
    #[error("is not a valid safetensors file: {0}")]
    Safetensors(safetensors::SafeTensorError),
    /// Unreadable metadata of a bundle.
    #[error("metadata of the bundle cannot be read; convert the original again")]
    Metadata(#[source] serde_json::Error),
    /// A bundle of another version than [`BUNDLE_FORMAT`] and [`INTEGER_FORMAT`].
    #[error(
        "bundle has format {0}, this program reads {BUNDLE_FORMAT} and {INTEGER_FORMAT}; convert the original again"
    )]
    BundleFormat(u32),
    /// A tensor with an unsupported element type.
    #[error("tensor {} has element type {dtype}, which is not supported", quoted_name(.tensor))]
    ElementType {
        /// Its name.
        tensor: String,
        /// The type under its name in safetensors.
        dtype: String,
    },
    /// A weight in integers, or its scales, of an unexpected shape or type.
    #[error("weights in {integers}: {} is {found}, expected {expected}; convert the original again", quoted_name(.tensor))]
    Integers {
        /// The name of the weight or of its scales.
        tensor: String,
        /// The type and shape in the file.
        found: String,
        /// The type and shape that belong to the weight.
        expected: String,
        /// The integers.
        integers: Integers,
    },
    /// Tensors with infinite or NaN values.
    #[error("{} not finite: {}; the weights are broken", plural(.0.len(), "tensor is", "tensors are"), listed(.0))]
    NotFinite(Vec<NotFinite>),
    /// Every difference between the tensors of a file and those of its architecture.
    #[error("tensors do not fit {architecture}: {}", differences(missing, unexpected, differing).join("; "))]
    Tensors {
        /// The architecture with its depth.
        architecture: String,
        /// Tensors of the architecture that the file lacks.
        missing: Vec<TensorSpec>,
        /// Tensors that the architecture lacks.
        unexpected: Vec<Found>,
        /// Tensors with another shape or element type.
        differing: Vec<(TensorSpec, Found)>,
    },
    /// A hyperparameter with an unsupported value.
    #[error(transparent)]
    Hyperparameter(#[from] HyperparameterError),
    /// A specification with an invalid value, or one that does not match the network.
    #[error("specification {} is {found}, expected {expected}", quoted_name(.field))]
    Specification {
        /// Its name in pyannote.
        field: &'static str,
        /// The value in the file.
        found: String,
        /// The valid values.
        expected: String,
    },
    /// An unsupported network.
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
        /// First components of the names of its tensors.
        prefixes: Vec<String>,
        /// Number of tensors.
        tensors: usize,
    },
    /// Tensors with values that are infinite in the target type.
    #[error("{dtype} cannot hold {}: {}; use bf16 or f32", plural(.1.len(), "tensor", "tensors"), listed(.1), dtype = .0)]
    Overflow(WeightType, Vec<NotFinite>),
    /// The file on disk differs from the bytes written, first at this byte.
    #[error("differs from the written data at byte {0}; check the disk")]
    ReadBack(usize),
    /// A damaged, hostile or unsuitable zip archive.
    #[error(transparent)]
    Zip(#[from] ArchiveError),
    /// A damaged or hostile pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// An unsupported checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A damaged ONNX export, or one of another network.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A damaged or unsuitable numpy archive.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// An incomplete or unsupported pipeline directory.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// A tensor with infinite or NaN values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFinite {
    /// Its name.
    pub tensor: String,
    /// Number of infinite and NaN values.
    pub values: usize,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// One phrase for all missing tensors, one for all unexpected tensors, and one for each differing tensor.
fn differences(
    missing: &[TensorSpec],
    unexpected: &[Found],
    differing: &[(TensorSpec, Found)],
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

fn listed(tensors: &[NotFinite]) -> String {
    let text = |NotFinite { tensor, values }: &NotFinite| {
        format!(
            "{} ({})",
            quoted_name(tensor),
            plural(*values, "value", "values")
        )
    };
    tensors.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Number of bytes of an unknown file shown in an error.
pub(crate) const SHOWN_BYTES: usize = 16;

/// The first bytes of a file as text.
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
    /// The error of the file at `path`.
    pub(crate) fn at(self, path: impl Into<PathBuf>) -> Error {
        Error {
            path: path.into(),
            kind: Box::new(self),
        }
    }

    /// For `map_err` on the result of a system call.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}
