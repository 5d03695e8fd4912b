//! Weighted mean and standard deviation over time.

use pulp::{Simd, WithSimd};

use crate::InstructionSet;

/// Independent partial sums, so that additions overlap.
const LANES: usize = 16;

/// The mean of each row of `x` `[feature, frame]` with `weights` `[frame]`, then the standard deviation of each,
/// `[2 features]`. pyannote.audio `models/blocks/pooling.py`, step by step in f32, with sums in f64, which are more exact
/// than PyTorch's cascades in f32. `eps` avoids a division by zero if all weights are 0.
///
/// # Panics
/// If there are no weights, or `x` is not whole rows.
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

/// The sum of `term` over pairs, in f64.
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
