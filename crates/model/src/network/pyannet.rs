//! PyanNet: speaker segmentation of one window.

use candle_core::{Result, Tensor};
use candle_nn::{VarBuilder, ops};
use rayon::prelude::*;
use soundalike_kernels::{Conv1dOptions, InstructionSet};
use soundalike_network::{Activation, Graph, Op, PyanNet as Config, SincFilters, SincNet, Stage};

use super::check_waveforms;
use crate::{
    Engine, Input, Network, NoProbe, Probe,
    layers::{
        BiLstm, ConvPool, InstanceNorm1d, Linear, Signal, leaky_relu, leaky_relu_in_one_pass,
        sinc_filters,
    },
};

/// The segmentation network of pyannote.audio: SincNet, (bi)LSTM, linear layers, classifier.
/// `pyannote/audio/models/segmentation/PyanNet.py`.
#[derive(Debug, Clone)]
pub(super) struct PyanNet {
    graph: Graph,
    engine: Engine,
    activation: Activation,
    wav_norm: InstanceNorm1d,
    /// The sinc filters and the two later convolutions, each with its norm.
    convs: [(ConvPool, InstanceNorm1d); 3],
    lstm: Vec<BiLstm>,
    linear: Vec<Linear>,
    classifier: Linear,
    /// The instructions of the kernels, if they are used.
    instructions: Option<InstructionSet>,
}

impl PyanNet {
    /// Builds the network from its hyperparameters and the tensors of a checked bundle.
    pub(super) fn load(
        config: &Config,
        graph: Graph,
        engine: &Engine,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let kernels = engine.kernels;
        let instructions = kernels.instructions(engine.dtype, &engine.device);
        let sincnet = vb.pp("sincnet");
        let filters = match config.sincnet.filters {
            SincFilters::Baked => sincnet.get_unchecked("conv1d.0.filters")?,
            SincFilters::Parametrised => {
                sinc_filters(config.sample_rate, &sincnet.pp("conv1d.0.filterbank"))?
            }
        };
        let norm = |name: &str| InstanceNorm1d::load(kernels, &sincnet.pp(name));
        let conv = |index: usize| -> Result<_> {
            let first = index == 0;
            let (weight, bias) = if first {
                (filters.clone(), None)
            } else {
                let vb = sincnet.pp(format!("conv1d.{index}"));
                (vb.get_unchecked("weight")?, Some(vb.get_unchecked("bias")?))
            };
            let after = Conv1dOptions {
                stride: if first { config.sincnet.stride } else { 1 },
                abs: first,
                pool: SincNet::POOL_SIZE,
            };
            Ok((
                ConvPool::new(index, weight, bias, after, instructions)?,
                norm(&format!("norm1d.{index}"))?,
            ))
        };
        let linear = |name: &str| Linear::load(kernels, &vb.pp(name));
        Ok(Self {
            activation: config.activation,
            wav_norm: norm("wav_norm1d")?,
            convs: [conv(0)?, conv(1)?, conv(2)?],
            lstm: (0..config.lstm.num_layers)
                .map(|index| BiLstm::load(index, &config.lstm, kernels, vb))
                .collect::<Result<_>>()?,
            linear: (0..config.linear.num_layers)
                .map(|index| linear(&format!("linear.{index}")))
                .collect::<Result<_>>()?,
            classifier: linear("classifier")?,
            instructions,
            graph,
            engine: engine.clone(),
        })
    }

    /// Runs a part of the network, `run`, whose stages are `stages`. On the CPU, each thread computes one window at a time,
    /// so that its activations stay in the cache of a core. If `probe` needs one of the stages, all windows are computed at
    /// once.
    fn by_window(
        &self,
        x: &Tensor,
        probe: &mut dyn Probe,
        run: impl Fn(&Self, &Tensor, &mut dyn Probe) -> Result<Tensor> + Sync,
        stages: &[Stage],
    ) -> Result<Tensor> {
        let windows = x.dim(0)?;
        let watched = probe.needs_any(stages);
        if windows < 2 || watched || !self.engine.device.is_cpu() {
            return run(self, x, probe);
        }
        let windows = (0..windows).into_par_iter();
        let parts = windows.map(|window| run(self, &x.narrow(0, window, 1)?, &mut NoProbe));
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Linear layers, classifier and activation: `[batch, frame, feature]` to `[batch, frame, output]`.
    fn classify(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, linear) in self.linear.iter().enumerate() {
            x = probe.observe(&format!("linear.{index}"), linear.forward(&x)?)?;
            x = match self.instructions {
                Some(_) => leaky_relu_in_one_pass(&x)?,
                None => leaky_relu(&x)?,
            };
            x = probe.observe(&format!("linear.{index}.leaky_relu"), x)?;
        }
        x = probe.observe("classifier", self.classifier.forward(&x)?)?;
        let scores = match self.activation {
            Activation::LogSoftmax => ops::log_softmax(&x, candle_core::D::Minus1)?,
            Activation::Sigmoid => ops::sigmoid(&x)?,
        };
        probe.observe("activation", scores)
    }

    /// SincNet: `[batch, 1, samples]` to `[batch, frame, 60]`. pyannote.audio `SincNet.forward`. The first norm reads the
    /// waveform in its own data type, because amplitudes may exceed the range of f16, and writes that of the network.
    fn encode(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let x = probe.observe("sincnet.wav_norm1d", self.wav_norm.forward(waveforms)?)?;
        // One channel has the same layout either way.
        let mut x = match self.instructions {
            Some(_) => Signal::Frames(x.transpose(1, 2)?.contiguous()?),
            None => Signal::Channels(x),
        };
        for (index, (conv, norm)) in self.convs.iter().enumerate() {
            x = conv.forward(&x, probe)?;
            x = norm.forward_leaky(&x, &format!("sincnet.norm1d.{index}"), probe)?;
        }
        // The transpose is part of lstm.0.
        x.into_frames()
    }
}

impl Network for PyanNet {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn graph(&self, _masked: bool) -> &Graph {
        &self.graph
    }

    /// Probabilities of each speaker (sigmoid) or log-probabilities of each set of speakers (powerset),
    /// `[batch, frame, output]`. pyannote.audio `PyanNet.forward`.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor> {
        let Input { waveforms, masks } = input;
        check_waveforms(waveforms, &self.graph)?;
        if masks.is_some() {
            candle_core::bail!("a segmentation network takes no masks");
        }
        let stages = self.graph.stages();
        let recurrent = self
            .graph
            .span(|stage| matches!(stage.op, Op::Lstm { .. } | Op::LstmDirection { .. }));
        let encoder = &stages[..recurrent.start];
        let mut x = self.by_window(waveforms, probe, Self::encode, encoder)?;
        for layer in &self.lstm {
            x = layer.forward(&x, probe)?;
        }
        let classification = &stages[recurrent.end..];
        self.by_window(&x, probe, Self::classify, classification)
    }
}
