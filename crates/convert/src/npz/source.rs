//! Where the arrays are.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use safetensors::tensor::Metadata;
use zip::{ZipArchive, result::ZipError};

use super::{Header, Npz, NpzEntry, NpzError};
use crate::{
    Dtype,
    archive::ArchiveError,
    error::{ErrorKind, SHOWN_BYTES, start_of},
};

/// Longest header of a safetensors file in bytes, as the library has it.
const MAX_HEADER: u64 = 100_000_000;

/// Where the arrays are.
#[derive(Debug)]
pub(super) enum Place<R> {
    Zip(ZipArchive<R>),
    /// A file for each.
    Folder(Vec<PathBuf>),
    /// One after the other in a file, each with the number of its bytes.
    File(File, Vec<u64>),
}

impl<R: Read + Seek> Place<R> {
    /// The bytes of the array at `index`, which begin at `start`, and no others. `broken` converts errors.
    pub(super) fn data(
        &mut self,
        index: usize,
        start: u64,
        broken: impl Fn(ZipError) -> ArchiveError,
    ) -> Result<Box<dyn Read + '_>, ErrorKind> {
        let failed = |error: std::io::Error| ErrorKind::io("reading")(error);
        Ok(match self {
            Self::Zip(zip) => {
                let mut file = zip.by_index(index).map_err(&broken)?;
                let header = &mut (&mut file).take(start);
                let skipped = std::io::copy(header, &mut std::io::sink());
                skipped.map_err(|error| broken(error.into()))?;
                Box::new(file)
            }
            Self::Folder(paths) => {
                let mut file = File::open(&paths[index]).map_err(failed)?;
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
                Box::new(file)
            }
            Self::File(file, lengths) => {
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
                Box::new(file.take(lengths[index]))
            }
        })
    }
}

