//! The graph of an ONNX model. Field numbers: `onnx/onnx.proto3`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use super::{
    OnnxError,
    wire::{Wire, fields, ints},
};
use crate::{Dtype, Origin, WeightChange, loose::Loose};

/// Most nodes, including those in branches. The export of segmentation-3.0 has 70.
const MAX_NODES: usize = 20_000;
/// Most stored tensors. The export of segmentation-3.0 has 42.
const MAX_INITIALIZERS: usize = 20_000;
/// Deepest nesting of branches. The export of segmentation-3.0 has one level.
const MAX_DEPTH: usize = 8;
/// Most dimensions of a stored tensor.
pub(super) const MAX_DIMENSIONS: usize = 16;
/// Most inputs, outputs or attributes of one node.
const MAX_OPERANDS: usize = 1_000;

/// A stored tensor.
#[derive(Debug, Clone)]
pub(crate) struct Initializer<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Little-endian elements. `raw_data` is borrowed, other fields are decoded.
    pub(super) data: Cow<'a, [u8]>,
}

impl Initializer<'_> {
    /// The elements in row-major order. Their number matches the shape.
    pub(crate) fn elements(&self) -> Result<&[u8], OnnxError> {
        let expected = self.dtype.bytes_of(&self.shape).unwrap_or(usize::MAX);
        if self.data.len() != expected {
            return Err(OnnxError::Length {
                name: self.name.into(),
                found: self.data.len(),
                expected,
            });
        }
        Ok(&self.data)
    }

    /// The tensor under its own name.
    pub(super) fn loose(&self) -> Result<Loose<'_>, OnnxError> {
        let elements = self.elements()?;
        Ok(Loose {
            dtype: self.dtype,
            shape: self.shape.clone(),
            elements: Rc::new(move || Cow::Borrowed(elements)),
            origin: Origin::Initializer {
                name: self.name.into(),
                change: WeightChange::None,
            },
        })
    }

    /// The only element, if it is a number in 32 bits.
    pub(super) fn number(&self) -> Option<f32> {
        let bytes = self.elements().ok().filter(|_| self.dtype == Dtype::F32)?;
        Some(f32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The elements, if they are the few integers of a shape or of axes.
    pub(super) fn numbers(&self) -> Option<Vec<i64>> {
        let (numbers, rest) = self.data.as_chunks();
        let few = numbers.len() <= MAX_DIMENSIONS && rest.is_empty();
        let integers = few && self.dtype == Dtype::I64;
        integers.then(|| numbers.iter().copied().map(i64::from_le_bytes).collect())
    }
}

/// Contents of files beside an export in which it keeps weights, by name.
pub(crate) type Outside = BTreeMap<String, Vec<u8>>;

/// One operation.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) op: &'a str,
    pub(crate) name: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    /// Name and `AttributeProto`.
    attributes: Vec<(&'a str, &'a [u8])>,
    /// First outputs of its branches, for an `If`.
    branches: Vec<&'a str>,
}

impl<'a> Node<'a> {
    /// The fields of an `AttributeProto`. Empty if the node lacks it.
    fn attribute(
        &self,
        name: &str,
    ) -> impl Iterator<Item = Result<(u64, Wire<'a>), OnnxError>> + use<'a> {
        let found = self.attributes.iter().find(|(found, _)| *found == name);
        parts(found.map_or(&[], |&(_, message)| message), "attribute")
    }

    /// The last value of one field of an attribute.
    fn value(&self, name: &str, field: u64) -> Result<Option<Wire<'a>>, OnnxError> {
        let mut value = None;
        for part in self.attribute(name) {
            let (number, wire) = part?;
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
        Ok(self.value(name, 2)?.and_then(Wire::float))
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, OnnxError> {
        Ok(self.value(name, 3)?.and_then(Wire::int))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, OnnxError> {
        Ok(self.value(name, 4)?.and_then(Wire::text))
    }

    /// One integer or several. Empty if the node lacks the attribute.
    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, OnnxError> {
        let mut found = Vec::new();
        for part in self.attribute(name) {
            if let (3 | 8, wire) = part? {
                ints(wire, &mut found).ok_or(OnnxError::Damaged("attribute"))?;
            }
            if found.len() > MAX_OPERANDS {
                return Err(OnnxError::TooMany("numbers in an attribute", MAX_OPERANDS));
            }
        }
        Ok(found)
    }
}

/// The fields of a message. `part` names it in errors.
fn parts<'a>(
    message: &'a [u8],
    part: &'static str,
) -> impl Iterator<Item = Result<(u64, Wire<'a>), OnnxError>> + use<'a> {
    fields(message).map(move |field| field.ok_or(OnnxError::Damaged(part)))
}

/// The first field with this number, within the readable part of the message.
fn first(message: &[u8], number: u64) -> Option<Wire<'_>> {
    let mut fields = fields(message).flatten();
    fields
        .find(|&(found, _)| found == number)
        .map(|(_, wire)| wire)
}

/// The graph of a model, including its branches. Names are unique across branches.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: HashMap<&'a str, Initializer<'a>>,
    outside: Option<&'a Outside>,
    /// Names of initializers in the order of the file.
    order: Vec<&'a str>,
    /// Index of the node that computes a value.
    producers: HashMap<&'a str, usize>,
    inputs: Vec<&'a [u8]>,
    /// The first output.
    output: Option<&'a str>,
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
            // A truncated file ends within its graph.
            None => return version,
            _ => return false,
        }
    }
    false
}

