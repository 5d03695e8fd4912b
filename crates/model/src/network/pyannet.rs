//! PyanNet: who speaks when within one window.

use candle_core::{Result, Tensor};
use candle_nn::{VarBuilder, ops};
use rayon::prelude::*;
use soundalike_convert::Bundle;
use soundalike_kernels::{After, InstructionSet};
use soundalike_network::{
    Activation, Architecture, FrameGeometry, Graph, Op, PyanNet as Config, SincFilters, SincNet,
    Stage,
};

use super::Identity;
use crate::{
    Engine, Input, Network, Probe, Silent,
    layers::{
        BiLstm, ConvPool, InstanceNorm1d, Linear, LstmShape, Signal, leaky_relu,
        leaky_relu_in_one_pass, sinc_filters,
    },
};

/// The segmentation network of pyannote.audio: SincNet, (bi)LSTM, linear layers, classifier.
/// `pyannote/audio/models/segmentation/PyanNet.py`.
#[derive(Debug, Clone)]
pub(super) struct PyanNet {
    identity: Identity,
    activation: Activation,
    geometry: FrameGeometry,
    /// Stages before the first LSTM layer, and from behind the last.
    encoder: usize,
    classification: usize,
    wav_norm: InstanceNorm1d,
    /// The sinc filters and the two convolutions after them, each with its norm.
    convs: [(ConvPool, InstanceNorm1d); 3],
    lstm: Vec<BiLstm>,
    linear: Vec<Linear>,
    classifier: Linear,
    /// Of its kernels, where there are some.
    instructions: Option<InstructionSet>,
}

impl PyanNet {
    /// Builds the network of `bundle`, whose hyperparameters are `config`.
    pub(crate) fn load(config: &Config, bundle: &Bundle, engine: &Engine) -> Result<Self> {
        let Engine {
            dtype,
            device,
            kernels,
        } = engine;
        let (dtype, kernels) = (*dtype, *kernels);
        let vb = VarBuilder::from_slice_safetensors(bundle.bytes(), dtype, device)?;
        let sincnet = vb.pp("sincnet");
        let filters = match config.sincnet.filters {
            SincFilters::Baked => sincnet.get(
                (SincNet::NUM_FILTERS, 1, SincNet::KERNEL_SIZE),
                "conv1d.0.filters",
            )?,
            SincFilters::Parametrised => sinc_filters(
                SincNet::NUM_FILTERS / 2,
                SincNet::KERNEL_SIZE,
                config.sample_rate,
                sincnet.pp("conv1d.0.filterbank"),
            )?,
        };
        let channels = SincNet::CHANNELS;
        let conv = |index: usize| -> Result<_> {
            let (weight, bias) = match index.checked_sub(1) {
                None => (filters.clone(), None),
                Some(before) => {
                    let vb = sincnet.pp(format!("conv1d.{index}"));
                    let (inputs, outputs) = (channels[before], channels[index]);
                    let weight = vb.get((outputs, inputs, SincNet::CONV_KERNEL_SIZE), "weight")?;
                    (weight, Some(vb.get(outputs, "bias")?))
                }
            };
            let after = After {
                stride: if index == 0 { config.sincnet.stride } else { 1 },
                abs: index == 0,
                pool: SincNet::POOL_SIZE,
            };
            let instructions = kernels.instructions(dtype, device);
            let norm = sincnet.pp(format!("norm1d.{index}"));
            Ok((
                ConvPool::new(index, weight, bias, after, instructions)?,
                InstanceNorm1d::load(channels[index], kernels, norm)?,
            ))
        };

        let encoded = config.lstm.num_features();
        let lstm = (0..config.lstm.num_layers)
            .map(|index| {
                let inputs = if index == 0 { channels[2] } else { encoded };
                let shape = LstmShape {
                    inputs,
                    hidden: config.lstm.hidden_size,
                    bidirectional: config.lstm.bidirectional,
                };
                let monolithic = config.lstm.monolithic;
                BiLstm::load(index, monolithic, shape, kernels, vb.pp("lstm"))
            })
            .collect::<Result<_>>()?;
        let mut width = encoded;
        let mut linear = Vec::with_capacity(config.linear.num_layers);
        for index in 0..config.linear.num_layers {
            let outputs = config.linear.hidden_size;
            linear.push(Linear::load(
                width,
                outputs,
                kernels,
                vb.pp(format!("linear.{index}")),
            )?);
            width = outputs;
        }
        let identity = Identity::new(bundle, engine);
        let recurrent =
            |stage: &Stage| matches!(stage.op, Op::Lstm { .. } | Op::LstmDirection { .. });
        let recurrent = identity.graph(false).span(recurrent);
        let no_frames = || candle_core::Error::Msg("the network has no frames".into());
        Ok(Self {
            activation: config.activation,
            geometry: identity
                .graph(false)
                .frame_geometry()
                .ok_or_else(no_frames)?,
            encoder: recurrent.start,
            classification: recurrent.end,
            identity,
            wav_norm: InstanceNorm1d::load(1, kernels, sincnet.pp("wav_norm1d"))?,
            convs: [conv(0)?, conv(1)?, conv(2)?],
            lstm,
            linear,
            classifier: Linear::load(width, config.num_outputs, kernels, vb.pp("classifier"))?,
            instructions: kernels.instructions(dtype, device),
        })
    }

