//! Bounds on the number of speakers.

/// Allowed numbers of speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeakerBounds {
    min: usize,
    max: usize,
}

/// Why bounds are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// A bound is 0.
    #[error("the number of speakers must be at least 1")]
    Zero,
    /// The minimum exceeds the maximum.
    #[error("at least {min} and at most {max} speakers is a contradiction")]
    Contradiction {
        /// The lower bound.
        min: usize,
        /// The upper bound.
        max: usize,
    },
}

impl Default for SpeakerBounds {
    fn default() -> Self {
        Self::ANY
    }
}

impl SpeakerBounds {
    /// Any number.
    pub const ANY: Self = Self {
        min: 1,
        max: usize::MAX,
    };

    /// At least `min` and at most `max` speakers.
    ///
    /// # Errors
    /// [`BoundsError`] if a bound is 0 or no number is allowed.
    pub fn new(min: usize, max: usize) -> Result<Self, BoundsError> {
        match (min, max) {
            (0, _) | (_, 0) => Err(BoundsError::Zero),
            _ if min > max => Err(BoundsError::Contradiction { min, max }),
            _ => Ok(Self { min, max }),
        }
    }

    /// The minimum.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// The maximum.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_must_allow_a_number() {
        assert_eq!(SpeakerBounds::new(0, 3), Err(BoundsError::Zero));
        assert_eq!(
            SpeakerBounds::new(3, 2),
            Err(BoundsError::Contradiction { min: 3, max: 2 })
        );
        assert!(SpeakerBounds::new(2, 2).is_ok());
    }
}
