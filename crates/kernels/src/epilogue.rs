//! What follows a convolution, while its sums are in registers.

use pulp::Simd;

use crate::buffer::Buffer;

/// A scale and a shift of each channel: what a norm in evaluation is.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    /// Filled up with zeros, so that every register has one of its own.
    scale: Buffer,
    shift: Buffer,
}

/// What is done to each pixel of one row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    pub(crate) affine: &'a Affine,
    pub(crate) relu: bool,
    /// Values of one pixel.
    pub(crate) channels: usize,
}

impl Affine {
    /// From as many scales as shifts.
    pub(crate) fn new(scale: &[f32], shift: &[f32]) -> Self {
        // The widest register has 16 values.
        let zeros = std::iter::repeat_n(0.0, 16);
        let fill = |values: &[f32]| values.iter().copied().chain(zeros.clone()).collect();
        Self {
            scale: fill(scale),
            shift: fill(shift),
        }
    }

    /// Scale and shift of the channels from `channel` on, which is one that there is.
    #[inline(always)]
    pub(crate) fn at<S: Simd>(&self, simd: S, channel: usize) -> [S::f32s; 2] {
        [&self.scale, &self.shift].map(|values| load(simd, &values[channel..]))
    }
}

impl Epilogue<'_> {
    /// Writes one register of sums, the channels from `channel` on with their scale and shift ([`Affine::at`]), to the
    /// pixel that begins `out` (and the same of `residual`). What is beyond the last channel is dropped.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(
        &self,
        simd: S,
        sums: S::f32s,
        [scale, shift]: [S::f32s; 2],
        channel: usize,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let room = S::F32_LANES.min(self.channels - channel);
        let mut value = simd.mul_add_f32s(sums, scale, shift);
        if let Some(residual) = residual {
            let residual = &residual[channel..][..room];
            value = simd.add_f32s(value, load_some(simd, residual));
        }
        if self.relu {
            let zero = simd.splat_f32s(0.0);
            // Not the larger of the two, which would make a number of NaN.
            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
        }
        store_some(simd, &mut out[channel..][..room], value);
    }
}

/// The first values of `values`, which are a register or more.
#[inline(always)]
pub(crate) fn load<S: Simd>(_: S, values: &[f32]) -> S::f32s {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: a register is that many floats, any bits of which are values.
    unsafe { values.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// Writes `register` to the first values of `values`, which are a register or more.
#[inline(always)]
pub(crate) fn store<S: Simd>(_: S, values: &mut [f32], register: S::f32s) {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: as above.
    unsafe {
        let values = values.as_mut_ptr().cast::<S::f32s>();
        values.write_unaligned(register);
    }
}

/// `values`, a register or less, and zeros.
#[inline(always)]
pub(crate) fn load_some<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    if values.len() == S::F32_LANES {
        load(simd, values)
    } else {
        simd.partial_load_f32s(values)
    }
}

/// As many of `register` as there is room for in `values`.
#[inline(always)]
pub(crate) fn store_some<S: Simd>(simd: S, values: &mut [f32], register: S::f32s) {
    if values.len() == S::F32_LANES {
        store(simd, values, register);
    } else {
        simd.partial_store_f32s(values, register);
    }
}
