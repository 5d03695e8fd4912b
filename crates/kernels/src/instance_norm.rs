//! Instance normalisation over time.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::InstructionSet;

/// Independent partial sums of a single channel, so that additions overlap.
const LANES: usize = 16;

/// Normalises each channel of each sequence to mean 0 and variance 1 over time, then scales and shifts it.
#[derive(Debug, Clone)]
pub struct InstanceNorm {
    /// The instructions to use.
    pub instructions: InstructionSet,
    /// `[channels]`.
    pub weight: Vec<f32>,
    /// `[channels]`.
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub eps: f64,
}

impl InstanceNorm {
    /// `x` `[sequence, frame, channel]` of `batch` sequences, normalised, with a LeakyReLU if there is a `slope`. Means and
    /// variances are summed in f64, as in PyTorch on the CPU, and results are rounded once, with a slope twice.
    ///
    /// # Panics
    /// If `x` is not `batch` sequences of whole frames.
    #[must_use]
    pub fn forward(&self, x: &[f32], batch: usize, slope: Option<f32>) -> Vec<f32> {
        let channels = self.weight.len();
        assert_eq!(self.bias.len(), channels);
        let mut out = vec![0.0; x.len()];
        if x.is_empty() {
            return out;
        }
        let len = x.len() / batch;
        assert_eq!((x.len() % batch, len % channels), (0, 0));
        let sequences = out.par_chunks_exact_mut(len).zip(x.par_chunks_exact(len));
        sequences.for_each(|(out, x)| {
            self.instructions.run(Sequence {
                norm: self,
                x,
                slope: slope.unwrap_or(1.0),
                out,
            });
        });
        out
    }
}

struct Sequence<'a> {
    norm: &'a InstanceNorm,
    x: &'a [f32],
    slope: f32,
    out: &'a mut [f32],
}

impl WithSimd for Sequence<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            norm,
            x,
            slope,
            out,
        } = self;
        let channels = norm.weight.len();
        let frames = (x.len() / channels) as f64;
        let zeros = vec![0.0; channels];
        let mut mean = sums(x, &zeros, false);
        mean.iter_mut().for_each(|sum| *sum /= frames);
        let mut scale = sums(x, &mean, true);
        for (scale, weight) in scale.iter_mut().zip(&norm.weight) {
            *scale = f64::from(*weight) / (*scale / frames + norm.eps).sqrt();
        }
        let bias: Vec<f64> = norm.bias.iter().map(|bias| f64::from(*bias)).collect();
        if channels == 1 {
            for (out, x) in out.iter_mut().zip(x) {
                let y = ((f64::from(*x) - mean[0]) * scale[0] + bias[0]) as f32;
                *out = if y < 0.0 { y * slope } else { y };
            }
            return;
        }
        for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            let constants = mean.iter().zip(&scale).zip(&bias);
            for ((out, x), ((mean, scale), bias)) in out.iter_mut().zip(x).zip(constants) {
                let y = ((f64::from(*x) - mean) * scale + bias) as f32;
                *out = if y < 0.0 { y * slope } else { y };
            }
        }
    }
}

/// For each channel, the sum over time of the difference to `mean`, or of its square.
#[inline(always)]
fn sums(x: &[f32], mean: &[f64], squared: bool) -> Vec<f64> {
    if let [mean] = mean {
        let mut lanes = [0.0; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (sum, x) in lanes.iter_mut().zip(chunk) {
                let x = f64::from(*x) - mean;
                *sum += if squared { x * x } else { x };
            }
        }
        for (sum, x) in lanes.iter_mut().zip(rest) {
            let x = f64::from(*x) - mean;
            *sum += if squared { x * x } else { x };
        }
        return vec![lanes.iter().sum()];
    }
    let mut sums = vec![0.0; mean.len()];
    for frame in x.chunks_exact(mean.len()) {
        for ((sum, x), mean) in sums.iter_mut().zip(frame).zip(mean) {
            let x = f64::from(*x) - mean;
            *sum += if squared { x * x } else { x };
        }
    }
    sums
}
