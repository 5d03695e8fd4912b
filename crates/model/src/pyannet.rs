//! PyanNet: who speaks when within one window.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, ops};
use rayon::prelude::*;
use soundalike_convert::{
    Activation, Architecture, Bundle, PyanNet as Config, SincFilters, SincNet,
};

use soundalike_kernels::{After, InstructionSet};

use crate::{
    Kernels, LoadError, Probe, Silent,
    layers::{
        BiLstm, ConvPool, InstanceNorm1d, Linear, LstmShape, Signal, leaky_relu,
        leaky_relu_in_one_pass, sinc_filters,
    },
};

/// Where the frames of a network lie in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameGeometry {
    /// Samples that one frame sees.
    pub receptive_field: usize,
    /// Samples from one frame to the next.
    pub step: usize,
}

impl FrameGeometry {
    /// Frames that `samples` samples give: 0 where they are fewer than one receptive field.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        // Floors of floors nest: pooling after pooling loses exactly what one long stride loses.
        samples
            .checked_sub(self.receptive_field)
            .map_or(0, |rest| rest / self.step + 1)
    }
}

/// The segmentation network of pyannote.audio: SincNet, (bi)LSTM, linear layers, classifier.
/// `pyannote/audio/models/segmentation/PyanNet.py`.
#[derive(Debug, Clone)]
pub struct PyanNet {
    config: Config,
    dtype: DType,
    device: Device,
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
    /// Builds the network of `bundle` in `dtype` on `device`, with the fastest kernels there are for them.
    ///
    /// # Errors
    /// [`LoadError`] where the bundle holds another network, has a hyperparameter no PyanNet can have, or
    /// does not fit on the device.
    pub fn load(
        bundle: &Bundle,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        Self::load_with(bundle, dtype, device, Kernels::native())
    }

    /// As [`Self::load`], with these kernels.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(
        bundle: &Bundle,
        dtype: DType,
        device: &Device,
        kernels: Kernels,
    ) -> std::result::Result<Self, LoadError> {
        let Architecture::PyanNet(config) = bundle.architecture() else {
            return Err(LoadError::OtherArchitecture {
                expected: "PyanNet",
                found: bundle.architecture().name(),
            });
        };
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
        Ok(Self {
            wav_norm: InstanceNorm1d::load(1, kernels, sincnet.pp("wav_norm1d"))?,
            convs: [conv(0)?, conv(1)?, conv(2)?],
            lstm,
            linear,
            classifier: Linear::load(width, config.num_outputs, kernels, vb.pp("classifier"))?,
            instructions: kernels.instructions(dtype, device),
            config: config.clone(),
            dtype,
            device: device.clone(),
        })
    }

    /// The hyperparameters.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The dtype of weights and activations.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device the weights are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Receptive field and step of the output frames: 991 and 270 samples for a sinc stride of 10.
    /// pyannote.audio `utils/receptive_field.py`.
    #[must_use]
    pub fn geometry(&self) -> FrameGeometry {
        let (conv, pool) = (
            (SincNet::CONV_KERNEL_SIZE, 1),
            (SincNet::POOL_SIZE, SincNet::POOL_SIZE),
        );
        let layers = [
            (SincNet::KERNEL_SIZE, self.config.sincnet.stride),
            pool,
            conv,
            pool,
            conv,
            pool,
        ];
        let (receptive_field, step) = layers
            .iter()
            .rev()
            .fold((1, 1), |(field, step), (kernel, stride)| {
                (kernel + (field - 1) * stride, step * stride)
            });
        FrameGeometry {
            receptive_field,
            step,
        }
    }

    /// Scores of each speaker (sigmoid) or log-probabilities of each set of speakers (powerset),
    /// `[batch, frame, output]`, from `waveforms` `[batch, 1, samples]` at the network's sample rate.
    /// pyannote.audio `PyanNet.forward`; the stages that `probe` sees are listed in its order.
    ///
    /// # Errors
    /// Where the waveforms have another shape, are shorter than one receptive field, or the probe fails.
    pub fn forward(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let (_, channels, samples) = waveforms.dims3()?;
        if channels != 1 || self.geometry().frames(samples) == 0 {
            candle_core::bail!(
                "waveforms have shape {:?}, expected [batch, 1, at least {} samples]",
                waveforms.dims(),
                self.geometry().receptive_field
            );
        }
        let mut x = self.by_window(waveforms, probe, Self::encode, encoder_stages())?;
        for layer in &self.lstm {
            x = layer.forward(&x, probe)?;
        }
        self.by_window(&x, probe, Self::classify, self.classifier_stages())
    }

    /// The part of the network that `run` is. On the CPU, one window after the other on each thread, which keeps what
    /// it goes through in the cache of a core; but all at once where `probe` looks at one of the `stages`.
    fn by_window(
        &self,
        x: &Tensor,
        probe: &mut dyn Probe,
        run: impl Fn(&Self, &Tensor, &mut dyn Probe) -> Result<Tensor> + Sync,
        mut stages: impl Iterator<Item = String>,
    ) -> Result<Tensor> {
        let windows = x.dim(0)?;
        let watched = stages.any(|stage| probe.looks_at(&stage));
        if windows < 2 || watched || !self.device.is_cpu() {
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
        let scores = match self.config.activation {
            Activation::LogSoftmax => ops::log_softmax(&x, candle_core::D::Minus1)?,
            Activation::Sigmoid => ops::sigmoid(&x)?,
        };
        probe.see("activation", scores)
    }

    /// What a probe can see of [`Self::classify`].
    fn classifier_stages(&self) -> impl Iterator<Item = String> {
        (0..self.linear.len())
            .flat_map(|index| ["", ".leaky_relu"].map(|part| format!("linear.{index}{part}")))
            .chain(["classifier", "activation"].map(str::to_owned))
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

/// What a probe can see of the encoder.
fn encoder_stages() -> impl Iterator<Item = String> {
    let first = ["wav_norm1d", "conv1d.0.filters", "conv1d.0.abs"].map(str::to_owned);
    let of_each = |index: usize| {
        [
            format!("conv1d.{index}"),
            format!("pool1d.{index}"),
            format!("norm1d.{index}"),
            format!("norm1d.{index}.leaky_relu"),
        ]
    };
    let stages = first.into_iter().chain((0..3).flat_map(of_each));
    stages.map(|stage| format!("sincnet.{stage}"))
}
