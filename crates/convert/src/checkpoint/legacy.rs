//! The format of `torch.save` before PyTorch 1.6: five pickles (magic number, version, machine, contents, keys of
//! storages), then each storage: its number of elements and its bytes. PyTorch `torch/serialization.py`, `_legacy_save`.

use std::collections::BTreeMap;

use super::{CheckpointError, contents::Contents, storage};
use crate::{error::ErrorKind, pickle::Pickle};

/// The first value: the long integer 0x1950a86a20f9469cfc6c. `MAGIC_NUMBER`.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// The second value. `PROTOCOL_VERSION`.
const VERSION: i64 = 1001;

/// Whether a file begins as such a checkpoint.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 0..=5, rest @ ..] if rest.starts_with(MAGIC))
}

pub(super) fn read(bytes: &[u8]) -> Result<(Contents<'_>, Pickle), ErrorKind> {
    let mut rest = bytes;
    Pickle::take(&mut rest)?;
    let version = Pickle::take(&mut rest)?;
    if version.int(version.root()) != Some(VERSION) {
        return Err(CheckpointError::Version(version.describe(version.root())).into());
    }
    let machine = Pickle::take(&mut rest)?;
    let little = machine.get(machine.root(), "little_endian");
    if little.and_then(|little| machine.bool(little)) == Some(false) {
        return Err(CheckpointError::BigEndian.into());
    }
    let contents = Pickle::take(&mut rest)?;
    let keys = Pickle::take(&mut rest)?;

    let mut sizes = BTreeMap::new();
    for id in contents.persistent() {
        if let Some(storage) = storage::named(&contents, id, None) {
            sizes.insert(storage.key, storage.dtype.size());
        }
    }
    let mut storages = BTreeMap::new();
    for &key in keys.sequence(keys.root()).unwrap_or_default() {
        let name = keys.str(key);
        // Behind a storage of unknown size no other is found.
        let Some((name, size)) = name.and_then(|name| Some((name, sizes.get(name)?))) else {
            return Err(CheckpointError::UnknownStorage(keys.describe(key)).into());
        };
        let storage = take_storage(&mut rest, *size)
            .ok_or_else(|| CheckpointError::CutStorage(name.to_owned()))?;
        storages.insert(name.to_owned(), storage);
    }
    Ok((Contents::Legacy(storages), contents))
}

/// A number of elements, and so many.
fn take_storage<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let len = rest.split_off(..size_of::<i64>())?;
    let len = i64::from_le_bytes(len.try_into().ok()?);
    rest.split_off(..usize::try_from(len).ok()?.checked_mul(size)?)
}
