//! The ResNets of WeSpeaker, as its own tool exports them: from features to embeddings.
//!
//! Each residual block is an `Add` of two branches. Their common value is the block's input; the longer branch is the block,
//! the other its shortcut. Norms are folded into the convolutions before them, unless the exporter was told not to.

use super::{
    OnnxError,
    chain::{float, ints, unexpected},
    graph::{Graph, Node},
    linear::Linear,
};
use crate::loose::Tensors;

/// Epsilon of every batch norm: PyTorch's default, rounded to `f32`.
const BATCH_NORM_EPSILON: f32 = 1e-5;
/// Most blocks: ResNet293 has 97.
const MAX_BLOCKS: usize = 1_000;
/// Convolutions of the longest block, and the first one of the network.
const MAX_CONVOLUTIONS: usize = 4;
/// What mean and deviation are computed with.
const POOLING: &[&str] = &[
    "Add",
    "Cast",
    "Clip",
    "Concat",
    "Div",
    "Flatten",
    "Mul",
    "Pow",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// A convolution, with the norm behind it if it is still there.
#[derive(Clone, Copy)]
struct Convolution<'g, 'a> {
    conv: &'g Node<'a>,
    norm: Option<&'g Node<'a>>,
}

/// A residual block: its convolutions in order, and the one of its shortcut.
struct Block<'g, 'a> {
    convolutions: Vec<Convolution<'g, 'a>>,
    shortcut: Option<Convolution<'g, 'a>>,
}

/// The weights of this graph under PyTorch's names.
pub(super) fn read<'g>(graph: &'g Graph<'_>) -> Result<Tensors<'g>, OnnxError> {
    let mut reader = Reader {
        graph,
        tensors: Tensors::new(),
    };
    reader.resnet()?;
    Ok(reader.tensors)
}

struct Reader<'g, 'a> {
    graph: &'g Graph<'a>,
    tensors: Tensors<'g>,
}

impl<'g, 'a> Reader<'g, 'a> {
    fn resnet(&mut self) -> Result<(), OnnxError> {
        let mut value = self.pooled()?;
        let mut blocks = Vec::new();
        let stem = loop {
            let relu = self.node(value)?;
            let before = self.node(self.activated(relu)?)?;
            if before.op != "Add" {
                break self.convolution(before)?;
            }
            if blocks.len() >= MAX_BLOCKS {
                return Err(OnnxError::TooMany("residual blocks", MAX_BLOCKS));
            }
            let (block, input) = self.block(before)?;
            blocks.push(block);
            value = input;
        };
        self.features(stem)?;
        self.take_convolution("conv1", "bn1", stem)?;

        // All but the first layer begin with a stride.
        let (mut layer, mut index) = (1, 0);
        for (number, block) in blocks.into_iter().rev().enumerate() {
            let mut strides = block
                .convolutions
                .iter()
                .map(|found| found.conv.ints("strides"));
            let stride = strides.any(|found| found.is_ok_and(|sizes| sizes.contains(&2)));
            if stride && number > 0 {
                (layer, index) = (layer + 1, 0);
            }
            let block_name = format!("layer{layer}.{index}");
            for (at, convolution) in block.convolutions.into_iter().enumerate() {
                let [conv, norm] =
                    ["conv", "bn"].map(|kind| format!("{block_name}.{kind}{}", at + 1));
                self.take_convolution(&conv, &norm, convolution)?;
            }
            if let Some(shortcut) = block.shortcut {
                let [conv, norm] = [0, 1].map(|at| format!("{block_name}.shortcut.{at}"));
                self.take_convolution(&conv, &norm, shortcut)?;
            }
            index += 1;
        }
        Ok(())
    }

    /// Takes the last layer. Returns the value that is pooled.
    fn pooled(&mut self) -> Result<&'a str, OnnxError> {
        let mut value = self.graph.output()?;
        let mut node = self.node(value)?;
        if node.op == "Sub" {
            let mean = self.graph.weight(node, 1)?;
            if (mean.elements)().iter().any(|&byte| byte != 0) {
                return Err(unexpected(
                    node,
                    "an output from which no mean is subtracted",
                ));
            }
            value = self.computed(node)?;
            node = self.node(value)?;
        }
        let sum = (node.op == "Add").then_some(node);
        if let Some(sum) = sum {
            node = self.node(self.computed(sum)?)?;
        }
        let layer = Linear::new(self.graph, node, sum)?;
        self.tensors.insert("seg_1.weight".into(), layer.weight);
        self.tensors.insert("seg_1.bias".into(), layer.bias);
        for _ in 0..self.graph.nodes.len() {
            value = self.computed(node)?;
            node = self.node(value)?;
            if node.op == "Relu" {
                return Ok(value);
            }
            if !POOLING.contains(&node.op) {
                break;
            }
        }
        Err(unexpected(node, "the pooling of a ReLU"))
    }

    /// Refuses operations between the features and the first convolution.
    fn features(&self, stem: Convolution<'g, 'a>) -> Result<(), OnnxError> {
        let mut value = self.computed(stem.conv)?;
        for _ in 0..self.graph.nodes.len() {
            let Some(node) = self.graph.producer(value) else {
                return Ok(());
            };
            if !["Transpose", "Unsqueeze", "Reshape", "Identity", "Cast"].contains(&node.op) {
                return Err(unexpected(node, "the features"));
            }
            value = self.computed(node)?;
        }
        Err(OnnxError::Cycle(value.into()))
    }

    /// The block that ends with this sum, and its input.
    fn block(&self, sum: &'g Node<'a>) -> Result<(Block<'g, 'a>, &'a str), OnnxError> {
        let &[a, b] = &sum.inputs[..] else {
            return Err(unexpected(sum, "a sum of two values"));
        };
        let branches = [self.branch(a)?, self.branch(b)?];
        for (shortcut, main, start) in [(0, 1, a), (1, 0, b)] {
            let (shortcut, main) = (&branches[shortcut], &branches[main]);
            let (shortcut, input) = match shortcut.first() {
                Some(convolution) => (Some(*convolution), self.computed(convolution.conv)?),
                None => (None, start),
            };
            let mut inputs = main.iter().map(|found| self.computed(found.conv));
            let at = inputs.position(|found| found.is_ok_and(|found| found == input));
            if let Some(at @ 1..) = at {
                let convolutions = main[..=at].iter().rev().copied().collect();
                return Ok((
                    Block {
                        convolutions,
                        shortcut,
                    },
                    input,
                ));
            }
        }
        Err(unexpected(sum, "a residual block"))
    }

    /// The convolutions with ReLU between them that end at a value, the last first.
    fn branch(&self, value: &'a str) -> Result<Vec<Convolution<'g, 'a>>, OnnxError> {
        let mut found = Vec::new();
        let mut node = self.node(value)?;
        if !["Conv", "BatchNormalization", "Relu"].contains(&node.op) {
            return Err(unexpected(node, "Conv"));
        }
        while found.len() < MAX_CONVOLUTIONS && ["Conv", "BatchNormalization"].contains(&node.op) {
            let convolution = self.convolution(node)?;
            found.push(convolution);
            let Some(before) = self.graph.producer(self.computed(convolution.conv)?) else {
                break;
            };
            if before.op != "Relu" {
                // The features; a tool may have fused a ReLU into a convolution.
                if before.op.contains("Conv") {
                    return Err(unexpected(before, "Conv"));
                }
                break;
            }
            node = self.node(self.activated(before)?)?;
        }
        Ok(found)
    }

    /// The convolution that ends with this node.
    fn convolution(&self, node: &'g Node<'a>) -> Result<Convolution<'g, 'a>, OnnxError> {
        let (conv, norm) = match node.op {
            "BatchNormalization" => (self.node(self.computed(node)?)?, Some(node)),
            _ => (node, None),
        };
        if conv.op != "Conv" {
            return Err(unexpected(conv, "Conv"));
        }
        Ok(Convolution { conv, norm })
    }

    fn take_convolution(
        &mut self,
        module: &str,
        norm: &str,
        found: Convolution<'g, 'a>,
    ) -> Result<(), OnnxError> {
        let conv = found.conv;
        let weight = self.graph.weight(conv, 1)?;
        let kernel = weight.shape.last().copied().unwrap_or(0) as i64;
        ints(conv, "group", 1, 1)?;
        ints(conv, "dilations", 1, 1)?;
        ints(conv, "pads", 0, kernel / 2)?;
        self.tensors.insert(format!("{module}.weight"), weight);
        if conv.inputs.get(2).is_some_and(|bias| !bias.is_empty()) {
            let bias = self.graph.weight(conv, 2)?;
            self.tensors.insert(format!("{module}.bias"), bias);
        }
        if let Some(node) = found.norm {
            float(node, "epsilon", BATCH_NORM_EPSILON)?;
            for (input, leaf) in [
                (1, "weight"),
                (2, "bias"),
                (3, "running_mean"),
                (4, "running_var"),
            ] {
                let tensor = self.graph.weight(node, input)?;
                self.tensors.insert(format!("{norm}.{leaf}"), tensor);
            }
        }
        Ok(())
    }

    /// The node that computes a value.
    fn node(&self, value: &'a str) -> Result<&'g Node<'a>, OnnxError> {
        let node = self.graph.producer(value);
        node.ok_or_else(|| OnnxError::NotComputed(value.into()))
    }

    /// The computed input of a node.
    fn computed(&self, node: &'g Node<'a>) -> Result<&'a str, OnnxError> {
        self.graph.data_input(node)
    }

    /// The input of a ReLU.
    fn activated(&self, node: &'g Node<'a>) -> Result<&'a str, OnnxError> {
        match node.op {
            "Relu" => self.computed(node),
            _ => Err(unexpected(node, "Relu")),
        }
    }
}
