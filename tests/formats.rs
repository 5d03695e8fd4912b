//! Whatever a recording is stored as, the same is heard in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::{f64::consts::PI, fs};

use soundalike_diarize::audio::Audio;
use support::{
    Encoding::{F32, I16, I24, U8},
    RATE, all_pass, annotation, data, der, sample, soundalike, wav,
};

/// Half the length of the resampling filter, in samples of the lower rate.
const HALF_WIDTH: f64 = 16.0;
/// Cut-off of the resampling filter, as a part of half the lower rate.
const CUTOFF: f64 = 0.95;

/// Band-limited interpolation with a Hann-windowed sinc: not the resampler of the program.
fn resampled(samples: &[f32], rate: u32) -> Vec<f32> {
    let ratio = f64::from(rate) / f64::from(RATE);
    let cutoff = CUTOFF * ratio.min(1.0);
    let reach = HALF_WIDTH / ratio.min(1.0);
    let length = (samples.len() as f64 * ratio).round() as usize;
    (0..length)
        .map(|index| {
            let centre = index as f64 / ratio;
            let from = (centre - reach).ceil().max(0.0) as usize;
            let to = ((centre + reach).floor() as usize + 1).min(samples.len());
            let weighted = samples[from..to].iter().enumerate().map(|(at, &sample)| {
                let x = centre - (from + at) as f64;
                let phase = PI * cutoff * x;
                let sinc = if phase == 0.0 {
                    1.0
                } else {
                    phase.sin() / phase
                };
                f64::from(sample) * cutoff * sinc * (0.5 + 0.5 * (PI * x / reach).cos())
            });
            weighted.sum::<f64>() as f32
        })
        .collect()
}

/// Each sample twice, once for each of two channels, `difference` apart.
fn stereo(samples: &[f32], difference: impl Fn(usize) -> f32) -> Vec<f32> {
    let pairs = samples.iter().enumerate();
    pairs
        .flat_map(|(index, x)| [x + difference(index), x - difference(index)])
        .collect()
}

#[test]
fn every_way_of_storing_samples_gives_the_same_turns() {
    // One window, in which both voices speak, one over the other.
    let samples = sample(0.0, 10.0);
    // Loud, and gone where the channels are averaged. Exact in f32, as the samples are.
    let hum = |index: usize| {
        if (index / 20).is_multiple_of(2) {
            0.25
        } else {
            -0.25
        }
    };
    let cd = resampled(&samples, 44_100);
    let telephone = resampled(&samples, 8_000);
    let original = wav(I16, RATE, 1, &samples);
    // The bound is the DER against the turns of the original. 0: the samples are the same, bit for bit, so the
    // bytes are. The others lose the highest frequencies or the lowest bits; then a quiet word between two turns
    // may be heard as one's or as nobody's, which makes 0.003 to 0.02 here. A rate 8 % off, or every second sample
    // lost, makes more than 0.1.
    let cases = [
        ("24 bits", wav(I24, RATE, 1, &samples), 0.0),
        ("32-bit floats", wav(F32, RATE, 1, &samples), 0.0),
        (
            "stereo, equal",
            wav(I16, RATE, 2, &stereo(&samples, |_| 0.0)),
            0.0,
        ),
        (
            "stereo, different",
            wav(F32, RATE, 2, &stereo(&samples, hum)),
            0.0,
        ),
        (
            "44.1 kHz stereo",
            wav(I16, 44_100, 2, &stereo(&cd, |_| 0.0)),
            0.02,
        ),
        ("8 kHz", wav(I16, 8_000, 1, &telephone), 0.05),
        ("8 bits", wav(U8, RATE, 1, &samples), 0.05),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wav");
    let diarize = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        soundalike(["diarize".into(), "-q".into(), path.clone()]).ok()
    };
    let expected = diarize(&original);
    let speakers = annotation(&expected).labels().len();
    assert_eq!(speakers, 2);
    let mut failures = Vec::new();
    for (name, bytes, bound) in cases {
        let rttm = diarize(&bytes);
        let der = der(&expected, &rttm);
        println!("{name}: DER {der:.4} against the original");
        if annotation(&rttm).labels().len() != speakers || der > bound {
            failures.push(format!("{name}: DER {der}, allowed is {bound}\n{rttm}"));
        }
        if bound == 0.0 && rttm != expected {
            failures.push(format!("{name}: other bytes\n{rttm}"));
        }
    }
    all_pass(failures);
}

