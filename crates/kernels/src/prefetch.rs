//! What will be needed soon.

/// Brings the cache line of `place` to the cache of the core, its second, wherever it points.
///
/// Images of many channels are read and written a cache line here and a cache line there, which no machine foresees:
/// without this, transforms of 128 channels take three to four times as long as those of pixels in the cache.
#[inline(always)]
pub(crate) fn prefetch(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, which never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(place.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; it reads nothing that a program could see.
    unsafe {
        std::arch::asm!(
            "prfm pldl2keep, [{}]",
            in(reg) place,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}
