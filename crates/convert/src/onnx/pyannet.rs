//! PyanNet.
//!
//! The graph is followed from its output back to the audio, and each weight is taken from the node that uses it.

use soundalike_network::{Activation, LinearOptions, LstmOptions, PyanNet, SincFilters, SincNet};

use super::{
    OnnxError,
    chain::{Chain, constant, float, ints},
    expanded,
    graph::{Graph, Node},
    linear::Linear,
};
use crate::{
    loose::{OnnxLstm, Tensors, WrongShape},
    name::quoted_name,
};

/// Negative slope of every LeakyReLU in PyanNet: PyTorch's default, rounded to `f32`.
const LEAKY_RELU_SLOPE: f32 = 0.01;
/// Epsilon of every InstanceNorm in PyanNet: PyTorch's default, rounded to `f32`.
const INSTANCE_NORM_EPSILON: f32 = 1e-5;

/// The network of this graph, and its weights under PyTorch's names.
pub(super) fn read<'g>(graph: &'g Graph<'_>) -> Result<(PyanNet, Tensors<'g>), OnnxError> {
    let mut reader = Reader {
        chain: Chain::of(graph)?,
        tensors: Tensors::new(),
    };
    let pyannet = reader.pyannet()?;
    Ok((pyannet, reader.tensors))
}

/// Follows the nodes from the audio to the output and takes their weights.
struct Reader<'g, 'a> {
    chain: Chain<'g, 'a>,
    tensors: Tensors<'g>,
}

impl<'g, 'a> Reader<'g, 'a> {
    fn pyannet(&mut self) -> Result<PyanNet, OnnxError> {
        self.instance_norm("sincnet.wav_norm1d")?;
        let sincnet = self.sinc_filters()?;
        self.chain.expect("Abs")?;
        self.pool_norm_activate(0)?;
        for i in 1..SincNet::CHANNELS.len() {
            self.convolution(&format!("sincnet.conv1d.{i}"))?;
            self.pool_norm_activate(i)?;
        }

        let mut lstm: Option<LstmOptions> = None;
        while self.chain.peek("LSTM") {
            lstm = Some(self.lstm_layer(lstm)?);
        }
        let lstm = lstm.ok_or_else(|| self.chain.unexpected("LSTM"))?;

        // An activation follows each linear layer, but not the classifier.
        let mut linear = LinearOptions {
            hidden_size: 0,
            num_layers: 0,
        };
        let num_outputs = loop {
            let layer = self.linear()?;
            if !self.chain.peek("LeakyRelu") {
                break self.take_linear("classifier", layer);
            }
            let outputs = self.take_linear(&format!("linear.{}", linear.num_layers), layer);
            self.leaky_relu()?;
            if linear.num_layers == 0 {
                linear.hidden_size = outputs;
            }
            linear.num_layers += 1;
        };

        let (op, activation) = if self.chain.peek("LogSoftmax") {
            ("LogSoftmax", Activation::LogSoftmax)
        } else if self.chain.peek("Sigmoid") {
            ("Sigmoid", Activation::Sigmoid)
        } else {
            return Err(self.chain.unexpected("LogSoftmax or Sigmoid"));
        };
        self.chain.expect(op)?;
        if !self.chain.is_at_end() {
            return Err(self.chain.unexpected("the output"));
        }
        Ok(PyanNet {
            // An export has no sample rate. SincNet supports only one.
            sample_rate: 16000,
            num_channels: 1,
            sincnet,
            lstm,
            linear,
            num_outputs,
            activation,
        })
    }

    /// Takes the weight and the bias of a node.
    fn take_affine(&mut self, module: &str, node: &Node<'a>) -> Result<(), OnnxError> {
        for (leaf, input) in [("weight", 1), ("bias", 2)] {
            let weight = self.chain.graph.weight(node, input)?;
            self.tensors.insert(format!("{module}.{leaf}"), weight);
        }
        Ok(())
    }

    fn instance_norm(&mut self, module: &str) -> Result<(), OnnxError> {
        if self.chain.peek("InstanceNormalization") {
            let node = self.chain.expect("InstanceNormalization")?;
            float(node, "epsilon", INSTANCE_NORM_EPSILON)?;
            return self.take_affine(module, node);
        }
        let [scale, bias] = expanded::instance_norm(&mut self.chain, INSTANCE_NORM_EPSILON)?;
        self.tensors.insert(format!("{module}.weight"), scale);
        self.tensors.insert(format!("{module}.bias"), bias);
        Ok(())
    }

    fn leaky_relu(&mut self) -> Result<(), OnnxError> {
        // The default of ONNX is 0.01 as well.
        float(self.chain.expect("LeakyRelu")?, "alpha", LEAKY_RELU_SLOPE)
    }

