//! A build without libtorch.

use ndarray::ArrayD;
use soundalike_convert::Bundle;

use crate::{Arithmetic, Error, Mistake, Network, Result};

/// Builds the network of `bundle`.
///
/// # Errors
/// [`Error::NotBuilt`].
pub fn load(_bundle: &Bundle, _arithmetic: Arithmetic) -> Result<Box<dyn Network>> {
    Err(Error::NotBuilt)
}

/// Replays each known mistake on `stage` of the network of `bundle`, with `operands` in f64 and the candidate's `output`,
/// and passes it to `see`.
///
/// # Errors
/// [`Error::NotBuilt`].
pub fn replay(
    _bundle: &Bundle,
    _stage: &str,
    _operands: &[ArrayD<f64>],
    _output: &ArrayD<f64>,
    _see: &mut dyn FnMut(Mistake<'_>) -> Result<()>,
) -> Result<()> {
    Err(Error::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_how_to_get_libtorch() {
        let bundle = soundalike_weights::segmentation().unwrap();
        let error = load(&bundle, crate::Precision::F32.into())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scripts/setup_libtorch.sh") && error.contains("--features torch"),
            "{error}"
        );
    }
}
