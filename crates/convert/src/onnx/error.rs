//! What can be wrong with an ONNX export.

use crate::name::quoted_name;

/// What is wrong with an ONNX export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The protobuf encoding is broken.
    #[error("ONNX export is damaged or cut off in its {0}; copy or download it again")]
    Damaged(&'static str),
    /// More of something than any export of these networks has.
    #[error("ONNX export has more than {1} {0}; no network here needs as many")]
    TooMany(&'static str, usize),
    /// No graph, no output, or an output that nothing computes.
    #[error("ONNX export has no node that computes {}", quoted_name(.0))]
    NotComputed(String),
    /// The graph runs in a circle.
    #[error("ONNX export computes {} from itself", quoted_name(.0))]
    Circle(String),
    /// A node, and which of its inputs is not a stored weight.
    #[error(
        "ONNX export computes input {input} of {} instead of storing it; export with constant folding",
        quoted_name(.0),
        input = .1
    )]
    NotStored(String, usize),
    /// Weights in other files.
    #[error("ONNX export keeps {} in another file; save it as one file", quoted_name(.0))]
    External(String),
    /// A weight of an element type that no network here has: its `TensorProto.DataType`.
    #[error("ONNX export has {} of element type {found}, expected a float type or int64", quoted_name(.0), found = .1)]
    ElementType(String, i64),
    /// A weight with more or fewer elements than its shape says.
    #[error(
        "ONNX export has {} with {found} bytes, {expected} expected; the file is damaged",
        quoted_name(.name)
    )]
    Length {
        /// The initializer.
        name: String,
        /// Bytes in the file.
        found: usize,
        /// Bytes of its shape.
        expected: usize,
    },
    /// A weight of a shape that does not go with its node.
    #[error("ONNX export has {} of shape {found:?}, expected {expected}", quoted_name(.name))]
    Shape {
        /// The initializer.
        name: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// What they have to be.
        expected: &'static str,
    },
    /// A node that PyanNet does not have in this place.
    #[error("ONNX export is not of PyanNet: {0} where {1} should be")]
    Unexpected(String, &'static str),
    /// A node with another constant than PyanNet has.
    #[error(
        "ONNX export is not of PyanNet: {} of {} is {found}, expected {expected}",
        quoted_name(.attribute), quoted_name(.node)
    )]
    Constant {
        /// The node.
        node: String,
        /// ONNX's name of the constant.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// PyanNet's value.
        expected: String,
    },
    /// Two branches that do not do the same.
    #[error("ONNX export has {} with branches that differ", quoted_name(.0))]
    Branches(String),
}
