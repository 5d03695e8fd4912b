//! The graph of an ONNX model. Field numbers: `onnx/onnx.proto3`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::OnnxError;
use super::wire::{Wire, fields, ints};
use crate::Dtype;

/// Most nodes, with those in branches. The export of segmentation-3.0 has 70.
const MAX_NODES: usize = 20_000;
/// Most stored tensors. The export of segmentation-3.0 has 42.
const MAX_INITIALIZERS: usize = 20_000;
/// Deepest nesting of branches. The export of segmentation-3.0 has one level.
const MAX_DEPTH: usize = 8;
/// Most dimensions of a stored tensor.
const MAX_DIMENSIONS: usize = 16;
/// Most inputs, outputs or attributes of one node.
const MAX_OPERANDS: usize = 1_000;

/// A stored tensor.
#[derive(Debug, Clone)]
pub(crate) struct Initializer<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    data: Data<'a>,
}

#[derive(Debug, Clone)]
enum Data<'a> {
    /// `raw_data`: little-endian.
    Raw(&'a [u8]),
    /// `float_data`, `int64_data`, ...: decoded.
    Typed(Vec<u8>),
}

impl<'a> Initializer<'a> {
    /// Bytes of its shape, if that is a size at all.
    fn expected_len(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(self.dtype.size(), |len, &size| len.checked_mul(size))
    }

    /// The elements in row-major order, as many as the shape says.
    pub(crate) fn elements(&self) -> Result<Cow<'_, [u8]>, OnnxError> {
        let found = match &self.data {
            Data::Raw(bytes) => bytes.len(),
            Data::Typed(bytes) => bytes.len(),
        };
        let expected = self.expected_len().unwrap_or(usize::MAX);
        if found != expected {
            return Err(OnnxError::Length {
                name: self.name.into(),
                found,
                expected,
            });
        }
        Ok(match &self.data {
            Data::Raw(bytes) => Cow::Borrowed(bytes),
            Data::Typed(bytes) => Cow::Borrowed(bytes),
        })
    }
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) op: &'a str,
    pub(crate) name: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    /// Name and `AttributeProto`.
    attributes: Vec<(&'a str, &'a [u8])>,
    /// First outputs of its branches, for an `If`.
    branches: Vec<&'a str>,
}

