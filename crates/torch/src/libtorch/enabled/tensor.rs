//! Arrays of libtorch.

use tch::Kind;

use crate::{Error, Precision, Result};

/// An array of libtorch on the CPU, f32 or f64. A clone shares the values, which nothing here ever changes.
#[derive(Debug)]
pub struct Tensor(pub(super) tch::Tensor);

impl Clone for Tensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Tensor {
    /// A tensor of `shape` from its values in row-major order.
    ///
    /// # Errors
    /// [`Error::Values`] where the shape wants more or fewer values.
    pub fn from_f32(values: &[f32], shape: &[usize]) -> Result<Self> {
        Self::from_values(values, shape)
    }

    /// A tensor of `shape` from its values in row-major order.
    ///
    /// # Errors
    /// [`Error::Values`] where the shape wants more or fewer values.
    pub fn from_f64(values: &[f64], shape: &[usize]) -> Result<Self> {
        Self::from_values(values, shape)
    }

    fn from_values<T: tch::kind::Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        let wanted = shape.iter().try_fold(1, |n: usize, d| n.checked_mul(*d));
        if wanted != Some(values.len()) {
            return Err(Error::Values {
                len: values.len(),
                shape: shape.to_vec(),
            });
        }
        let shape: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        Ok(Self(tch::Tensor::f_from_slice(values)?.f_reshape(shape)?))
    }

    /// Its dimensions.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.0.size().into_iter().map(|dim| dim as usize).collect()
    }

    /// The type of its elements.
    #[must_use]
    pub fn precision(&self) -> Precision {
        if self.0.kind() == Kind::Double {
            Precision::F64
        } else {
            Precision::F32
        }
    }

    /// Refuses what is not `[batch, 1, samples]` with `least` samples or more.
    pub(super) fn check_waveforms(&self, least: usize) -> Result<()> {
        match self.shape()[..] {
            [batch, 1, samples] if batch > 0 && samples >= least => Ok(()),
            _ => Err(Error::Shape {
                what: "waveforms",
                found: self.shape(),
                expected: format!("[batch, 1, at least {least} samples]"),
            }),
        }
    }

    /// The same values in `precision`, rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Libtorch`] where memory is short.
    pub fn to_precision(&self, precision: Precision) -> Result<Self> {
        Ok(Self(self.0.f_to_kind(kind(precision))?))
    }

    /// Its values in row-major order, rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Libtorch`] where memory is short.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.0.numel()];
        let wide = self.0.f_to_kind(Kind::Float)?.f_contiguous()?;
        wide.f_copy_data(&mut values, self.0.numel())?;
        Ok(values)
    }

    /// Its values in row-major order, exactly.
    ///
    /// # Errors
    /// [`Error::Libtorch`] where memory is short.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        let mut values = vec![0.0; self.0.numel()];
        let wide = self.0.f_to_kind(Kind::Double)?.f_contiguous()?;
        wide.f_copy_data(&mut values, self.0.numel())?;
        Ok(values)
    }
}

/// What libtorch calls a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::F32 => Kind::Float,
        Precision::F64 => Kind::Double,
    }
}
