//! numpy's `.npz`: a zip of `.npy` arrays.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

mod element;
mod error;
mod header;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

pub use element::NpzElement;
pub use error::NpzError;
use header::Header;

use crate::Dtype;
use crate::archive::{self, ArchiveError};
use crate::error::{Error, ErrorKind, SHOWN_BYTES, start_of};
use crate::name::shown;
use crate::shape::row_major;

/// How much larger than the file its arrays may be, all together. Activations compress by a few per cent, decisions of
/// 0 and 1 by a factor of 300, but those are few.
const MAX_INFLATION: u64 = 64;
/// Bytes of all arrays below which [`MAX_INFLATION`] does not matter: activations on silence shrink to almost nothing.
const SMALL_ARCHIVE: u64 = 1 << 30;
/// Bytes read at a time: a multiple of every element's size.
const CHUNK: u64 = 1 << 16;

/// A numpy archive, from which arrays are read one by one.
///
/// Opening reads the headers of all arrays and no data. An open archive is consistent: names are unique, entries do not
/// overlap, and the length of each array is that of its shape. Memory is taken for the array that is read, after its
/// size was compared with what the file can hold, and for nothing else.
///
/// ```
/// # use std::io::Write;
/// # let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
/// # zip.start_file("x.npy", zip::write::SimpleFileOptions::default())?;
/// # zip.write_all(b"\x93NUMPY\x01\0\x3a\0{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n")?;
/// # zip.write_all(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])?;
/// # let reader = zip.finish()?;
/// use soundalike_convert::Npz;
///
/// let mut npz = Npz::new(reader, "trace.npz")?;
/// for entry in npz.entries() {
///     println!("{} {} {:?}", entry.name(), entry.descr(), entry.shape());
/// }
/// let x = npz.read::<f64>("x")?;
/// assert_eq!((x.shape, x.values), (vec![2], vec![1.0, 2.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Npz<R> {
    /// What stands where errors have a path.
    origin: PathBuf,
    zip: ZipArchive<R>,
    entries: Vec<NpzEntry>,
    /// Place in `entries`, by name.
    places: HashMap<String, usize>,
    /// Why no data is read, where there is more than the file can mean.
    too_large: Option<NpzError>,
}

/// One array of an archive: what its header says.
#[derive(Debug, Clone)]
pub struct NpzEntry {
    name: String,
    header: Header,
    /// Bytes of its data.
    bytes: u64,
    /// Place in the zip archive.
    index: usize,
}

impl NpzEntry {
    /// Its name, without `.npy`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of its elements. `None` for elements that are not little-endian numbers.
    pub fn dtype(&self) -> Option<Dtype> {
        self.header.dtype
    }

    /// As [`Self::dtype`], of an array that should hold numbers.
    pub(crate) fn number(&self) -> Result<Dtype, NpzError> {
        self.dtype().ok_or_else(|| NpzError::ElementType {
            array: self.name.clone(),
            found: shown(&self.header.descr),
        })
    }

