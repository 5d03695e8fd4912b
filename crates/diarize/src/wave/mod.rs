//! WAV files whose headers say too much, too little or nothing: of recorders that crashed or wrote into a pipe, of over
//! 4 GB (RF64, BW64, W64), several behind one another, with chunks of unusual lengths.
//!
//! The chunks are read here; what is decoded is a stream with a plain header and the samples alone. RIFF: Microsoft
//! "Multimedia Programming Interface" 1.0. RF64, BW64: EBU Tech 3306, ITU-R BS.2088. W64: Sony "Wave64".

mod chunks;
mod format;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    ops::Range,
};

use chunks::{Chunk, Chunks};
use format::Format;
use symphonia::core::io::MediaSource;

use crate::audio::AudioProblem;

/// Most chunks of a file: real ones have about ten.
const MAX_CHUNKS: usize = 10_000;
/// Most bytes of `fmt `: a header of an ADPCM has 50.
const MAX_FORMAT: u64 = 256;
/// Lengths of `data` that writers into pipes leave: sox, arecord and others, ffmpeg.
const UNKNOWN: [Range<u64>; 2] = [0x7fff_f000..0x8000_0001, 0xffff_f000..0x1_0000_0000];
/// The length of `data` in RF64 and BW64, whose real one is in `ds64`.
const IN_DS64: u64 = 0xffff_ffff;
/// Fewest bytes behind `data` that may be samples: less is a writer's padding.
const LEAST_BEHIND: u64 = 8;

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

/// Reads the chunks of a file that can be read twice. `None` if it is no WAV, or one that needs no help.
pub(crate) fn open(file: &mut File) -> Result<Option<Wave>, AudioProblem> {
    let wave = match Chunks::of(file)? {
        Some(chunks) => Reader::new(chunks).read()?,
        None => None,
    };
    file.rewind().map_err(AudioProblem::Read)?;
    Ok(wave)
}

struct Reader<'f> {
    chunks: Chunks<'f>,
    format: Option<Format>,
    /// Length of `data` by `ds64`.
    real_length: Option<u64>,
    parts: Vec<Range<u64>>,
    announced: Option<u64>,
    notes: Vec<String>,
}

/// What follows a chunk.
enum Next {
    /// Another, behind so many bytes.
    Behind(u64),
    /// Nothing that is read.
    End,
    /// This file needs no help.
    NoHelp,
}

impl<'f> Reader<'f> {
    fn new(chunks: Chunks<'f>) -> Self {
        Self {
            chunks,
            format: None,
            real_length: None,
            parts: Vec::new(),
            announced: Some(0),
            notes: Vec::new(),
        }
    }

    fn read(mut self) -> Result<Option<Wave>, AudioProblem> {
        let mut at = self.chunks.first;
        for _ in 0..MAX_CHUNKS {
            let Some(chunk) = self.chunks.at(at)? else {
                break;
            };
            let next = match &chunk.name {
                b"ds64" => self.sizes(&chunk)?,
                b"fmt " => self.format(&chunk)?,
                b"data" => self.data(&chunk)?,
                // Another file, joined to the first: its chunks follow.
                b"RIFF" | b"RF64" | b"BW64" if !self.parts.is_empty() => Next::Behind(4),
                _ => Next::Behind(chunk.length),
            };
            at = match next {
                Next::Behind(length) => self.chunks.behind(&chunk, length)?,
                Next::End => break,
                Next::NoHelp => return Ok(None),
            };
        }
        let Some(format) = self.format.filter(|_| !self.parts.is_empty()) else {
            return Ok(None);
        };
        let plain = format.plain();
        let length = (plain.len() as u32).to_le_bytes();
        let unknown = &[0xff; 4][..];
        let start = [b"RIFF", unknown, b"WAVEfmt ", &length, &plain];
        Ok(Some(Wave {
            header: [&start[..], &[b"data", unknown]].concat().concat(),
            parts: self.parts,
            announced: self.announced,
            notes: self.notes,
        }))
    }

    fn sizes(&mut self, chunk: &Chunk) -> Result<Next, AudioProblem> {
        let data = self.chunks.bytes(chunk.start + 8, 8)?;
        self.real_length = data.first_chunk().copied().map(u64::from_le_bytes);
        Ok(Next::Behind(chunk.length))
    }

    fn format(&mut self, chunk: &Chunk) -> Result<Next, AudioProblem> {
        let bytes = self
            .chunks
            .bytes(chunk.start, chunk.length.min(MAX_FORMAT))?;
        let Some(found) = Format::new(bytes).filter(|found| !found.is_adpcm()) else {
            return Ok(Next::NoHelp);
        };
        if let Some(name) = found.foreign() {
            return Err(AudioProblem::Codec(name));
        }
        if self.format.as_ref().is_some_and(|first| *first != found) {
            let seconds = found.seconds(self.chunks.end - chunk.start);
            self.notes.push(format!(
                "a second recording in the file, in another format, is ignored (up to {seconds:.1} s)"
            ));
            return Ok(Next::End);
        }
        self.format = Some(found);
        Ok(Next::Behind(chunk.length))
    }

    fn data(&mut self, chunk: &Chunk) -> Result<Next, AudioProblem> {
        let Some(format) = &self.format else {
            return Ok(Next::NoHelp);
        };
        let (start, left) = (chunk.start, self.chunks.end - chunk.start);
        let mut length = match (chunk.length, self.real_length) {
            (IN_DS64, Some(real)) => real,
            (length, _) => length,
        };
        let behind = self.chunks.behind(chunk, length)?;
        let goes_on = behind.saturating_add(LEAST_BEHIND.max(format.block())) <= self.chunks.end
            && !self.chunks.begins(behind)?;
        let unknown = length > left && UNKNOWN.iter().any(|range| range.contains(&length))
            || goes_on && length == 0;
        if unknown || goes_on {
            let (all, told) = (format.seconds(left), format.seconds(length));
            self.notes.push(match unknown {
                true => format!(
                    "the header does not say how long it is; it is read to the end, {all:.1} s"
                ),
                false => {
                    format!("the header announces {told:.1} s, all {all:.1} s of the file are read")
                }
            });
            (length, self.announced) = (left, None);
        }
        let samples = length / format.block();
        self.announced = self.announced.map(|sum| sum.saturating_add(samples));
        let whole = length.min(left) / format.block() * format.block();
        self.parts.push(start..start + whole);
        Ok(Next::Behind(length))
    }
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

    use super::{
        chunks::{W64_END, W64_RIFF},
        format::{A_LAW, EXTENSIBLE, MU_LAW},
    };
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
