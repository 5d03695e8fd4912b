//! PyanNet: who speaks when within one window.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, ops};
use soundalike_convert::{
    Activation, Architecture, Bundle, PyanNet as Config, SincFilters, SincNet,
};

use crate::{
    LoadError, Probe,
    layers::{
        BiLstm, Conv1d, InstanceNorm1d, Linear, convolve, leaky_relu, max_pool1d, sinc_filters,
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
    /// `[80, 1, 251]`.
    filters: Tensor,
    /// The two convolutions after the sinc filters.
    convs: [Conv1d; 2],
    norms: [InstanceNorm1d; 3],
    lstm: Vec<BiLstm>,
    linear: Vec<Linear>,
    classifier: Linear,
}

impl PyanNet {
    /// Builds the network of `bundle` in `dtype` on `device`.
    ///
    /// # Errors
    /// [`LoadError`] where the bundle holds another network, has a hyperparameter no PyanNet can have, or
    /// does not fit on the device.
    pub fn load(
        bundle: &Bundle,
        dtype: DType,
        device: &Device,
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
        let conv = |index: usize| {
            let (inputs, outputs) = (channels[index - 1], channels[index]);
            Conv1d::load(
                inputs,
                outputs,
                SincNet::CONV_KERNEL_SIZE,
                sincnet.pp(format!("conv1d.{index}")),
            )
        };
        let norm = |index: usize| {
            InstanceNorm1d::load(channels[index], sincnet.pp(format!("norm1d.{index}")))
        };

        let encoded = config.lstm.num_features();
        let lstm = (0..config.lstm.num_layers)
            .map(|index| {
                let inputs = if index == 0 { channels[2] } else { encoded };
                let (hidden, vb) = (config.lstm.hidden_size, vb.pp("lstm"));
                BiLstm::load(
                    index,
                    config.lstm.monolithic,
                    config.lstm.bidirectional,
                    inputs,
                    hidden,
                    vb,
                )
            })
            .collect::<Result<_>>()?;
        let mut width = encoded;
        let mut linear = Vec::with_capacity(config.linear.num_layers);
        for index in 0..config.linear.num_layers {
            let outputs = config.linear.hidden_size;
            linear.push(Linear::load(
                width,
                outputs,
                vb.pp(format!("linear.{index}")),
            )?);
            width = outputs;
        }
        Ok(Self {
            wav_norm: InstanceNorm1d::load(1, sincnet.pp("wav_norm1d"))?,
            filters,
            convs: [conv(1)?, conv(2)?],
            norms: [norm(0)?, norm(1)?, norm(2)?],
            lstm,
            linear,
            classifier: Linear::load(width, config.num_outputs, vb.pp("classifier"))?,
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
        let mut x = self.encode(waveforms, probe)?;
        for layer in &self.lstm {
            x = layer.forward(&x, probe)?;
        }
        for (index, linear) in self.linear.iter().enumerate() {
            x = probe.see(&format!("linear.{index}"), linear.forward(&x)?)?;
            x = probe.see(&format!("linear.{index}.leaky_relu"), leaky_relu(&x)?)?;
        }
        x = probe.see("classifier", self.classifier.forward(&x)?)?;
        let scores = match self.config.activation {
            Activation::LogSoftmax => ops::log_softmax(&x, candle_core::D::Minus1)?,
            Activation::Sigmoid => ops::sigmoid(&x)?,
        };
        probe.see("activation", scores)
    }

    /// SincNet: `[batch, 1, samples]` to `[batch, frame, 60]`. pyannote.audio `SincNet.forward`. The norm takes
    /// the waveform as it is and gives the network's dtype: before it, amplitudes may be beyond an f16.
    fn encode(&self, waveforms: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
        let x = probe.see("sincnet.wav_norm1d", self.wav_norm.forward(waveforms)?)?;
        let filters = probe.see("sincnet.conv1d.0.filters", self.filters.clone())?;
        let x = probe.see(
            "sincnet.conv1d.0",
            convolve(&x, &filters, self.config.sincnet.stride)?,
        )?;
        let mut x = probe.see("sincnet.conv1d.0.abs", x.abs()?)?;
        for (index, norm) in self.norms.iter().enumerate() {
            if let Some(conv) = index.checked_sub(1).map(|conv| &self.convs[conv]) {
                x = probe.see(&format!("sincnet.conv1d.{index}"), conv.forward(&x)?)?;
            }
            x = probe.see(
                &format!("sincnet.pool1d.{index}"),
                max_pool1d(&x, SincNet::POOL_SIZE)?,
            )?;
            x = probe.see(&format!("sincnet.norm1d.{index}"), norm.forward(&x)?)?;
            x = probe.see(
                &format!("sincnet.norm1d.{index}.leaky_relu"),
                leaky_relu(&x)?,
            )?;
        }
        // [batch, feature, frame] to [batch, frame, feature]; belongs to lstm.0.
        x.transpose(1, 2)?.contiguous()
    }
}