impl<'a> Graph<'a> {
    pub(super) fn read(bytes: &'a [u8], outside: &'a Outside) -> Result<Self, OnnxError> {
        let mut graph = Self {
            outside: Some(outside),
            ..Self::default()
        };
        let mut main = None;
        for field in parts(bytes, "model") {
            match field? {
                (2, wire) => graph.producer = wire.text().unwrap_or_default().to_owned(),
                (7, wire) => main = wire.bytes(),
                (14, wire) => {
                    let entry = key_and_value(wire.bytes().unwrap_or_default())?;
                    if graph.metadata.len() >= MAX_OPERANDS {
                        return Err(OnnxError::TooMany("metadata", MAX_OPERANDS));
                    }
                    graph.metadata.push(entry);
                }
                _ => {}
            }
        }
        let main = main.ok_or(OnnxError::Damaged("graph"))?;
        graph.output = graph.read_graph(main, 0)?;
        let whole = outside.values().map(Vec::len).sum::<usize>() + bytes.len();
        graph.store_moved(whole)?;
        for (index, node) in graph.nodes.iter().enumerate() {
            for &output in &node.outputs {
                if !output.is_empty() {
                    graph.producers.insert(output, index);
                }
            }
        }
        Ok(graph)
    }

    /// Reads a `GraphProto` with its branches. Returns the name of its first output.
    fn read_graph(
        &mut self,
        message: &'a [u8],
        depth: usize,
    ) -> Result<Option<&'a str>, OnnxError> {
        if depth > MAX_DEPTH {
            return Err(OnnxError::TooMany("nested branches", MAX_DEPTH));
        }
        let mut output = None;
        for field in parts(message, "graph") {
            let (number, wire) = field?;
            let bytes = wire.bytes().unwrap_or_default();
            match number {
                1 => {
                    let node = self.read_node(bytes, depth)?;
                    if self.nodes.len() >= MAX_NODES {
                        return Err(OnnxError::TooMany("nodes", MAX_NODES));
                    }
                    self.nodes.push(node);
                }
                5 => {
                    let tensor = self.read_tensor(bytes)?;
                    self.store(tensor)?;
                }
                11 if depth == 0 && self.inputs.len() < MAX_OPERANDS => self.inputs.push(bytes),
                12 if output.is_none() => {
                    output = Some(value_name(bytes).ok_or(OnnxError::Damaged("output"))?);
                }
                _ => {}
            }
        }
        Ok(output)
    }

    pub(super) fn store(&mut self, tensor: Initializer<'a>) -> Result<(), OnnxError> {
        if self.order.len() >= MAX_INITIALIZERS {
            return Err(OnnxError::TooMany("initializers", MAX_INITIALIZERS));
        }
        self.order.push(tensor.name);
        self.initializers.insert(tensor.name, tensor);
        Ok(())
    }

    fn read_node(&mut self, message: &'a [u8], depth: usize) -> Result<Node<'a>, OnnxError> {
        let damaged = || OnnxError::Damaged("node");
        let mut node = Node::default();
        for field in parts(message, "node") {
            let (number, wire) = field?;
            let text = || wire.text().ok_or_else(damaged);
            match number {
                1 => node.inputs.push(text()?),
                2 => node.outputs.push(text()?),
                3 => node.name = text()?,
                4 => node.op = text()?,
                5 => {
                    let attribute = wire.bytes().ok_or_else(damaged)?;
                    let mut name = "";
                    for part in parts(attribute, "attribute") {
                        match part? {
                            (1, wire) => name = wire.text().ok_or_else(damaged)?,
                            // A branch of an `If`.
                            (6, wire) => {
                                let graph = wire.bytes().ok_or_else(damaged)?;
                                node.branches.extend(self.read_graph(graph, depth + 1)?);
                            }
                            _ => {}
                        }
                    }
                    node.attributes.push((name, attribute));
                }
                _ => {}
            }
            let operands = node.inputs.len().max(node.outputs.len());
            if operands.max(node.attributes.len()) > MAX_OPERANDS {
                return Err(OnnxError::TooMany("operands of a node", MAX_OPERANDS));
            }
        }
        // A constant is a weight stored in a node.
        if node.op == "Constant"
            && let Some(&output) = node.outputs.first()
            && let Some(Wire::Bytes(tensor)) = node.value("value", 5)?
        {
            let tensor = self.read_tensor(tensor)?;
            self.store(Initializer {
                name: output,
                ..tensor
            })?;
        }
        let quantised = ["Quant", "quant"].iter().any(|word| node.op.contains(word));
        if quantised || node.op.ends_with("Integer") {
            return Err(OnnxError::Quantised(node.op.into(), node.name.into()));
        }
        Ok(node)
    }

    /// Reads a `TensorProto`.
    fn read_tensor(&self, message: &'a [u8]) -> Result<Initializer<'a>, OnnxError> {
        let damaged = || OnnxError::Damaged("initializer");
        let mut name = "";
        let mut dims = Vec::new();
        let mut data_type = 0;
        let mut raw = None;
        let mut typed = None;
        let mut place = Place::default();
        let mut external = false;
        for field in parts(message, "initializer") {
            let (number, wire) = field?;
            match number {
                1 => ints(wire, &mut dims).ok_or_else(damaged)?,
                2 => data_type = wire.int().ok_or_else(damaged)?,
                // float_data, int32_data, int64_data, double_data: packed in all known files.
                4 | 5 | 7 | 10 if typed.is_none() => typed = Some((number, wire)),
                4 | 5 | 7 | 10 => return Err(damaged()),
                8 => name = wire.text().ok_or_else(damaged)?,
                9 => raw = Some(wire.bytes().ok_or_else(damaged)?),
                13 => place.read(wire.bytes().ok_or_else(damaged)?)?,
                14 => external = wire.int() == Some(1),
                _ => {}
            }
            if dims.len() > MAX_DIMENSIONS {
                return Err(OnnxError::TooMany("dimensions", MAX_DIMENSIONS));
            }
        }
        if external {
            let files = self.outside.filter(|_| typed.is_none());
            let found = files.and_then(|files| place.find(files));
            raw =
                Some(found.ok_or_else(|| OnnxError::External(name.into(), place.location.into()))?);
        }
        let dtype = Dtype::find(|names| names.onnx == data_type);
        let dtype = dtype.ok_or_else(|| OnnxError::ElementType(name.into(), data_type))?;
        let shape: Result<_, _> = dims.into_iter().map(usize::try_from).collect();
        let shape = shape.map_err(|_| damaged())?;
        let data = match (raw, typed) {
            (Some(raw), _) => Cow::Borrowed(raw),
            (None, None) => Cow::Borrowed(&[][..]),
            (None, Some((number, wire))) => match (number, dtype, wire) {
                // Packed fixed-width numbers are little-endian.
                (4, Dtype::F32, Wire::Bytes(bytes)) | (10, Dtype::F64, Wire::Bytes(bytes)) => {
                    Cow::Borrowed(bytes)
                }
                (4, Dtype::F32, Wire::Fixed32(bytes)) => Cow::Owned(bytes.to_vec()),
                (10, Dtype::F64, Wire::Fixed64(bytes)) => Cow::Owned(bytes.to_vec()),
                (7, Dtype::I64, wire) | (5, _, wire) => {
                    let mut numbers = Vec::new();
                    ints(wire, &mut numbers).ok_or_else(damaged)?;
                    let bytes = numbers.into_iter().flat_map(|number| {
                        let wide = number.to_le_bytes();
                        wide.into_iter().take(dtype.size())
                    });
                    Cow::Owned(bytes.collect())
                }
                _ => return Err(damaged()),
            },
        };
        Ok(Initializer {
            name,
            dtype,
            shape,
            data,
        })
    }

    pub(super) fn metadata(&self, key: &str) -> Option<&'a str> {
        let mut metadata = self.metadata.iter();
        metadata
            .find(|(found, _)| *found == key)
            .map(|&(_, value)| value)
    }

    /// The exporter: `pytorch`.
    pub(crate) fn exporter(&self) -> &str {
        &self.producer
    }

    /// Stored tensors in the order of the file.
    pub(crate) fn initializers(&self) -> impl Iterator<Item = &Initializer<'a>> {
        self.order
            .iter()
            .filter_map(|name| self.initializers.get(name))
    }

    /// The node that computes a value.
    pub(super) fn producer(&self, value: &str) -> Option<&Node<'a>> {
        self.producers.get(value).map(|&index| &self.nodes[index])
    }

    pub(super) fn stored(&self, name: &str) -> Option<&Initializer<'a>> {
        self.initializers.get(name)
    }

    /// Names of all stored tensors from which a value is computed.
    pub(super) fn stored_behind(&self, value: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut seen, mut open) = (BTreeSet::new(), HashSet::new(), vec![value]);
        while let Some(value) = open.pop() {
            if self.initializers.contains_key(value) {
                found.insert(value);
            } else if seen.insert(value)
                && let Some(node) = self.producer(value)
            {
                open.extend(&node.inputs);
            }
        }
        found
    }

    /// Whether its convolutions have two dimensions, as those of WeSpeaker.
    pub(super) fn is_of_images(&self) -> bool {
        let mut convolutions = self.nodes.iter().filter(|node| node.op == "Conv");
        let weight = convolutions.find_map(|node| self.initializer(node, 1).ok());
        weight.is_some_and(|weight| weight.shape.len() == 4)
    }

    /// The name of the result.
    pub(super) fn output(&self) -> Result<&'a str, OnnxError> {
        let output = self.output;
        output.ok_or_else(|| OnnxError::NotComputed("output".into()))
    }

    /// A weight of a node.
    pub(super) fn initializer(
        &self,
        node: &Node<'a>,
        input: usize,
    ) -> Result<&Initializer<'a>, OnnxError> {
        let name = node.inputs.get(input).copied().unwrap_or_default();
        let stored = self.initializers.get(name);
        stored.ok_or_else(|| OnnxError::NotStored(node.name.into(), input))
    }

    /// A weight of a node, under its own name.
    pub(super) fn weight(&self, node: &Node<'a>, input: usize) -> Result<Loose<'_>, OnnxError> {
        self.initializer(node, input)?.loose()
    }

    /// The weight of a sum or a product, which is either input.
    pub(super) fn either_weight(&self, node: &Node<'a>) -> Result<Loose<'_>, OnnxError> {
        self.weight(node, 0).or_else(|_| self.weight(node, 1))
    }

    /// Number of samples of the audio, if the export has a fixed input.
    pub(super) fn input_len(&self) -> Option<usize> {
        let value = self.inputs.iter().find(|value| {
            value_name(value).is_some_and(|name| !self.initializers.contains_key(name))
        })?;
        // ValueInfoProto.type = 2, TypeProto.tensor_type = 1, Tensor.shape = 2, dim = 1.
        let mut message: &[u8] = value;
        for path in [2, 1, 2] {
            message = first(message, path)?.bytes()?;
        }
        let dimensions = fields(message).flatten().filter(|&(number, _)| number == 1);
        let (_, last) = dimensions.last()?;
        let len = first(last.bytes()?, 1)?.int()?;
        usize::try_from(len).ok().filter(|&len| len > 0)
    }

    /// The arithmetic nodes between the audio and the output, in order of execution.
    pub(super) fn path(&self) -> Result<Vec<&Node<'a>>, OnnxError> {
        let mut path = Vec::new();
        let mut seen = HashSet::new();
        let mut value = self.output()?;
        while let Some(&index) = self.producers.get(value) {
            if !seen.insert(index) {
                return Err(OnnxError::Cycle(value.into()));
            }
            let node = &self.nodes[index];
            if !SHAPE_OPS.contains(&node.op) {
                path.push(node);
            }
            value = self.data_input(node)?;
        }
        if path.is_empty() {
            return Err(OnnxError::NotComputed(value.into()));
        }
        path.reverse();
        Ok(path)
    }

    /// The computed input of a node, as opposed to its weights.
    pub(super) fn data_input(&self, node: &Node<'a>) -> Result<&'a str, OnnxError> {
        if node.op == "If" {
            // torch exports a convolution as one branch for two-dimensional input and one for three. Both have the same
            // weights, so the first branch is followed.
            let Some((&first, others)) = node.branches.split_first() else {
                return Ok("");
            };
            let weights = self.convolution(first);
            if others
                .iter()
                .any(|other| self.convolution(other) != weights)
            {
                return Err(OnnxError::Branches(node.name.into()));
            }
            return Ok(first);
        }
        let mut inputs = node.inputs.iter().copied();
        let computed = inputs.find(|&name| !self.initializers.contains_key(name));
        Ok(computed.unwrap_or_default())
    }

    /// Weight, bias and strides of the convolution at the end of a branch.
    fn convolution(&self, output: &'a str) -> Option<(Vec<&'a str>, Vec<i64>)> {
        let mut value = output;
        for _ in 0..MAX_NODES {
            let node = &self.nodes[*self.producers.get(value)?];
            if node.op == "Conv" {
                let weights = node.inputs.get(1..)?.to_vec();
                return Some((weights, node.ints("strides").ok()?));
            }
            if !SHAPE_OPS.contains(&node.op) {
                return None;
            }
            value = node.inputs.first()?;
        }
        None
    }
}

/// Operations that do not change the elements of a value.
const SHAPE_OPS: &[&str] = &[
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
    first(message, 1)?.text()
}

/// Where a tensor is in another file.
#[derive(Default)]
struct Place<'a> {
    location: &'a str,
    offset: &'a str,
    length: &'a str,
}

