//! Recordings for the path of users, made of the project's sample.

use std::ops::Range;

use soundalike_diarize::audio::Audio;

/// Samples of the sample that are silenced, so that four windows have no speech.
const PAUSE: Range<usize> = 128_000..312_000;

/// The project's sample: 30 s of two synthetic voices.
#[must_use]
pub fn sample() -> Audio {
    let samples = include_bytes!("../../captured/sample.s16").chunks_exact(2);
    let samples = samples.map(|x| f32::from(i16::from_le_bytes([x[0], x[1]])) / 32_768.0);
    Audio {
        samples: samples.collect(),
        sample_rate: 16_000,
        skipped_packets: 0,
        notes: Vec::new(),
    }
}

/// The sample with a pause.
pub(super) fn paused() -> (&'static str, Audio) {
    let mut audio = sample();
    audio.samples[PAUSE].fill(0.0);
    ("sample.wav with a pause", audio)
}

/// Recordings of 30 s, each with a name: without speech, of one voice, and of six.
#[must_use]
pub fn recordings() -> [(&'static str, Audio); 3] {
    let samples = sample().samples;
    let of = |samples: Vec<f32>| Audio {
        samples,
        ..sample()
    };
    let silence = vec![0.0; samples.len()];
    // Where voice A of the sample talks alone, again and again.
    let alone = [9_600..38_400, 176_000..216_000, 356_800..390_400];
    let alone = alone.into_iter().flat_map(|part| samples[part].to_vec());
    let one: Vec<f32> = alone.collect();
    let one = one.iter().copied().cycle().take(samples.len()).collect();
    // The two voices, and the same faster and slower: higher and lower voices.
    let at_speed = |index: usize, speed: f32| {
        let index = (index as f32 * speed) as usize;
        samples[index % samples.len()]
    };
    let voices = |index| [1.0, 0.8, 1.3].map(|speed| at_speed(index, speed) / 3.0);
    let many = (0..samples.len()).map(|index| voices(index).into_iter().sum());
    [
        ("silence", of(silence)),
        ("one voice", of(one)),
        ("six voices", of(many.collect())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_that_of_the_tests() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sample.wav");
        assert_eq!(sample(), Audio::read(path.as_ref(), 16_000).unwrap());
    }
}
