//! Masks of attention, whose large numbers hide all others.

use ndarray::ArrayD;

use super::Tensors;

/// Values from which a fill may be meant for minus infinity: the least that are in use are -1e4 and -65504.
const FILL: f64 = -1e4;
/// Nothing lies between the fill and this part of it.
const GAP: f64 = 0.01;
/// Least part of the values that are filled.
const LEAST: f64 = 0.02;

/// Tensors whose masked values are 0: a score plus -1e9 is nearly that of any other layer.
pub(super) struct Unmasked<'a, T: ?Sized>(pub(super) &'a mut T);

impl<T: Tensors + ?Sized> Tensors for Unmasked<'_, T> {
    type Error = T::Error;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.0.list()
    }

    fn alias(&self, name: &str) -> Option<&str> {
        self.0.alias(name)
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, T::Error> {
        Ok(unmasked(self.0.read(index)?))
    }
}

fn unmasked(mut values: ArrayD<f64>) -> ArrayD<f64> {
    let least = values.iter().copied().fold(0.0, f64::min);
    if least > FILL || !least.is_finite() {
        return values;
    }
    let filled = values.iter().filter(|x| **x < GAP * least).count();
    let near = values.iter().filter(|x| **x < 0.5 * least).count();
    let is_mask = filled == near && filled as f64 >= LEAST * values.len() as f64;
    if is_mask {
        values.mapv_inplace(|x| if x < 0.5 * least { 0.0 } else { x });
    }
    values
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_mask_is_taken_away_and_large_values_are_not() {
        let masked = array![[0.5, -1e9], [-2.0, 3.0]].into_dyn();
        assert_eq!(unmasked(masked), array![[0.5, 0.0], [-2.0, 3.0]].into_dyn());
        let lowest = array![[0.5, f64::from(f32::MIN)], [-2.0, 3.0]].into_dyn();
        assert_eq!(unmasked(lowest), array![[0.5, 0.0], [-2.0, 3.0]].into_dyn());
        for kept in [
            array![0.5, -20.0, -2.0, 3.0],
            array![-2e4, -5e3, -1e3, 3.0],
            array![-2e4, -1.1e4, 2e4, 3e3, -9e3],
        ] {
            let kept = kept.into_dyn();
            assert_eq!(unmasked(kept.clone()), kept);
        }
    }
}
