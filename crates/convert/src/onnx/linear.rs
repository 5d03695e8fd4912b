//! Linear layers: `Gemm`, or `MatMul` and the `Add` behind it.

use super::{
    OnnxError,
    chain::{float, ints, unexpected},
    graph::{Graph, Node},
};
use crate::loose::Loose;

/// The weights of a linear layer: `[outputs, inputs]` and `[outputs]`.
pub(super) struct Linear<'g> {
    pub(super) weight: Loose<'g>,
    pub(super) bias: Loose<'g>,
}

impl<'g> Linear<'g> {
    /// The layer of a `Gemm`, or of a `MatMul` and this `sum`.
    pub(super) fn new<'a>(
        graph: &'g Graph<'a>,
        product: &Node<'a>,
        sum: Option<&Node<'a>>,
    ) -> Result<Self, OnnxError> {
        let weight = graph.weight(product, 1)?;
        let (bias, is_transposed) = match (product.op, sum) {
            ("MatMul", Some(sum)) => (graph.either_weight(sum)?, true),
            ("Gemm", None) => {
                float(product, "alpha", 1.0)?;
                float(product, "beta", 1.0)?;
                ints(product, "transA", 0, 0)?;
                let is_transposed = product.int("transB")?.unwrap_or(0) == 0;
                (graph.weight(product, 2)?, is_transposed)
            }
            _ => return Err(unexpected(product, "Gemm")),
        };
        let matrix = match is_transposed {
            true => weight.transposed(),
            false => Some(weight.clone()).filter(|weight| weight.shape.len() == 2),
        };
        let weight = matrix.ok_or_else(|| OnnxError::of_shape(&weight, "a matrix"))?;
        Ok(Self { weight, bias })
    }
}