    /// The part of the network that `run` is. On the CPU, one window after the other on each thread, which keeps what
    /// it goes through in the cache of a core; but all at once where `probe` looks at one of the `stages`.
    fn by_window(
        &self,
        x: &Tensor,
        probe: &mut dyn Probe,
        run: impl Fn(&Self, &Tensor, &mut dyn Probe) -> Result<Tensor> + Sync,
        stages: &[Stage],
    ) -> Result<Tensor> {
        let windows = x.dim(0)?;
        let watched = probe.looks_at_any(stages);
        if windows < 2 || watched || !self.identity.engine.device.is_cpu() {
            return run(self, x, probe);
        }
        let windows = (0..windows).into_par_iter();
        let parts = windows.map(|window| run(self, &x.narrow(0, window, 1)?, &mut Silent));
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Linear layers and classifier: `[batch, frame, feature]` to `[batch, frame, output]`.
    fn classify(&self, x: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, linear) in self.linear.iter().enumerate() {
            x = probe.see(&format!("linear.{index}"), linear.forward(&x)?)?;
            x = match self.instructions {
                Some(_) => leaky_relu_in_one_pass(&x)?,
                None => leaky_relu(&x)?,
            };
            x = probe.see(&format!("linear.{index}.leaky_relu"), x)?;
        }
        x = probe.see("classifier", self.classifier.forward(&x)?)?;
        let scores = match self.activation {
            Activation::LogSoftmax => ops::log_softmax(&x, candle_core::D::Minus1)?,
            Activation::Sigmoid => ops::sigmoid(&x)?,
        };
        probe.see("activation", scores)
    }

    /// SincNet: `[batch, 1, samples]` to `[batch, frame, 60]`. pyannote.audio `SincNet.forward`. The norm takes
    /// the waveform as it is and gives the network's dtype: before it, amplitudes may be beyond an f16.
    fn encode(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let x = probe.see("sincnet.wav_norm1d", self.wav_norm.forward(waveforms)?)?;
        // One channel lies alike in both layouts.
        let mut x = match self.instructions {
            Some(_) => Signal::Frames(x.transpose(1, 2)?.contiguous()?),
            None => Signal::Channels(x),
        };
        for (index, (conv, norm)) in self.convs.iter().enumerate() {
            x = conv.forward(&x, probe)?;
            x = norm.forward_leaky(&x, &format!("sincnet.norm1d.{index}"), probe)?;
        }
        // The transpose belongs to lstm.0.
        x.into_frames()
    }
}

impl Network for PyanNet {
    fn architecture(&self) -> &Architecture {
        &self.identity.architecture
    }

    fn engine(&self) -> &Engine {
        &self.identity.engine
    }

    fn graph(&self, masked: bool) -> &Graph {
        self.identity.graph(masked)
    }

    /// Scores of each speaker (sigmoid) or log-probabilities of each set of speakers (powerset),
    /// `[batch, frame, output]`. pyannote.audio `PyanNet.forward`.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor> {
        let Input { waveforms, masks } = input;
        let (_, channels, samples) = waveforms.dims3()?;
        if channels != 1 || self.geometry.frames(samples) == 0 {
            candle_core::bail!(
                "waveforms have shape {:?}, expected [batch, 1, at least {} samples]",
                waveforms.dims(),
                self.geometry.receptive_field
            );
        }
        if masks.is_some() {
            candle_core::bail!("a segmentation network pools nothing by masks");
        }
        let stages = self.identity.graph(false).stages();
        let encoder = &stages[..self.encoder];
        let mut x = self.by_window(waveforms, probe, Self::encode, encoder)?;
        for layer in &self.lstm {
            x = layer.forward(&x, probe)?;
        }
        let classification = &stages[self.classification..];
        self.by_window(&x, probe, Self::classify, classification)
    }
}
