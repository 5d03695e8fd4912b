//! Conversion of the sample rate, chunk by chunk.

use rubato::{
    Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

/// Fewest input samples per chunk. The filter has this length.
const CHUNK: usize = 1024;

/// An error of the resampler: the library has one type for its construction, one for its buffers and one for its run.
pub(crate) type ResampleError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of samples at one rate to the same at another.
pub(crate) struct Resampling {
    /// `None` if the rates are equal.
    resampler: Option<Fft<f32>>,
    /// Input samples so far.
    taken: usize,
    /// Input samples that do not fill a chunk yet.
    pending: Vec<f32>,
    /// Scratch for the output of one chunk.
    chunk: Vec<f32>,
    /// Output samples still to be dropped: the delay of the filter.
    delay: usize,
    /// Output samples so far.
    made: usize,
}

impl Resampling {
    /// Converts from `from` to `to` samples per second.
    ///
    /// # Errors
    /// The resampler's, for rates that it cannot convert.
    pub(crate) fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        let (from, to) = (from as usize, to as usize);
        // The filter delays by half a chunk, and the resampler compensates whole samples only: both the input and the
        // output of a chunk have an even number of samples.
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

    /// Input samples so far.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the next `samples` and appends the output that is complete to `out`.
    ///
    /// # Errors
    /// The resampler's.
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

    /// Appends the rest of the output to `out`. In all it has the duration of the input, rounded up to a sample.
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
        // Only the last chunk can exceed it: before, the output is late by the delay.
        out.truncate(out.len() - (self.made - expected));
        self.made = expected;
        Ok(())
    }

    /// Resamples the pending samples, padded with silence to a chunk.
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

/// Euclid's algorithm. Neither is 0.
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
    fn pieces_give_what_the_resampler_gives_for_the_whole() {
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
    fn equal_rates_change_nothing() {
        let (mut resampling, mut out) = (Resampling::new(16_000, 16_000).unwrap(), Vec::new());
        resampling.push(&[0.5, -0.25], &mut out).unwrap();
        resampling.push(&[1.0], &mut out).unwrap();
        resampling.finish(&mut out).unwrap();
        assert_eq!(out, [0.5, -0.25, 1.0]);
    }
}
