//! WAV files whose headers say too much, too little or nothing: of recorders that crashed or wrote into a pipe, of over
//! 4 GB (RF64, BW64, W64), several behind one another, with chunks of unusual lengths.
//!
//! The chunks are read here; what is decoded is a stream with a plain header and the samples alone. RIFF: Microsoft
//! "Multimedia Programming Interface" 1.0. RF64, BW64: EBU Tech 3306, ITU-R BS.2088. W64: Sony "Wave64".

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    ops::Range,
};

use symphonia::core::io::MediaSource;

use crate::audio::AudioProblem;

/// Most chunks of a file: real ones have about ten.
const MAX_CHUNKS: usize = 10_000;
/// Most bytes of `fmt `: a header of an ADPCM has 50.
const MAX_FORMAT: u64 = 256;
/// Lengths of `data` that writers into pipes leave: sox, arecord and others, ffmpeg.
const UNKNOWN: [Range<u64>; 2] = [0x7fff_f000..0x8000_0001, 0xffff_f000..0x1_0000_0000];
/// "riff" and "wave" of W64, and the end of its other names.
const W64_RIFF: &[u8; 16] = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
const W64_END: &[u8; 12] = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
/// Bytes of the name and the length of a W64 chunk, which its length counts.
const W64_HEADER: u64 = 24;

/// Integers, floats, A-law, mu-law, and one of these with a longer header.
const INTEGER: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
/// Both are decoded, with the headers that they have.
const ADPCM: [u16; 2] = [2, 17];

/// The samples of a WAV file.
#[derive(Debug)]
pub(crate) struct Wave {
    /// A plain header of unknown length.
    header: Vec<u8>,
    /// Where the samples are.
    parts: Vec<Range<u64>>,
    /// Samples of each channel that the header announces. `None` if it does not say.
    pub(crate) announced: Option<u64>,
    /// What the header gets wrong.
    pub(crate) notes: Vec<String>,
}

/// `fmt `.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format(Vec<u8>);

impl Format {
    fn u16(&self, at: usize) -> u16 {
        self.0[at..]
            .first_chunk()
            .copied()
            .map_or(0, u16::from_le_bytes)
    }

    fn codec(&self) -> u16 {
        self.u16(0)
    }

    /// Bytes of one sample of all channels.
    fn block(&self) -> u64 {
        u64::from(self.u16(12))
    }

    fn seconds(&self, bytes: u64) -> f64 {
        let rate = self.0[4..]
            .first_chunk()
            .copied()
            .map_or(0, u32::from_le_bytes);
        bytes as f64 / (self.block() * u64::from(rate)).max(1) as f64
    }

    /// In the length that its codec has.
    fn plain(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let extra = match self.codec() {
            INTEGER | FLOAT => {
                bytes.truncate(16);
                return bytes;
            }
            EXTENSIBLE => 22,
            _ => 0,
        };
        bytes.resize(18 + extra, 0);
        bytes[16..18].copy_from_slice(&(extra as u16).to_le_bytes());
        bytes
    }
}

/// Reads the chunks of a file that can be read twice. `None` if it is no WAV, or one that needs no help.
pub(crate) fn open(file: &mut File) -> Result<Option<Wave>, AudioProblem> {
    let end = file.seek(SeekFrom::End(0)).map_err(AudioProblem::Read)?;
    let found = Chunks { file, end }.read();
    file.rewind().map_err(AudioProblem::Read)?;
    found
}

struct Chunks<'f> {
    file: &'f mut File,
    end: u64,
}

/// One chunk: its name, and where its contents should be.
struct Chunk {
    name: [u8; 4],
    start: u64,
    length: u64,
}

