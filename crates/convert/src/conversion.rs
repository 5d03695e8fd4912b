//! From a file of any kind to a bundle, and where each tensor came from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::archive::Archive;
use crate::bundle::{Draft, Header};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Error, ErrorKind, start_of};
use crate::source::Format;
use crate::{Bundle, files, npz, onnx, pipeline, plda};

/// A bundle and where its tensors came from.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The network.
    pub bundle: Bundle,
    /// Where each of its tensors came from, by name.
    pub origins: BTreeMap<String, Origin>,
    /// Classes and functions in the checkpoint's pickle that are not known to be harmless, sorted.
    /// They stayed names: nothing was run.
    pub foreign_globals: Vec<String>,
}

impl Conversion {
    /// A bundle of these tensors, which the header needs.
    pub(crate) fn assemble(
        header: &Header,
        tensors: Vec<(Draft<'_>, Origin)>,
    ) -> Result<Self, ErrorKind> {
        let (drafts, origins): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
        let names = drafts.iter().map(|draft| draft.name.clone());
        Ok(Self {
            origins: names.zip(origins).collect(),
            bundle: Bundle::assemble(header, &drafts)?,
            foreign_globals: Vec::new(),
        })
    }

    /// A bundle as it was read.
    pub(crate) fn of_bundle(bundle: Bundle) -> Self {
        Self {
            origins: bundle.origins(),
            bundle,
            foreign_globals: Vec::new(),
        }
    }
}

/// Where a tensor came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// A storage of a PyTorch checkpoint.
    Storage {
        /// Its name in the archive: `archive/data/16`.
        entry: String,
        /// First element of the tensor in it.
        offset: usize,
        /// Whether the elements lie in row-major order; they were gathered where not.
        contiguous: bool,
    },
    /// A stored tensor of an ONNX export.
    Initializer {
        /// Its name: `onnx::LSTM_784`.
        name: String,
        /// What was done to it.
        change: Change,
    },
    /// A numpy array.
    Array {
        /// The archive: `plda.npz`.
        file: String,
        /// Its name in the archive: `psi.npy`.
        entry: String,
    },
    /// The bundle itself.
    Bundle {
        /// Its first byte in the file.
        offset: usize,
    },
}

/// What was done to a stored tensor of an ONNX export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    None,
    /// Rows became columns.
    Transposed,
    /// One direction was taken out and its gates put from ONNX's order (input, output, forget,
    /// cell) into PyTorch's (input, forget, cell, output).
    GatesReordered {
        /// 0: forwards, 1: backwards in time.
        direction: usize,
    },
}

impl Origin {
    /// The array `name` of a numpy archive.
    pub(crate) fn array(file: impl Into<String>, name: &str) -> Self {
        Self::Array {
            file: file.into(),
            entry: format!("{name}.npy"),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage {
                entry,
                offset,
                contiguous,
            } => {
                write!(f, "{entry}")?;
                if *offset > 0 {
                    write!(f, " from {offset}")?;
                }
                if !contiguous {
                    write!(f, ", gathered")?;
                }
                Ok(())
            }
            Self::Initializer { name, change } => match change {
                Change::None => write!(f, "{name}"),
                Change::Transposed => write!(f, "{name}, transposed"),
                Change::GatesReordered { direction } => {
                    write!(f, "{name}[{direction}], gates reordered")
                }
            },
            Self::Array { file, entry } => write!(f, "{file}/{entry}"),
            Self::Bundle { offset } => write!(f, "byte {offset}"),
        }
    }
}

/// Name of a model's file in a directory of its own. pyannote `AssetFileName.Model`.
pub(crate) const MODEL_FILE: &str = "pytorch_model.bin";

/// Opens a bundle, or converts a PyTorch checkpoint, an ONNX export, or a directory with
/// `pytorch_model.bin` or the two PLDA files in memory. Runs nothing that is in the file.
pub fn load(path: &Path) -> Result<Bundle, Error> {
    Ok(convert(path)?.bundle)
}

/// As [`load`], and says where each tensor came from.
pub fn convert(path: &Path) -> Result<Conversion, Error> {
    if path.is_dir() {
        if plda::is_plda(path) {
            return plda::convert(path);
        }
        if path.join(MODEL_FILE).is_file() {
            return convert(&path.join(MODEL_FILE));
        }
        let kind = if pipeline::is_pipeline(path) {
            ErrorKind::PipelineForModel
        } else {
            ErrorKind::Directory
        };
        return Err(kind.at(path));
    }
    let bytes = files::read(path)?;
    convert_bytes(bytes, files::name(path)).map_err(|kind| kind.at(path))
}

/// The files that [`convert`] or [`crate::PipelineDirectory::read`] would read of `path`, as far as they exist: what
/// must not be overwritten while they are read.
#[must_use]
pub fn model_files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut files = pipeline::model_files(path);
    files.extend(plda::FILES.map(|file| path.join(file)));
    files.push(path.join(MODEL_FILE));
    files.retain(|file| file.is_file());
    files
}

/// As [`convert`], of a file in memory. `name` is recorded as the name of the source.
pub fn convert_bytes(
    bytes: impl Into<Cow<'static, [u8]>>,
    name: impl Into<String>,
) -> Result<Conversion, ErrorKind> {
    let (bytes, name) = (bytes.into(), name.into());
    match sniff(&bytes)? {
        Format::Bundle => Bundle::parse(bytes).map(Conversion::of_bundle),
        Format::PytorchZip => Checkpoint::read(&bytes)?.convert(name),
        Format::Onnx => onnx::Export::read(&bytes)?.convert(name),
        Format::Npz | Format::PldaNpz | Format::PipelineDirectory => Err(ErrorKind::NumpyArchive),
    }
}

/// What kind of file this is, from its first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Result<Format, ErrorKind> {
    if bytes.is_empty() {
        return Err(ErrorKind::Empty);
    }
    if bytes.starts_with(checkpoint::ZIP_MAGIC) || bytes.starts_with(b"PK\x05\x06") {
        let npz = npz::is_npz(&Archive::open(bytes)?.names());
        return Ok(if npz { Format::Npz } else { Format::PytorchZip });
    }
    checkpoint::refuse_bare_pickle(bytes)?;
    // safetensors: eight bytes of header length, then the header, which is JSON.
    if bytes.get(8) == Some(&b'{') {
        return Ok(Format::Bundle);
    }
    if onnx::is_onnx(bytes) {
        return Ok(Format::Onnx);
    }
    Err(ErrorKind::Format(start_of(bytes)))
}
