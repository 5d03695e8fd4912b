//! Zip archives in memory. Stored entries are borrowed, not copied. The size of inflated entries is limited by the size
//! of the archive.

use std::{
    borrow::Cow,
    io::{Cursor, Read, Seek},
};

use zip::{read::ZipFileEntry, result::ZipError};

use crate::name::quoted_name;

/// An error of a zip archive. The text of the library's error includes its causes, so the error is not returned by
/// `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// An unreadable directory.
    #[error("zip archive is damaged or cut off: {0}; copy or download it again")]
    Directory(ZipError),
    /// Two entries with one name.
    #[error("zip archive has two entries with one name; the file is damaged or hostile")]
    Duplicate,
    /// Entries with bytes in common: a zip bomb.
    #[error("zip archive has overlapping entries; the file is damaged or hostile")]
    Overlap,
    /// A missing entry.
    #[error("zip archive has no entry {}", quoted_name(.0))]
    Missing(String),
    /// An encrypted entry.
    #[error("entry {} of the zip archive is encrypted; unpack it and save the model again", quoted_name(.0))]
    Encrypted(String),
    /// An unreadable entry.
    #[error("entry {} of the zip archive cannot be read: {reason}", quoted_name(.0), reason = .1)]
    Entry(String, ZipError),
    /// An entry with a declared length above the limit.
    #[error(
        "entry {} of the zip archive declares {found} bytes, the limit is {limit}",
        quoted_name(.entry)
    )]
    TooLarge {
        /// Its name.
        entry: String,
        /// Bytes declared.
        found: u64,
        /// Most bytes accepted.
        limit: u64,
    },
    /// An entry with another length than declared.
    #[error(
        "entry {} of the zip archive has {found} bytes, {expected} declared; the file is damaged",
        quoted_name(.entry)
    )]
    Length {
        /// Its name.
        entry: String,
        /// Bytes read.
        found: u64,
        /// Bytes declared.
        expected: u64,
    },
    /// An entry with another checksum than declared.
    #[error(
        "entry {} of the zip archive has checksum {found:08x}, {expected:08x} declared; the file is damaged",
        quoted_name(.entry)
    )]
    Checksum {
        /// Its name.
        entry: String,
        /// CRC-32 of its bytes.
        found: u32,
        /// CRC-32 declared.
        expected: u32,
    },
}

/// Largest ratio of the size of an entry to its compressed size. Trained weights do not compress below two thirds; only
/// all-zero optimizer states do, and they are not read.
const MAX_INFLATION: u64 = 64;

/// Compressed sizes below this count as this for [`MAX_INFLATION`], in bytes: a small pickle may compress well.
const SMALL_ENTRY: u64 = 1 << 14;

/// Largest ratio of deflate: a match of 258 bytes takes two bits.
const DEFLATE_INFLATION: u64 = 1032;

/// Reads the directory of an archive. Refuses duplicate names and overlapping entries.
pub(crate) fn checked<R: Read + Seek>(reader: R) -> Result<zip::ZipArchive<R>, ArchiveError> {
    let mut zip = zip::ZipArchive::new(reader).map_err(ArchiveError::Directory)?;
    if zip.has_duplicate_names() {
        return Err(ArchiveError::Duplicate);
    }
    if zip
        .has_overlapping_entries()
        .map_err(ArchiveError::Directory)?
    {
        return Err(ArchiveError::Overlap);
    }
    Ok(zip)
}

/// For `map_err`: the entry `name` cannot be read.
pub(crate) fn unreadable(name: &str) -> impl Fn(ZipError) -> ArchiveError + Copy {
    move |reason| ArchiveError::Entry(name.into(), reason)
}

