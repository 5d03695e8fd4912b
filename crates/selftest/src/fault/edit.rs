//! Changes of the weights of a network.

use std::collections::BTreeMap;

use globset::Glob;
use ndarray::{ArrayD, Axis, Slice};
use soundalike_convert::Bundle;
use soundalike_network::{Graph, Op};

/// The weights of a network and their changes.
pub(super) struct Edit<'a> {
    bundle: &'a Bundle,
    graph: Graph,
    changed: BTreeMap<String, ArrayD<f32>>,
}

/// A selection of LSTM directions.
#[derive(Clone, Copy)]
pub(super) enum Lstm {
    All,
    Layer(usize),
    Direction(usize, bool),
}

/// The weights of `bundle`, changed by `edit`.
pub(super) fn apply(
    bundle: &Bundle,
    edit: &dyn Fn(&mut Edit<'_>),
) -> Result<Bundle, soundalike_convert::Error> {
    let mut changes = Edit {
        bundle,
        graph: bundle.architecture().graph(false).unwrap_or_default(),
        changed: BTreeMap::new(),
    };
    edit(&mut changes);
    bundle.edited(|name, _, values| {
        if let Some(changed) = changes.changed.get(name) {
            for (value, changed) in values.iter_mut().zip(changed) {
                *value = *changed;
            }
        }
    })
}

impl Edit<'_> {
    /// The original tensor `name`; empty if there is none.
    pub(super) fn get(&self, name: &str) -> ArrayD<f32> {
        let tensor = self.bundle.tensor(name);
        let values =
            tensor.and_then(|tensor| ArrayD::from_shape_vec(tensor.shape, tensor.to_f32()?).ok());
        values.unwrap_or_default()
    }

    /// Replaces the tensor `name` by `values`, if it has the same size.
    pub(super) fn set(&mut self, name: &str, values: ArrayD<f32>) {
        if self.get(name).len() == values.len() {
            self.changed.insert(name.to_owned(), values);
        }
    }

    /// Changes every tensor whose name matches `pattern`.
    pub(super) fn each(&mut self, pattern: &str, change: impl Fn(ArrayD<f32>) -> ArrayD<f32>) {
        let Ok(pattern) = Glob::new(pattern) else {
            return;
        };
        let matcher = pattern.compile_matcher();
        let names = self.bundle.tensors().map(|tensor| tensor.name.to_owned());
        let names: Vec<String> = names.filter(|name| matcher.is_match(name)).collect();
        for name in names {
            let changed = change(self.get(&name));
            self.set(&name, changed);
        }
    }

    /// Sets weight and bias of the norms that match `pattern` to 1 and 0.
    pub(super) fn without_affine(&mut self, pattern: &str) {
        self.each(&format!("{pattern}.weight"), one);
        self.each(&format!("{pattern}.bias"), zero);
    }

    /// Changes the tensors of these `kinds` (`weight_ih`, ...) of LSTM directions.
    pub(super) fn lstm(
        &mut self,
        which: Lstm,
        kinds: &[&str],
        change: impl Fn(ArrayD<f32>) -> ArrayD<f32>,
    ) {
        for layer in 0..self.num_layers() {
            for reverse in [false, true] {
                let wanted = match which {
                    Lstm::All => true,
                    Lstm::Layer(wanted) => wanted == layer,
                    Lstm::Direction(wanted, direction) => (wanted, direction) == (layer, reverse),
                };
                for kind in kinds.iter().filter(|_| wanted) {
                    self.each(&self.lstm_name(kind, layer, reverse), &change);
                }
            }
        }
    }

    /// Reorders the gates of LSTM directions: gate `k` takes the weights of gate `order[k]`.
    pub(super) fn gates(&mut self, which: Lstm, order: [usize; 4]) {
        self.lstm(which, &LSTM_KINDS, |w| {
            let size = w.len_of(Axis(0)) / 4;
            let rows = order.map(|gate| gate * size..(gate + 1) * size);
            let rows: Vec<usize> = rows.into_iter().flatten().collect();
            w.select(Axis(0), &rows)
        });
    }

    /// Replaces the weights of one LSTM layer and direction by those of another.
    pub(super) fn lstm_from(&mut self, to: (usize, bool), from: (usize, bool)) {
        for kind in LSTM_KINDS {
            let values = self.get(&self.lstm_name(kind, from.0, from.1));
            self.set(&self.lstm_name(kind, to.0, to.1), values);
        }
    }

    /// The name of a tensor of one direction of an LSTM layer; empty if there is none.
    pub(super) fn lstm_name(&self, kind: &str, layer: usize, reverse: bool) -> String {
        let alike =
            |op: &Op| matches!(op, Op::LstmDirection { reverse: other, .. } if *other == reverse);
        let mut directions = self.graph.stages().iter().filter(|stage| alike(&stage.op));
        let place = LSTM_KINDS.iter().position(|known| *known == kind);
        let tensor = directions.nth(layer).zip(place);
        let tensor = tensor.and_then(|(stage, place)| stage.parameters.get(place));
        tensor.map(|tensor| tensor.name.clone()).unwrap_or_default()
    }

    fn num_layers(&self) -> usize {
        let ops = self.graph.stages().iter().map(|stage| &stage.op);
        ops.filter(|op| matches!(op, Op::Lstm { .. })).count()
    }
}

/// The four tensors of one direction of an LSTM layer.
pub(super) const LSTM_KINDS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// `values` with one axis reversed.
pub(super) fn flip(values: &ArrayD<f32>, axis: usize) -> ArrayD<f32> {
    let mut view = values.view();
    view.invert_axis(Axis(axis));
    view.to_owned()
}

/// `values` with two axes swapped.
pub(super) fn swapped(values: &ArrayD<f32>, a: usize, b: usize) -> ArrayD<f32> {
    let mut view = values.view();
    view.swap_axes(a, b);
    view.as_standard_layout().to_owned()
}

/// Sets the first four rows to 0.
pub(super) fn rows_zeroed(mut values: ArrayD<f32>) -> ArrayD<f32> {
    values.slice_axis_mut(Axis(0), Slice::from(..4)).fill(0.0);
    values
}

/// Swaps the first two axes if they have the same length.
pub(super) fn transpose(values: ArrayD<f32>) -> ArrayD<f32> {
    match values.shape() {
        [a, b, ..] if a == b => swapped(&values, 0, 1),
        _ => values,
    }
}

/// Sets all values to 0.
pub(super) fn zero(values: ArrayD<f32>) -> ArrayD<f32> {
    values * 0.0
}

/// Sets all values to 1.
pub(super) fn one(values: ArrayD<f32>) -> ArrayD<f32> {
    values * 0.0 + 1.0
}

/// Rounds to the 11 bits of precision of an f16, without its range.
pub(super) fn half(values: ArrayD<f32>) -> ArrayD<f32> {
    // Adding and subtracting 2^13 times the value leaves the upper 11 bits (Veltkamp's split).
    values.mapv(|x| {
        let up = x * 8193.0;
        up - (up - x)
    })
}
