//! The order of axes in which two tensors have equal values.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

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
    let error_of = |order: &[usize]| {
        let turned = tensor.view().permuted_axes(IxDyn(order));
        error(golden.iter().zip(turned.iter()), scale)
    };
    // Most orders are wrong by as much as the values, which a few values show.
    let sampled = sampled(golden.shape());
    let error_at = |order: &[usize]| {
        let turned = tensor.view().permuted_axes(IxDyn(order));
        let places = sampled.iter().map(|place| IxDyn(place));
        error(
            places.map(|place| (&golden[&place], &turned[&place])),
            scale,
        )
    };
    let mut tried: Vec<_> = orders
        .into_iter()
        .map(|order| (error_at(&order), order))
        .collect();
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = tried.first()?.0;
    let near = tried.into_iter().filter(|(error, _)| *error <= 4.0 * least);
    let whole = near.take(4).map(|(_, axes)| Layout {
        error: error_of(&axes),
        axes,
    });
    whole.min_by(|a, b| a.error.total_cmp(&b.error))
}

/// The error of `tensor` with its axes in this `order`. `None` where that has another shape.
pub(super) fn in_order(golden: &ArrayD<f64>, tensor: &ArrayD<f64>, order: &[usize]) -> Option<f64> {
    let (golden, tensor) = (squeezed(golden), squeezed(tensor));
    if order.len() != tensor.ndim() {
        return None;
    }
    let turned = tensor.permuted_axes(IxDyn(order));
    let fits = turned.shape() == golden.shape();
    fits.then(|| error(golden.iter().zip(turned.iter()), scale(golden.view())))
}

/// Up to [`SAMPLED`] places in an array of `shape`.
fn sampled(shape: &[usize]) -> Vec<Vec<usize>> {
    let count: usize = shape.iter().product();
    let every = (count / SAMPLED).max(1);
    let place = |mut flat: usize| {
        let mut place = vec![0; shape.len()];
        for (index, length) in place.iter_mut().zip(shape).rev() {
            (*index, flat) = (flat % length, flat / length);
        }
        place
    };
    (0..count).step_by(every).map(place).collect()
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
    let (mut sum, mut count) = (0.0, 0_usize);
    for (a, b) in pairs {
        sum += (a - b) * (a - b);
        count += 1;
    }
    let error = (sum / count.max(1) as f64).sqrt() / scale;
    if error.is_nan() { f64::INFINITY } else { error }
}

/// The error of the values as they lie.
pub(super) fn flat_error(golden: &ArrayD<f64>, tensor: &ArrayD<f64>) -> f64 {
    error(golden.iter().zip(tensor), scale(golden.view()))
}
