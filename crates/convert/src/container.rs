//! A safetensors file with one metadata key. Its value is a header in JSON, with the version of the layout. Bundles and
//! saved runs are such files.

use std::collections::HashMap;

use safetensors::{
    SafeTensors,
    tensor::{Metadata, SafeTensorError, View},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One kind of these files.
#[derive(Debug, Clone, Copy)]
pub struct Container {
    /// The only key in the metadata. safetensors writes several keys in random order.
    pub key: &'static str,
    /// Version of the layout: `format` in the header. A file with another version is refused.
    pub format: u32,
}

/// Why a file was refused. It has no `Display`: the message depends on the kind of file, which the caller names.
#[derive(Debug)]
pub enum ContainerError {
    /// Not a safetensors file.
    Safetensors(SafeTensorError),
    /// No such key in the metadata.
    MissingKey,
    /// Another version of the layout.
    Format(u32),
    /// An unreadable header.
    Header(serde_json::Error),
}

/// The version, read before the rest of the header.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Container {
    /// Writes a file in memory. The same header and tensors give the same bytes.
    ///
    /// # Errors
    /// The header cannot be written as JSON, or the length of a tensor does not match its shape.
    pub fn write<H: Serialize, S: AsRef<str> + Ord + std::fmt::Display, V: View>(
        self,
        header: &H,
        tensors: impl IntoIterator<Item = (S, V)>,
    ) -> Result<Vec<u8>, ContainerError> {
        let json = serde_json::to_string(header).map_err(ContainerError::Header)?;
        let metadata = HashMap::from([(self.key.to_owned(), json)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(ContainerError::Safetensors)
    }

    /// Reads the header of a file and the table of its tensors. The number is the first byte of the data, from which the
    /// offsets in the table count.
    ///
    /// # Errors
    /// The file is of another kind or damaged.
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
        // Eight bytes of length precede the header of safetensors.
        Ok((header, metadata, header_len + size_of::<u64>()))
    }
}
