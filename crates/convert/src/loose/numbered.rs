//! Weights of a segmentation that PyTorch's exporter to ONNX has named by numbers, as in speakrs' files: `onnx::LSTM_783`.
//!
//! The numbers follow the order of the graph. Which of an LSTM's three weights is which, their shapes say.

use soundalike_network::LstmOptions;

use super::{Loose, OnnxLstm, Tensors};

const LSTM: &str = "onnx::LSTM_";
const MATRIX: &str = "onnx::MatMul_";
/// What the graph divides its filters by, which PyTorch computes from `n_`.
const DIVISOR: &str = "onnx::Div_";

/// Tensors with PyTorch's names and layouts for those that are named by numbers. Unchanged, if their shapes are of nothing
/// known.
pub(super) fn of_pytorch(tensors: Tensors<'_>) -> Tensors<'_> {
    named(&tensors).unwrap_or(tensors)
}

fn named<'a>(tensors: &Tensors<'a>) -> Option<Tensors<'a>> {
    let (lstms, matrices) = (numbered(tensors, LSTM), numbered(tensors, MATRIX));
    let numbers = [LSTM, MATRIX, DIVISOR];
    let others = tensors.iter();
    let others = others.filter(|(name, _)| !numbers.iter().any(|prefix| name.starts_with(prefix)));
    let others = others.map(|(name, tensor)| (name.clone(), tensor.clone()));
    let mut found: Tensors<'a> = others.collect();

    let (layers, []) = lstms.as_chunks::<3>() else {
        return None;
    };
    for (layer, weights) in layers.iter().enumerate() {
        let (bias, [first, second]) = biases_apart(weights)?;
        let directions = *bias.shape.first()?;
        let layer_of = |input: &&Loose<'a>, recurrent: &&Loose<'a>| {
            OnnxLstm::new(
                (*input).clone(),
                (*recurrent).clone(),
                bias.clone(),
                directions,
            )
            .ok()
        };
        // The exporter's order, where the shapes allow both.
        let weights = layer_of(&first, &second).or_else(|| layer_of(&second, &first))?;
        let lstm = LstmOptions {
            hidden_size: weights.hidden_size,
            num_layers: layers.len(),
            bidirectional: directions == 2,
            monolithic: true,
        };
        weights.insert(&lstm, layer, &mut found);
    }
    let (last, hidden) = match matrices.split_last() {
        Some((last, hidden)) => (Some(("classifier".to_owned(), last)), hidden),
        None => (None, &[][..]),
    };
    let hidden = hidden.iter().enumerate();
    let hidden = hidden.map(|(index, matrix)| (format!("linear.{index}"), matrix));
    for (module, matrix) in hidden.chain(last) {
        found.insert(format!("{module}.weight"), matrix.transposed()?);
    }
    Some(found)
}

/// The tensors with this prefix and a number, in the order of the numbers.
fn numbered<'t, 'a>(tensors: &'t Tensors<'a>, prefix: &str) -> Vec<&'t Loose<'a>> {
    let named = tensors.iter();
    let mut found: Vec<(u64, _)> = named
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.parse().ok()?, tensor)))
        .collect();
    found.sort_by_key(|&(number, _)| number);
    found.into_iter().map(|(_, tensor)| tensor).collect()
}

/// The bias of a layer, which alone has two axes, and the other two weights.
fn biases_apart<'t, 'a>(
    weights: &[&'t Loose<'a>; 3],
) -> Option<(&'t Loose<'a>, [&'t Loose<'a>; 2])> {
    let (biases, others): (Vec<_>, Vec<_>) =
        weights.iter().partition(|weight| weight.shape.len() == 2);
    let (&[bias], &[first, second]) = (&biases[..], &others[..]) else {
        return None;
    };
    Some((bias, [first, second]))
}