impl Chunks<'_> {
    /// The bytes at this place, as many as there are.
    fn bytes(&mut self, at: u64, most: u64) -> Result<Vec<u8>, AudioProblem> {
        let mut bytes = Vec::new();
        let place = self.file.seek(SeekFrom::Start(at));
        let read = place.and_then(|_| Read::by_ref(self.file).take(most).read_to_end(&mut bytes));
        read.map_err(AudioProblem::Read)?;
        Ok(bytes)
    }

    fn read(mut self) -> Result<Option<Wave>, AudioProblem> {
        let start = self.bytes(0, 40)?;
        let long = start.starts_with(W64_RIFF) && start.get(24..28) == Some(b"wave");
        match start.first_chunk() {
            _ if long => {}
            Some(b"RIFF" | b"RF64" | b"BW64") if start.get(8..12) == Some(b"WAVE") => {}
            Some(b"RIFX") => return Err(AudioProblem::Codec("big-endian WAV (RIFX)".into())),
            _ => return Ok(None),
        }
        let mut at = if long { 40 } else { 12 };
        let mut format: Option<Format> = None;
        let mut real_length = None;
        let (mut parts, mut announced, mut notes) = (Vec::new(), Some(0_u64), Vec::new());
        for _ in 0..MAX_CHUNKS {
            let Some(chunk) = self.chunk(at, long)? else {
                break;
            };
            let left = self.end.saturating_sub(chunk.start);
            let mut length = chunk.length;
            match &chunk.name {
                b"ds64" => {
                    let sizes = self.bytes(chunk.start + 8, 8)?;
                    real_length = sizes.first_chunk().copied().map(u64::from_le_bytes);
                }
                b"fmt " => {
                    let found = Format(self.bytes(chunk.start, length.min(MAX_FORMAT))?);
                    if found.0.len() < 16 || ADPCM.contains(&found.codec()) {
                        return Ok(None);
                    }
                    if !is_decoded(&found) {
                        return Err(AudioProblem::Codec(codec_name(found.codec())));
                    }
                    if format.as_ref().is_some_and(|first| *first != found) {
                        let seconds = found.seconds(left);
                        notes.push(format!(
                            "a second recording in the file, in another format, is ignored (up to {seconds:.1} s)"
                        ));
                        break;
                    }
                    format = Some(found);
                }
                b"data" => {
                    let Some(format) = &format else {
                        return Ok(None);
                    };
                    if length == 0xffff_ffff {
                        length = real_length.unwrap_or(length);
                    }
                    let unknown =
                        length > left && UNKNOWN.iter().any(|range| range.contains(&length));
                    let unfinished =
                        length == 0 && left > 0 && !self.is_chunk(chunk.start, long)?;
                    let next = chunk.start.saturating_add(length);
                    let short = next < self.end && !self.is_chunk(next, long)? && {
                        // A byte behind an odd number of them.
                        length % 2 == 0 || !self.is_chunk(next + 1, long)?
                    };
                    if unknown || unfinished || short && self.end - next >= format.block().max(8) {
                        notes.push(match short && !unfinished {
                            true => format!(
                                "the header announces {:.1} s, all {:.1} s of the file are read",
                                format.seconds(length),
                                format.seconds(left)
                            ),
                            false => format!(
                                "the header does not say how long it is; it is read to the end, {:.1} s",
                                format.seconds(left)
                            ),
                        });
                        length = left;
                        announced = None;
                    }
                    let block = format.block().max(1);
                    announced = announced.map(|sum| sum.saturating_add(length / block));
                    let whole = length.min(left) / block * block;
                    parts.push(chunk.start..chunk.start + whole);
                }
                b"RIFF" | b"RF64" | b"BW64" if !parts.is_empty() => length = 4,
                _ => {}
            }
            let padding = match long {
                true => length.wrapping_neg() % 8,
                false => length % 2,
            };
            let next = chunk.start.saturating_add(length);
            // Some writers forget the byte that makes a length even.
            at = match padding > 0 && !long && self.is_chunk(next, long)? {
                true => next,
                false => next.saturating_add(padding),
            };
        }
        let Some(format) = format.filter(|_| !parts.is_empty()) else {
            return Ok(None);
        };
        let plain = format.plain();
        let length = (plain.len() as u32).to_le_bytes();
        let unknown = &[0xff; 4][..];
        let header = [
            b"RIFF",
            unknown,
            b"WAVEfmt ",
            &length,
            &plain,
            b"data",
            unknown,
        ]
        .concat();
        Ok(Some(Wave {
            header,
            parts,
            announced,
            notes,
        }))
    }

    /// The chunk at this place. `None` at the end.
    fn chunk(&mut self, at: u64, long: bool) -> Result<Option<Chunk>, AudioProblem> {
        let size = if long { W64_HEADER } else { 8 };
        let bytes = self.bytes(at, size)?;
        if bytes.len() < size as usize {
            return Ok(None);
        }
        let (name, length) = match long {
            true => {
                let length = bytes[16..]
                    .first_chunk()
                    .copied()
                    .map_or(0, u64::from_le_bytes);
                (&bytes[..4], length.saturating_sub(W64_HEADER))
            }
            false => {
                let length = bytes[4..]
                    .first_chunk()
                    .copied()
                    .map_or(0, u32::from_le_bytes);
                (&bytes[..4], u64::from(length))
            }
        };
        let name = name.first_chunk().copied().unwrap_or_default();
        let start = at + size;
        Ok(Some(Chunk {
            name,
            start,
            length,
        }))
    }

    /// Whether a chunk begins at this place, as far as one can tell: a name in letters, and a length within the file.
    fn is_chunk(&mut self, at: u64, long: bool) -> Result<bool, AudioProblem> {
        let Some(chunk) = self.chunk(at, long)? else {
            return Ok(at >= self.end);
        };
        let letters = chunk.name.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let known = [b"data", b"RIFF", b"RF64"].contains(&&chunk.name);
        let long_name = !long || self.bytes(at + 4, 12)? == W64_END;
        Ok(letters && long_name && (known || chunk.length <= self.end - chunk.start))
    }
}

