//! Conversion of any supported file to a bundle, with the origin of each tensor.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    Bundle,
    archive::Archive,
    beside::{self, Beside},
    bundle::{Draft, Header},
    checkpoint::{self, Checkpoint},
    error::{Error, ErrorKind, start_of},
    files, loose,
    not_a_model::NotAModel,
    npz, onnx, pipeline, plda,
    source::SourceFormat,
};

/// A bundle and the origin of its tensors.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The network.
    pub bundle: Bundle,
    /// The origin of each tensor, by name.
    pub origins: BTreeMap<String, Origin>,
    /// Classes and functions in the checkpoint's pickle that are not known to be harmless, sorted. None was called.
    pub foreign_globals: Vec<String>,
}

impl Conversion {
    /// Makes a bundle of these tensors, which must match the header.
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

    /// A bundle that was read from a file.
    pub(crate) fn of_bundle(bundle: Bundle) -> Self {
        Self {
            origins: bundle.origins(),
            bundle,
            foreign_globals: Vec::new(),
        }
    }
}

/// The origin of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// A storage of a PyTorch checkpoint.
    Storage {
        /// Its name in the archive: `archive/data/16`.
        entry: String,
        /// First element of the tensor in the storage.
        offset: usize,
        /// Whether the elements were in row-major order. If not, they were reordered.
        contiguous: bool,
    },
    /// A stored tensor of an ONNX export.
    Initializer {
        /// Its name: `onnx::LSTM_784`.
        name: String,
        /// How it was changed.
        change: WeightChange,
    },
    /// A tensor of a safetensors file.
    Tensor {
        /// Its name: `model.classifier.weight`.
        name: String,
        /// How it was changed.
        change: WeightChange,
    },
    /// A numpy array.
    Array {
        /// The archive: `plda.npz`.
        file: String,
        /// Its name in the archive: `psi.npy`.
        entry: String,
    },
    /// A bundle.
    Bundle {
        /// First byte of the tensor in the file.
        offset: usize,
    },
}

/// How a stored tensor was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightChange {
    /// Not at all.
    None,
    /// Rows and columns were exchanged.
    Transposed,
    /// The kernel of a convolution came before its inputs, which are PyTorch's second axis.
    KernelFirst,
    /// One direction was extracted, and its gates were reordered from ONNX (input, output, forget, cell) to PyTorch
    /// (input, forget, cell, output).
    GatesReordered {
        /// 0: forward, 1: backward in time.
        direction: usize,
    },
}

impl Origin {
    /// The origin of a tensor that was changed.
    pub(crate) fn changed(self, change: WeightChange) -> Self {
        match self {
            Self::Initializer { name, .. } => Self::Initializer { name, change },
            Self::Tensor { name, .. } => Self::Tensor { name, change },
            other => other,
        }
    }

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
            Self::Initializer { name, change } | Self::Tensor { name, change } => match change {
                WeightChange::None => write!(f, "{name}"),
                WeightChange::Transposed => write!(f, "{name}, transposed"),
                WeightChange::KernelFirst => write!(f, "{name}, kernels last"),
                WeightChange::GatesReordered { direction } => {
                    write!(f, "{name}[{direction}], gates reordered")
                }
            },
            Self::Array { file, entry } => write!(f, "{file}/{entry}"),
            Self::Bundle { offset } => write!(f, "byte {offset}"),
        }
    }
}

/// File name of a model in its directory. pyannote `AssetFileName.Model`.
pub(crate) const MODEL_FILE: &str = "pytorch_model.bin";

/// File name of weights in a directory of the hub's `transformers`.
pub(crate) const SAFETENSORS_FILE: &str = "model.safetensors";

/// Opens a bundle, or converts a PyTorch checkpoint, an ONNX export, or a directory with `pytorch_model.bin` or the two
/// PLDA files in memory. Runs no code from the file.
///
/// # Errors
/// As [`convert`].
pub fn load(path: &Path) -> Result<Bundle, Error> {
    Ok(convert(path)?.bundle)
}

/// Like [`load`], with the origin of each tensor.
///
/// # Errors
/// If the file cannot be read, is none of these, or holds an unsupported network.
pub fn convert(path: &Path) -> Result<Conversion, Error> {
    if path.is_dir() {
        if plda::is_plda(path) {
            return plda::convert(path);
        }
        for file in [MODEL_FILE, SAFETENSORS_FILE] {
            if path.join(file).is_file() {
                return convert(&path.join(file));
            }
        }
        if pipeline::is_pipeline(path) {
            return Err(ErrorKind::PipelineForModel.at(path));
        }
        return Err(no_model(path));
    }
    let bytes = files::read(path)?;
    let beside = Beside::of(path, &bytes)?;
    convert_with(bytes.into(), files::name(path), &beside).map_err(|kind| kind.at(path))
}

