//! Where a bundle came from.

use serde::{Deserialize, Serialize};

/// The kinds of file that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A zip written by `torch.save` (PyTorch 1.6 and later, Lightning).
    PytorchZip,
    /// An ONNX export.
    Onnx,
    /// `plda.npz` with `xvec_transform.npz`.
    PldaNpz,
    /// A numpy archive: a trace.
    Npz,
    /// One of our own files.
    Bundle,
    /// A pyannote pipeline directory, or the bundle directory made from one.
    PipelineDirectory,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PytorchZip => "PyTorch checkpoint",
            Self::Onnx => "ONNX export",
            Self::PldaNpz => "PLDA arrays",
            Self::Npz => "numpy archive",
            Self::Bundle => "bundle",
            Self::PipelineDirectory => "pipeline directory",
        })
    }
}

/// Where the tensors of a bundle came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// File name without directories; two names joined by ` + ` for the PLDA.
    pub file: String,
    /// What kind of file it was.
    pub format: Format,
    /// SHA-256 of the file in lower-case hexadecimal; for the PLDA, of the two files one after the
    /// other, in the order of `file`.
    pub sha256: String,
    /// Version of this crate that converted it.
    pub converter: String,
}

impl Source {
    /// A file that this version of the crate converts.
    pub(crate) fn new(file: impl Into<String>, format: Format, sha256: String) -> Self {
        Self {
            file: file.into(),
            format,
            sha256,
            converter: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// SHA-256 of the parts, one after the other, in lower-case hexadecimal.
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
