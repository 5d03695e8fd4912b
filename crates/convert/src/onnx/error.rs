//! Errors of ONNX exports.

use crate::{loose::Loose, name::quoted_name};

/// An error of an ONNX export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A message with a damaged encoding.
    #[error("ONNX export is damaged or cut off in its {0}; copy or download it again")]
    Damaged(&'static str),
    /// More items of a kind than the limit.
    #[error("ONNX export has more than {1} {0}, the limit for a supported network")]
    TooMany(&'static str, usize),
    /// An output that no node computes.
    #[error("ONNX export has no node that computes {}", quoted_name(.0))]
    NotComputed(String),
    /// A cycle in the graph.
    #[error("ONNX export computes {} from itself", quoted_name(.0))]
    Cycle(String),
    /// A node with an input that is not a stored weight.
    #[error(
        "ONNX export computes input {input} of {} instead of storing it; export with constant folding",
        quoted_name(.0),
        input = .1
    )]
    NotStored(String, usize),
    /// A weight in another file, which is not there or too short.
    #[error("ONNX export keeps {} in the file {}, which is not whole beside it; copy both", quoted_name(.0), quoted_name(.1))]
    External(String, String),
    /// A quantised operation.
    #[error(
        "ONNX export is quantised ({op} {node}): these are not the original's weights; convert the export in f32",
        op = .0, node = quoted_name(.1)
    )]
    Quantised(String, String),
    /// A weight of an unsupported element type (`TensorProto.DataType`).
    #[error("ONNX export has {} of element type {found}, expected a float type or int64", quoted_name(.0), found = .1)]
    ElementType(String, i64),
    /// A weight with another length than its shape.
    #[error(
        "ONNX export has {} with {found} bytes, {expected} expected; the file is damaged",
        quoted_name(.name)
    )]
    Length {
        /// The initializer.
        name: String,
        /// Bytes in the file.
        found: usize,
        /// Bytes required by its shape.
        expected: usize,
    },
    /// A weight with the wrong shape for its node.
    #[error("ONNX export has {} of shape {found:?}, expected {expected}", quoted_name(.name))]
    Shape {
        /// The initializer.
        name: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// The required dimensions.
        expected: &'static str,
    },
    /// Another node than the network has at this position.
    #[error("ONNX export is of no known network: found {0}, expected {1}")]
    Unexpected(String, &'static str),
    /// A node with another constant than the network has.
    #[error(
        "ONNX export is of no known network: {} of {} is {found}, expected {expected}",
        quoted_name(.attribute), quoted_name(.node)
    )]
    Constant {
        /// The node.
        node: String,
        /// The constant under its name in ONNX.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// The network's value.
        expected: String,
    },
    /// A residual network that is no known one.
    #[error("ONNX export is a residual network of another depth than WeSpeaker's")]
    UnknownDepth,
    /// A node with branches that are not equivalent.
    #[error("ONNX export has different convolutions in the branches of {}", quoted_name(.0))]
    Branches(String),
}

impl OnnxError {
    /// The error of a weight that should have another shape.
    pub(super) fn of_shape(weight: &Loose<'_>, expected: &'static str) -> Self {
        Self::Shape {
            name: weight.origin.to_string(),
            found: weight.shape.clone(),
            expected,
        }
    }
}
