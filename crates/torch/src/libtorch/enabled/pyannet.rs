//! PyanNet: speaker segmentation of one window.

use ndarray::ArrayD;
use soundalike_convert::Bundle;
use soundalike_network::{Activation, Graph, PyanNet as Config, SincFilters, SincNet};

use super::{
    Graphs,
    layers::{LstmLayer, MIN_LOW_HZ, Module, convolve, max_pool1d, sinc_filters},
    reference_ops,
    stages::Stages,
    tensor::{to_array, waveforms},
    weights::Weights,
};
use crate::{Arithmetic, Network, Probe, Result};

/// The segmentation network of pyannote.audio: SincNet, (bi)LSTM, linear layers, classifier.
/// `pyannote/audio/models/segmentation/PyanNet.py`.
#[derive(Debug)]
pub(super) struct PyanNet {
    config: Config,
    graphs: Graphs,
    arithmetic: Arithmetic,
    wav_norm: Module,
    /// `[80, 1, 251]`.
    filters: tch::Tensor,
    /// The two convolutions after the sinc filters.
    convs: [Module; 2],
    norms: [Module; 3],
    lstm: Vec<LstmLayer>,
    linear: Vec<Module>,
    classifier: Module,
}

impl PyanNet {
    /// Builds the network of `bundle` with the hyperparameters `config`.
    pub(super) fn load(
        config: &Config,
        bundle: &Bundle,
        arithmetic: Arithmetic,
        graphs: Graphs,
    ) -> Result<Self> {
        let weights = Weights::new(bundle, arithmetic);
        let sincnet = |name: &str| Module::load(&format!("sincnet.{name}"), &weights);
        Ok(Self {
            wav_norm: sincnet("wav_norm1d")?,
            filters: match config.sincnet.filters {
                SincFilters::Baked => weights.get("sincnet.conv1d.0.filters")?,
                SincFilters::Parametrised => {
                    let module = "sincnet.conv1d.0.filterbank";
                    sinc_filters(module, config.sample_rate, MIN_LOW_HZ, &weights)?
                }
            },
            convs: [sincnet("conv1d.1")?, sincnet("conv1d.2")?],
            norms: [
                sincnet("norm1d.0")?,
                sincnet("norm1d.1")?,
                sincnet("norm1d.2")?,
            ],
            lstm: (0..config.lstm.num_layers)
                .map(|index| LstmLayer::load(index, &config.lstm, &weights))
                .collect::<Result<_>>()?,
            linear: (0..config.linear.num_layers)
                .map(|index| Module::load(&format!("linear.{index}"), &weights))
                .collect::<Result<_>>()?,
            classifier: Module::load("classifier", &weights)?,
            config: config.clone(),
            graphs,
            arithmetic,
        })
    }

    /// SincNet: `[batch, 1, samples]` to `[batch, frame, 60]`. pyannote.audio `SincNet.forward`.
    fn encode(&self, waveforms: &tch::Tensor, stages: &mut Stages<'_, '_>) -> Result<tch::Tensor> {
        let x = stages.see(
            "sincnet.wav_norm1d",
            self.wav_norm.instance_norm(waveforms)?,
        )?;
        let filters = stages.see("sincnet.conv1d.0.filters", self.filters.shallow_clone())?;
        let stride = self.config.sincnet.stride;
        let filtered = convolve(&x, &filters, None, stride, self.arithmetic)?;
        let x = stages.see("sincnet.conv1d.0", filtered)?;
        let mut x = stages.see("sincnet.conv1d.0.abs", x.f_abs()?)?;
        for (index, norm) in self.norms.iter().enumerate() {
            if let Some(conv) = index.checked_sub(1).map(|conv| &self.convs[conv]) {
                x = stages.see(&format!("sincnet.conv1d.{index}"), conv.conv1d(&x)?)?;
            }
            let pooled = max_pool1d(&x, SincNet::POOL_SIZE)?;
            x = stages.see(&format!("sincnet.pool1d.{index}"), pooled)?;
            let name = format!("sincnet.norm1d.{index}");
            x = stages.see(&name, norm.instance_norm(&x)?)?;
            x = stages.see(&format!("{name}.leaky_relu"), x.f_leaky_relu()?)?;
        }
        // [batch, feature, frame] to [batch, frame, feature]; belongs to lstm.0.
        Ok(x.f_transpose(1, 2)?)
    }

    /// Samples of two frames: `torch.nn.functional.instance_norm` rejects a single value.
    fn least_samples(&self) -> usize {
        let geometry = self.graphs.get(false).frame_geometry();
        geometry.map_or(0, |geometry| geometry.receptive_field + geometry.step)
    }
}

impl Network for PyanNet {
    fn graph(&self, masked: bool) -> &Graph {
        self.graphs.get(masked)
    }

    /// Scores of each speaker (sigmoid) or log-probabilities of each set of speakers (powerset),
    /// `[batch, frame, output]`. pyannote.audio `PyanNet.forward`.
    fn forward(
        &self,
        samples: &ArrayD<f32>,
        _masks: Option<&ArrayD<f32>>,
        probe: &mut Probe<'_>,
    ) -> Result<ArrayD<f64>> {
        let precision = self.arithmetic.precision();
        let waveforms = waveforms(samples, self.least_samples(), precision)?;
        let stages = &mut Stages::new(probe, self.graphs.get(false), self.arithmetic);
        let mut x = self.encode(&waveforms, stages)?;
        for layer in &self.lstm {
            x = layer.forward(&x, stages)?;
        }
        for (index, linear) in self.linear.iter().enumerate() {
            x = stages.see(&format!("linear.{index}"), linear.linear(&x)?)?;
            x = stages.see(&format!("linear.{index}.leaky_relu"), x.f_leaky_relu()?)?;
        }
        x = stages.see("classifier", self.classifier.linear(&x)?)?;
        let reference_ops = self.arithmetic == Arithmetic::ReferenceOps;
        let scores = match self.config.activation {
            Activation::LogSoftmax if reference_ops => reference_ops::log_softmax(&x)?,
            Activation::Sigmoid if reference_ops => reference_ops::sigmoid(&x)?,
            Activation::LogSoftmax => x.f_log_softmax(-1, None)?,
            Activation::Sigmoid => x.f_sigmoid()?,
        };
        to_array(&stages.see("activation", scores)?)
    }
}
