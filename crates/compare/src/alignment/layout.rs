//! The order of axes in which two tensors have equal values.

use ndarray::{Array1, ArrayD, ArrayViewD, Axis, IxDyn};

use crate::rms;

/// Most axes whose orders are all tried: 120 orders.
const MOST_AXES: usize = 5;
/// Values of a tensor that an order is first tried on.
const SAMPLED: usize = 64;

/// An order of axes, and how well it fits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// Axis `i` of the stage is axis `axes[i]` of the tensor, without axes of length 1 on both sides.
    pub(super) axes: Vec<usize>,
    /// Root mean square of the difference, in units of the stage's.
    pub(super) error: f64,
}

/// `values` without axes of length 1.
pub(super) fn squeezed(values: &ArrayD<f64>) -> ArrayViewD<'_, f64> {
    let mut view = values.view();
    for axis in (0..view.ndim()).rev() {
        if view.len_of(Axis(axis)) == 1 {
            view = view.index_axis_move(Axis(axis), 0);
        }
    }
    view
}

/// `shape` without axes of length 1.
pub(super) fn squeezed_shape(shape: &[usize]) -> Vec<usize> {
    shape
        .iter()
        .copied()
        .filter(|length| *length != 1)
        .collect()
}

/// Whether a tensor of `shape` has the axes of `stage` in some order.
pub(super) fn same_axes(stage: &[usize], shape: &[usize]) -> bool {
    let sorted = |shape: &[usize]| {
        let mut axes = squeezed_shape(shape);
        axes.sort_unstable();
        axes
    };
    sorted(stage) == sorted(shape)
}

/// The order of axes in which `tensor` is nearest to `golden`; the given order among equals. `None` where no order has its
/// shape.
pub(super) fn best(golden: &ArrayD<f64>, tensor: &ArrayD<f64>) -> Option<Layout> {
    let (golden, tensor) = (squeezed(golden), squeezed(tensor));
    if !same_axes(golden.shape(), tensor.shape()) {
        return None;
    }
    let scale = scale(golden.view());
    let orders = orders(golden.shape(), tensor.shape());
    let error_of = |order: &[usize], every: usize| {
        let turned = tensor.view().permuted_axes(IxDyn(order));
        let pairs = golden.iter().zip(turned.iter()).step_by(every);
        error(pairs, scale)
    };
    // Most orders are wrong by as much as the values, which a few values show.
    let every = (golden.len() / SAMPLED).max(1);
    let mut tried: Vec<_> = orders
        .into_iter()
        .map(|order| (error_of(&order, every), order))
        .collect();
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = tried.first()?.0;
    let near = tried.into_iter().filter(|(error, _)| *error <= 4.0 * least);
    let whole = near.take(4).map(|(_, axes)| Layout {
        error: error_of(&axes, 1),
        axes,
    });
    whole.min_by(|a, b| a.error.total_cmp(&b.error))
}

/// The orders of the axes of `shape` that give `golden`, its own order first.
fn orders(golden: &[usize], shape: &[usize]) -> Vec<Vec<usize>> {
    let rank = golden.len();
    if rank > MOST_AXES {
        let own: Vec<usize> = (0..rank).collect();
        return if golden == shape {
            vec![own]
        } else {
            Vec::new()
        };
    }
    let mut orders = vec![Vec::new()];
    for length in golden {
        let mut longer = Vec::new();
        for order in &orders {
            let free = (0..rank).filter(|axis| !order.contains(axis) && shape[*axis] == *length);
            longer.extend(free.map(|axis| [order.as_slice(), &[axis]].concat()));
        }
        orders = longer;
    }
    orders
}

/// The unit of errors: the root mean square of the golden values, 1 where they are all 0.
fn scale(golden: ArrayViewD<'_, f64>) -> f64 {
    let scale = rms(golden);
    if scale > 0.0 { scale } else { 1.0 }
}

/// Root mean square of the differences of `pairs`, in units of `scale`.
fn error<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>, scale: f64) -> f64 {
    let differences: Array1<f64> = pairs.map(|(a, b)| a - b).collect();
    let error = rms(differences.view().into_dyn()) / scale;
    if error.is_nan() { f64::INFINITY } else { error }
}

/// The error of the values as they lie.
pub(super) fn flat_error(golden: &ArrayD<f64>, tensor: &ArrayD<f64>) -> f64 {
    error(golden.iter().zip(tensor), scale(golden.view()))
}