/// The error of a directory without a model or a pipeline.
pub(crate) fn no_model(directory: &Path) -> Error {
    let files = [pipeline::CONFIG_YAML, MODEL_FILE].map(|file| directory.join(file));
    let dangling = |file: PathBuf| Some(ErrorKind::from(NotAModel::dangling(&file)?).at(file));
    let dangling = files.into_iter().find_map(dangling);
    dangling.unwrap_or_else(|| ErrorKind::Directory.at(directory))
}

/// The existing files that [`convert`] or [`crate::PipelineDirectory::read`] reads for `path`. They must not be
/// overwritten during the conversion.
#[must_use]
pub fn input_files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        let mut files = match pipeline::is_pipeline(path) {
            true => pipeline::input_files(path),
            false => Vec::new(),
        };
        files.push(path.to_owned());
        if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
        {
            let bytes = fs::read(path).unwrap_or_default();
            files.extend(beside::weights(path, &bytes));
        }
        return files;
    }
    let mut files = pipeline::input_files(path);
    files.extend(plda::FILES.map(|file| path.join(file)));
    files.extend([MODEL_FILE, SAFETENSORS_FILE].map(|file| path.join(file)));
    files.retain(|file| file.is_file());
    files
}

/// Like [`convert`], for a file in memory. `name` is recorded as the file name of the source.
///
/// # Errors
/// As [`convert`], without the path.
pub fn convert_bytes(
    bytes: impl Into<Cow<'static, [u8]>>,
    name: impl Into<String>,
) -> Result<Conversion, ErrorKind> {
    convert_with(bytes.into(), name.into(), &Beside::default())
}

/// As [`convert_bytes`], with what belongs to the file.
fn convert_with(
    bytes: Cow<'static, [u8]>,
    name: String,
    beside: &Beside,
) -> Result<Conversion, ErrorKind> {
    match sniff(&bytes)? {
        SourceFormat::Bundle => Bundle::parse(bytes).map(Conversion::of_bundle),
        SourceFormat::Safetensors => loose::of_safetensors(&bytes, &beside.told, name),
        SourceFormat::PytorchZip | SourceFormat::PytorchLegacy => {
            Checkpoint::read(&bytes)?.convert(name)
        }
        SourceFormat::Onnx => onnx::Export::read(&bytes, &beside.weights)?.convert(name),
        SourceFormat::Npz => loose::of_npz(&bytes, name)?.ok_or(ErrorKind::NumpyArchive),
        SourceFormat::PldaNpz | SourceFormat::PipelineDirectory => Err(ErrorKind::NumpyArchive),
    }
}

/// The kind of file, inferred from its first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Result<SourceFormat, ErrorKind> {
    if bytes.is_empty() {
        return Err(ErrorKind::Empty);
    }
    if bytes.starts_with(checkpoint::ZIP_MAGIC) || bytes.starts_with(b"PK\x05\x06") {
        let npz = npz::is_npz(&Archive::open(bytes)?.names());
        return Ok(if npz {
            SourceFormat::Npz
        } else {
            SourceFormat::PytorchZip
        });
    }
    if checkpoint::is_legacy(bytes) {
        return Ok(SourceFormat::PytorchLegacy);
    }
    checkpoint::refuse_bare_pickle(bytes)?;
    // safetensors: eight bytes of length, then a header in JSON.
    if bytes.get(8) == Some(&b'{') {
        return Ok(match loose::is_safetensors(bytes) {
            true => SourceFormat::Safetensors,
            false => SourceFormat::Bundle,
        });
    }
    if onnx::is_onnx(bytes) {
        return Ok(SourceFormat::Onnx);
    }
    let leftover = NotAModel::of_any_file(bytes).or_else(|| NotAModel::of_text(bytes));
    Err(match leftover {
        Some(problem) => problem.into(),
        None => ErrorKind::Format(start_of(bytes)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_its_place_and_what_was_changed() {
        let storage = |offset, contiguous| Origin::Storage {
            entry: "archive/data/16".into(),
            offset,
            contiguous,
        };
        let initializer = |change| Origin::Initializer {
            name: "onnx::LSTM_784".into(),
            change,
        };
        for (origin, expected) in [
            (storage(0, true), "archive/data/16"),
            (storage(8, true), "archive/data/16 from 8"),
            (storage(0, false), "archive/data/16, gathered"),
            (storage(8, false), "archive/data/16 from 8, gathered"),
            (initializer(WeightChange::None), "onnx::LSTM_784"),
            (
                initializer(WeightChange::Transposed),
                "onnx::LSTM_784, transposed",
            ),
            (
                initializer(WeightChange::GatesReordered { direction: 1 }),
                "onnx::LSTM_784[1], gates reordered",
            ),
            (Origin::array("plda.npz", "psi"), "plda.npz/psi.npy"),
            (Origin::Bundle { offset: 512 }, "byte 512"),
        ] {
            assert_eq!(origin.to_string(), expected);
        }
    }
}