impl<'a> Node<'a> {
    fn attribute(&self, name: &str, field: u64) -> Result<Option<Wire<'a>>, OnnxError> {
        let Some(&(_, message)) = self.attributes.iter().find(|(found, _)| *found == name) else {
            return Ok(None);
        };
        let mut value = None;
        for part in fields(message) {
            let (number, wire) = part.ok_or(OnnxError::Damaged { part: "attribute" })?;
            if number == field {
                value = Some(wire);
            }
        }
        Ok(value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(found, _)| *found == name)
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, OnnxError> {
        Ok(self.attribute(name, 2)?.and_then(Wire::float))
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, OnnxError> {
        Ok(self.attribute(name, 3)?.and_then(Wire::int))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, OnnxError> {
        Ok(self.attribute(name, 4)?.and_then(Wire::text))
    }

    /// One integer or several.
    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, OnnxError> {
        let damaged = OnnxError::Damaged { part: "attribute" };
        let Some(&(_, message)) = self.attributes.iter().find(|(found, _)| *found == name) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for part in fields(message) {
            match part.ok_or(damaged.clone())? {
                (3 | 8, wire) => ints(wire, &mut found).ok_or(damaged.clone())?,
                _ => continue,
            }
            if found.len() > MAX_OPERANDS {
                return Err(OnnxError::TooMany {
                    what: "numbers in an attribute",
                    limit: MAX_OPERANDS,
                });
            }
        }
        Ok(found)
    }
}

/// A model's graph, branches and all: names are unique across them.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    initializers: HashMap<&'a str, Initializer<'a>>,
    /// Names of initializers as they come in the file.
    order: Vec<&'a str>,
    /// Which node computes a value.
    producers: HashMap<&'a str, usize>,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a str>,
    metadata: Vec<(&'a str, &'a str)>,
    producer: String,
}

/// Whether the first fields are those of a `ModelProto`: version, producer, ..., graph.
pub(super) fn looks_like_model(bytes: &[u8]) -> bool {
    let mut version = false;
    for field in fields(bytes).take(16) {
        match field {
            Some((1, Wire::Varint(1..=1000))) => version = true,
            Some((7, Wire::Bytes(_))) => return version,
            Some((2..=6 | 8 | 14 | 20 | 25, _)) => {}
            // A file that is cut off has its graph cut off.
            None => return version,
            _ => return false,
        }
    }
    false
}

impl<'a> Graph<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let mut graph = Self::default();
        let mut main = None;
        for field in fields(bytes) {
            match field.ok_or(OnnxError::Damaged { part: "model" })? {
                (2, wire) => graph.producer = wire.text().unwrap_or_default().to_owned(),
                (7, wire) => main = wire.bytes(),
                (14, wire) => {
                    let entry = wire.bytes().unwrap_or_default();
                    let (mut key, mut value) = ("", "");
                    for part in fields(entry) {
                        match part.ok_or(OnnxError::Damaged { part: "metadata" })? {
                            (1, wire) => key = wire.text().unwrap_or_default(),
                            (2, wire) => value = wire.text().unwrap_or_default(),
                            _ => {}
                        }
                    }
                    if graph.metadata.len() >= MAX_OPERANDS {
                        return Err(OnnxError::TooMany {
                            what: "metadata",
                            limit: MAX_OPERANDS,
                        });
                    }
                    graph.metadata.push((key, value));
                }
                _ => {}
            }
        }
        let main = main.ok_or(OnnxError::Damaged { part: "graph" })?;
        graph.outputs = graph.read_graph(main, 0)?;
        for (index, node) in graph.nodes.iter().enumerate() {
            for &output in &node.outputs {
                if !output.is_empty() {
                    graph.producers.insert(output, index);
                }
            }
        }
        Ok(graph)
    }

    /// Reads a `GraphProto`, and those of its branches. Returns the names of its outputs.
    fn read_graph(&mut self, message: &'a [u8], depth: usize) -> Result<Vec<&'a str>, OnnxError> {
        if depth > MAX_DEPTH {
            return Err(OnnxError::TooMany {
                what: "nested branches",
                limit: MAX_DEPTH,
            });
        }
        let mut outputs = Vec::new();
        for field in fields(message) {
            match field.ok_or(OnnxError::Damaged { part: "graph" })? {
                (1, wire) => {
                    let node = self.read_node(wire.bytes().unwrap_or_default(), depth)?;
                    if self.nodes.len() >= MAX_NODES {
                        return Err(OnnxError::TooMany {
                            what: "nodes",
                            limit: MAX_NODES,
                        });
                    }
                    self.nodes.push(node);
                }
                (5, wire) => self.store(read_tensor(wire.bytes().unwrap_or_default())?)?,
                (11, wire) if depth == 0 && self.inputs.len() < MAX_OPERANDS => {
                    self.inputs.push(wire.bytes().unwrap_or_default());
                }
                (12, wire) if outputs.len() < MAX_OPERANDS => {
                    let name = value_name(wire.bytes().unwrap_or_default());
                    outputs.push(name.ok_or(OnnxError::Damaged { part: "output" })?);
                }
                _ => {}
            }
        }
        Ok(outputs)
    }

    fn store(&mut self, tensor: Initializer<'a>) -> Result<(), OnnxError> {
        if self.order.len() >= MAX_INITIALIZERS {
            let (what, limit) = ("initializers", MAX_INITIALIZERS);
            return Err(OnnxError::TooMany { what, limit });
        }
        self.order.push(tensor.name);
        self.initializers.insert(tensor.name, tensor);
        Ok(())
    }

    fn read_node(&mut self, message: &'a [u8], depth: usize) -> Result<Node<'a>, OnnxError> {
        let damaged = OnnxError::Damaged { part: "node" };
        let mut node = Node {
            op: "",
            name: "",
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: Vec::new(),
            branches: Vec::new(),
        };
        for field in fields(message) {
            let (number, wire) = field.ok_or(damaged.clone())?;
            let text = || wire.text().ok_or(damaged.clone());
            match number {
                1 => node.inputs.push(text()?),
                2 => node.outputs.push(text()?),
                3 => node.name = text()?,
                4 => node.op = text()?,
                5 => {
                    let attribute = wire.bytes().ok_or(damaged.clone())?;
                    let mut name = "";
                    for part in fields(attribute) {
                        match part.ok_or(OnnxError::Damaged { part: "attribute" })? {
                            (1, wire) => name = wire.text().ok_or(damaged.clone())?,
                            // A branch of an `If`.
                            (6, wire) => {
                                let graph = wire.bytes().ok_or(damaged.clone())?;
                                let outputs = self.read_graph(graph, depth + 1)?;
                                node.branches.extend(outputs.first());
                            }
                            _ => {}
                        }
                    }
                    node.attributes.push((name, attribute));
                }
                _ => {}
            }
            if node
                .inputs
                .len()
                .max(node.outputs.len())
                .max(node.attributes.len())
                > MAX_OPERANDS
            {
                return Err(OnnxError::TooMany {
                    what: "operands of a node",
                    limit: MAX_OPERANDS,
                });
            }
        }
        // A constant is a weight that is stored in the node.
        if node.op == "Constant"
            && let Some(&output) = node.outputs.first()
            && let Some(Wire::Bytes(tensor)) = node.attribute("value", 5)?
        {
            self.store(Initializer {
                name: output,
                ..read_tensor(tensor)?
            })?;
        }
        Ok(node)
    }

    pub(super) fn metadata(&self, key: &str) -> Option<&'a str> {
        self.metadata
            .iter()
            .find(|(found, _)| *found == key)
            .map(|&(_, value)| value)
    }

    /// Who wrote the file: `pytorch`.
    pub(crate) fn producer(&self) -> &str {
        &self.producer
    }

    /// Stored tensors in the order of the file.
    pub(crate) fn initializers(&self) -> impl Iterator<Item = &Initializer<'a>> {
        self.order
            .iter()
            .filter_map(|name| self.initializers.get(name))
    }

    /// A weight of a node.
    pub(super) fn initializer(
        &self,
        node: &Node<'a>,
        input: usize,
    ) -> Result<&Initializer<'a>, OnnxError> {
        let name = node.inputs.get(input).copied().unwrap_or_default();
        self.initializers
            .get(name)
            .ok_or_else(|| OnnxError::NotStored {
                node: node.name.into(),
                input,
            })
    }

    /// Samples of the audio, where the export fixes them.
    pub(super) fn input_len(&self) -> Option<usize> {
        let value = self.inputs.iter().find(|value| {
            value_name(value).is_some_and(|name| !self.initializers.contains_key(name))
        })?;
        // ValueInfoProto.type = 2, TypeProto.tensor_type = 1, Tensor.shape = 2, dim = 1.
        let mut message: &[u8] = value;
        for path in [2, 1, 2] {
            message = fields(message)
                .flatten()
                .find(|&(number, _)| number == path)?
                .1
                .bytes()?;
        }
        let last = fields(message)
            .flatten()
            .filter(|&(number, _)| number == 1)
            .last()?
            .1
            .bytes()?;
        let (_, len) = fields(last).flatten().find(|&(number, _)| number == 1)?;
        usize::try_from(len.int()?).ok().filter(|&len| len > 0)
    }

    /// The nodes that do arithmetic between the audio and the output, in order of execution.
    pub(super) fn path(&self) -> Result<Vec<&Node<'a>>, OnnxError> {
        let mut path = Vec::new();
        let mut seen = HashSet::new();
        let Some(&output) = self.outputs.first() else {
            return Err(OnnxError::NotComputed {
                name: "output".into(),
            });
        };
        let mut value = output;
        while let Some(&index) = self.producers.get(value) {
            if !seen.insert(index) {
                return Err(OnnxError::Circle { name: value.into() });
            }
            let node = &self.nodes[index];
            if !MOVES_ONLY.contains(&node.op) {
                path.push(node);
            }
            value = self.data_input(node)?;
        }
        if path.is_empty() {
            return Err(OnnxError::NotComputed { name: value.into() });
        }
        path.reverse();
        Ok(path)
    }

    /// The value a node works on, as opposed to its weights.
    fn data_input(&self, node: &Node<'a>) -> Result<&'a str, OnnxError> {
        if node.op == "If" {
            // torch exports a convolution of two- and of three-dimensional input this way. The
            // first branch is followed; the weights of the others have to be the same.
            let first = self.convolution(node.branches.first().copied());
            if node
                .branches
                .iter()
                .any(|&branch| self.convolution(Some(branch)) != first)
            {
                return Err(OnnxError::Branches {
                    node: node.name.into(),
                });
            }
            return Ok(node.branches.first().copied().unwrap_or_default());
        }
        let computed = |name: &&&str| !self.initializers.contains_key(**name);
        Ok(node
            .inputs
            .iter()
            .find(computed)
            .copied()
            .unwrap_or_default())
    }

    /// Weight, bias and strides of the convolution that a branch ends with.
    fn convolution(&self, output: Option<&'a str>) -> Option<(Vec<&'a str>, Vec<i64>)> {
        let mut value = output?;
        for _ in 0..MAX_NODES {
            let node = &self.nodes[*self.producers.get(value)?];
            if node.op == "Conv" {
                let weights = node.inputs.get(1..)?.to_vec();
                return Some((weights, node.ints("strides").ok()?));
            }
            if !MOVES_ONLY.contains(&node.op) {
                return None;
            }
            value = node.inputs.first()?;
        }
        None
    }
}

