//! SHA-256 of files.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// Size and SHA-256 of a file, in lower-case hexadecimal.
pub(crate) fn size_and_sha256(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        hasher.update(&buffer[..read]);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Cannot fail: a string grows.
        let _ = write!(text, "{byte:02x}");
    }
    Ok((size, text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_that_of_the_bytes_in_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..super::CHUNK + 1000).map(|i| (i % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let expected = (bytes.len() as u64, soundalike_convert::sha256([&*bytes]));
        assert_eq!(super::size_and_sha256(file.path()).unwrap(), expected);
    }
}