    fn pool_norm_activate(&mut self, i: usize) -> Result<(), OnnxError> {
        let node = self.chain.expect("MaxPool")?;
        let size = SincNet::POOL_SIZE as i64;
        ints(node, "kernel_shape", 0, size)?;
        ints(node, "strides", 1, size)?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        self.instance_norm(&format!("sincnet.norm1d.{i}"))?;
        self.leaky_relu()
    }

    /// The first convolution. Its weight is the sinc filters, built or computed from their parameters.
    fn sinc_filters(&mut self) -> Result<SincNet, OnnxError> {
        let node = self.chain.expect("Conv")?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        if node.inputs.get(2).is_some_and(|input| !input.is_empty()) {
            let found = format!("a bias of {}", quoted_name(node.name));
            return Err(OnnxError::Unexpected(found, "sinc filters without a bias"));
        }
        let stride = match node.ints("strides")?[..] {
            [] => 1,
            [stride] if stride > 0 => stride as usize,
            ref found => {
                let found = format!("{found:?}");
                return Err(constant(node, "strides", found, "one stride"));
            }
        };
        let filters = match self.chain.graph.weight(node, 1) {
            Ok(filters) => {
                self.tensors
                    .insert("sincnet.conv1d.0.filters".into(), filters);
                SincFilters::Baked
            }
            Err(unknown) => {
                self.take_filterbank(node).ok_or(unknown)?;
                SincFilters::Parametrised
            }
        };
        Ok(SincNet { stride, filters })
    }

    /// Takes the parameters from which a graph computes the filters: PyTorch's, by the last part of their names.
    fn take_filterbank(&mut self, node: &Node<'a>) -> Option<()> {
        let stored = self.chain.graph.stored_behind(node.inputs.get(1)?);
        for leaf in ["low_hz_", "band_hz_", "window_", "n_"] {
            let named = |name: &&str| name.rsplit(['.', '/']).next() == Some(leaf);
            let name = stored.iter().copied().find(named)?;
            let tensor = self.chain.graph.stored(name)?.loose().ok()?;
            let name = format!("sincnet.conv1d.0.filterbank.{leaf}");
            self.tensors.insert(name, tensor);
        }
        Some(())
    }

    fn convolution(&mut self, module: &str) -> Result<(), OnnxError> {
        let node = self.chain.expect("Conv")?;
        ints(node, "pads", 0, 0)?;
        ints(node, "dilations", 1, 1)?;
        ints(node, "strides", 1, 1)?;
        ints(node, "group", 1, 1)?;
        self.take_affine(module, node)
    }

    /// `W` `[directions, 4H, inputs]`, `R` `[directions, 4H, H]`, `B` `[directions, 8H]`, with gates in the order input,
    /// output, forget, cell. PyTorch's order is input, forget, cell, output. ONNX operator LSTM, version 14.
    fn lstm_layer(&mut self, before: Option<LstmOptions>) -> Result<LstmOptions, OnnxError> {
        let node = self.chain.expect("LSTM")?;
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
        for (input, absent) in [(4, "sequence lengths"), (7, "peepholes")] {
            if node.inputs.get(input).is_some_and(|name| !name.is_empty()) {
                let found = format!("{absent} of {}", quoted_name(node.name));
                return Err(OnnxError::Unexpected(found, "an LSTM without them"));
            }
        }
        let [w, r, b] = [1, 2, 3].map(|input| self.chain.graph.weight(node, input));
        let directions = if bidirectional { 2 } else { 1 };
        let weights = OnnxLstm::new(w?, r?, b?, directions)
            .map_err(|WrongShape(weight, expected)| OnnxError::of_shape(&weight, expected))?;
        let hidden_size = weights.hidden_size;
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
        weights.insert(&lstm, layer, &mut self.tensors);
        Ok(lstm)
    }

    /// A linear layer: `Gemm`, or `MatMul` and `Add`.
    fn linear(&mut self) -> Result<Linear<'g>, OnnxError> {
        let graph = self.chain.graph;
        if self.chain.peek("Gemm") {
            return Linear::new(graph, self.chain.expect("Gemm")?, None);
        }
        let product = self.chain.expect("MatMul")?;
        Linear::new(graph, product, Some(self.chain.expect("Add")?))
    }

    /// Takes a linear layer. Returns the number of outputs.
    fn take_linear(&mut self, module: &str, layer: Linear<'g>) -> usize {
        let outputs = layer.weight.shape[0];
        self.tensors
            .insert(format!("{module}.weight"), layer.weight);
        self.tensors.insert(format!("{module}.bias"), layer.bias);
        outputs
    }
}