#[test]
fn resampling_neither_moves_nor_weakens_a_tone() {
    const SECONDS: f64 = 2.0;
    const HERTZ: f64 = 1000.0;
    // A part of the tone's power: -60 dB, where half a sample late is -11 dB to -23 dB. Measured: below -110 dB.
    const ERROR: f64 = 1e-6;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tone.wav");
    let tone = |rate: u32| -> Vec<f32> {
        let phase = |index: usize| 2.0 * PI * HERTZ * index as f64 / f64::from(rate);
        let length = (SECONDS * f64::from(rate)) as usize;
        (0..length)
            .map(|index| (0.5 * phase(index).sin()) as f32)
            .collect()
    };
    let expected = tone(RATE);
    // A tenth of a second at each end, where the filter reaches beyond the recording.
    let inner = RATE as usize / 10..expected.len() - RATE as usize / 10;
    let power =
        |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let mut failures = Vec::new();
    for rate in [
        8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
    ] {
        fs::write(&path, wav(F32, rate, 1, &tone(rate))).unwrap();
        let audio = Audio::read(&path, RATE).unwrap();
        if audio.samples.len() != expected.len() {
            failures.push(format!(
                "{rate} Hz: {} samples, expected {}",
                audio.samples.len(),
                expected.len()
            ));
            continue;
        }
        let pairs = audio.samples[inner.clone()]
            .iter()
            .zip(&expected[inner.clone()]);
        let error = power(&mut pairs.map(|(found, expected)| found - expected));
        let relative = error / power(&mut expected[inner.clone()].iter().copied());
        println!("{rate} Hz: error {:.0} dB", 10.0 * relative.log10());
        if relative > ERROR {
            failures.push(format!(
                "{rate} Hz: error is {relative} of the tone, allowed is {ERROR}"
            ));
        }
    }
    all_pass(failures);
}

/// AIFF, 16 bits, mono, at [`RATE`].
fn aiff(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|x| ((x * 32768.0) as i16).to_be_bytes())
        .collect();
    let count = samples.len() as u32;
    let mut file = b"FORM".to_vec();
    file.extend((46 + data.len() as u32).to_be_bytes());
    file.extend(b"AIFFCOMM\0\0\0\x12\0\x01");
    file.extend(count.to_be_bytes());
    // 16 bits; 16000 as an 80-bit float: 2^13 (biased exponent 0x400c) times 1.953125.
    file.extend(b"\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0SSND");
    file.extend((8 + data.len() as u32).to_be_bytes());
    file.extend([0; 8]);
    file.extend(data);
    file
}

#[test]
fn every_format_is_decoded_whole_and_in_place() {
    const SECONDS: f64 = 2.0;
    // The turn of the truth in seconds of the clip.
    const START: f64 = 27.84 - 27.5;
    const END: f64 = 28.91 - 27.5;
    // The network hears it 0.09 s early and 0.07 s late in the WAV; an AAC encoder adds a start of 0.064 s
    // (1024 samples at this rate) that the decoder does not know of.
    const PLACE: f64 = 0.15;

    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let samples = sample(27.5, 27.5 + SECONDS);
    let committed = |name: &str| data("formats").join(name);
    // Samples more than there were: none where nothing is lost; one MP3 frame (1152) or two AAC frames of 1024
    // where the encoder fills up its first and last.
    let cases = [
        (made("clip.wav", wav(I16, RATE, 1, &samples)), 0),
        (made("clip.aiff", aiff(&samples)), 0),
        (committed("clip.flac"), 0),
        (committed("clip.caf"), 0),
        (committed("clip.ogg"), 0),
        (committed("clip.mkv"), 1152),
        (committed("clip.mp3"), 1152),
        (committed("clip.m4a"), 2048),
    ];
    let mut failures = Vec::new();
    for (path, padding) in cases {
        let name = path.file_name().unwrap().display().to_string();
        let audio = Audio::read(&path, RATE).unwrap();
        let more = audio.samples.len() as i64 - samples.len() as i64;
        println!("{name}: {more} samples more than there were");
        if !(0..=padding).contains(&more) {
            failures.push(format!("{name}: {more} samples more than there were"));
        }
        let lossless = padding == 0 && !name.ends_with(".ogg");
        if lossless && audio.samples != samples {
            failures.push(format!("{name}: lossless, but other samples"));
        }

        let annotation = annotation(&soundalike(["diarize".into(), "-q".into(), path]).ok());
        let longest = annotation
            .turns()
            .iter()
            .map(|turn| turn.segment)
            .max_by(|a, b| a.duration().total_cmp(&b.duration()))
            .unwrap();
        println!("{name}: {:.3} to {:.3} s", longest.start, longest.end);
        if (longest.start - START).abs() > PLACE || (longest.end - END).abs() > PLACE {
            failures.push(format!(
                "{name}: speech from {:.3} to {:.3} s, expected {START:.3} to {END:.3}",
                longest.start, longest.end
            ));
        }
    }
    all_pass(failures);
}

#[test]
fn a_codec_that_is_not_there_is_said_so() {
    let run = soundalike(["diarize".into(), data("formats").join("clip.opus")]);
    let parts = [
        "clip.opus: is not audio this build can read",
        "codec",
        "convert it to WAV",
    ];
    all_pass(run.no_refusal(&parts).into_iter().collect());
}
