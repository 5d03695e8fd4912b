//! The operations on the sums of a convolution while they are in registers.

use pulp::Simd;

use crate::buffer::{Buffer, LINE};

/// A scale and a shift of each channel: a batch norm in evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    /// Padded with zeros, so that a full register can be loaded at every channel.
    scale: Buffer,
    shift: Buffer,
}

/// Affine, residual and ReLU of one row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    pub(crate) affine: &'a Affine,
    pub(crate) relu: bool,
    /// Values of one pixel.
    pub(crate) channels: usize,
}

impl Affine {
    /// Of as many scales as shifts.
    pub(crate) fn new(scale: &[f32], shift: &[f32]) -> Self {
        let zeros = std::iter::repeat_n(0.0, LINE);
        let fill = |values: &[f32]| values.iter().copied().chain(zeros.clone()).collect();
        Self {
            scale: fill(scale),
            shift: fill(shift),
        }
    }

    /// Scale and shift of the channels from `channel` on, which must exist.
    #[inline(always)]
    pub(crate) fn at<S: Simd>(&self, simd: S, channel: usize) -> [S::f32s; 2] {
        [&self.scale, &self.shift].map(|values| load(simd, &values[channel..]))
    }
}

impl Epilogue<'_> {
    /// Finishes one register of sums, the channels from `channel` on with their scale and shift ([`Affine::at`]), and writes
    /// it to the pixel at the start of `out`; `residual` starts at the same pixel. Lanes after the last channel are dropped.
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
        let lanes = S::F32_LANES.min(self.channels - channel);
        let mut value = simd.mul_add_f32s(sums, scale, shift);
        if let Some(residual) = residual {
            let residual = &residual[channel..][..lanes];
            value = simd.add_f32s(value, load_some(simd, residual));
        }
        if self.relu {
            let zero = simd.splat_f32s(0.0);
            // Not a maximum, which would lose NaN.
            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
        }
        store_some(simd, &mut out[channel..][..lanes], value);
    }
}

/// The first register of `values`, which must have at least one.
#[inline(always)]
pub(crate) fn load<S: Simd>(_: S, values: &[f32]) -> S::f32s {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: `values` has at least `F32_LANES` floats, asserted above, which is the size of a register, and every bit
    // pattern is a valid register.
    unsafe { values.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// Writes `register` to the start of `values`, which must have room for it.
#[inline(always)]
pub(crate) fn store<S: Simd>(_: S, values: &mut [f32], register: S::f32s) {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: `values` has at least `F32_LANES` floats, asserted above, which is the size of a register.
    unsafe {
        let values = values.as_mut_ptr().cast::<S::f32s>();
        values.write_unaligned(register);
    }
}

/// `values`, at most a register, padded with zeros.
#[inline(always)]
pub(crate) fn load_some<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    if values.len() == S::F32_LANES {
        load(simd, values)
    } else {
        simd.partial_load_f32s(values)
    }
}

/// Writes the first lanes of `register` to `values`, which has at most a register.
#[inline(always)]
pub(crate) fn store_some<S: Simd>(simd: S, values: &mut [f32], register: S::f32s) {
    if values.len() == S::F32_LANES {
        store(simd, values, register);
    } else {
        simd.partial_store_f32s(values, register);
    }
}
