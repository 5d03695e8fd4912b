//! ONNX exports of PyanNet.
//!
//! An exporter renames weights (`onnx::LSTM_783`), stacks the directions of an LSTM, reorders its gates and transposes
//! matrices. Names of weights are not reliable. So the graph is followed from its output back to the audio, and each
//! weight is taken from the node that uses it.

mod error;
mod graph;
mod wire;

use std::borrow::Cow;

pub use error::OnnxError;
pub(crate) use graph::Initializer;
use graph::{Graph, Node};

use soundalike_network::{
    Activation, Architecture, LinearOptions, LstmOptions, PyanNet, SincFilters, SincNet,
    Specifications,
};

use crate::{
    Conversion, Origin, Source, WeightChange,
    bundle::{Draft, Header},
    error::ErrorKind,
    name::quoted_name,
    shape::row_major,
    source::{SourceFormat, sha256},
    told::Told,
};

/// Negative slope of every LeakyReLU in PyanNet: PyTorch's default, rounded to `f32`.
const LEAKY_RELU_SLOPE: f32 = 0.01;
/// Epsilon of every InstanceNorm in PyanNet: PyTorch's default, rounded to `f32`.
const INSTANCE_NORM_EPSILON: f32 = 1e-5;

/// Whether a file looks like a serialized `ModelProto`.
pub(crate) fn is_onnx(bytes: &[u8]) -> bool {
    graph::looks_like_model(bytes)
}

/// An export, before its conversion.
pub(crate) struct Export<'a> {
    bytes: &'a [u8],
    pub(crate) graph: Graph<'a>,
}

impl<'a> Export<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        Ok(Self {
            bytes,
            graph: Graph::read(bytes)?,
        })
    }

    pub(crate) fn convert(self, file: String) -> Result<Conversion, ErrorKind> {
        let path = self.graph.path()?;
        let mut reader = Reader {
            graph: &self.graph,
            path,
            at: 0,
            tensors: Vec::new(),
        };
        let pyannet = reader.pyannet()?;
        let tensors = reader.tensors;

        let mut notes =
            vec!["sinc filters are baked: the export holds the built filters".to_owned()];
        let specifications = self.specifications(&pyannet, &mut notes);
        let source = Source::new(file, SourceFormat::Onnx, sha256([self.bytes]));
        let architecture = Architecture::PyanNet(pyannet);
        let header = Header::new(architecture, specifications, source, notes)?;
        let found = tensors
            .iter()
            .map(|(draft, _)| (&*draft.name, draft.dtype, &*draft.shape));
        header.check_tensors(found)?;
        Conversion::assemble(&header, tensors)
    }

    /// The task of the network, from the metadata or inferred.
    ///
    /// Keys of `metadata_props` are those of sherpa-onnx: `num_speakers`, `powerset_max_classes`, `window_size` (samples).
    fn specifications(&self, pyannet: &PyanNet, notes: &mut Vec<String>) -> Option<Specifications> {
        let number = |key: &str| self.graph.metadata(key)?.trim().parse::<usize>().ok();
        let samples = number("window_size").filter(|&samples| samples > 0);
        let samples = samples.or_else(|| self.graph.input_len());
        let told = Told {
            duration: samples.map(|samples| samples as f64 / f64::from(pyannet.sample_rate)),
            classes: number("num_speakers"),
            most: number("powerset_max_classes"),
        };
        told.specifications(pyannet.num_outputs, pyannet.activation, "export", notes)
    }
}

