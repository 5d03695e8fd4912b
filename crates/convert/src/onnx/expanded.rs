//! Operations that a tool has replaced by the steps of which they are made.

use super::{
    OnnxError,
    chain::{Chain, unexpected},
    graph::{Graph, Node},
};
use crate::loose::Loose;

/// An instance norm `(x - mean) / sqrt(variance + eps) * scale + bias`: its scale and bias.
pub(super) fn instance_norm<'g>(
    chain: &mut Chain<'g, '_>,
    eps: f32,
) -> Result<[Loose<'g>; 2], OnnxError> {
    if !chain.peek("Sub") {
        return Err(chain.unexpected("InstanceNormalization"));
    }
    let (centred, normal) = (chain.expect("Sub")?, chain.expect("Div")?);
    let (scaled, moved) = (chain.expect("Mul")?, chain.expect("Add")?);
    let graph = chain.graph;
    if !is_centred(graph, centred) {
        return Err(unexpected(
            centred,
            "a difference from the mean of each channel",
        ));
    }
    if !is_deviation(graph, normal, centred, eps) {
        return Err(unexpected(normal, "a division by sqrt(variance + 0.00001)"));
    }
    let mut affine = [scaled, moved].map(|node| graph.either_weight(node));
    // One value for each channel, in any shape.
    for tensor in affine.iter_mut().flatten() {
        tensor.shape.retain(|&size| size != 1);
        if tensor.shape.is_empty() {
            tensor.shape.push(1);
        }
    }
    let [scale, bias] = affine;
    Ok([scale?, bias?])
}

/// Whether this subtracts the mean over the samples.
fn is_centred(graph: &Graph<'_>, node: &Node<'_>) -> bool {
    let &[x, mean] = &node.inputs[..] else {
        return false;
    };
    graph
        .producer(mean)
        .is_some_and(|node| is_mean(graph, node, x))
}

fn is_mean(graph: &Graph<'_>, node: &Node<'_>, x: &str) -> bool {
    let axes = match node.ints("axes").unwrap_or_default() {
        axes if axes.is_empty() => {
            let axes = graph.initializer(node, 1);
            axes.ok()
                .and_then(|axes| axes.numbers())
                .unwrap_or_default()
        }
        axes => axes,
    };
    let last = matches!(axes[..], [2 | -1]);
    node.op == "ReduceMean" && node.inputs.first() == Some(&x) && last
}

/// Whether this divides by `sqrt(mean(centred^2) + eps)`.
fn is_deviation(graph: &Graph<'_>, node: &Node<'_>, centred: &Node<'_>, eps: f32) -> bool {
    let found = || {
        let producer = |node: &Node<'_>, input: usize| graph.producer(node.inputs.get(input)?);
        let root = producer(node, 1).filter(|node| node.op == "Sqrt")?;
        let sum = producer(root, 0).filter(|node| node.op == "Add")?;
        let added = graph.initializer(sum, 1).ok()?.number()?;
        let variance = producer(sum, 0)?;
        let square = producer(variance, 0)?;
        let squared = match square.op {
            "Pow" => graph.initializer(square, 1).ok()?.number()? == 2.0,
            "Mul" => square.inputs.first() == square.inputs.get(1),
            _ => false,
        };
        let of_centred = square.inputs.first() == centred.outputs.first();
        let mean = is_mean(graph, variance, variance.inputs.first()?);
        Some(mean && squared && of_centred && added == eps)
    };
    found() == Some(true)
}