/// The declared length of the entry `name`. Refuses a length that an archive of `file` bytes cannot hold.
pub(crate) fn possible_len<R: Read + Seek>(
    zip: &zip::ZipArchive<R>,
    (index, name): (usize, &str),
    file: u64,
) -> Result<u64, ArchiveError> {
    let data = zip.by_index_data(index).map_err(unreadable(name))?;
    let packed = data.compressed_size().min(file);
    let limit = match data.compression() {
        zip::CompressionMethod::Stored => packed,
        _ => packed.saturating_mul(DEFLATE_INFLATION),
    };
    check_len(&data, name, limit)
}

/// The declared length of an entry. Refuses an encrypted entry, and one of more than `limit` bytes.
fn check_len(data: &ZipFileEntry<'_>, name: &str, limit: u64) -> Result<u64, ArchiveError> {
    if data.encrypted() {
        return Err(ArchiveError::Encrypted(name.into()));
    }
    if data.size() > limit {
        return Err(ArchiveError::TooLarge {
            entry: name.into(),
            found: data.size(),
            limit,
        });
    }
    Ok(data.size())
}

/// A zip archive in memory.
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    zip: zip::ZipArchive<Cursor<&'a [u8]>>,
    /// Whether the file has checksums. With `torch.serialization.set_crc32_options(False)`, torch writes 0 for all.
    checksums: bool,
}

impl<'a> Archive<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let zip = checked(Cursor::new(bytes))?;
        let checksums = (0..zip.len())
            .filter_map(|index| zip.by_index_data(index).ok())
            .any(|entry| entry.crc32() != 0);
        Ok(Self {
            bytes,
            zip,
            checksums,
        })
    }

    /// Names of all entries with valid text, in the order of the directory.
    pub(crate) fn names(&self) -> Vec<String> {
        self.zip
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect()
    }

    /// Declared length of an entry, in bytes.
    pub(crate) fn len(&self, entry: &str) -> Result<u64, ArchiveError> {
        let index = self.index(entry)?;
        let data = self.zip.by_index_data(index);
        Ok(data
            .map_err(|_| ArchiveError::Missing(entry.into()))?
            .size())
    }

    fn index(&self, entry: &str) -> Result<usize, ArchiveError> {
        let index = self.zip.index_for_name(entry);
        index.ok_or_else(|| ArchiveError::Missing(entry.into()))
    }

    /// Reads an entry of at most `limit` bytes and verifies its checksum.
    pub(crate) fn read(&mut self, entry: &str, limit: u64) -> Result<Cow<'a, [u8]>, ArchiveError> {
        let broken = unreadable(entry);
        let index = self.index(entry)?;
        let data = self.zip.by_index_data(index).map_err(broken)?;
        let (packed, checksum) = (data.compressed_size(), data.crc32());
        let stored = data.compression() == zip::CompressionMethod::Stored;
        let plausible = match stored {
            true => packed,
            false => packed.max(SMALL_ENTRY).saturating_mul(MAX_INFLATION),
        };
        let expected = check_len(&data, entry, limit.min(plausible))?;
        let wrong = |found| ArchiveError::Length {
            entry: entry.into(),
            found,
            expected,
        };

        if stored {
            let file = self.zip.by_index_raw(index).map_err(broken)?;
            let lent = file.data_start().and_then(|start| {
                let start = usize::try_from(start).ok()?;
                let end = start.checked_add(usize::try_from(expected).ok()?)?;
                self.bytes.get(start..end)
            });
            let lent = lent.ok_or_else(|| wrong(self.bytes.len() as u64))?;
            let found = crc32fast::hash(lent);
            if self.checksums && found != checksum {
                return Err(ArchiveError::Checksum {
                    entry: entry.into(),
                    found,
                    expected: checksum,
                });
            }
            return Ok(Cow::Borrowed(lent));
        }

        let file = self.zip.by_index(index).map_err(broken)?;
        let mut inflated = Vec::new();
        // One byte more than declared, to detect a longer entry.
        file.take(expected + 1)
            .read_to_end(&mut inflated)
            .map_err(|error| broken(error.into()))?;
        let found = inflated.len() as u64;
        if found != expected {
            return Err(wrong(found));
        }
        Ok(Cow::Owned(inflated))
    }
}
