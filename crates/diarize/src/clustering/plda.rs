//! The space in which speakers are told apart.

use soundalike_convert::{Architecture, Bundle};

use super::SetupError;

/// Probabilistic linear discriminant analysis. pyannote.audio `core.plda.PLDA`.
#[derive(Debug, Clone)]
pub struct Plda {}

impl Plda {
    /// The PLDA in `bundle`.
    ///
    /// # Errors
    /// [`SetupError`] where it holds something else.
    pub fn new(bundle: &Bundle) -> Result<Self, SetupError> {
        match bundle.architecture() {
            Architecture::Plda(_) => Ok(Self {}),
            _ => Err(SetupError::NotPlda),
        }
    }
}
