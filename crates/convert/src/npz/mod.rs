//! Named arrays: numpy archives (`.npz`, a zip of `.npy`), folders of `.npy`, and safetensors files.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

mod element;
mod error;
mod header;
mod source;

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

pub use element::NpzElement;
pub use error::NpzError;
use header::Header;
use source::Place;

use crate::{
    Dtype,
    archive::{self, ArchiveError},
    error::{Error, ErrorKind, SHOWN_BYTES, start_of},
    name::shown,
    shape::row_major,
};

/// Largest ratio of the size of all arrays to the size of the file. Activations compress by a few per cent; decisions of
/// 0 and 1 compress by a factor of 300, but are few.
const MAX_INFLATION: u64 = 64;
/// Total size of arrays up to which [`MAX_INFLATION`] is not applied, in bytes: activations of silence compress well.
const SMALL_ARCHIVE: u64 = 1 << 30;
/// Bytes per read: a multiple of the size of every element type.
const CHUNK: u64 = 1 << 16;

/// A numpy archive, a folder of arrays, or a safetensors file. Arrays are read one by one.
///
/// Opening reads the headers of all arrays and no data. In an open archive, names are unique, entries do not overlap, and
/// the length of each array matches its shape. Memory is allocated for one array at a time, after its size was compared
/// with the size of the file.
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
    /// Replaces the path in errors.
    origin: PathBuf,
    place: Place<R>,
    entries: Vec<NpzEntry>,
    /// Index in `entries`, by name.
    places: HashMap<String, usize>,
    /// The error of every read, if the arrays exceed the limit.
    too_large: Option<NpzError>,
}

/// The header of an array.
#[derive(Debug, Clone)]
pub struct NpzEntry {
    name: String,
    header: Header,
    /// Bytes of its elements.
    bytes: u64,
    /// Index in the zip archive, or in the folder.
    index: usize,
}

impl NpzEntry {
    /// Its name, without `.npy`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type. `None` for elements that are not real numbers.
    #[must_use]
    pub fn dtype(&self) -> Option<Dtype> {
        self.header.dtype
    }

    /// Like [`Self::dtype`]. Elements that are not numbers are an error.
    pub(crate) fn number(&self) -> Result<Dtype, NpzError> {
        self.dtype().ok_or_else(|| NpzError::ElementType {
            array: self.name.clone(),
            found: shown(&self.header.descr),
        })
    }

    /// The element type under numpy's name: `<f4`, `|u1`, `<U12`.
    #[must_use]
    pub fn descr(&self) -> &str {
        &self.header.descr
    }

    /// Its dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Whether the elements are in column-major order.
    #[must_use]
    pub fn is_fortran_order(&self) -> bool {
        let long = self.header.shape.iter().filter(|&&size| size > 1);
        self.header.fortran_order && long.count() > 1 && self.bytes > 0
    }

    /// Bytes of its elements.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An array in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct NpzArray<T> {
    /// Its dimensions. Empty for a single number.
    pub shape: Vec<usize>,
    /// Its elements.
    pub values: Vec<T>,
}

impl Npz<File> {
    /// Opens a file or a folder. The arrays of a folder are in the order of their names, those of a safetensors file in that of
    /// their data.
    ///
    /// # Errors
    /// It is neither a numpy archive, nor a safetensors file, nor a folder with arrays.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Self::folder(path).map_err(|kind| kind.at(path));
        }
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
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            let found = Self::safetensors(file).map_err(|kind| kind.at(path))?;
            return Ok(Self {
                origin: path.to_owned(),
                ..found
            });
        }
        Self::new(file, path)
    }
}

impl<R: Read + Seek> Npz<R> {
    /// Reads the headers of an archive. `origin` replaces the path in errors.
    ///
    /// # Errors
    /// The file is not a numpy archive.
    pub fn new(reader: R, origin: impl Into<PathBuf>) -> Result<Self, Error> {
        let origin = origin.into();
        match Self::parse(reader, SMALL_ARCHIVE) {
            Ok(npz) => Ok(Self { origin, ..npz }),
            Err(kind) => Err(kind.at(origin)),
        }
    }

