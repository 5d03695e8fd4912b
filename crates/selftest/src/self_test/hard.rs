//! Inputs that are difficult for a network, and inputs that hide faults.

use ndarray::Array3;

use soundalike_compare::Window;

/// Lengths of windows, seconds.
const LENGTHS: [f64; 3] = [1.3, 5.0, 10.0];
/// Seconds of silence.
const SILENCE: f64 = 10.0;
/// Seconds of the other inputs.
const DURATION: f64 = 2.0;

/// Windows of other lengths, silence, noise, clipped and quiet audio, made from `window`, which is repeated as needed.
/// None is longer than `longest` seconds.
#[must_use]
pub fn hard_inputs(window: &Window, sample_rate: u32, longest: f64) -> Vec<Window> {
    let samples: Vec<f32> = window.waveform.iter().copied().collect();
    let made = |name: String, duration: f64, change: fn(f32) -> f32| {
        let mut samples = samples.iter().cycle();
        let next = || samples.next().map_or(0.0, |x| change(*x));
        input(name, duration.min(longest), sample_rate, next)
    };
    let lengths = LENGTHS.into_iter().filter(|length| *length <= longest);
    let lengths =
        lengths.map(|length| made(format!("{} of {length} s", window.uri), length, |x| x));
    let loud = |x: f32| (20.0 * x).clamp(-1.0, 1.0);
    lengths
        .chain([
            made("silence".to_owned(), SILENCE, |_| 0.0),
            noise(sample_rate),
            made(format!("{} clipped", window.uri), DURATION, loud),
            made(format!("{} quiet", window.uri), DURATION, |x| 1e-3 * x),
        ])
        .collect()
}

/// Inputs that hide faults: silence and white noise.
#[must_use]
pub fn insensitive_inputs(sample_rate: u32) -> [Window; 2] {
    let silence = input("silence".to_owned(), DURATION, sample_rate, || 0.0);
    [silence, noise(sample_rate)]
}

fn noise(sample_rate: u32) -> Window {
    let mut noise = Noise(1);
    let name = "white noise".to_owned();
    input(name, DURATION, sample_rate, || 0.1 * noise.next())
}

fn input(name: String, duration: f64, sample_rate: u32, mut next: impl FnMut() -> f32) -> Window {
    let samples = (duration * f64::from(sample_rate)).round() as usize;
    let waveform = Array3::from_shape_fn((1, 1, samples), |_| next());
    Window {
        uri: name,
        start: 0.0,
        duration,
        waveform: waveform.into_dyn(),
        masks: None,
    }
}

/// A fixed sequence of numbers between -1 and 1: the generator of Knuth's MMIX.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
