//! A zip archive in memory: entries that lie stored are lent, not copied; what is inflated is
//! limited by what the archive itself could honestly hold.

use std::borrow::Cow;
use std::io::{Cursor, Read, Seek};

use zip::read::ZipFileEntry;
use zip::result::ZipError;

use crate::name::quoted_name;

/// What is wrong with a zip archive. The zip library's text includes its causes, so it is printed and is not the
/// `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Its directory cannot be read.
    #[error("zip archive is damaged or cut off: {0}; copy or download it again")]
    Directory(ZipError),
    /// Two entries of one name.
    #[error("zip archive has two entries of one name, which no program writes")]
    Duplicate,
    /// Entries that share bytes: a zip bomb.
    #[error("zip archive has entries that overlap, which no program writes")]
    Overlap,
    /// An entry that should be there.
    #[error("zip archive lacks {}", quoted_name(.0))]
    Missing(String),
    /// An entry that is encrypted.
    #[error("zip archive has {} encrypted; unpack it and save the model again", quoted_name(.0))]
    Encrypted(String),
    /// An entry that cannot be read.
    #[error("zip archive has {}, which cannot be read: {reason}", quoted_name(.0), reason = .1)]
    Entry(String, ZipError),
    /// An entry that says to hold more than it can.
    #[error(
        "zip archive has {} with {found} bytes declared, more than the {limit} that can be meant",
        quoted_name(.entry)
    )]
    TooLarge {
        /// Its name.
        entry: String,
        /// Bytes it declares to hold.
        found: u64,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// An entry with another length than it says.
    #[error(
        "zip archive has {} with {found} bytes, {expected} declared; the file is damaged",
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
    /// An entry with another checksum than it says.
    #[error(
        "zip archive has {} with checksum {found:08x}, {expected:08x} declared; the file is damaged",
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

/// How much larger than its compressed form an entry may be. Trained weights do not compress below
/// two thirds; all-zero optimizer states, which are not read, are the only thing that does.
const MAX_INFLATION: u64 = 64;

/// Compressed size below which [`MAX_INFLATION`] does not matter: a pickle of a few kilobytes may
/// well shrink to one.
const SMALL_ENTRY: u64 = 1 << 14;

/// Most bytes that deflate makes of one: a match of 258 bytes takes two bits.
const DEFLATE_INFLATION: u64 = 1032;

/// Reads the directory of an archive. Its entries have different names and share no bytes.
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

/// For `map_err` where the entry `name` cannot be read.
pub(crate) fn unreadable(name: &str) -> impl Fn(ZipError) -> ArchiveError + Copy {
    move |reason| ArchiveError::Entry(name.into(), reason)
}

/// The declared length of the entry `name` of an archive of `file` bytes, which can hold it.
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

/// The declared length of an entry, which is not encrypted and has at most `limit` bytes.
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
    /// Whether the file has checksums at all: `torch.serialization.set_crc32_options(False)` makes
    /// torch write 0 for all of them.
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

    /// Names of all entries that are text, in the order of the directory.
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

    /// The bytes of an entry, at most `limit` of them, its checksum verified.
    pub(crate) fn read(&mut self, entry: &str, limit: u64) -> Result<Cow<'a, [u8]>, ArchiveError> {
        let broken = unreadable(entry);
        let index = self.index(entry)?;
        let data = self.zip.by_index_data(index).map_err(broken)?;
        let (packed, checksum) = (data.compressed_size(), data.crc32());
        let stored = data.compression() == zip::CompressionMethod::Stored;
        let honest = match stored {
            true => packed,
            false => packed.max(SMALL_ENTRY).saturating_mul(MAX_INFLATION),
        };
        let expected = check_len(&data, entry, limit.min(honest))?;
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
        // One byte more than declared, to notice that there is more.
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
