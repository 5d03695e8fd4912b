//! The chunk `fmt `: how samples are stored. Microsoft "Multimedia Programming Interface" 1.0; RFC 2361.

/// Integers, floats, A-law, mu-law, and one of these with a longer header.
const INTEGER: u16 = 1;
const FLOAT: u16 = 3;
pub(super) const A_LAW: u16 = 6;
pub(super) const MU_LAW: u16 = 7;
pub(super) const EXTENSIBLE: u16 = 0xfffe;
/// Both are decoded, with the headers that they have.
const ADPCM: [u16; 2] = [2, 17];
/// Fewest bytes.
const LEAST: usize = 16;
/// Bytes of an extensible format.
const LONG: usize = 40;

/// `fmt `, of at least 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format(Vec<u8>);

impl Format {
    /// Its bytes. `None` if they are too few.
    pub(super) fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= LEAST).then_some(Self(bytes))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn codec(&self) -> u16 {
        self.u16(0)
    }

    pub(super) fn is_adpcm(&self) -> bool {
        ADPCM.contains(&self.codec())
    }

    /// The name of its codec, if that is not decoded.
    pub(super) fn foreign(&self) -> Option<String> {
        let known = match self.codec() {
            INTEGER | FLOAT | A_LAW | MU_LAW => true,
            EXTENSIBLE => self.0.len() >= LONG,
            _ => false,
        };
        (!known).then(|| codec_name(self.codec()))
    }

    /// Bytes of one sample of all channels, at least 1.
    pub(super) fn block(&self) -> u64 {
        u64::from(self.u16(12)).max(1)
    }

    pub(super) fn seconds(&self, bytes: u64) -> f64 {
        let rate = [4, 6].map(|at| u64::from(self.u16(at)));
        let rate = rate[0] | rate[1] << 16;
        bytes as f64 / (self.block() * rate.max(1)) as f64
    }

    /// In the length that its codec has.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let extra: u16 = match self.codec() {
            INTEGER | FLOAT => {
                bytes.truncate(LEAST);
                return bytes;
            }
            EXTENSIBLE => 22,
            _ => 0,
        };
        bytes.resize(18 + usize::from(extra), 0);
        bytes[16..18].copy_from_slice(&extra.to_le_bytes());
        bytes
    }
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