/// Follows the nodes from the audio to the output and takes their weights.
struct Reader<'g, 'a> {
    graph: &'g Graph<'a>,
    path: Vec<&'g Node<'a>>,
    at: usize,
    tensors: Vec<(Draft<'g>, Origin)>,
}

impl<'g, 'a> Reader<'g, 'a> {
    fn pyannet(&mut self) -> Result<PyanNet, OnnxError> {
        self.instance_norm("sincnet.wav_norm1d")?;
        let stride = self.sinc_filters()?;
        self.expect("Abs")?;
        self.pool_norm_activate(0)?;
        for i in 1..SincNet::CHANNELS.len() {
            self.convolution(&format!("sincnet.conv1d.{i}"))?;
            self.pool_norm_activate(i)?;
        }

        let mut lstm: Option<LstmOptions> = None;
        while self.peek("LSTM") {
            lstm = Some(self.lstm_layer(lstm)?);
        }
        let lstm = lstm.ok_or_else(|| self.unexpected("LSTM"))?;

        // An activation follows each linear layer, but not the classifier.
        let mut linear = LinearOptions {
            hidden_size: 0,
            num_layers: 0,
        };
        let num_outputs = loop {
            let matrix = self.matrix()?;
            if !self.peek("LeakyRelu") {
                break self.take_matrix("classifier", matrix)?;
            }
            let outputs = self.take_matrix(&format!("linear.{}", linear.num_layers), matrix)?;
            self.leaky_relu()?;
            if linear.num_layers == 0 {
                linear.hidden_size = outputs;
            }
            linear.num_layers += 1;
        };

        let activation = if self.peek("LogSoftmax") {
            Activation::LogSoftmax
        } else if self.peek("Sigmoid") {
            Activation::Sigmoid
        } else {
            return Err(self.unexpected("LogSoftmax or Sigmoid"));
        };
        self.at += 1;
        if self.at < self.path.len() {
            return Err(self.unexpected("the output"));
        }
        Ok(PyanNet {
            // An export has no sample rate. SincNet supports only one.
            sample_rate: 16000,
            num_channels: 1,
            sincnet: SincNet {
                stride,
                filters: SincFilters::Baked,
            },
            lstm,
            linear,
            num_outputs,
            activation,
        })
    }

    fn peek(&self, op: &str) -> bool {
        self.path.get(self.at).is_some_and(|node| node.op == op)
    }

    fn unexpected(&self, expected: &'static str) -> OnnxError {
        let found = match self.path.get(self.at) {
            Some(node) => format!("{} ({})", quoted_name(node.name), node.op),
            None => "the output".into(),
        };
        OnnxError::Unexpected(found, expected)
    }

    fn expect(&mut self, op: &'static str) -> Result<&'g Node<'a>, OnnxError> {
        match self.path.get(self.at) {
            Some(node) if node.op == op => {
                self.at += 1;
                Ok(node)
            }
            _ => Err(self.unexpected(op)),
        }
    }

    fn weight(&self, node: &Node<'a>, input: usize) -> Result<&'g Initializer<'a>, OnnxError> {
        self.graph.initializer(node, input)
    }

    /// Takes a changed weight. `elements` computes the elements of the tensor.
    fn take_changed(
        &mut self,
        name: String,
        weight: &'g Initializer<'a>,
        shape: &[usize],
        change: WeightChange,
        elements: impl Fn() -> Cow<'g, [u8]> + 'g,
    ) {
        let origin = Origin::Initializer {
            name: weight.name.into(),
            change,
        };
        let draft = Draft::new(name, weight.dtype, shape, elements);
        self.tensors.push((draft, origin));
    }

    /// Takes an unchanged weight.
    fn take(&mut self, name: String, weight: &'g Initializer<'a>) -> Result<(), OnnxError> {
        let elements = weight.elements()?;
        let elements = move || Cow::Borrowed(elements);
        self.take_changed(name, weight, &weight.shape, WeightChange::None, elements);
        Ok(())
    }

    /// Takes the weight and the bias of a node.
    fn take_affine(&mut self, module: &str, node: &Node<'a>) -> Result<(), OnnxError> {
        self.take(format!("{module}.weight"), self.weight(node, 1)?)?;
        self.take(format!("{module}.bias"), self.weight(node, 2)?)
    }

    fn instance_norm(&mut self, module: &str) -> Result<(), OnnxError> {
        let node = self.expect("InstanceNormalization")?;
        float(node, "epsilon", INSTANCE_NORM_EPSILON)?;
        self.take_affine(module, node)
    }

    fn leaky_relu(&mut self) -> Result<(), OnnxError> {
        // The default of ONNX is 0.01 as well.
        float(self.expect("LeakyRelu")?, "alpha", LEAKY_RELU_SLOPE)
    }

