//! The arrays of a trace, in any format that comparisons read.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{prelude::*, types::PyBytes};
use soundalike_convert::{Dtype, Error, Npz};

use crate::failed;

/// The arrays of floats of an `.npz`, a safetensors file or a folder of `.npy`, read one by one.
#[pyclass(frozen, module = "soundalike._native")]
pub(crate) struct Arrays {
    npz: Mutex<Npz<File>>,
}

#[pymethods]
impl Arrays {
    /// `u2_as_bf16`: integers of 16 bits are bf16.
    #[new]
    #[pyo3(signature = (path, u2_as_bf16=false))]
    fn new(path: PathBuf, u2_as_bf16: bool) -> PyResult<Self> {
        let npz = Npz::open(&path).and_then(|npz| match u2_as_bf16 {
            true => npz.with_u2_as_bf16(),
            false => Ok(npz),
        });
        let npz = npz.map_err(|error| failed(&error))?;
        Ok(Self {
            npz: Mutex::new(npz),
        })
    }

    /// Name, type (`f16`) and shape of each, in the order of the file.
    fn list(&self) -> Vec<(String, String, Vec<usize>)> {
        let npz = self.npz.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = npz.entries().iter().filter_map(|entry| {
            let dtype = entry.dtype().filter(is_float)?;
            let shape = entry.shape().to_vec();
            Some((entry.name().to_owned(), dtype.to_string(), shape))
        });
        entries.collect()
    }

    /// The elements of an array as f64, in row-major order.
    fn read<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let read = || -> Result<Vec<u8>, Error> {
            let mut npz = self.npz.lock().unwrap_or_else(PoisonError::into_inner);
            let array = npz.read::<f64>(name)?;
            Ok(array
                .values
                .into_iter()
                .flat_map(f64::to_le_bytes)
                .collect())
        };
        let bytes = py.detach(read).map_err(|error| failed(&error))?;
        Ok(PyBytes::new(py, &bytes))
    }
}

fn is_float(dtype: &Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}
