//! From one sample rate to another, as the samples come.

use rubato::{
    Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

/// Fewest samples resampled at a time. The filter is as long.
const CHUNK: usize = 1024;

/// Why the resampler failed: the library has one type for its construction, one for its buffers and one for its run.
pub(crate) type ResampleError = Box<dyn std::error::Error + Send + Sync>;

/// Takes samples at one rate and gives them at another.
pub(crate) struct Resampling {
    /// `None` where the rates are the same.
    resampler: Option<Fft<f32>>,
    /// Samples that were given.
    taken: usize,
    /// Those of them that do not make a chunk yet.
    pending: Vec<f32>,
    /// What becomes of a chunk.
    chunk: Vec<f32>,
    /// Results that are still to be left out: the filter's delay.
    delay: usize,
    /// Results that were given.
    made: usize,
}

impl Resampling {
    /// From and to so many samples per second.
    ///
    /// # Errors
    /// What the resampler says of rates it cannot convert.
    pub(crate) fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        let (from, to) = (from as usize, to as usize);
        // The filter delays by half a chunk, of which the resampler takes back whole samples only: so an even
        // number of samples goes in and an even number comes out.
        let unit = 2 * (from / greatest_common_divisor(from, to));
        let chunk = CHUNK.next_multiple_of(unit);
        let window = WindowFunction::BlackmanHarris2;
        let resampler = (from != to)
            .then(|| Fft::<f32>::new_custom(from, to, chunk, 1, 1, window, FixedSync::Input))
            .transpose()?;
        let of_chunk = resampler.as_ref().map_or(0, Resampler::output_frames_max);
        Ok(Self {
            taken: 0,
            pending: Vec::new(),
            chunk: vec![0.0; of_chunk],
            delay: resampler.as_ref().map_or(0, Resampler::output_delay),
            made: 0,
            resampler,
        })
    }

    /// Samples that were given until now.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the next `samples`, and appends what is known of the result to `out`.
    ///
    /// # Errors
    /// What the resampler says.
    pub(crate) fn push(
        &mut self,
        mut samples: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ResampleError> {
        self.taken += samples.len();
        let Some(resampler) = &self.resampler else {
            out.extend_from_slice(samples);
            return Ok(());
        };
        let chunk = resampler.input_frames_next();
        while !samples.is_empty() {
            let room = chunk - self.pending.len();
            let (some, rest) = samples.split_at(room.min(samples.len()));
            self.pending.extend_from_slice(some);
            samples = rest;
            if self.pending.len() == chunk {
                self.process(out)?;
            }
        }
        Ok(())
    }

    /// Appends the rest of the result to `out`: altogether as many samples as make the same duration, rounded up.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), ResampleError> {
        let Some(ratio) = self.resampler.as_ref().map(Resampler::resample_ratio) else {
            return Ok(());
        };
        let expected = (ratio * self.taken as f64).ceil() as usize;
        while self.made < expected {
            self.process(out)?;
        }
        // What came before the last chunk is less than the input so far, by the delay.
        out.truncate(out.len() - (self.made - expected));
        self.made = expected;
        Ok(())
    }

    /// Resamples what is pending, with silence behind it where that is less than a chunk.
    fn process(&mut self, out: &mut Vec<f32>) -> Result<(), ResampleError> {
        let Some(resampler) = &mut self.resampler else {
            return Ok(());
        };
        let (chunk, room) = (resampler.input_frames_next(), self.chunk.len());
        self.pending.resize(chunk, 0.0);
        let input = InterleavedSlice::new(&self.pending, 1, chunk)?;
        let mut output = InterleavedSlice::new_mut(&mut self.chunk, 1, room)?;
        let (_, made) = resampler.process_into_buffer(&input, &mut output, None)?;
        self.pending.clear();
        let late = self.delay.min(made);
        self.delay -= late;
        self.made += made - late;
        out.extend_from_slice(&self.chunk[late..made]);
        Ok(())
    }
}

/// Euclid's. Neither is 0.
fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_pieces_it_is_what_the_resampler_makes_of_all_at_once() {
        for (from, to) in [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000)] {
            for length in [1, 500, 1023, 1024, 1025, 1764, 1765, 30_000] {
                let signal: Vec<f32> = (0..length).map(|i| (i as f32 * 0.07).sin()).collect();
                let mut whole = Resampling::new(from, to).unwrap().resampler.unwrap();
                let input = InterleavedSlice::new(&signal, 1, length).unwrap();
                let expected = whole.process_all(&input, length, None).unwrap().take_data();
                for piece in [1, 333, 4096] {
                    let mut resampling = Resampling::new(from, to).unwrap();
                    let mut found = Vec::new();
                    for samples in signal.chunks(piece) {
                        resampling.push(samples, &mut found).unwrap();
                    }
                    assert_eq!(resampling.taken(), length);
                    resampling.finish(&mut found).unwrap();
                    assert_eq!(found, expected, "{from} to {to}, {length} by {piece}");
                }
            }
        }
    }

    #[test]
    fn the_same_rate_is_the_same_samples() {
        let (mut resampling, mut out) = (Resampling::new(16_000, 16_000).unwrap(), Vec::new());
        resampling.push(&[0.5, -0.25], &mut out).unwrap();
        resampling.push(&[1.0], &mut out).unwrap();
        resampling.finish(&mut out).unwrap();
        assert_eq!(out, [0.5, -0.25, 1.0]);
    }
}