    fn pool_norm_activate(&mut self, i: usize) -> Result<(), OnnxError> {
        let node = self.expect("MaxPool")?;
        let size = SincNet::POOL_SIZE as i64;
        ints(node, "kernel_shape", 0, size)?;
        ints(node, "strides", 1, size)?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        self.instance_norm(&format!("sincnet.norm1d.{i}"))?;
        self.leaky_relu()
    }

    /// The first convolution. Its weight is the sinc filters; returns its stride.
    fn sinc_filters(&mut self) -> Result<usize, OnnxError> {
        let node = self.expect("Conv")?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        let filters = self.weight(node, 1)?;
        if node.inputs.get(2).is_some_and(|input| !input.is_empty()) {
            let found = format!("a bias of {}", quoted_name(node.name));
            return Err(OnnxError::Unexpected(found, "sinc filters without a bias"));
        }
        self.take("sincnet.conv1d.0.filters".into(), filters)?;
        match node.ints("strides")?[..] {
            [] => Ok(1),
            [stride] if stride > 0 => Ok(stride as usize),
            ref found => Err(constant(
                node,
                "strides",
                format!("{found:?}"),
                "one stride",
            )),
        }
    }

    fn convolution(&mut self, module: &str) -> Result<(), OnnxError> {
        let node = self.expect("Conv")?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        ints(node, "strides", 1, 1)?;
        ints(node, "group", 1, 1)?;
        self.take_affine(module, node)
    }

    /// `W` `[directions, 4H, inputs]`, `R` `[directions, 4H, H]`, `B` `[directions, 8H]`, with gates in the order input,
    /// output, forget, cell. PyTorch's order is input, forget, cell, output. ONNX operator LSTM, version 14.
    fn lstm_layer(&mut self, before: Option<LstmOptions>) -> Result<LstmOptions, OnnxError> {
        let node = self.expect("LSTM")?;
        let layer = before.as_ref().map_or(0, |lstm| lstm.num_layers);
        let bidirectional = match node.string("direction")?.unwrap_or("forward") {
            "forward" => false,
            "bidirectional" => true,
            other => {
                let expected = "forward or bidirectional";
                return Err(constant(node, "direction", other, expected));
            }
        };
        ints(node, "layout", 0, 0)?;
        ints(node, "input_forget", 0, 0)?;
        for attribute in ["activations", "clip", "activation_alpha"] {
            if node.has(attribute) {
                return Err(constant(node, attribute, "set", "the default"));
            }
        }
        let [w, r, b] = [
            self.weight(node, 1)?,
            self.weight(node, 2)?,
            self.weight(node, 3)?,
        ];
        for (input, absent) in [(4, "sequence lengths"), (7, "peepholes")] {
            if node.inputs.get(input).is_some_and(|name| !name.is_empty()) {
                let found = format!("{absent} of {}", quoted_name(node.name));
                return Err(OnnxError::Unexpected(found, "an LSTM without them"));
            }
        }
        let directions = if bidirectional { 2 } else { 1 };
        // `[directions, 4 hidden, columns]`.
        let gates = |weight: &Initializer<'a>| match weight.shape[..] {
            [d, gates, columns] if d == directions => Some((gates, columns)),
            _ => None,
        };
        let hidden_size = gates(r)
            .filter(|&(gates, hidden)| hidden > 0 && hidden.checked_mul(4) == Some(gates))
            .ok_or_else(|| shape(r, "[directions, 4 hidden, hidden]"))?
            .1;
        let inputs = gates(w)
            .filter(|&(gates, _)| hidden_size.checked_mul(4) == Some(gates))
            .ok_or_else(|| shape(w, "[directions, 4 hidden, inputs]"))?
            .1;
        // No overflow below: the recurrent weights, 4 hidden * hidden of them, are in the file.
        r.elements()?;
        if b.shape != [directions, hidden_size * 8] {
            return Err(shape(b, "[directions, 8 hidden]"));
        }
        let lstm = LstmOptions {
            hidden_size,
            num_layers: layer + 1,
            bidirectional,
            monolithic: true,
        };
        if let Some(before) = before
            && (before.hidden_size, before.bidirectional) != (hidden_size, bidirectional)
        {
            let found = format!("{} of another size or direction", quoted_name(node.name));
            return Err(OnnxError::Unexpected(
                found,
                "LSTM layers of one size and direction",
            ));
        }

