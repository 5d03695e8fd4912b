//! The file of a checkpoint: where its storages are.

use std::{borrow::Cow, collections::BTreeMap};

use super::CheckpointError;
use crate::{
    archive::Archive,
    error::ErrorKind,
    pickle::{MAX_PICKLE_BYTES, Pickle},
    source::SourceFormat,
};

/// The storages of a checkpoint, by key.
pub(super) enum Contents<'a> {
    /// `PREFIX/data/KEY`. The prefix ends with a slash.
    Zip {
        archive: Archive<'a>,
        prefix: String,
    },
    /// Before PyTorch 1.6: one behind the other.
    Legacy(BTreeMap<String, &'a [u8]>),
}

impl<'a> Contents<'a> {
    pub(super) fn format(&self) -> SourceFormat {
        match self {
            Self::Zip { .. } => SourceFormat::PytorchZip,
            Self::Legacy(_) => SourceFormat::PytorchLegacy,
        }
    }

    /// Where a storage is.
    pub(super) fn entry(&self, key: &str) -> String {
        match self {
            Self::Zip { prefix, .. } => format!("{prefix}data/{key}"),
            Self::Legacy(_) => format!("storage {key}"),
        }
    }

    /// A storage of so many bytes.
    pub(super) fn read(&mut self, key: &str, bytes: usize) -> Result<Cow<'a, [u8]>, ErrorKind> {
        let entry = self.entry(key);
        let found = match self {
            Self::Zip { archive, .. } => archive.len(&entry)?,
            Self::Legacy(storages) => storages.get(key).map_or(0, |storage| storage.len() as u64),
        };
        if found != bytes as u64 {
            return Err(CheckpointError::StorageLength {
                entry,
                found,
                expected: bytes,
            }
            .into());
        }
        Ok(match self {
            Self::Zip { archive, .. } => archive.read(&entry, found)?,
            Self::Legacy(storages) => Cow::Borrowed(storages.get(key).copied().unwrap_or_default()),
        })
    }
}

/// Most bytes of `byteorder`, which holds `little` or `big`.
const MAX_BYTEORDER: u64 = 16;

/// The zip archive of PyTorch 1.6 and later, with `PREFIX/data.pkl`.
pub(super) fn read_zip(bytes: &[u8]) -> Result<(Contents<'_>, Pickle), ErrorKind> {
    let mut archive = Archive::open(bytes)?;
    let names = archive.names();
    let pickles: Vec<&String> = names
        .iter()
        .filter(|name| name.split('/').next_back() == Some("data.pkl"))
        .collect();
    let prefix = match *pickles {
        [name] => name.strip_suffix("data.pkl").unwrap_or_default().to_owned(),
        [] => return Err(CheckpointError::NoPickle(names).into()),
        [..] => return Err(CheckpointError::ManyPickles(pickles.len()).into()),
    };
    let script = |name: &String| {
        let inside = name.strip_prefix(&prefix).unwrap_or_default();
        inside == "constants.pkl" || inside.starts_with("code/")
    };
    if names.iter().any(script) {
        return Err(CheckpointError::TorchScript.into());
    }
    let byteorder = format!("{prefix}byteorder");
    if names.contains(&byteorder) && archive.read(&byteorder, MAX_BYTEORDER)?.starts_with(b"big") {
        return Err(CheckpointError::BigEndian.into());
    }
    let data = archive.read(&format!("{prefix}data.pkl"), MAX_PICKLE_BYTES as u64)?;
    let pickle = Pickle::read(&data)?;
    Ok((Contents::Zip { archive, prefix }, pickle))
}