impl Npz<File> {
    /// The `.npy` files of a folder, in the order of their names.
    pub(super) fn folder(path: &Path) -> Result<Self, ErrorKind> {
        let read = |error: std::io::Error| ErrorKind::io("reading")(error);
        let mut paths = Vec::new();
        for entry in fs::read_dir(path).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.extension().is_some_and(|extension| extension == "npy") && path.is_file() {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(NpzError::NoArrays.into());
        }
        paths.sort();
        let mut entries = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let mut file = File::open(path).map_err(read)?;
            let length = file.metadata().map_err(read)?.len();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let header = Header::read(&name, &mut file, read)?;
            header.check_len(&name, length)?;
            entries.push(NpzEntry {
                name: name.into_owned(),
                bytes: length.saturating_sub(header.start),
                header,
                index,
            });
        }
        let mut found = Self::of(Place::Folder(paths), entries);
        found.origin = path.to_owned();
        Ok(found)
    }

    /// The tensors of a safetensors file, in the order of their data.
    pub(super) fn safetensors(mut file: File) -> Result<Self, ErrorKind> {
        let read = |error: std::io::Error| ErrorKind::io("reading")(error);
        let length = file.metadata().map_err(read)?.len();
        let mut start = [0; 8];
        let not = |start: &[u8]| {
            NpzError::NotSafetensors(start_of(&start[..start.len().min(SHOWN_BYTES)]))
        };
        if file.read_exact(&mut start).is_err() {
            return Err(not(&[]).into());
        }
        let header = u64::from_le_bytes(start);
        if header > MAX_HEADER.min(length.saturating_sub(8)) {
            return Err(not(&start).into());
        }
        let mut json = vec![0; header as usize];
        file.read_exact(&mut json).map_err(read)?;
        let metadata: Metadata = serde_json::from_slice(&json).map_err(|_| not(&json))?;
        let data = 8 + header;
        if data + metadata.data_len() as u64 != length {
            return Err(NpzError::Length {
                array: "the file".into(),
                found: length,
                expected: data + metadata.data_len() as u64,
            }
            .into());
        }
        let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let mut lengths = Vec::new();
        let entry = |(index, (name, info)): (usize, (String, &safetensors::tensor::TensorInfo))| {
            let (begin, end) = info.data_offsets;
            lengths.push((end - begin) as u64);
            NpzEntry {
                name,
                bytes: (end - begin) as u64,
                header: Header {
                    descr: info.dtype.to_string(),
                    dtype: Dtype::from_safetensors(info.dtype),
                    big_endian: false,
                    shape: info.shape.clone(),
                    fortran_order: false,
                    start: data + begin as u64,
                },
                index,
            }
        };
        let entries = tensors.into_iter().enumerate().map(entry).collect();
        Ok(Self::of(Place::File(file, lengths), entries))
    }

    fn of(place: Place<File>, entries: Vec<NpzEntry>) -> Self {
        let places = entries.iter().enumerate();
        let places = places.map(|(place, entry)| (entry.name.clone(), place));
        Self {
            origin: PathBuf::new(),
            place,
            places: places.collect(),
            entries,
            too_large: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

    use super::*;

    const HEADER: &[u8] = b"\x93NUMPY\x01\0\x46\0{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }            \n";

    #[test]
    fn a_folder_of_arrays_and_a_safetensors_file_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let values = [1.0_f32, -2.5].map(f32::to_le_bytes).concat();
        for name in ["b", "a"] {
            fs::write(
                folder.path().join(format!("{name}.npy")),
                [HEADER, &values].concat(),
            )
            .unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "no array").unwrap();
        let mut arrays = Npz::open(folder.path()).unwrap();
        let names: Vec<_> = arrays
            .entries()
            .iter()
            .map(|entry| entry.name().to_owned())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(arrays.read::<f64>("b").unwrap().values, [1.0, -2.5]);

        let file = folder.path().join("x.safetensors");
        let view =
            |values| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], values);
        let tensors = [("b", view(&values).unwrap()), ("a", view(&values).unwrap())];
        let bytes = safetensors::serialize(tensors, None).unwrap();
        fs::write(&file, &bytes).unwrap();
        let mut arrays = Npz::open(&file).unwrap();
        assert_eq!(arrays.entries().len(), 2);
        assert_eq!(arrays.read::<f64>("a").unwrap().values, [1.0, -2.5]);

        // Cut off, longer than it says, and no safetensors at all.
        for bytes in [
            &bytes[..bytes.len() - 1],
            &[bytes.as_slice(), b"x"].concat(),
            b"PK",
            &[0xff; 64],
        ] {
            fs::write(&file, bytes).unwrap();
            assert!(Npz::open(&file).is_err(), "{}", bytes.len());
        }
        fs::write(folder.path().join("a.npy"), [HEADER, &values[1..]].concat()).unwrap();
        assert!(Npz::open(folder.path()).is_err());
        let empty = tempfile::tempdir().unwrap();
        assert!(Npz::open(empty.path()).is_err());
    }

    #[test]
    fn integers_of_16_bits_are_bf16_on_request() {
        let header = String::from_utf8_lossy(&HEADER[10..]).replace("<f4", "<u2");
        let array = |values: &[u8]| [&HEADER[..10], header.as_bytes(), values].concat();
        let folder = tempfile::tempdir().unwrap();
        // 1 and -2.5.
        fs::write(
            folder.path().join("a.npy"),
            array(&[0x80, 0x3f, 0x20, 0xc0]),
        )
        .unwrap();
        let mut arrays = Npz::open(folder.path()).unwrap();
        assert!(arrays.read::<f64>("a").is_err());
        let mut arrays = arrays.with_u2_as_bf16().unwrap();
        assert_eq!(arrays.read::<f64>("a").unwrap().values, [1.0, -2.5]);

        fs::write(folder.path().join("a.npy"), array(&[0x80, 0x3f])).unwrap();
        let arrays = Npz::open(folder.path()).unwrap();
        assert!(arrays.with_u2_as_bf16().is_err());
    }
}
