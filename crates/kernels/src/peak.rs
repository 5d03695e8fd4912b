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
            self.rate(steps, start.elapsed())
        })
        .into_iter()
        .sum()
    }

    /// Floating-point operations per second if `steps` took `time`.
    fn rate(self, steps: usize, time: Duration) -> f64 {
        let operations = 2 * steps * CHAINS * self.lanes();
        operations as f64 / time.as_secs_f64()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_multiplication_and_an_addition_of_each_lane_and_chain() {
        for instructions in InstructionSet::all() {
            let each = 2.0 * 12.0 * instructions.lanes() as f64;
            let rate = instructions.rate(1000, Duration::from_millis(500));
            assert_eq!(rate, 2000.0 * each, "{instructions:?}");
        }
    }

    #[test]
    fn the_peak_is_measured_for_as_long_as_was_asked() {
        let time = Duration::from_millis(20);
        let start = Instant::now();
        let peak = InstructionSet::scalar().peak(time);
        assert!(start.elapsed() >= time);
        // From one operation in a microsecond, to a hundred in each cycle of 10 GHz.
        let threads = rayon::current_num_threads() as f64;
        assert!((1e6..1e12).contains(&(peak / threads)), "{peak}");
    }
}
