//! ONNX exports of PyanNet.
//!
//! An exporter gives weights new names (`onnx::LSTM_783`), stacks the directions of an LSTM, puts
//! its gates in another order and transposes matrices. Names say nothing that can be relied on, so
//! the graph is followed from its output back to the audio and each weight is taken from the node
//! that uses it.

mod error;
mod graph;
mod wire;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use error::OnnxError;
pub(crate) use graph::Initializer;
use graph::{Graph, Node};

use soundalike_network::{
    Activation, Architecture, Linear, Lstm, Problem, PyanNet, Resolution, SincFilters, SincNet,
    Specifications,
};

use crate::bundle::{Draft, Header};
use crate::error::ErrorKind;
use crate::name::quoted_name;
use crate::source::{CONVERTER, Format, sha256};
use crate::{Bundle, Change, Conversion, Dtype, Origin, Source};

/// Slope of every LeakyReLU in PyanNet below 0: PyTorch's default, rounded to `f32`.
const LEAKY_RELU_SLOPE: f32 = 0.01;
/// What InstanceNorm adds to the variance: PyTorch's default, rounded to `f32`.
const INSTANCE_NORM_EPSILON: f32 = 1e-5;

/// Whether a file looks like a serialized `ModelProto`.
pub(crate) fn is_onnx(bytes: &[u8]) -> bool {
    graph::looks_like_model(bytes)
}

/// The weights of an export, read but not yet a bundle.
pub(crate) struct Export<'a> {
    bytes: &'a [u8],
    graph: Graph<'a>,
}

impl<'a> Export<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        Ok(Self {
            bytes,
            graph: Graph::read(bytes)?,
        })
    }

    pub(crate) fn graph(&self) -> &Graph<'a> {
        &self.graph
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
        let source = Source {
            file,
            format: Format::Onnx,
            sha256: sha256([self.bytes]),
            converter: CONVERTER.into(),
        };
        let header = Header::new(
            Architecture::PyanNet(pyannet),
            specifications,
            source,
            notes,
        );
        header.check()?;
        let found = tensors
            .iter()
            .map(|(draft, _)| (&*draft.name, draft.dtype, &*draft.shape));
        header.check_tensors(found)?;

        let mut drafts = Vec::with_capacity(tensors.len());
        let mut origins = BTreeMap::new();
        for (draft, origin) in tensors {
            origins.insert(draft.name.clone(), origin);
            drafts.push(draft);
        }
        let bundle = Bundle::assemble(&header, &drafts)?;
        Ok(Conversion {
            bundle,
            origins,
            foreign_globals: Vec::new(),
        })
    }

    /// What the export says about its training, or what can be inferred.
    ///
    /// Keys of `metadata_props` as sherpa-onnx writes them: `num_speakers`,
    /// `powerset_max_classes`, `window_size` (samples).
    fn specifications(&self, pyannet: &PyanNet, notes: &mut Vec<String>) -> Option<Specifications> {
        let number = |key: &str| self.graph.metadata(key)?.trim().parse::<usize>().ok();
        let duration = match number("window_size").filter(|&samples| samples > 0) {
            Some(samples) => samples as f64 / f64::from(pyannet.sample_rate),
            None => match self.graph.input_len() {
                Some(samples) => samples as f64 / f64::from(pyannet.sample_rate),
                None => {
                    let seconds = SEGMENTATION_3_DURATION;
                    notes.push(format!(
                        "duration is inferred: {seconds} s, as segmentation-3.0 was trained; the export does not say"
                    ));
                    seconds
                }
            },
        };
        let (problem, classes, most) = match pyannet.activation {
            Activation::LogSoftmax => {
                let (classes, most) = match (number("num_speakers"), number("powerset_max_classes"))
                {
                    (Some(classes), Some(most)) if classes <= pyannet.num_outputs => {
                        (classes, most)
                    }
                    _ if pyannet.num_outputs == 7 => {
                        notes.push(
                            "classes are inferred: 7 outputs are the powerset of 3 speakers, at most 2 at once; the export does not say".into(),
                        );
                        (3, 2)
                    }
                    _ => {
                        notes.push("the export does not say what its classes are".into());
                        return None;
                    }
                };
                (Problem::MonoLabelClassification, classes, Some(most))
            }
            Activation::Sigmoid => {
                notes.push(format!(
                    "classes are inferred: {} independent speakers; the export does not say",
                    pyannet.num_outputs
                ));
                (Problem::MultiLabelClassification, pyannet.num_outputs, None)
            }
        };
        Some(Specifications {
            problem,
            resolution: Resolution::Frame,
            duration,
            min_duration: None,
            warm_up: (0.0, 0.0),
            // As pyannote's SpeakerDiarization task names them.
            classes: (1..=classes).map(|i| format!("speaker#{i}")).collect(),
            powerset_max_classes: most,
            permutation_invariant: true,
        })
    }
}