fn is_decoded(format: &Format) -> bool {
    let codec = format.codec();
    let known = [INTEGER, FLOAT, A_LAW, MU_LAW].contains(&codec);
    known || codec == EXTENSIBLE && format.0.len() >= 40
}

/// The codec with this number. RFC 2361.
fn codec_name(codec: u16) -> String {
    let name = match codec {
        0x22 => "TrueSpeech",
        0x31 => "GSM 6.10",
        0x40 => "G.721 ADPCM",
        0x42 => "G.723.1",
        0x45 => "G.726 ADPCM",
        0x50 => "MPEG audio",
        0x55 => "MP3",
        0x64 => "G.726 ADPCM",
        0xff | 0x1610 => "AAC",
        0x160 | 0x161 => "Windows Media Audio",
        0x2000 => "AC-3",
        _ => return format!("a codec with the number {codec:#06x} in WAV"),
    };
    format!("{name} in WAV")
}

impl Wave {
    /// The stream that is decoded.
    pub(crate) fn stream(&self, file: File) -> Box<dyn MediaSource> {
        Box::new(Stream {
            header: Cursor::new(self.header.clone()),
            parts: self.parts.iter().cloned().collect(),
            at: None,
            file,
        })
    }
}

/// The plain header, then the samples.
struct Stream {
    header: Cursor<Vec<u8>>,
    parts: VecDeque<Range<u64>>,
    /// Where the file is.
    at: Option<u64>,
    file: File,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.header.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        while let Some(part) = self.parts.front_mut() {
            if self.at != Some(part.start) {
                self.file.seek(SeekFrom::Start(part.start))?;
            }
            let count = Read::by_ref(&mut self.file)
                .take(part.end - part.start)
                .read(buffer)?;
            part.start += count as u64;
            self.at = Some(part.start);
            if count > 0 {
                return Ok(count);
            }
            self.parts.pop_front();
        }
        Ok(0)
    }
}

impl Seek for Stream {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for Stream {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::audio::{Audio, AudioError};

    const RATE: u32 = 16_000;

    /// Half a second, in 16 bits.
    fn samples() -> Vec<u8> {
        let samples = (0..8_000).map(|index: i32| (index * 37 % 20_011 - 10_000) as i16);
        samples.flat_map(i16::to_le_bytes).collect()
    }

