//! A build without libtorch: the signatures of [`enabled`](super), and no value of their types.

use std::convert::Infallible;

use soundalike_convert::{Bundle, PyanNet as PyanNetConfig, WeSpeakerResNet as WeSpeakerConfig};

use crate::{Arithmetic, Error, Mistake, Precision, Probe, Result};

/// An array of libtorch. This build has none.
#[derive(Debug, Clone)]
pub struct Tensor(Infallible);

impl Tensor {
    /// A tensor of `shape` from its values in row-major order.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn from_f32(_values: &[f32], _shape: &[usize]) -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// A tensor of `shape` from its values in row-major order.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn from_f64(_values: &[f64], _shape: &[usize]) -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// Its dimensions.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self.0 {}
    }

    /// The type of its elements.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self.0 {}
    }

    /// The same values in `precision`, rounded to nearest.
    ///
    /// # Errors
    /// None: there is no tensor to call it on.
    pub fn to_precision(&self, _precision: Precision) -> Result<Self> {
        match self.0 {}
    }

    /// Its values in row-major order, rounded to nearest.
    ///
    /// # Errors
    /// None: there is no tensor to call it on.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.0 {}
    }

    /// Its values in row-major order, exactly.
    ///
    /// # Errors
    /// None: there is no tensor to call it on.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        match self.0 {}
    }
}

/// The segmentation network of pyannote.audio. This build cannot make one.
#[derive(Debug)]
pub struct PyanNet(Infallible);

impl PyanNet {
    /// Builds the network of `bundle`.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn load(_bundle: &Bundle, _arithmetic: impl Into<Arithmetic>) -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// The hyperparameters.
    #[must_use]
    pub fn config(&self) -> &PyanNetConfig {
        match self.0 {}
    }

    /// In which arithmetic it runs.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self.0 {}
    }

    /// Scores `[batch, frame, output]` of `waveforms` `[batch, 1, samples]`.
    ///
    /// # Errors
    /// None: there is no network to call it on.
    pub fn forward(&self, _waveforms: &Tensor, _probe: &mut dyn Probe) -> Result<Tensor> {
        match self.0 {}
    }
}

/// The speaker embedding network of pyannote.audio. This build cannot make one.
#[derive(Debug)]
pub struct WeSpeakerResNet(Infallible);

impl WeSpeakerResNet {
    /// Builds the network of `bundle`.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn load(_bundle: &Bundle, _arithmetic: impl Into<Arithmetic>) -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// The hyperparameters.
    #[must_use]
    pub fn config(&self) -> &WeSpeakerConfig {
        match self.0 {}
    }

    /// In which arithmetic it runs.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self.0 {}
    }

    /// Embeddings `[batch, 256]` of `waveforms` `[batch, 1, samples]`, or `[batch, speaker, 256]` where
    /// `weights` `[batch, speaker, frame]` are.
    ///
    /// # Errors
    /// None: there is no network to call it on.
    pub fn forward(
        &self,
        _waveforms: &Tensor,
        _weights: Option<&Tensor>,
        _probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        match self.0 {}
    }

    /// The trunk `[batch, channel, band, frame]` of `waveforms` `[batch, 1, samples]`.
    ///
    /// # Errors
    /// None: there is no network to call it on.
    pub fn forward_frames(&self, _waveforms: &Tensor, _probe: &mut dyn Probe) -> Result<Tensor> {
        match self.0 {}
    }

    /// Embeddings of what the trunk gave.
    ///
    /// # Errors
    /// None: there is no network to call it on.
    pub fn forward_embedding(
        &self,
        _frames: &Tensor,
        _weights: Option<&Tensor>,
        _probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        match self.0 {}
    }
}

/// Shows `see` the stage `stage` of the network of `bundle`, fed `inputs` in f64, with each known mistake.
///
/// # Errors
/// [`Error::NotBuilt`].
pub fn mistakes(
    _bundle: &Bundle,
    _stage: &str,
    _inputs: &[Tensor],
    _see: &mut dyn FnMut(Mistake) -> Result<()>,
) -> Result<()> {
    Err(Error::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_how_to_get_libtorch() {
        let error = Tensor::from_f32(&[0.0], &[1])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scripts/setup_libtorch.sh") && error.contains("--features torch"),
            "{error}"
        );
    }
}
