//! The peak performance of the machine.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use pulp::{Simd, WithSimd};

use crate::InstructionSet;

/// Independent sums: enough for the units and the latency of any machine, and few enough for its registers.
const CHAINS: usize = 12;
/// Steps between two readings of the clock.
const STEPS: usize = 1 << 16;

impl InstructionSet {
    /// Floating-point operations per second of all threads together, with fused multiply-adds on values in registers, each
    /// counted as two: the upper bound of any kernel. Takes `time`.
    #[must_use]
    pub fn peak(self, time: Duration) -> f64 {
        rayon::broadcast(|_| {
            let start = Instant::now();
            let mut steps = 0;
            while start.elapsed() < time {
                self.run(Chains);
                steps += STEPS;
            }
            let operations = 2 * steps * CHAINS * self.lanes();
            operations as f64 / start.elapsed().as_secs_f64()
        })
        .into_iter()
        .sum()
    }
}

struct Chains;

impl WithSimd for Chains {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums stay near 1 for any number of steps.
        let (factor, term) = (
            simd.splat_f32s(black_box(0.5)),
            simd.splat_f32s(black_box(0.5)),
        );
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, term);
            }
        }
        black_box(sums);
    }
}
