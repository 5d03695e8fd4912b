//! The chunks of RIFF, and of Sony's Wave64 with its longer names and lengths.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use crate::audio::AudioProblem;

/// "riff" of Wave64, and the end of its other names.
pub(super) const W64_RIFF: &[u8; 16] = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
pub(super) const W64_END: &[u8; 12] = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
/// Bytes of the name and the length of a Wave64 chunk, which its length counts.
const W64_HEADER: u64 = 24;

/// One chunk: its name, and where its contents should be.
pub(super) struct Chunk {
    pub(super) name: [u8; 4],
    pub(super) start: u64,
    pub(super) length: u64,
}

/// The chunks of a file.
pub(super) struct Chunks<'f> {
    file: &'f mut File,
    /// Length of the file.
    pub(super) end: u64,
    /// Whether they are Wave64's.
    long: bool,
    /// Where the first is.
    pub(super) first: u64,
}

impl<'f> Chunks<'f> {
    /// The chunks of a WAV. `None` for other files.
    pub(super) fn of(file: &'f mut File) -> Result<Option<Self>, AudioProblem> {
        let end = file.seek(SeekFrom::End(0)).map_err(AudioProblem::Read)?;
        let mut chunks = Self {
            file,
            end,
            long: false,
            first: 12,
        };
        let start = chunks.bytes(0, 40)?;
        if start.starts_with(W64_RIFF) && start.get(24..28) == Some(b"wave") {
            (chunks.long, chunks.first) = (true, 40);
            return Ok(Some(chunks));
        }
        match start.first_chunk() {
            Some(b"RIFX") => Err(AudioProblem::Codec("big-endian WAV (RIFX)".into())),
            Some(b"RIFF" | b"RF64" | b"BW64") if start.get(8..12) == Some(b"WAVE") => {
                Ok(Some(chunks))
            }
            _ => Ok(None),
        }
    }

    /// The bytes at this place, as many as there are.
    pub(super) fn bytes(&mut self, at: u64, most: u64) -> Result<Vec<u8>, AudioProblem> {
        let mut bytes = Vec::new();
        let place = self.file.seek(SeekFrom::Start(at));
        let read = place.and_then(|_| Read::by_ref(self.file).take(most).read_to_end(&mut bytes));
        read.map_err(AudioProblem::Read)?;
        Ok(bytes)
    }

    /// The chunk at this place. `None` at the end.
    pub(super) fn at(&mut self, at: u64) -> Result<Option<Chunk>, AudioProblem> {
        let size = if self.long { W64_HEADER } else { 8 };
        let bytes = self.bytes(at, size)?;
        let (Some(&name), true) = (bytes.first_chunk(), bytes.len() as u64 == size) else {
            return Ok(None);
        };
        let length = match (bytes.last_chunk(), bytes.last_chunk()) {
            (Some(&length), _) if self.long => {
                u64::from_le_bytes(length).saturating_sub(W64_HEADER)
            }
            (_, Some(&length)) => u64::from(u32::from_le_bytes(length)),
            _ => 0,
        };
        Ok(Some(Chunk {
            name,
            start: at + size,
            length,
        }))
    }

    /// Whether a chunk begins at this place, or the file ends, as far as one can tell: a name in letters, and a length
    /// within the file.
    pub(super) fn begins(&mut self, at: u64) -> Result<bool, AudioProblem> {
        let Some(chunk) = self.at(at)? else {
            return Ok(at >= self.end);
        };
        let letters = chunk.name.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let known = [b"data", b"RIFF", b"RF64"].contains(&&chunk.name);
        let named = !self.long || self.bytes(at + 4, 12)? == W64_END;
        Ok(letters && named && (known || chunk.length <= self.end - chunk.start))
    }

    /// Where the next chunk should be, behind `length` bytes of this one and what makes them even.
    pub(super) fn behind(&mut self, chunk: &Chunk, length: u64) -> Result<u64, AudioProblem> {
        let next = chunk.start.saturating_add(length);
        if self.long {
            return Ok(next.saturating_add(length.wrapping_neg() % 8));
        }
        // Some writers forget the byte that makes a length even.
        let forgotten = length % 2 == 1 && self.begins(next)?;
        Ok(next.saturating_add(if forgotten { 0 } else { length % 2 }))
    }
}
