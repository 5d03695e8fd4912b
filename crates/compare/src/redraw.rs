//! Rounding, drawn again.
//!
//! A recurrence can amplify its own rounding, and then the error of one f32 run is one draw of a wide distribution: on a recording
//! on which `PyTorch` is lucky, a correct engine has six times its error. Such a stage is run again on inputs moved by
//! one unit in the last place; the largest error is the floor. (Monte Carlo arithmetic: D. S. Parker, *Monte Carlo Arithmetic:
//! exploiting randomness in floating-point arithmetic*, 1997.)

use ndarray::ArrayD;

/// How often a recurrent stage is run again.
pub const REDRAWS: usize = 3;

/// `values` with each moved up or down by one unit in the last place of a dtype, whose numbers near 1 are `epsilon` apart. Which
/// way, depends on the place and on `draw` alone.
pub(crate) fn moved(values: &ArrayD<f32>, epsilon: f64, draw: usize) -> ArrayD<f32> {
    let mut place = 0_u64;
    values.mapv(|x| {
        place += 1;
        let sign = match is_up(place, draw) {
            true => 1.0,
            false => -1.0,
        };
        (f64::from(x) * (1.0 + sign * epsilon)) as f32
    })
}

/// Half of all places: the top bit of a hash (the mixing of `SplitMix64`).
fn is_up(place: u64, draw: usize) -> bool {
    let mut hash = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (draw as u64 + 1) << 32;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash >> 63 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_all_values_move_up_and_other_ones_at_each_draw() {
        let ones = ArrayD::from_elem(vec![10, 100], 1.0_f32);
        let draws: Vec<_> = (0..REDRAWS)
            .map(|draw| moved(&ones, f64::from(f32::EPSILON), draw))
            .collect();
        for draw in &draws {
            let up = draw.iter().filter(|x| **x == 1.0 + f32::EPSILON).count();
            let down = draw.iter().filter(|x| **x == 1.0 - f32::EPSILON).count();
            assert_eq!(up + down, 1000);
            assert!((400..600).contains(&up), "{up}");
        }
        let differ =
            |a: &ArrayD<f32>, b: &ArrayD<f32>| a.iter().zip(b).filter(|(a, b)| a != b).count();
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            let apart = differ(&draws[first], &draws[second]);
            assert!((400..600).contains(&apart), "{apart}");
        }
    }

    #[test]
    fn zeros_stay() {
        let zeros = ArrayD::zeros(vec![5]);
        assert_eq!(moved(&zeros, 0.01, 0), zeros);
    }
}
