//! PLDA, the space that separates speakers.

use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use soundalike_convert::Bundle;
use soundalike_network::Architecture;

use super::SetupError;

/// Probabilistic linear discriminant analysis, in f64. pyannote.audio `core.plda.PLDA` and `utils.vbx.vbx_setup`.
///
/// In its space the dimensions are independent, with variance 1 within a speaker and [`Self::phi`] between speakers.
#[derive(Debug, Clone, PartialEq)]
pub struct Plda {
    mean1: Array1<f64>,
    lda: Array2<f64>,
    mean2: Array1<f64>,
    mu: Array1<f64>,
    /// `[lda dimension, dimension]`
    transform: Array2<f64>,
    phi: Array1<f64>,
}

impl Plda {
    /// The PLDA in `bundle`.
    ///
    /// # Errors
    /// [`SetupError`] if it holds another architecture or its matrices are no covariances.
    pub fn new(bundle: &Bundle) -> Result<Self, SetupError> {
        let Architecture::Plda(sizes) = bundle.architecture() else {
            return Err(SetupError::NotPlda);
        };
        let tensor = |name: &str| {
            let tensor = bundle.tensor(name).and_then(|tensor| tensor.to_f64());
            tensor.map(Array1::from).ok_or(SetupError::NotPlda)
        };
        let (outer, inner) = (sizes.embedding_dim, sizes.lda_dim);
        let matrix = |name: &str, rows: usize| {
            let shape = (rows, inner);
            tensor(name)?
                .into_shape_with_order(shape)
                .map_err(|_| SetupError::NotPlda)
        };
        let (transform, phi) = diagonalize(matrix("tr", inner)?.view(), tensor("psi")?.view())
            .ok_or(SetupError::SingularPlda)?;
        Ok(Self {
            mean1: tensor("mean1")?,
            lda: matrix("lda", outer)?,
            mean2: tensor("mean2")?,
            mu: tensor("mu")?,
            transform,
            phi,
        })
    }

    /// Values of an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.mean1.len()
    }

    /// Variances between speakers, largest first.
    #[must_use]
    pub fn phi(&self) -> ArrayView1<'_, f64> {
        self.phi.view()
    }

    /// `embeddings` `[embedding, dimension]`, not normalised, transformed to the space of the PLDA.
    pub fn transform(&self, embeddings: ArrayView2<'_, f32>) -> Array2<f64> {
        let outer = of_length_sqrt_dim(embeddings.mapv(f64::from) - &self.mean1);
        let inner = of_length_sqrt_dim(outer.dot(&self.lda) - &self.mean2);
        (inner - &self.mu).dot(&self.transform)
    }
}

/// The rows scaled to a length of the square root of their dimension, that of values with variance 1.
fn of_length_sqrt_dim(mut rows: Array2<f64>) -> Array2<f64> {
    let length = (rows.ncols() as f64).sqrt();
    for mut row in rows.axis_iter_mut(Axis(0)) {
        let scale = length / row.dot(&row).sqrt();
        row *= scale;
    }
    rows
}

/// Solves the generalised symmetric eigenproblem of the covariances within speakers, W = (trᵀ tr)⁻¹, and between speakers,
/// B = (trᵀ psi⁻¹ tr)⁻¹. Returns the eigenvectors as columns, which transform W to the identity, and the eigenvalues,
/// largest first; `None` if W or B is not positive definite. `scipy.linalg.eigh(B, W)`, reversed.
fn diagonalize(
    tr: ArrayView2<'_, f64>,
    psi: ArrayView1<'_, f64>,
) -> Option<(Array2<f64>, Array1<f64>)> {
    let n = psi.len();
    let tr = DMatrix::from_fn(n, n, |row, column| tr[[row, column]]);
    let weighted = DMatrix::from_fn(n, n, |row, column| tr[(row, column)] / psi[row]);
    let within = (tr.transpose() * &tr).try_inverse()?;
    let between = (tr.transpose() * weighted).try_inverse()?;
    let lower = within.cholesky()?.unpack();
    let half = lower.solve_lower_triangular(&between)?;
    let whitened = lower.solve_lower_triangular(&half.transpose())?;
    let whitened = (&whitened + whitened.transpose()) * 0.5;
    if !whitened.iter().all(|value| value.is_finite()) {
        return None;
    }
    let eigen = whitened.symmetric_eigen();
    let vectors = lower.tr_solve_lower_triangular(&eigen.eigenvectors)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let phi: Array1<f64> = order
        .iter()
        .map(|index| eigen.eigenvalues[*index])
        .collect();
    let transform = Array2::from_shape_fn((n, n), |(row, column)| vectors[(row, order[column])]);
    let sound = phi.iter().all(|value| *value > 0.0) && transform.iter().all(|x| x.is_finite());
    sound.then_some((transform, phi))
}

#[cfg(test)]
pub(super) mod tests {
    use ndarray::{Array1, Array2, array};

    use super::*;

    /// A PLDA that keeps directions, with the variances `psi` between speakers.
    pub(in super::super) fn plain(psi: Array1<f64>) -> Plda {
        let n = psi.len();
        let (transform, phi) = diagonalize(Array2::eye(n).view(), psi.view()).expect("a PLDA");
        Plda {
            mean1: Array1::zeros(n),
            lda: Array2::eye(n),
            mean2: Array1::zeros(n),
            mu: Array1::zeros(n),
            transform,
            phi,
        }
    }

    #[test]
    fn the_transform_makes_the_covariance_within_the_identity_and_that_between_diagonal() {
        let tr = array![[2.0, 0.3, 0.0], [0.1, 1.0, -0.4], [0.0, 0.5, 0.7]];
        let psi = array![0.5, 3.0, 1.5];
        let (transform, phi) = diagonalize(tr.view(), psi.view()).expect("a PLDA");
        // The rows of tr are solutions, with eigenvalues psi; their order and sign are free.
        assert!(
            (&phi - &array![3.0, 1.5, 0.5])
                .iter()
                .all(|x| x.abs() < 1e-12),
            "{phi}"
        );
        for (column, row) in transform.columns().into_iter().zip([1, 2, 0]) {
            let expected = &tr.row(row) * column.dot(&tr.row(row)).signum();
            assert!(
                (&column - &expected).iter().all(|x| x.abs() < 1e-12),
                "{transform}"
            );
        }
    }

    #[test]
    fn matrices_that_are_no_covariances_are_refused() {
        let eye = Array2::eye(2);
        for psi in [
            array![1.0, -1.0],
            array![1.0, 0.0],
            array![1.0, f64::INFINITY],
        ] {
            assert!(diagonalize(eye.view(), psi.view()).is_none(), "{psi}");
        }
        let singular = array![[1.0, 1.0], [1.0, 1.0]];
        assert!(diagonalize(singular.view(), array![1.0, 1.0].view()).is_none());
    }
}