impl<'a> Place<'a> {
    /// Reads one `StringStringEntryProto` of `external_data`.
    fn read(&mut self, message: &'a [u8]) -> Result<(), OnnxError> {
        let (key, value) = key_and_value(message)?;
        match key {
            "location" => self.location = value,
            "offset" => self.offset = value,
            "length" => self.length = value,
            _ => {}
        }
        Ok(())
    }

    fn find<'o>(&self, files: &'o Outside) -> Option<&'o [u8]> {
        let number = |text: &str, default| match text {
            "" => Some(default),
            text => text.parse::<usize>().ok(),
        };
        let file = files.get(self.location)?;
        let rest = file.get(number(self.offset, 0)?..)?;
        rest.get(..number(self.length, rest.len())?)
    }
}

/// A `StringStringEntryProto`.
fn key_and_value(message: &[u8]) -> Result<(&str, &str), OnnxError> {
    let (mut key, mut value) = ("", "");
    for part in parts(message, "metadata") {
        match part? {
            (1, wire) => key = wire.text().unwrap_or_default(),
            (2, wire) => value = wire.text().unwrap_or_default(),
            _ => {}
        }
    }
    Ok((key, value))
}

/// Most files beside an export.
const MAX_OUTSIDE: usize = 64;

/// Names of the files beside an export in which it keeps weights. Of a damaged export, those that can be read.
pub(super) fn outside(model: &[u8]) -> BTreeSet<String> {
    let Some(graph) = first(model, 7).and_then(Wire::bytes) else {
        return BTreeSet::new();
    };
    let tensors = fields(graph).flatten().filter(|&(number, _)| number == 5);
    let places = tensors.filter_map(|(_, wire)| {
        let entries = fields(wire.bytes()?).flatten();
        let mut place = Place::default();
        for (_, wire) in entries.filter(|&(number, _)| number == 13) {
            place.read(wire.bytes()?).ok()?;
        }
        Some(place.location)
    });
    // A name, not a path: nothing is read elsewhere.
    let plain = |name: &&str| !name.is_empty() && !name.contains(['/', '\\', ':']) && *name != "..";
    let names: BTreeSet<&str> = places.filter(plain).collect();
    names
        .into_iter()
        .take(MAX_OUTSIDE)
        .map(str::to_owned)
        .collect()
}