    /// numpy's name of the element type: `<f4`, `|u1`, `<U12`.
    pub fn descr(&self) -> &str {
        &self.header.descr
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Whether its elements lie in another order than row-major.
    pub fn is_fortran_order(&self) -> bool {
        let long = self.header.shape.iter().filter(|&&size| size > 1);
        self.header.fortran_order && long.count() > 1 && self.bytes > 0
    }

    /// Bytes of its elements in the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An array in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct NpzArray<T> {
    /// Its dimensions. None for a single number.
    pub shape: Vec<usize>,
    /// Its elements, as many as the dimensions say.
    pub values: Vec<T>,
}

impl Npz<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error`] where it is not a numpy archive.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let file = File::open(path)?;
            Ok((file.metadata()?.is_file(), file))
        };
        let (is_file, file) = open()
            .map_err(ErrorKind::io("opening"))
            .map_err(|kind| kind.at(path))?;
        if !is_file {
            return Err(ErrorKind::NotAFile.at(path));
        }
        Self::new(file, path)
    }
}

impl<R: Read + Seek> Npz<R> {
    /// Reads the headers of an archive; `origin` stands where errors have a path.
    ///
    /// # Errors
    /// [`Error`] where it is not a numpy archive.
    pub fn new(reader: R, origin: impl Into<PathBuf>) -> Result<Self, Error> {
        let origin = origin.into();
        match Self::parse(reader, SMALL_ARCHIVE) {
            Ok(npz) => Ok(Self { origin, ..npz }),
            Err(kind) => Err(kind.at(origin)),
        }
    }

    /// As [`Self::new`], without an origin. Arrays of `small` bytes altogether are read however small they were packed.
    pub(crate) fn parse(mut reader: R, small: u64) -> Result<Self, ErrorKind> {
        let file = check_start(&mut reader)?;
        let mut zip = archive::checked(reader)?;
        let (mut entries, mut places) = (Vec::new(), HashMap::new());
        let mut declared = 0_u64;
        for index in 0..zip.len() {
            let Some(Ok(file_name)) = zip.name_for_index(index) else {
                continue;
            };
            let file_name = file_name.into_owned();
            let Some(name) = file_name.strip_suffix(EXTENSION) else {
                continue;
            };
            let len = archive::possible_len(&zip, (index, &file_name), file)?;
            let broken = archive::unreadable(&file_name);
            let mut data = zip.by_index(index).map_err(broken)?;
            let header = Header::read(name, &mut data, |error| broken(error.into()).into())?;
            header.check_len(name, len)?;
            declared = declared.saturating_add(len);
            // Two names may be the same text in different encodings.
            if places.insert(name.to_owned(), entries.len()).is_some() {
                return Err(ArchiveError::Duplicate.into());
            }
            entries.push(NpzEntry {
                name: name.into(),
                bytes: len.saturating_sub(header.start),
                header,
                index,
            });
        }
        let limit = file.saturating_mul(MAX_INFLATION).max(small);
        let too_large = (declared > limit).then_some(NpzError::TooLarge {
            found: declared,
            limit,
        });
        Ok(Self {
            origin: PathBuf::new(),
            zip,
            entries,
            places,
            too_large,
        })
    }

    /// All arrays, in the order of the archive.
    pub fn entries(&self) -> &[NpzEntry] {
        &self.entries
    }

    /// The array of this name.
    pub fn entry(&self, name: &str) -> Option<&NpzEntry> {
        self.places.get(name).map(|&place| &self.entries[place])
    }

    /// Reads the elements of an array, its checksum verified. Narrower numbers are widened where that is exact.
    ///
    /// # Errors
    /// [`Error`] where there is no such array, its elements are of another type or in Fortran order, or it is damaged;
    /// and for each array where the archive declares to hold much more than its length allows.
    pub fn read<T: NpzElement>(&mut self, name: &str) -> Result<NpzArray<T>, Error> {
        self.array(name).map_err(|kind| kind.at(&self.origin))
    }

    fn array<T: NpzElement>(&mut self, name: &str) -> Result<NpzArray<T>, ErrorKind> {
        let entry = self.readable(name)?;
        let dtype = entry.number()?;
        let append = T::append(dtype).ok_or_else(|| NpzError::OtherType {
            array: name.into(),
            found: dtype,
            expected: T::READ_FROM,
        })?;
        if entry.is_fortran_order() {
            return Err(NpzError::FortranOrder(name.into()).into());
        }
        let mut values = Vec::with_capacity(entry.bytes as usize / dtype.size());
        self.stream(&entry, |bytes| append(bytes, &mut values))?;
        Ok(NpzArray {
            shape: entry.header.shape,
            values,
        })
    }

    /// The bytes of an array of numbers, in row-major order whatever the order in the file.
    pub(crate) fn elements(&mut self, name: &str) -> Result<Vec<u8>, ErrorKind> {
        let entry = self.readable(name)?;
        let dtype = entry.number()?;
        let mut data = Vec::with_capacity(entry.bytes as usize);
        self.stream(&entry, |bytes| data.extend_from_slice(bytes))?;
        if entry.is_fortran_order() {
            // First dimension fastest.
            let shape = entry.shape();
            let strides = (0..shape.len()).map(|i| shape[..i].iter().product());
            data = row_major(&data, dtype.size(), shape, &strides.collect::<Vec<_>>());
        }
        Ok(data)
    }

    /// An array that may be read, as far as its size goes.
    fn readable(&self, name: &str) -> Result<NpzEntry, NpzError> {
        let entry = self.entry(name).cloned();
        let entry = entry.ok_or_else(|| NpzError::Missing(name.into()))?;
        self.too_large.clone().map_or(Ok(entry), Err)
    }

    /// Gives the data of an array to `take`, in pieces of whole elements.
    fn stream(&mut self, entry: &NpzEntry, mut take: impl FnMut(&[u8])) -> Result<(), ErrorKind> {
        let file_name = format!("{}{EXTENSION}", entry.name);
        let broken = archive::unreadable(&file_name);
        let mut file = self.zip.by_index(entry.index).map_err(broken)?;
        let failed = |error: std::io::Error| broken(error.into());
        let header = &mut (&mut file).take(entry.header.start);
        std::io::copy(header, &mut std::io::sink()).map_err(failed)?;
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        let mut found = 0;
        loop {
            chunk.clear();
            // The last, empty read verifies the checksum.
            let piece = (&mut file).take(CHUNK).read_to_end(&mut chunk);
            found += piece.map_err(failed)? as u64;
            // More than was declared is counted, not kept.
            if chunk.is_empty() || found > entry.bytes {
                break;
            }
            take(&chunk);
        }
        if found != entry.bytes {
            return Err(ArchiveError::Length {
                entry: file_name.clone(),
                found: found + entry.header.start,
                expected: entry.bytes + entry.header.start,
            }
            .into());
        }
        Ok(())
    }
}

/// Whether a zip archive is one of numpy's: arrays and nothing else.
pub(crate) fn is_npz(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.ends_with(EXTENSION))
}

/// What follows an array's name in the zip archive.
const EXTENSION: &str = ".npy";

/// The length of the file, which must start as a zip archive does.
fn check_start(reader: &mut (impl Read + Seek)) -> Result<u64, ErrorKind> {
    let mut start = Vec::new();
    let mut look = || {
        reader.rewind()?;
        reader.take(SHOWN_BYTES as u64).read_to_end(&mut start)?;
        reader.seek(SeekFrom::End(0))
    };
    let len = look().map_err(ErrorKind::io("reading"))?;
    if len == 0 {
        return Err(ErrorKind::Empty);
    }
    if !start.starts_with(b"PK") {
        return Err(NpzError::NotAnArchive(start_of(&start)).into());
    }
    Ok(len)
}
