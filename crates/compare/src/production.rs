//! The path that users of an engine take, against the one that was compared.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

/// A way in which outputs reach a user without being compared stage by stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// The output that a run returns, against the output of its last stage.
    Returned,
    /// Unobserved runs in the batches of production, against observed runs of single windows.
    Unobserved,
    /// The whole call of the product, which also cuts the recording, against observed runs of single windows.
    Product,
    /// An example with others in a batch, against the example alone.
    Batch,
    /// With the graph optimisations of an engine, as users run it, against the graph as it is in the file.
    Optimised,
}

impl Path {
    /// Its name in a gate's results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Returned => "returned output",
            Self::Unobserved => "unobserved batches",
            Self::Product => "diarize",
            Self::Batch => "in a batch",
            Self::Optimised => "optimised graph",
        }
    }
}

/// Whether outputs on a [`Path`] are the compared ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathCheck {
    /// The path.
    pub path: Path,
    /// What ran: `41 windows of sample.wav in batches of 24 and 17`.
    pub runs: String,
    /// Number of outputs.
    pub outputs: usize,
    /// Outputs with other bits than the compared ones.
    pub differing: usize,
    /// Outputs that differ by more than is allowed.
    pub wrong: usize,
    /// The first of them.
    pub first: Option<String>,
    /// The largest difference, in units of the compared output's root mean square. Infinite for another shape.
    pub largest: f64,
    /// The allowed difference, in these units. 0: the bits must be equal.
    pub allowed: f64,
}

impl PathCheck {
    /// A check without outputs yet.
    #[must_use]
    pub fn new(path: Path, runs: String, allowed: f64) -> Self {
        Self {
            path,
            runs,
            outputs: 0,
            differing: 0,
            wrong: 0,
            first: None,
            largest: 0.0,
            allowed,
        }
    }

    /// Counts one output, `found`, against the `compared` one.
    pub fn count(&mut self, name: &str, found: &ArrayD<f64>, compared: &ArrayD<f64>) {
        self.outputs += 1;
        let same_shape = found.shape() == compared.shape();
        let same = |(x, y): (&f64, &f64)| x.to_bits() == y.to_bits();
        if same_shape && found.iter().zip(compared).all(same) {
            return;
        }
        self.differing += 1;
        let difference = match same_shape {
            true => crate::rms((found - compared).view()) / crate::rms(compared.view()),
            false => f64::INFINITY,
        };
        self.largest = crate::nan_max(self.largest, difference);
        let right = difference < self.allowed;
        if !right {
            self.wrong += 1;
            self.first.get_or_insert_with(|| name.to_owned());
        }
    }

    /// Adds the outputs of `other`, which took the same path.
    pub(crate) fn add(&mut self, other: Self) {
        self.outputs += other.outputs;
        self.differing += other.differing;
        self.wrong += other.wrong;
        self.first = self.first.take().or(other.first);
        self.largest = crate::nan_max(self.largest, other.largest);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn one_bit_counts_and_the_first_output_is_named() {
        let mut check = PathCheck::new(Path::Unobserved, "two windows".to_owned(), 0.0);
        let compared = array![[3.0, 4.0]].into_dyn();
        check.count("0-10 s", &compared, &compared);
        assert_eq!((check.outputs, check.differing), (1, 0));
        let other = array![[3.0, 4.0 + f64::EPSILON * 4.0]].into_dyn();
        check.count("1-11 s", &other, &compared);
        check.count("2-12 s", &array![3.0].into_dyn(), &compared);
        assert_eq!((check.outputs, check.differing), (3, 2));
        assert_eq!(check.first.as_deref(), Some("1-11 s"));
        assert_eq!(check.largest, f64::INFINITY);
        // -0.0 is equal to 0.0 and has other bits; NaN is not equal to itself and has the same.
        let mut zero = PathCheck::new(Path::Returned, String::new(), 0.0);
        zero.count("x", &array![-0.0].into_dyn(), &array![0.0].into_dyn());
        zero.count(
            "y",
            &array![f64::NAN].into_dyn(),
            &array![f64::NAN].into_dyn(),
        );
        assert_eq!((zero.wrong, zero.first.as_deref()), (1, Some("x")));
    }

    #[test]
    fn where_another_order_is_allowed_only_a_larger_difference_is_wrong() {
        let mut check = PathCheck::new(Path::Unobserved, String::new(), 1e-6);
        let compared = array![1.0, 1.0].into_dyn();
        check.count("near", &(&compared + 1e-7), &compared);
        check.count("far", &(&compared + 1e-5), &compared);
        assert_eq!((check.differing, check.wrong), (2, 1));
        assert_eq!(check.first.as_deref(), Some("far"));
    }
}