    /// Like [`Self::new`], without an origin. Arrays of at most `small` bytes in total may have any compression ratio.
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
            // Names in different encodings may be the same text.
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
            place: Place::Zip(zip),
            entries,
            places,
            too_large,
        })
    }

    /// Reads unsigned integers of 16 bits as bf16, a type that numpy lacks.
    ///
    /// # Errors
    /// Such an array has another length than its shape.
    pub fn with_u2_as_bf16(mut self) -> Result<Self, Error> {
        for entry in &mut self.entries {
            if ["<u2", ">u2", "U16"].contains(&&*entry.header.descr) {
                entry.header.dtype = Some(Dtype::BF16);
                let length = entry.header.start + entry.bytes;
                let checked = entry.header.check_len(&entry.name, length);
                checked.map_err(|error| ErrorKind::from(error).at(&self.origin))?;
            }
        }
        Ok(self)
    }

    /// All arrays, in the order of the archive.
    pub fn entries(&self) -> &[NpzEntry] {
        &self.entries
    }

    /// The array with this name.
    pub fn entry(&self, name: &str) -> Option<&NpzEntry> {
        self.places.get(name).map(|&place| &self.entries[place])
    }

    /// Reads an array, in row-major order, and verifies its checksum. Types that `T` represents exactly are converted.
    ///
    /// # Errors
    /// There is no such array, it is damaged, it has another element type, or the arrays of the archive are too large for the
    /// size of the file.
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
        let mut values = Vec::with_capacity(entry.bytes as usize / dtype.size());
        if entry.is_fortran_order() {
            append(&self.elements(name)?, &mut values);
        } else {
            self.stream(&entry, |bytes| append(bytes, &mut values))?;
        }
        Ok(NpzArray {
            shape: entry.header.shape,
            values,
        })
    }

    /// The elements of an array of numbers in row-major order.
    pub(crate) fn elements(&mut self, name: &str) -> Result<Vec<u8>, ErrorKind> {
        let entry = self.readable(name)?;
        let dtype = entry.number()?;
        let mut data = Vec::with_capacity(entry.bytes as usize);
        self.stream(&entry, |bytes| data.extend_from_slice(bytes))?;
        if entry.is_fortran_order() {
            // Column-major strides.
            let shape = entry.shape();
            let strides = (0..shape.len()).map(|i| shape[..i].iter().product());
            data = row_major(&data, dtype.size(), shape, &strides.collect::<Vec<_>>());
        }
        Ok(data)
    }

    /// The header of an array. Refuses all if the arrays of the archive are too large.
    fn readable(&self, name: &str) -> Result<NpzEntry, NpzError> {
        let entry = self.entry(name).cloned();
        let entry = entry.ok_or_else(|| NpzError::Missing(name.into()))?;
        self.too_large.clone().map_or(Ok(entry), Err)
    }

    /// Passes the data of an array to `take`, in pieces of whole elements, little-endian.
    fn stream(&mut self, entry: &NpzEntry, mut take: impl FnMut(&[u8])) -> Result<(), ErrorKind> {
        let file_name = format!("{}{EXTENSION}", entry.name);
        let broken = archive::unreadable(&file_name);
        let mut file = self.place.data(entry.index, entry.header.start, broken)?;
        let failed = |error: std::io::Error| broken(error.into());
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        let mut found = 0;
        loop {
            chunk.clear();
            // The read at the end verifies the checksum.
            let piece = file.by_ref().take(CHUNK).read_to_end(&mut chunk);
            found += piece.map_err(failed)? as u64;
            // In a zip archive, data beyond the declared length is an error.
            if chunk.is_empty() || found > entry.bytes {
                break;
            }
            if let (Some(dtype), true) = (entry.dtype(), entry.header.big_endian) {
                chunk.chunks_mut(dtype.size()).for_each(<[u8]>::reverse);
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

/// Whether a zip archive holds arrays only.
pub(crate) fn is_npz(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.ends_with(EXTENSION))
}

/// Extension of arrays in the zip archive.
const EXTENSION: &str = ".npy";

/// The length of the file in bytes. Refuses a file without the first bytes of a zip archive.
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
