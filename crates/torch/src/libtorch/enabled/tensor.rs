//! Arrays to tensors of libtorch and back.

use ndarray::ArrayD;
use tch::{Kind, Tensor, kind::Element};

use crate::{Error, Precision, Result};

/// `values` as a tensor of their own type.
pub(super) fn to_tensor<T: Element + Copy>(values: &ArrayD<T>) -> Result<Tensor> {
    let shape: Vec<i64> = values.shape().iter().map(|&dim| dim as i64).collect();
    let values: Vec<T> = values.iter().copied().collect();
    Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
}

/// The values of `tensor`, exactly.
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

/// The mean over `axes`, which stay with the length 1.
pub(super) fn mean(x: &Tensor, axes: &[i64]) -> Result<Tensor> {
    Ok(x.f_mean_dim(axes, true, None::<Kind>)?)
}

/// The sum over `axis`, which stays with the length 1.
pub(super) fn sum(x: &Tensor, axis: i64) -> Result<Tensor> {
    Ok(x.f_sum_dim_intlist(axis, true, None::<Kind>)?)
}

/// `waveforms` in `precision`; refuses what is not `[batch, 1, samples]` with `least` samples or more.
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

/// libtorch's name of a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::F32 => Kind::Float,
        Precision::F64 => Kind::Double,
    }
}
