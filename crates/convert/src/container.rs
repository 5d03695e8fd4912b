//! A safetensors file with one metadata key, whose value is a header in JSON with the version of its layout: what
//! bundles are, and saved runs.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, SafeTensorError, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One kind of these files.
#[derive(Debug, Clone, Copy)]
pub struct Container {
    /// The one key in the metadata. One, because several come out in random order.
    pub key: &'static str,
    /// Version of the layout, which the header has as `format`. A file with another one is refused.
    pub format: u32,
}

/// Why a file is not one of a kind. What it is called is the caller's to say: this has no `Display`.
#[derive(Debug)]
pub enum ContainerError {
    /// It is not a safetensors file.
    Safetensors(SafeTensorError),
    /// Its metadata lacks the key.
    MissingKey,
    /// Its layout has another version.
    Format(u32),
    /// Its header cannot be read.
    Header(serde_json::Error),
}

/// The part of a header that says whether the rest can be understood.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Container {
    /// The file, in memory. The same header and tensors give the same bytes.
    ///
    /// # Errors
    /// [`ContainerError`] where a tensor has other bytes than its shape says, or the header is no JSON.
    pub fn write<H: Serialize, S: AsRef<str> + Ord + std::fmt::Display, V: View>(
        self,
        header: &H,
        tensors: impl IntoIterator<Item = (S, V)>,
    ) -> Result<Vec<u8>, ContainerError> {
        let json = serde_json::to_string(header).map_err(ContainerError::Header)?;
        let metadata = HashMap::from([(self.key.to_owned(), json)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(ContainerError::Safetensors)
    }

    /// The header of a file, where its tensors are, and the first byte of what that counts from.
    ///
    /// # Errors
    /// [`ContainerError`] where the file is of another kind or damaged.
    pub fn read<H: DeserializeOwned>(
        self,
        bytes: &[u8],
    ) -> Result<(H, Metadata, usize), ContainerError> {
        let (header_len, metadata) =
            SafeTensors::read_metadata(bytes).map_err(ContainerError::Safetensors)?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|keys| keys.get(self.key))
            .ok_or(ContainerError::MissingKey)?;
        let FormatOnly { format } = serde_json::from_str(json).map_err(ContainerError::Header)?;
        if format != self.format {
            return Err(ContainerError::Format(format));
        }
        let header = serde_json::from_str(json).map_err(ContainerError::Header)?;
        // Eight bytes of length come before the header of safetensors.
        Ok((header, metadata, header_len + size_of::<u64>()))
    }
}