/// Chunk length that pyannote/segmentation-3.0 was trained on, in seconds.
const SEGMENTATION_3_DURATION: f64 = 10.0;

/// Walks along the nodes between audio and output and takes their weights.
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

        let mut lstm: Option<Lstm> = None;
        while self.peek("LSTM") {
            lstm = Some(self.lstm_layer(lstm)?);
        }
        let lstm = lstm.ok_or_else(|| self.unexpected("LSTM"))?;

        // Each linear layer is followed by an activation; the one that is not is the classifier.
        let mut layers: Vec<(usize, Matrix<'g>)> = Vec::new();
        let (num_outputs, classifier) = loop {
            let (outputs, matrix) = self.matrix()?;
            if !self.peek("LeakyRelu") {
                break (outputs, matrix);
            }
            self.leaky_relu()?;
            layers.push((outputs, matrix));
        };
        let linear = Linear {
            hidden_size: layers.first().map_or(0, |&(outputs, _)| outputs),
            num_layers: layers.len(),
        };
        for (i, (_, matrix)) in layers.into_iter().enumerate() {
            self.take_matrix(&format!("linear.{i}"), matrix);
        }
        self.take_matrix("classifier", classifier);

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
            // An export has no sample rate; SincNet knows one only.
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
        OnnxError::Unexpected { found, expected }
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

    fn take(&mut self, name: String, weight: &'g Initializer<'a>) -> Result<(), OnnxError> {
        let tensor = unchanged(name, weight)?;
        self.tensors.push(tensor);
        Ok(())
    }

    fn instance_norm(&mut self, module: &str) -> Result<(), OnnxError> {
        let node = self.expect("InstanceNormalization")?;
        let epsilon = node.float("epsilon")?.unwrap_or(INSTANCE_NORM_EPSILON);
        self.constant(node, "epsilon", epsilon, INSTANCE_NORM_EPSILON)?;
        self.take(format!("{module}.weight"), self.weight(node, 1)?)?;
        self.take(format!("{module}.bias"), self.weight(node, 2)?)
    }

    fn leaky_relu(&mut self) -> Result<(), OnnxError> {
        let node = self.expect("LeakyRelu")?;
        // ONNX's default is 0.01 as well.
        let alpha = node.float("alpha")?.unwrap_or(LEAKY_RELU_SLOPE);
        self.constant(node, "alpha", alpha, LEAKY_RELU_SLOPE)
    }

    fn constant(
        &self,
        node: &Node<'a>,
        attribute: &'static str,
        found: f32,
        expected: f32,
    ) -> Result<(), OnnxError> {
        if found == expected {
            return Ok(());
        }
        Err(OnnxError::Constant {
            node: node.name.into(),
            attribute,
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }

    fn ints(
        &self,
        node: &Node<'a>,
        attribute: &'static str,
        default: i64,
        expected: i64,
    ) -> Result<(), OnnxError> {
        let found = node.ints(attribute)?;
        if found.iter().all(|&value| value == expected)
            && (!found.is_empty() || default == expected)
        {
            return Ok(());
        }
        Err(OnnxError::Constant {
            node: node.name.into(),
            attribute,
            found: format!("{found:?}"),
            expected: expected.to_string(),
        })
    }

    fn pool_norm_activate(&mut self, i: usize) -> Result<(), OnnxError> {
        let node = self.expect("MaxPool")?;
        let size = SincNet::POOL_SIZE as i64;
        self.ints(node, "kernel_shape", 0, size)?;
        self.ints(node, "strides", 1, size)?;
        self.ints(node, "pads", 0, 0)?;
        self.ints(node, "dilations", 1, 1)?;
        self.instance_norm(&format!("sincnet.norm1d.{i}"))?;
        self.leaky_relu()
    }

    /// The first convolution: its weights are the filters, its stride is SincNet's.
    fn sinc_filters(&mut self) -> Result<usize, OnnxError> {
        let node = self.expect("Conv")?;
        self.ints(node, "pads", 0, 0)?;
        self.ints(node, "dilations", 1, 1)?;
        let filters = self.weight(node, 1)?;
        if node.inputs.get(2).is_some_and(|input| !input.is_empty()) {
            return Err(OnnxError::Unexpected {
                found: format!("a bias of {}", quoted_name(node.name)),
                expected: "sinc filters without one",
            });
        }
        self.take("sincnet.conv1d.0.filters".into(), filters)?;
        match node.ints("strides")?[..] {
            [] => Ok(1),
            [stride] if stride > 0 => Ok(stride as usize),
            _ => Err(OnnxError::Constant {
                node: node.name.into(),
                attribute: "strides",
                found: format!("{:?}", node.ints("strides")?),
                expected: "one stride".into(),
            }),
        }
    }

    fn convolution(&mut self, module: &str) -> Result<(), OnnxError> {
        let node = self.expect("Conv")?;
        self.ints(node, "pads", 0, 0)?;
        self.ints(node, "dilations", 1, 1)?;
        self.ints(node, "strides", 1, 1)?;
        self.ints(node, "group", 1, 1)?;
        self.take(format!("{module}.weight"), self.weight(node, 1)?)?;
        self.take(format!("{module}.bias"), self.weight(node, 2)?)
    }

    /// `W` `[directions, 4H, inputs]`, `R` `[directions, 4H, H]`, `B` `[directions, 8H]`: gates in
    /// the order input, output, forget, cell; PyTorch has input, forget, cell, output.
    /// ONNX operator LSTM, version 14.
    fn lstm_layer(&mut self, before: Option<Lstm>) -> Result<Lstm, OnnxError> {
        let node = self.expect("LSTM")?;
        let layer = before.as_ref().map_or(0, |lstm| lstm.num_layers);
        let bidirectional = match node.string("direction")?.unwrap_or("forward") {
            "forward" => false,
            "bidirectional" => true,
            other => {
                return Err(OnnxError::Constant {
                    node: node.name.into(),
                    attribute: "direction",
                    found: other.into(),
                    expected: "forward or bidirectional".into(),
                });
            }
        };
        self.ints(node, "layout", 0, 0)?;
        self.ints(node, "input_forget", 0, 0)?;
        for attribute in ["activations", "clip", "activation_alpha"] {
            if node.has(attribute) {
                return Err(OnnxError::Constant {
                    node: node.name.into(),
                    attribute,
                    found: "set".into(),
                    expected: "the default".into(),
                });
            }
        }
        let [w, r, b] = [
            self.weight(node, 1)?,
            self.weight(node, 2)?,
            self.weight(node, 3)?,
        ];
        for (input, absent) in [(4, "sequence lengths"), (7, "peepholes")] {
            if node.inputs.get(input).is_some_and(|name| !name.is_empty()) {
                return Err(OnnxError::Unexpected {
                    found: format!("{absent} of {}", quoted_name(node.name)),
                    expected: "an LSTM without them",
                });
            }
        }
        let directions = if bidirectional { 2 } else { 1 };
        let shape = |weight: &Initializer<'a>, expected: &'static str| OnnxError::Shape {
            name: weight.name.into(),
            found: weight.shape.clone(),
            expected,
        };
        let hidden_size = match r.shape[..] {
            [d, gates, hidden]
                if d == directions && hidden > 0 && hidden.checked_mul(4) == Some(gates) =>
            {
                hidden
            }
            _ => return Err(shape(r, "[directions, 4 hidden, hidden]")),
        };
        let inputs = match w.shape[..] {
            [d, gates, inputs] if d == directions && hidden_size.checked_mul(4) == Some(gates) => {
                inputs
            }
            _ => return Err(shape(w, "[directions, 4 hidden, inputs]")),
        };
        // No overflow: the recurrent weights, four times as many, are in the file.
        r.elements()?;
        if b.shape != [directions, hidden_size * 8] {
            return Err(shape(b, "[directions, 8 hidden]"));
        }
        let lstm = Lstm {
            hidden_size,
            num_layers: layer + 1,
            bidirectional,
            monolithic: true,
        };
        if let Some(before) = before
            && (before.hidden_size, before.bidirectional) != (hidden_size, bidirectional)
        {
            return Err(OnnxError::Unexpected {
                found: format!("{} of another size or direction", quoted_name(node.name)),
                expected: "LSTM layers that are alike",
            });
        }

        let gates = hidden_size * 4;
        for direction in 0..directions {
            let parts: [(&str, &'g Initializer<'a>, Vec<usize>, usize, usize); 4] = [
                (
                    "weight_ih",
                    w,
                    vec![gates, inputs],
                    inputs,
                    direction * gates,
                ),
                (
                    "weight_hh",
                    r,
                    vec![gates, hidden_size],
                    hidden_size,
                    direction * gates,
                ),
                ("bias_ih", b, vec![gates], 1, direction * 2 * gates),
                ("bias_hh", b, vec![gates], 1, (direction * 2 + 1) * gates),
            ];
            for (kind, weight, shape, columns, first_row) in parts {
                let all = weight.elements()?;
                let row = columns * weight.dtype.size();
                let gate = hidden_size * row;
                let elements = move || {
                    let mut bytes = Vec::with_capacity(4 * gate);
                    for source in PYTORCH_GATES {
                        bytes.extend_from_slice(&all[first_row * row + source * gate..][..gate]);
                    }
                    Cow::Owned(bytes)
                };
                let change = Change::GatesReordered { direction };
                let origin = Origin::Initializer {
                    name: weight.name.into(),
                    change,
                };
                let name = lstm.tensor_name(kind, layer, direction == 1);
                let elements = Box::new(elements);
                let draft = Draft {
                    name,
                    dtype: weight.dtype,
                    shape,
                    elements,
                };
                self.tensors.push((draft, origin));
            }
        }
        Ok(lstm)
    }

    /// A linear layer: `MatMul` with a transposed matrix and `Add`, or `Gemm`.
    fn matrix(&mut self) -> Result<(usize, Matrix<'g>), OnnxError> {
        if self.peek("Gemm") {
            let node = self.expect("Gemm")?;
            let transposed = node.int("transB")?.unwrap_or(0) == 0;
            self.constant(node, "alpha", node.float("alpha")?.unwrap_or(1.0), 1.0)?;
            self.constant(node, "beta", node.float("beta")?.unwrap_or(1.0), 1.0)?;
            self.ints(node, "transA", 0, 0)?;
            return Matrix::new(self.weight(node, 1)?, self.weight(node, 2)?, transposed);
        }
        let product = self.expect("MatMul")?;
        let weight = self.weight(product, 1)?;
        let sum = self.expect("Add")?;
        // The bias may be either of the two.
        let bias = self.weight(sum, 0).or_else(|_| self.weight(sum, 1))?;
        Matrix::new(weight, bias, true)
    }

    fn take_matrix(&mut self, module: &str, matrix: Matrix<'g>) {
        let (mut weight, bias) = (matrix.weight, matrix.bias);
        weight.0.name = format!("{module}.weight");
        let mut bias = bias;
        bias.0.name = format!("{module}.bias");
        self.tensors.extend([weight, bias]);
    }
}

/// Where PyTorch's gates (input, forget, cell, output) are among ONNX's (input, output, forget,
/// cell).
const PYTORCH_GATES: [usize; 4] = [0, 2, 3, 1];

/// Weight `[outputs, inputs]` and bias `[outputs]` of a linear layer that has no name yet.
struct Matrix<'a> {
    weight: (Draft<'a>, Origin),
    bias: (Draft<'a>, Origin),
}

impl<'g> Matrix<'g> {
    fn new(
        weight: &'g Initializer<'_>,
        bias: &'g Initializer<'_>,
        transposed: bool,
    ) -> Result<(usize, Self), OnnxError> {
        let &[rows, columns] = &weight.shape[..] else {
            return Err(OnnxError::Shape {
                name: weight.name.into(),
                found: weight.shape.clone(),
                expected: "a matrix",
            });
        };
        let mut taken = unchanged(String::new(), weight)?;
        if transposed {
            let (elements, dtype) = (weight.elements()?, weight.dtype);
            let transposed = move || Cow::Owned(transpose(&elements, rows, columns, dtype));
            taken.0.shape = vec![columns, rows];
            taken.0.elements = Box::new(transposed);
            taken.1 = Origin::Initializer {
                name: weight.name.into(),
                change: Change::Transposed,
            };
        }
        let outputs = taken.0.shape[0];
        Ok((
            outputs,
            Self {
                weight: taken,
                bias: unchanged(String::new(), bias)?,
            },
        ))
    }
}

/// A weight as it is stored.
fn unchanged<'g>(
    name: String,
    weight: &'g Initializer<'_>,
) -> Result<(Draft<'g>, Origin), OnnxError> {
    let elements = weight.elements()?;
    let origin = Origin::Initializer {
        name: weight.name.into(),
        change: Change::None,
    };
    let elements = Box::new(move || elements.clone());
    let draft = Draft {
        name,
        dtype: weight.dtype,
        shape: weight.shape.clone(),
        elements,
    };
    Ok((draft, origin))
}

/// A matrix `[rows, columns]` as `[columns, rows]`.
fn transpose(bytes: &[u8], rows: usize, columns: usize, dtype: Dtype) -> Vec<u8> {
    let size = dtype.size();
    let mut transposed = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            transposed.extend_from_slice(&bytes[(row * columns + column) * size..][..size]);
        }
    }
    transposed
}
