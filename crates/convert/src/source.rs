//! The source of a bundle.

use serde::{Deserialize, Serialize};

/// Kinds of input file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// The zip of `torch.save` (PyTorch 1.6 and later) and Lightning.
    PytorchZip,
    /// The file of `torch.save` before PyTorch 1.6.
    PytorchLegacy,
    /// An ONNX export.
    Onnx,
    /// `plda.npz` with `xvec_transform.npz`.
    PldaNpz,
    /// A numpy archive: a trace.
    Npz,
    /// A safetensors file that is no bundle.
    Safetensors,
    /// A bundle.
    Bundle,
    /// A pyannote pipeline directory, or a converted one.
    PipelineDirectory,
}

impl std::fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PytorchZip => "PyTorch checkpoint",
            Self::PytorchLegacy => "PyTorch checkpoint, as before version 1.6",
            Self::Onnx => "ONNX export",
            Self::PldaNpz => "PLDA arrays",
            Self::Npz => "numpy archive",
            Self::Safetensors => "safetensors file",
            Self::Bundle => "bundle",
            Self::PipelineDirectory => "pipeline directory",
        })
    }
}

/// The file from which a bundle was converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// File name without directories. For the PLDA, two names joined by ` + `.
    pub file: String,
    /// Kind of file.
    pub format: SourceFormat,
    /// SHA-256 of the file in lower-case hexadecimal. For the PLDA, of both files, concatenated in the order of `file`.
    pub sha256: String,
    /// Version of this crate at the conversion.
    pub converter: String,
}

impl Source {
    /// A file converted by this version of the crate.
    pub(crate) fn new(file: impl Into<String>, format: SourceFormat, sha256: String) -> Self {
        Self {
            file: file.into(),
            format,
            sha256,
            converter: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// SHA-256 of the concatenated parts, in lower-case hexadecimal.
#[must_use]
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    use sha2::Digest;
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sha256_of_abc_is_the_one_in_the_standard() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256([&b"a"[..], &b"bc"[..]]), expected);
    }
}