/// Operations that change the shape of a value, or nothing.
const MOVES_ONLY: &[&str] = &[
    "Cast",
    "Dropout",
    "Flatten",
    "Identity",
    "If",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

fn value_name(message: &[u8]) -> Option<&str> {
    fields(message)
        .flatten()
        .find(|&(number, _)| number == 1)?
        .1
        .text()
}

/// Reads a `TensorProto`.
fn read_tensor(message: &[u8]) -> Result<Initializer<'_>, OnnxError> {
    let damaged = OnnxError::Damaged {
        part: "initializer",
    };
    let mut name = "";
    let mut dims = Vec::new();
    let mut data_type = 0;
    let mut raw = None;
    let mut typed: Vec<(u64, Wire<'_>)> = Vec::new();
    let mut external = false;
    for field in fields(message) {
        let (number, wire) = field.ok_or(damaged.clone())?;
        match number {
            1 => ints(wire, &mut dims).ok_or(damaged.clone())?,
            2 => data_type = wire.int().ok_or(damaged.clone())?,
            // float_data, int32_data, int64_data, double_data: packed in all known files.
            4 | 5 | 7 | 10 if typed.is_empty() => typed.push((number, wire)),
            4 | 5 | 7 | 10 => return Err(damaged),
            8 => name = wire.text().ok_or(damaged.clone())?,
            9 => raw = Some(wire.bytes().ok_or(damaged.clone())?),
            14 => external = wire.int() == Some(1),
            _ => {}
        }
        if dims.len() > MAX_DIMENSIONS {
            return Err(OnnxError::TooMany {
                what: "dimensions",
                limit: MAX_DIMENSIONS,
            });
        }
    }
    if external {
        return Err(OnnxError::External { name: name.into() });
    }
    let dtype = match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        16 => Dtype::BF16,
        found => {
            return Err(OnnxError::ElementType {
                name: name.into(),
                found,
            });
        }
    };
    let shape = dims
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| damaged.clone())?;
    let data = match (raw, typed.first()) {
        (Some(raw), _) => Data::Raw(raw),
        (None, None) => Data::Raw(&[]),
        (None, Some(&(number, wire))) => match (number, dtype, wire) {
            // Packed fixed-width numbers are little-endian already.
            (4, Dtype::F32, Wire::Bytes(bytes)) | (10, Dtype::F64, Wire::Bytes(bytes)) => {
                Data::Raw(bytes)
            }
            (4, Dtype::F32, Wire::Fixed32(bytes)) => Data::Typed(bytes.to_vec()),
            (10, Dtype::F64, Wire::Fixed64(bytes)) => Data::Typed(bytes.to_vec()),
            (7, Dtype::I64, wire) | (5, _, wire) => {
                let mut numbers = Vec::new();
                ints(wire, &mut numbers).ok_or(damaged.clone())?;
                let bytes = numbers.iter().flat_map(|number| {
                    let wide = number.to_le_bytes();
                    wide.into_iter().take(dtype.size())
                });
                Data::Typed(bytes.collect())
            }
            _ => return Err(damaged),
        },
    };
    Ok(Initializer {
        name,
        dtype,
        shape,
        data,
    })
}