    fn format(codec: u16, bits: u16, more: &[u8]) -> Vec<u8> {
        let block = bits / 8;
        let head = [codec, 1].map(u16::to_le_bytes).concat();
        let rates = [RATE, RATE * u32::from(block)]
            .map(u32::to_le_bytes)
            .concat();
        let tail = [block, bits].map(u16::to_le_bytes).concat();
        [&head[..], &rates, &tail, more].concat()
    }

    fn chunk(name: &[u8], length: u32, contents: &[u8]) -> Vec<u8> {
        [name, &length.to_le_bytes(), contents].concat()
    }

    fn whole(name: &[u8], contents: &[u8]) -> Vec<u8> {
        chunk(name, contents.len() as u32, contents)
    }

    fn file(name: &[u8], length: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
        [name, &length.to_le_bytes(), b"WAVE", &chunks.concat()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Audio, AudioError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Audio::read(file.path(), RATE)
    }

    fn plain() -> Audio {
        let chunks = [
            whole(b"fmt ", &format(1, 16, &[])),
            whole(b"data", &samples()),
        ];
        read(&file(b"RIFF", 16_036, &chunks)).unwrap()
    }

    /// A chunk of Sony's Wave64.
    fn w64(name: &[u8; 4], contents: &[u8]) -> Vec<u8> {
        let length = (24 + contents.len() as u64).to_le_bytes();
        let mut bytes = [&name[..], W64_END, &length, contents].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn headers_that_say_too_much_too_little_or_nothing_lose_no_sample() {
        let (data, fmt) = (samples(), whole(b"fmt ", &format(1, 16, &[])));
        let sized = |length| chunk(b"data", length, &data);
        let simple = |length| file(b"RIFF", 16_036, &[fmt.clone(), sized(length)]);
        let sizes = [28 + 16_000_u64, 16_000, 8_000]
            .map(u64::to_le_bytes)
            .concat();
        let ds64 = whole(b"ds64", &[&sizes[..], &[0; 4]].concat());
        let riff_64 = |name: &[u8]| {
            file(
                name,
                u32::MAX,
                &[ds64.clone(), fmt.clone(), sized(u32::MAX)],
            )
        };
        let long = [w64(b"fmt ", &format(1, 16, &[])), w64(b"data", &data)].concat();
        let long = [
            &W64_RIFF[..],
            &(40 + long.len() as u64).to_le_bytes(),
            b"wave",
            W64_END,
            &long,
        ];
        let list = whole(b"LIST", b"INFOISFT\x05\0\0\0odd!\0\0");
        let note = Some("the header does not say how long it is; it is read to the end, 0.5 s");
        let extensible = [
            &22_u16.to_le_bytes()[..],
            &16_u16.to_le_bytes(),
            &4_u32.to_le_bytes(),
        ]
        .concat();
        let guid = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
        let extensible = format(EXTENSIBLE, 16, &[&extensible[..], guid].concat());
        let expected = plain().samples;
        for (name, bytes, notes) in [
            ("a crashed recorder", simple(0), note),
            ("sox", simple(0x7fff_f000), note),
            ("arecord", simple(0x8000_0000), note),
            ("ffmpeg", simple(u32::MAX), note),
            (
                "RIFF of no length",
                file(b"RIFF", 0, &[fmt.clone(), sized(16_000)]),
                None,
            ),
            (
                "RIFF of a short length",
                file(b"RIFF", 35, &[fmt.clone(), sized(16_000)]),
                None,
            ),
            (
                "a data chunk of half the length",
                simple(8_000),
                Some("the header announces 0.2 s, all 0.5 s of the file are read"),
            ),
            ("RF64", riff_64(b"RF64"), None),
            ("BW64", riff_64(b"BW64"), None),
            ("W64", long.concat(), None),
            (
                "chunks around",
                file(
                    b"RIFF",
                    0,
                    &[list.clone(), fmt.clone(), sized(16_000), list],
                ),
                None,
            ),
            (
                "an odd chunk without its padding",
                file(
                    b"RIFF",
                    0,
                    &[whole(b"note", b"odd"), fmt.clone(), sized(16_000)],
                ),
                None,
            ),
            (
                "a long fmt",
                file(
                    b"RIFF",
                    0,
                    &[whole(b"fmt ", &format(1, 16, &[0; 24])), sized(16_000)],
                ),
                None,
            ),
            (
                "an extensible fmt",
                file(b"RIFF", 0, &[whole(b"fmt ", &extensible), sized(16_000)]),
                None,
            ),
            (
                "two files in one",
                [
                    file(b"RIFF", 0, &[fmt.clone(), whole(b"data", &data[..6_000])]),
                    file(b"RIFF", 0, &[fmt.clone(), whole(b"data", &data[6_000..])]),
                ]
                .concat(),
                None,
            ),
        ] {
            let audio = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(
                audio.samples == expected,
                "{name}: {} samples",
                audio.samples.len()
            );
            let found = audio.notes.first().map(String::as_str);
            assert_eq!(
                (found, audio.notes.len()),
                (notes, usize::from(notes.is_some())),
                "{name}"
            );
        }
    }

    /// A-law and mu-law have 18 bytes of header; many write 16 or 20.
    #[test]
    fn logarithmic_samples_are_read_whatever_the_length_of_their_header() {
        let bytes: Vec<u8> = (0..=255).collect();
        for codec in [A_LAW, MU_LAW] {
            let of = |more: &[u8]| {
                let fmt = whole(b"fmt ", &format(codec, 8, more));
                let fact = whole(b"fact", &256_u32.to_le_bytes());
                read(&file(b"RIFF", 0, &[fmt, fact, whole(b"data", &bytes)])).unwrap()
            };
            let expected = of(&[0, 0]);
            assert_eq!(expected.samples.len(), 256);
            assert!(expected.samples.iter().any(|sample| sample.abs() > 0.9));
            for more in [&[][..], &[0; 4]] {
                assert_eq!(of(more), expected, "{codec}, {} more", more.len());
            }
        }
    }

    #[test]
    fn what_is_lost_is_said_and_what_is_not_decoded_is_named() {
        let (data, fmt) = (samples(), whole(b"fmt ", &format(1, 16, &[])));
        let first = file(b"RIFF", 0, &[fmt.clone(), whole(b"data", &data)]);
        let other = [whole(b"fmt ", &format(1, 8, &[])), whole(b"data", &data)];
        let both = read(&[first, file(b"RIFF", 0, &other)].concat()).unwrap();
        assert_eq!(both.samples, plain().samples);
        let expected =
            "a second recording in the file, in another format, is ignored (up to 1.0 s)";
        assert_eq!(both.notes, [expected]);

        let gsm = whole(b"fmt ", &format(0x31, 0, &[2, 0, 64, 1]));
        let text = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        let found = text(&file(b"RIFF", 0, &[gsm, whole(b"data", &data)]));
        assert!(
            found.contains("holds GSM 6.10 in WAV, which this build cannot decode"),
            "{found}"
        );
        let found = text(&file(b"RIFX", 0, &[]));
        assert!(found.contains("holds big-endian WAV (RIFX)"), "{found}");
        let cut = file(b"RIFF", 0, &[fmt.clone(), chunk(b"data", 20_000, &data)]);
        let found = text(&cut);
        let expected = "is truncated: it has 8000 of the 10000 samples that its header announces";
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn hostile_headers_end() {
        let fmt = whole(b"fmt ", &format(1, 16, &[]));
        let empty = whole(b"junk", &[]).repeat(100_000);
        let nothing = file(
            b"RIFF",
            0,
            &[empty, fmt.clone(), whole(b"data", &samples())],
        );
        assert!(read(&nothing).is_err());
        for length in [u32::MAX, u32::MAX - 7, 1] {
            let chunks = [chunk(b"junk", length, &[]), fmt.clone()];
            assert!(read(&file(b"RIFF", 0, &chunks)).is_err());
        }
        // No block of samples.
        let odd = whole(b"fmt ", &format(1, 0, &[]));
        assert!(read(&file(b"RIFF", 0, &[odd, whole(b"data", &samples())])).is_err());
        assert!(read(W64_RIFF).is_err());
    }
}