        let gates = hidden_size * 4;
        for direction in 0..directions {
            let name = |kind| lstm.tensor_name(kind, layer, direction == 1);
            for (kind, weight, shape, first_row) in [
                ("weight_ih", w, &[gates, inputs][..], direction * gates),
                ("weight_hh", r, &[gates, hidden_size], direction * gates),
                ("bias_ih", b, &[gates], direction * 2 * gates),
                ("bias_hh", b, &[gates], (direction * 2 + 1) * gates),
            ] {
                let all = weight.elements()?;
                let row = shape[1..].iter().product::<usize>() * weight.dtype.size();
                let gate = hidden_size * row;
                let elements = move || {
                    let mut bytes = Vec::with_capacity(4 * gate);
                    for source in PYTORCH_GATES {
                        bytes.extend_from_slice(&all[first_row * row + source * gate..][..gate]);
                    }
                    Cow::Owned(bytes)
                };
                let change = WeightChange::GatesReordered { direction };
                self.take_changed(name(kind), weight, shape, change, elements);
            }
        }
        Ok(lstm)
    }

    /// A linear layer: `MatMul` with a transposed matrix, then `Add`; or `Gemm`.
    fn matrix(&mut self) -> Result<Matrix<'g, 'a>, OnnxError> {
        if self.peek("Gemm") {
            let node = self.expect("Gemm")?;
            let transposed = node.int("transB")?.unwrap_or(0) == 0;
            float(node, "alpha", 1.0)?;
            float(node, "beta", 1.0)?;
            ints(node, "transA", 0, 0)?;
            return Ok(Matrix {
                weight: self.weight(node, 1)?,
                bias: self.weight(node, 2)?,
                transposed,
            });
        }
        let product = self.expect("MatMul")?;
        let weight = self.weight(product, 1)?;
        let sum = self.expect("Add")?;
        Ok(Matrix {
            weight,
            // The bias is either input.
            bias: self.weight(sum, 0).or_else(|_| self.weight(sum, 1))?,
            transposed: true,
        })
    }

    /// Takes a linear layer as `[outputs, inputs]` and `[outputs]`. Returns the number of outputs.
    fn take_matrix(&mut self, module: &str, matrix: Matrix<'g, 'a>) -> Result<usize, OnnxError> {
        let weight = matrix.weight;
        let &[rows, columns] = &weight.shape[..] else {
            return Err(shape(weight, "a matrix"));
        };
        let name = format!("{module}.weight");
        if matrix.transposed {
            let (elements, size) = (weight.elements()?, weight.dtype.size());
            let shape = [columns, rows];
            let transposed = move || Cow::Owned(row_major(elements, size, &shape, &[1, columns]));
            self.take_changed(name, weight, &shape, WeightChange::Transposed, transposed);
        } else {
            self.take(name, weight)?;
        }
        self.take(format!("{module}.bias"), matrix.bias)?;
        Ok(if matrix.transposed { columns } else { rows })
    }
}

/// Refuses another constant than `expected`, which is also the default.
fn float(node: &Node<'_>, attribute: &'static str, expected: f32) -> Result<(), OnnxError> {
    let found = node.float(attribute)?.unwrap_or(expected);
    if found == expected {
        return Ok(());
    }
    Err(constant(node, attribute, found, expected))
}

/// Refuses integers other than `expected`. Missing integers are `default`.
fn ints(
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

fn constant(
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

fn shape(weight: &Initializer<'_>, expected: &'static str) -> OnnxError {
    OnnxError::Shape {
        name: weight.name.into(),
        found: weight.shape.clone(),
        expected,
    }
}

/// Indices of PyTorch's gates (input, forget, cell, output) in the order of ONNX (input, output, forget, cell).
const PYTORCH_GATES: [usize; 4] = [0, 2, 3, 1];

/// The weights of a linear layer.
struct Matrix<'g, 'a> {
    weight: &'g Initializer<'a>,
    bias: &'g Initializer<'a>,
    /// Whether the weight is `[inputs, outputs]`.
    transposed: bool,
}
