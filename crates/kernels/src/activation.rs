//! Logistic function and hyperbolic tangent, one register at a time.

use pulp::Simd;

/// 1.5 x 2^23: added to a number of moderate size, it leaves the nearest integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;
/// Natural logarithm of 2 in two parts, the first with few enough bits for exact products. Cody and Waite,
/// *Software Manual for the Elementary Functions* (1980).
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Beyond ± this, e^x is not a normal f32.
const LARGEST: f32 = 88.0;
/// Minimax polynomials of (exp(x) - 1 - x) / x^2 on ±ln(2) / 2, and of (tanh(x) - x) / x^3 in x^2 on ±0.625, highest power
/// first. Cephes library (Moshier), `expf.c` and `tanhf.c`.
const EXP: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    1.666_666_5e-1,
    0.5,
];
const TANH: [f32; 5] = [
    -5.704_988_7e-3,
    2.063_909e-2,
    -5.373_971_6e-2,
    1.333_144_2e-1,
    -0.333_332_8,
];
/// Below it, tanh is a polynomial.
const SMALL: f32 = 0.625;

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: [f32; N], x: S::f32s) -> S::f32s {
    let mut value = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        value = simd.mul_add_f32s(value, x, simd.splat_f32s(*coefficient));
    }
    value
}

/// e^x, with x clamped to ±88; 0 if the result is no normal number. NaN for NaN.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (low, high) = (simd.splat_f32s(-LARGEST), simd.splat_f32s(LARGEST));
    let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
    let x = simd.select_f32s(simd.less_than_f32s(high, x), high, x);
    let round = simd.splat_f32s(ROUND);
    let shifted = simd.mul_add_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), round);
    let power = simd.sub_f32s(shifted, round);
    let r = simd.mul_add_f32s(power, simd.splat_f32s(-LN_2[0]), x);
    let r = simd.mul_add_f32s(power, simd.splat_f32s(-LN_2[1]), r);
    let tail = polynomial(simd, EXP, r);
    // 1 is added last, so that only this sum rounds at the size of the result.
    let value = simd.mul_add_f32s(tail, simd.mul_f32s(r, r), r);
    let value = simd.add_f32s(value, simd.splat_f32s(1.0));
    // 2^power: the integer shifted to the exponent bits, plus the exponent of 1.
    let bits = simd.wrapping_dyn_shl_u32s(
        simd.transmute_u32s_f32s(shifted),
        simd.splat_u32s(f32::MANTISSA_DIGITS - 1),
    );
    let bits = simd.add_u32s(bits, simd.splat_u32s(1.0_f32.to_bits()));
    simd.mul_f32s(value, simd.transmute_f32s_u32s(bits))
}

/// 1 / (1 + e^-x), to 2 units in the last place. NaN for NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let e = exp(simd, simd.neg_f32s(x));
    simd.div_f32s(one, simd.add_f32s(one, e))
}

/// Hyperbolic tangent, to 2 units in the last place. NaN for NaN.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let size = simd.abs_f32s(x);
    let square = simd.mul_f32s(x, x);
    let small = simd.mul_add_f32s(polynomial(simd, TANH, square), simd.mul_f32s(square, x), x);
    let e = exp(simd, simd.add_f32s(size, size));
    let rest = simd.div_f32s(simd.splat_f32s(2.0), simd.add_f32s(e, one));
    let large = simd.sub_f32s(one, rest);
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let large = simd.select_f32s(negative, simd.neg_f32s(large), large);
    simd.select_f32s(
        simd.less_than_f32s(size, simd.splat_f32s(SMALL)),
        small,
        large,
    )
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::{
        InstructionSet,
        epilogue::{load_some, store_some},
    };

    struct Apply<'a>(&'a mut [f32], bool);

    impl WithSimd for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for values in self.0.chunks_mut(S::F32_LANES) {
                let x = load_some(simd, values);
                let y = if self.1 {
                    tanh(simd, x)
                } else {
                    sigmoid(simd, x)
                };
                store_some(simd, values, y);
            }
        }
    }

    /// The largest error of either function, over all f32 values.
    const MAX_ERROR_ULPS: f64 = 2.0;

    /// Distance to the golden in units of the last place of an f32 of its size.
    fn ulp(found: f32, golden: f64) -> f64 {
        let size = (golden.abs() as f32).max(f32::MIN_POSITIVE);
        let unit = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
        (f64::from(found) - golden).abs() / unit
    }

    fn largest_error(instructions: InstructionSet, bits: impl Iterator<Item = u32>) {
        let inputs: Vec<f32> = bits.map(f32::from_bits).filter(|x| x.is_finite()).collect();
        for tanh in [false, true] {
            let mut found = inputs.clone();
            instructions.run(Apply(&mut found, tanh));
            for (x, found) in inputs.iter().zip(found) {
                let x = f64::from(*x);
                let golden = if tanh {
                    x.tanh()
                } else {
                    1.0 / (1.0 + (-x).exp())
                };
                // Where e^x is no normal number, the result must only be tiny.
                let vanished = golden.abs() < 1e-38 && found.abs() < 1e-37;
                assert!(
                    ulp(found, golden) <= MAX_ERROR_ULPS || vanished,
                    "{instructions:?}, tanh {tanh}: {found} for {golden} at {x}"
                );
            }
        }
    }

    #[test]
    fn both_are_within_two_units_in_the_last_place() {
        for instructions in InstructionSet::all() {
            largest_error(instructions, (0..=u32::MAX).step_by(9973));
        }
    }

    #[test]
    #[ignore = "takes minutes: all f32 values"]
    fn both_are_within_two_units_for_every_value() {
        for first in 0..=255_u32 {
            let instructions = InstructionSet::all()[0];
            let last = (first << 24) | 0x00ff_ffff;
            largest_error(instructions, first << 24..=last);
        }
    }

    #[test]
    fn both_saturate_and_keep_nan() {
        for instructions in InstructionSet::all() {
            let inputs = [f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.0, f32::NAN];
            let [mut sigmoid, mut tanh] = [inputs; 2];
            instructions.run(Apply(&mut sigmoid, false));
            instructions.run(Apply(&mut tanh, true));
            assert_eq!(tanh[..5], [1.0, -1.0, 1.0, -1.0, 0.0]);
            assert_eq!((sigmoid[0], sigmoid[2], sigmoid[4]), (1.0, 1.0, 0.5));
            assert!(sigmoid[1] < 1e-37 && sigmoid[3] < 1e-37);
            assert!(sigmoid[5].is_nan() && tanh[5].is_nan());
        }
    }
}
