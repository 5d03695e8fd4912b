//! The vector instructions of this machine.

use std::fmt;

#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Scalar, WithSimd};

/// Vector instructions that this machine supports. All constructors detect them at run time.
#[derive(Clone, Copy)]
pub struct InstructionSet(Set);

#[derive(Clone, Copy)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    Scalar,
}

impl InstructionSet {
    /// All instruction sets of this machine, the widest first; [`Self::scalar`] is the last.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(V4::try_new().map(|v4| Self(Set::Avx512(v4))));
            all.extend(V3::try_new().map(|v3| Self(Set::Avx2(v3))));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(Neon::try_new().map(|neon| Self(Set::Neon(neon))));
        all.push(Self::scalar());
        all
    }

    /// The widest of this machine; `None` if it has only scalar instructions, with which these kernels are not faster.
    #[must_use]
    pub fn best() -> Option<Self> {
        Self::all()
            .into_iter()
            .next()
            .filter(|set| !matches!(set.0, Set::Scalar))
    }

    /// One value at a time: the reference in tests.
    #[must_use]
    pub fn scalar() -> Self {
        Self(Set::Scalar)
    }

    /// `AVX-512`, `AVX2`, `NEON` or `scalar`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "NEON",
            Set::Scalar => "scalar",
        }
    }

    /// Values of one register.
    pub(crate) fn lanes(self) -> usize {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;

            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs `kernel` compiled for these instructions.
    #[inline]
    pub(crate) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(v4) => pulp::Simd::vectorize(v4, kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(v3) => pulp::Simd::vectorize(v3, kernel),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(neon) => pulp::Simd::vectorize(neon, kernel),
            Set::Scalar => pulp::Simd::vectorize(Scalar, kernel),
        }
    }
}

impl fmt::Debug for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widest first, each with its own name: results name the set that computed them.
    #[test]
    fn the_sets_are_ordered_by_width_and_the_last_is_scalar() {
        let all = InstructionSet::all();
        let known = [("AVX-512", 16), ("AVX2", 8), ("NEON", 4), ("scalar", 1)];
        let found: Vec<_> = all.iter().map(|set| (set.name(), set.lanes())).collect();
        let expected: Vec<_> = known
            .into_iter()
            .filter(|set| found.contains(set))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(found.last(), Some(&("scalar", 1)));
        let best = InstructionSet::best().map(InstructionSet::name);
        assert_eq!(best, (all.len() > 1).then(|| all[0].name()));
        assert_eq!(format!("{:?}", all[0]), all[0].name());
    }
}
