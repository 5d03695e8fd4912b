//! Nodes one behind the other, and what they must be.

use super::{
    OnnxError,
    graph::{Graph, Node},
};
use crate::name::quoted_name;

/// The nodes between the audio and the output, in order.
pub(super) struct Chain<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    path: Vec<&'g Node<'a>>,
    at: usize,
}

impl<'g, 'a> Chain<'g, 'a> {
    pub(super) fn of(graph: &'g Graph<'a>) -> Result<Self, OnnxError> {
        let path = graph.path()?;
        Ok(Self { graph, path, at: 0 })
    }

    pub(super) fn peek(&self, op: &str) -> bool {
        self.path.get(self.at).is_some_and(|node| node.op == op)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.path.len()
    }

    pub(super) fn unexpected(&self, expected: &'static str) -> OnnxError {
        match self.path.get(self.at) {
            Some(node) => unexpected(node, expected),
            None => OnnxError::Unexpected("the output".into(), expected),
        }
    }

    /// The next node, which must do this.
    pub(super) fn expect(&mut self, op: &'static str) -> Result<&'g Node<'a>, OnnxError> {
        match self.path.get(self.at) {
            Some(node) if node.op == op => {
                self.at += 1;
                Ok(node)
            }
            _ => Err(self.unexpected(op)),
        }
    }
}

pub(super) fn unexpected(node: &Node<'_>, expected: &'static str) -> OnnxError {
    OnnxError::Unexpected(
        format!("{} ({})", quoted_name(node.name), node.op),
        expected,
    )
}

/// Refuses another constant than `expected`, which is also the default.
pub(super) fn float(
    node: &Node<'_>,
    attribute: &'static str,
    expected: f32,
) -> Result<(), OnnxError> {
    let found = node.float(attribute)?.unwrap_or(expected);
    if found == expected {
        return Ok(());
    }
    Err(constant(node, attribute, found, expected))
}

/// Refuses integers other than `expected`. Missing integers are `default`.
pub(super) fn ints(
    node: &Node<'_>,
    attribute: &'static str,
    default: i64,
    expected: i64,
) -> Result<(), OnnxError> {
    let found = node.ints(attribute)?;
    let given = !found.is_empty() || default == expected;
    if given && found.iter().all(|&value| value == expected) {
        return Ok(());
    }
    Err(constant(node, attribute, format!("{found:?}"), expected))
}

pub(super) fn constant(
    node: &Node<'_>,
    attribute: &'static str,
    found: impl ToString,
    expected: impl ToString,
) -> OnnxError {
    OnnxError::Constant {
        node: node.name.into(),
        attribute,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}
