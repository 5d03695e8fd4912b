//! Rounding to fewer bits than f32.

use tch::{Kind, Tensor};

use crate::{Arithmetic, LowPrecision, Result};

impl Arithmetic {
    /// `x`, rounded to the dtype that is imitated; as it is where none is.
    pub(super) fn round(self, x: Tensor) -> Result<Tensor> {
        let narrow = match self {
            Self::Torch(_) | Self::Elementary => return Ok(x),
            Self::Rounded(LowPrecision::F16) => Kind::Half,
            Self::Rounded(LowPrecision::BF16) => Kind::BFloat16,
        };
        Ok(x.f_to_kind(narrow)?.f_to_kind(Kind::Float)?)
    }
}
