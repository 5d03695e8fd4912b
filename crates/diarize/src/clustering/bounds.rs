//! How many speakers a caller allows.

/// How many speakers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeakerBounds {
    min: usize,
    max: usize,
}

/// Why numbers of speakers make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// No speakers at all.
    #[error("the number of speakers must be at least 1")]
    Zero,
    /// Less at most than at least.
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

    /// From at least `min` to at most `max` speakers.
    ///
    /// # Errors
    /// [`BoundsError`] where no number lies between them.
    pub fn new(min: usize, max: usize) -> Result<Self, BoundsError> {
        match (min, max) {
            (0, _) | (_, 0) => Err(BoundsError::Zero),
            _ if min > max => Err(BoundsError::Contradiction { min, max }),
            _ => Ok(Self { min, max }),
        }
    }

    /// Whether `speakers` is allowed.
    #[must_use]
    pub fn contains(&self, speakers: usize) -> bool {
        (self.min..=self.max).contains(&speakers)
    }

    /// The fewest speakers.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// The most speakers.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_must_leave_a_number() {
        assert_eq!(SpeakerBounds::new(0, 3), Err(BoundsError::Zero));
        assert_eq!(
            SpeakerBounds::new(3, 2),
            Err(BoundsError::Contradiction { min: 3, max: 2 })
        );
        assert!(
            SpeakerBounds::new(2, 2).is_ok_and(|bounds| bounds.contains(2) && !bounds.contains(3))
        );
    }
}
