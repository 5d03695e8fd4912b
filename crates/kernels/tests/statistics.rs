//! Weighted statistics against their definition in f64.

mod support;

use proptest::prelude::*;
use soundalike_kernels::{InstructionSet, weighted_statistics};
use support::noise;

/// As of pyannote.audio.
const EPS: f32 = 1e-8;

/// The weighted mean, and the standard deviation without the bias of a weighted sample. pyannote.audio
/// `models/blocks/pooling.py`, without epsilon.
fn golden(x: &[f32], weights: &[f32]) -> [f64; 2] {
    let pairs = || {
        x.iter()
            .zip(weights)
            .map(|(x, w)| (f64::from(*x), f64::from(*w)))
    };
    let v1: f64 = pairs().map(|(_, w)| w).sum();
    let v2: f64 = pairs().map(|(_, w)| w * w).sum();
    let mean = pairs().map(|(x, w)| x * w).sum::<f64>() / v1;
    let squares: f64 = pairs().map(|(x, w)| (x - mean).powi(2) * w).sum();
    [mean, (squares / (v1 - v2 / v1)).sqrt()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_feature_has_its_weighted_mean_and_deviation(
        (features, frames) in (1..=5_usize, 2..=70_usize),
        offset in -3.0..3.0_f32,
        seed in 0..1000_u64,
    ) {
        let x: Vec<f32> = noise(seed, features * frames).iter().map(|x| x + offset).collect();
        let weights: Vec<f32> = noise(seed + 1, frames).iter().map(|w| w.abs() + 0.1).collect();
        for instructions in InstructionSet::all() {
            let found = weighted_statistics(instructions, &x, &weights, EPS);
            prop_assert_eq!(found.len(), 2 * features);
            for (feature, x) in x.chunks(frames).enumerate() {
                let [mean, deviation] = golden(x, &weights);
                // Sums are in f64; terms, sums and quotients are rounded to f32, each by half a unit of values up to 4.
                // A deviation also has the error of the mean in each difference.
                let allowed = 8.0 * 4.0 * f64::from(f32::EPSILON);
                prop_assert!((f64::from(found[feature]) - mean).abs() <= allowed, "{instructions:?}, mean");
                prop_assert!(
                    (f64::from(found[features + feature]) - deviation).abs() <= allowed,
                    "{instructions:?}, deviation {} for {deviation}", found[features + feature]
                );
            }
        }
    }

    #[test]
    fn frames_of_weight_zero_change_nothing(
        frames in 2..=40_usize, silent in 0..=40_usize, seed in 0..1000_u64,
    ) {
        let speech = noise(seed, frames);
        let weights = [vec![1.0; frames], vec![0.0; silent]].concat();
        let x = [speech.clone(), vec![7.0; silent]].concat();
        let found = weighted_statistics(InstructionSet::all()[0], &x, &weights, EPS);
        let expected = golden(&speech, &vec![1.0; frames]);
        for (found, expected) in found.iter().zip(expected) {
            prop_assert!((f64::from(*found) - expected).abs() <= 8.0 * f64::from(f32::EPSILON));
        }
    }
}

/// The differences are squared. Those of the squares would have lost the deviation.
#[test]
fn a_large_mean_does_not_hide_a_small_deviation() {
    let x: Vec<f32> = noise(5, 50).iter().map(|x| x + 1000.0).collect();
    let weights: Vec<f32> = noise(6, 50).iter().map(|w| w.abs()).collect();
    let [mean, deviation] = golden(&x, &weights);
    for instructions in InstructionSet::all() {
        let found = weighted_statistics(instructions, &x, &weights, EPS);
        // A mean of 1000 has units of 6e-5. An error d of it changes a deviation s by d^2 / 2 s.
        assert!(
            (f64::from(found[0]) - mean).abs() < 2e-4,
            "{instructions:?}"
        );
        assert!(
            (f64::from(found[1]) - deviation).abs() < 1e-6,
            "{instructions:?}"
        );
    }
}

#[test]
fn without_any_weight_the_statistics_are_zero() {
    for instructions in InstructionSet::all() {
        let found = weighted_statistics(instructions, &noise(1, 40), &[0.0; 20], EPS);
        assert_eq!(found, [0.0; 4], "{instructions:?}");
    }
}
