//! Layouts of weights in other projects, and PyTorch's.

use std::{borrow::Cow, rc::Rc};

use soundalike_network::LstmOptions;

use super::{Loose, Tensors};
use crate::{WeightChange, shape::row_major};

/// Indices of PyTorch's gates (input, forget, cell, output) in the order of ONNX (input, output, forget, cell).
const PYTORCH_GATES: [usize; 4] = [0, 2, 3, 1];

impl<'a> Loose<'a> {
    /// The same values in another layout.
    fn laid_out(
        &self,
        shape: Vec<usize>,
        change: WeightChange,
        elements: impl Fn(&[u8]) -> Vec<u8> + 'a,
    ) -> Self {
        let stored = self.elements.clone();
        Self {
            dtype: self.dtype,
            shape,
            elements: Rc::new(move || Cow::Owned(elements(&stored()))),
            origin: self.origin.clone().changed(change),
        }
    }

    /// The same matrix with rows and columns exchanged. `None` if it is no matrix.
    pub(crate) fn transposed(&self) -> Option<Self> {
        let &[rows, columns] = &self.shape[..] else {
            return None;
        };
        let (shape, size) = ([columns, rows], self.dtype.size());
        let elements = move |stored: &[u8]| row_major(stored, size, &shape, &[1, columns]);
        Some(self.laid_out(shape.to_vec(), WeightChange::Transposed, elements))
    }

    /// The same tensor with its last axis as the second, if its shape then is `shape`.
    pub(super) fn kernels_first(&self, shape: &[usize]) -> Option<Self> {
        let (&inputs, sizes) = self.shape.split_last()?;
        let (&outputs, kernel) = sizes.split_first()?;
        let moved = [&[outputs, inputs], kernel].concat();
        if kernel.is_empty() || moved != shape {
            return None;
        }
        let mut strides = vec![1; moved.len()];
        let mut step = inputs;
        for (size, stride) in kernel.iter().zip(&mut strides[2..]).rev() {
            (*stride, step) = (step, step * size);
        }
        strides[0] = step;
        let (size, moved_shape) = (self.dtype.size(), moved.clone());
        let elements = move |stored: &[u8]| row_major(stored, size, &moved_shape, &strides);
        Some(self.laid_out(moved, WeightChange::KernelFirst, elements))
    }

    /// As many zeros.
    pub(super) fn zeros(&self) -> Self {
        let elements = self.elements.clone();
        Self {
            elements: Rc::new(move || Cow::Owned(vec![0; elements().len()])),
            ..self.clone()
        }
    }
}

/// The weights of one layer of an LSTM in ONNX: of all directions, with gates in another order than PyTorch's. ONNX
/// operator LSTM, version 14.
pub(crate) struct OnnxLstm<'a> {
    /// `[directions, 4 hidden, inputs]`.
    input: Loose<'a>,
    /// `[directions, 4 hidden, hidden]`.
    recurrent: Loose<'a>,
    /// `[directions, 8 hidden]`.
    bias: Loose<'a>,
    directions: usize,
    pub(crate) hidden_size: usize,
    inputs: usize,
}

/// Which of the three weights has the wrong shape, and the shape that it should have.
pub(crate) struct WrongShape<'a>(pub(crate) Loose<'a>, pub(crate) &'static str);

impl<'a> OnnxLstm<'a> {
    pub(crate) fn new(
        input: Loose<'a>,
        recurrent: Loose<'a>,
        bias: Loose<'a>,
        directions: usize,
    ) -> Result<Self, WrongShape<'a>> {
        let gates = |weight: &Loose<'a>| match weight.shape[..] {
            [d, gates, columns] if d == directions => Some((gates, columns)),
            _ => None,
        };
        let hidden_size = gates(&recurrent)
            .filter(|&(gates, hidden)| hidden > 0 && hidden.checked_mul(4) == Some(gates));
        let Some((_, hidden_size)) = hidden_size else {
            return Err(WrongShape(recurrent, "[directions, 4 hidden, hidden]"));
        };
        let inputs = gates(&input).filter(|&(gates, _)| gates == hidden_size * 4);
        let Some((_, inputs)) = inputs else {
            return Err(WrongShape(input, "[directions, 4 hidden, inputs]"));
        };
        if hidden_size.checked_mul(8) != bias.shape.get(1).copied()
            || bias.shape.len() != 2
            || bias.shape[0] != directions
        {
            return Err(WrongShape(bias, "[directions, 8 hidden]"));
        }
        Ok(Self {
            input,
            recurrent,
            bias,
            directions,
            hidden_size,
            inputs,
        })
    }

    /// Adds the weights as PyTorch's `layer`.
    pub(crate) fn insert(self, lstm: &LstmOptions, layer: usize, into: &mut Tensors<'a>) {
        let (hidden, gates) = (self.hidden_size, self.hidden_size * 4);
        for direction in 0..self.directions {
            for (kind, weight, shape, first_row) in [
                (
                    "weight_ih",
                    &self.input,
                    &[gates, self.inputs][..],
                    direction * gates,
                ),
                (
                    "weight_hh",
                    &self.recurrent,
                    &[gates, hidden],
                    direction * gates,
                ),
                ("bias_ih", &self.bias, &[gates], direction * 2 * gates),
                ("bias_hh", &self.bias, &[gates], (direction * 2 + 1) * gates),
            ] {
                let row = shape[1..].iter().product::<usize>() * weight.dtype.size();
                let gate = hidden * row;
                let elements = move |stored: &[u8]| {
                    let gates = PYTORCH_GATES.map(|source| first_row * row + source * gate);
                    let bytes = gates.into_iter().flat_map(|start| &stored[start..][..gate]);
                    bytes.copied().collect()
                };
                let change = WeightChange::GatesReordered { direction };
                into.insert(
                    lstm.tensor_name(kind, layer, direction == 1),
                    weight.laid_out(shape.to_vec(), change, elements),
                );
            }
        }
    }
}
