//! Weighted mean and standard deviation over time.

use pulp::{Simd, WithSimd};

use crate::InstructionSet;

/// Partial sums, so that additions need not wait for each other.
const LANES: usize = 16;

/// Of each row of `x` `[feature, frame]` its mean by the `weights` `[frame]`, then of each its standard deviation,
/// `[2 features]`. pyannote.audio `models/blocks/pooling.py`, step by step in f32; the sums in f64, closer than
/// PyTorch's cascades in f32. `eps` is what keeps weights of 0 from dividing by zero.
///
/// # Panics
/// Where there are no weights, or `x` is not of whole rows.
#[must_use]
pub fn weighted_statistics(
    instructions: InstructionSet,
    x: &[f32],
    weights: &[f32],
    eps: f32,
) -> Vec<f32> {
    assert_eq!(x.len() % weights.len(), 0);
    instructions.run(Statistics { x, weights, eps })
}

struct Statistics<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    eps: f32,
}

impl WithSimd for Statistics<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { x, weights, eps } = self;
        let v1 = sum(weights, weights, |w, _| w) + eps;
        let v2 = sum(weights, weights, |w, _| w * w);
        let unbiased = (v1 - v2 / v1) + eps;
        let rows = x.chunks_exact(weights.len());
        let mut out = vec![0.0; 2 * rows.len()];
        let (means, deviations) = out.split_at_mut(rows.len());
        for ((row, mean), deviation) in rows.zip(means).zip(deviations) {
            let average = sum(row, weights, |x, w| x * w) / v1;
            let squares = sum(row, weights, |x, w| (x - average) * (x - average) * w);
            (*mean, *deviation) = (average, (squares / unbiased).sqrt());
        }
        out
    }
}

/// The sum of what `term` makes of pairs, in f64.
#[inline(always)]
fn sum(x: &[f32], weights: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f64; LANES];
    let (x, weights) = (x.chunks_exact(LANES), weights.chunks_exact(LANES));
    let rest = x.remainder().iter().zip(weights.remainder());
    for (x, weights) in x.zip(weights) {
        for ((sum, x), w) in lanes.iter_mut().zip(x).zip(weights) {
            *sum += f64::from(term(*x, *w));
        }
    }
    for (sum, (x, w)) in lanes.iter_mut().zip(rest) {
        *sum += f64::from(term(*x, *w));
    }
    lanes.iter().sum::<f64>() as f32
}
