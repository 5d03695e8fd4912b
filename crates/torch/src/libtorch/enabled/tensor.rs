//! Conversion between arrays and libtorch tensors.

use ndarray::ArrayD;
use tch::{Kind, Tensor, kind::Element};

use crate::{Arithmetic, Error, LowPrecision, Precision, Result};

/// `values` as a tensor of the same type.
pub(super) fn to_tensor<T: Element + Copy>(values: &ArrayD<T>) -> Result<Tensor> {
    let shape: Vec<i64> = values.shape().iter().map(|&dim| dim as i64).collect();
    let values: Vec<T> = values.iter().copied().collect();
    Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
}

/// The values of `tensor`, widened to f64.
pub(super) fn to_array(tensor: &Tensor) -> Result<ArrayD<f64>> {
    let mut values = vec![0.0; tensor.numel()];
    let wide = tensor.f_to_kind(Kind::Double)?.f_contiguous()?;
    wide.f_copy_data(&mut values, tensor.numel())?;
    ArrayD::from_shape_vec(shape(tensor), values).map_err(Error::probe)
}

/// Its dimensions.
pub(super) fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|dim| dim as usize).collect()
}

/// The mean over `axes`, which are kept with length 1.
pub(super) fn mean(x: &Tensor, axes: &[i64]) -> Result<Tensor> {
    Ok(x.f_mean_dim(axes, true, None::<Kind>)?)
}

/// The sum over `axis`, which is kept with length 1.
pub(super) fn sum(x: &Tensor, axis: i64) -> Result<Tensor> {
    Ok(x.f_sum_dim_intlist(axis, true, None::<Kind>)?)
}

/// `waveforms` in `precision`. An error unless their shape is `[batch, 1, samples]`, with `least` samples or more.
pub(super) fn waveforms(
    waveforms: &ArrayD<f32>,
    least: usize,
    precision: Precision,
) -> Result<Tensor> {
    match *waveforms.shape() {
        [batch, 1, samples] if batch > 0 && samples >= least => {
            Ok(to_tensor(waveforms)?.f_to_kind(kind(precision))?)
        }
        _ => Err(Error::Shape {
            what: "waveforms",
            found: waveforms.shape().to_vec(),
            expected: format!("[batch, 1, at least {least} samples]"),
        }),
    }
}

/// The dtype of a precision in libtorch.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::F32 => Kind::Float,
        Precision::F64 => Kind::Double,
    }
}

impl Arithmetic {
    /// `x`, rounded to the low precision of [`Arithmetic::Rounded`].
    pub(super) fn round(self, x: Tensor) -> Result<Tensor> {
        let low = match self {
            Self::Torch(_) | Self::ReferenceOps => return Ok(x),
            Self::Rounded(LowPrecision::F16) => Kind::Half,
            Self::Rounded(LowPrecision::BF16) => Kind::BFloat16,
        };
        Ok(x.f_to_kind(low)?.f_to_kind(Kind::Float)?)
    }
}
