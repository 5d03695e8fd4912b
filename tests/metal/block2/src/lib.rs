//! As much of `block2` as candle uses.

/// A closure for Metal to call, which this one never does: what it would clean up is what real work left behind.
pub struct RcBlock<F>(F);

impl<F> RcBlock<F> {
    pub fn new(closure: F) -> Self {
        Self(closure)
    }

    pub fn as_ptr(block: &Self) -> *mut F {
        (&raw const block.0).cast_mut()
    }
}
