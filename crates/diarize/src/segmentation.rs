//! The segmentation network over windows.

use std::{ops::Range, sync::Arc};

use ndarray::Array3;
use soundalike_convert::Bundle;
use soundalike_model::{
    DType, Engine, LoadError, Network, Probe, Result, Tensor, TensorError, load,
};
use soundalike_network::{FrameGeometry, Op, Output};

use crate::{
    built_in::embedding::{VoiceProbe, voice_layers},
    frames::FrameGrid,
    powerset::Powerset,
    windows::Windows,
};

/// Step between windows, as a fraction of their length. pyannote.audio `SpeakerDiarization(segmentation_step=0.1)`.
pub(crate) const STEP_RATIO: f64 = 0.1;

/// Fewest frames of a window.
const MIN_FRAMES: usize = 10;
/// Longest window, in seconds. Real networks have 5 to 30.
const MAX_DURATION: f64 = 120.0;

/// Why a bundle gives no segmentation network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The network cannot be built, or does not fit on the device.
    #[error(transparent)]
    Network(#[from] LoadError),
    /// The bundle holds another network.
    #[error("the bundle holds a {found}, expected a segmentation network (PyanNet)")]
    NotSegmentation {
        /// The network found.
        found: String,
    },
    /// The bundle has no specifications, which name the classes.
    #[error(
        "the bundle has no specifications, which define its outputs; convert the checkpoint again"
    )]
    NoSpecifications,
    /// The network has a score for each speaker, not for each set of speakers.
    #[error("the network is not a powerset network (its classes are {}); diarize needs one, such as segmentation-3.0", classes.join(", "))]
    NotPowerset {
        /// The classes found.
        classes: Vec<String>,
    },
    /// The step is longer than a window, or shorter than a frame.
    #[error(
        "step is {ratio}, expected a fraction of the window: at most 1, and at least one frame of it"
    )]
    Step {
        /// The step, as a fraction of the window.
        ratio: f64,
    },
    /// The windows are too short or too long.
    #[error(
        "the bundle's windows last {duration} s, expected from {MIN_FRAMES} frames of the network to {MAX_DURATION} s"
    )]
    Duration {
        /// Length of a window in seconds.
        duration: f64,
    },
}

/// The segmentation network, and its windows over a recording.
#[derive(Debug, Clone)]
pub struct Segmenter {
    network: Arc<dyn Network>,
    geometry: FrameGeometry,
    sample_rate: u32,
    powerset: Powerset,
    windows: Windows,
}

impl Segmenter {
    /// Builds the powerset network of `bundle`.
    ///
    /// # Errors
    /// [`SetupError`] if the bundle holds another network.
    pub fn new(bundle: &Bundle, engine: &Engine) -> std::result::Result<Self, SetupError> {
        let architecture = bundle.architecture();
        let geometry = match (architecture.output(), architecture.graph(false)) {
            (Output::Scores { .. }, Some(graph)) => graph.frame_geometry(),
            _ => None,
        };
        let (Some(geometry), Some(sample_rate)) = (geometry, architecture.sample_rate()) else {
            return Err(SetupError::NotSegmentation {
                found: architecture.name(),
            });
        };
        let network = load(bundle, engine)?;
        let specifications = bundle
            .specifications()
            .ok_or(SetupError::NoSpecifications)?;
        let classes = &specifications.classes;
        let powerset = specifications
            .powerset_max_classes
            .map(|max_together| Powerset::new(classes.len(), max_together))
            .ok_or_else(|| SetupError::NotPowerset {
                classes: classes.clone(),
            })?;
        let samples = |seconds: f64| (seconds * f64::from(sample_rate)).round() as usize;
        let windows = Windows {
            length: samples(specifications.duration),
            step: samples(STEP_RATIO * specifications.duration),
        };
        // With fewer frames the step could be 0; longer windows need too much memory.
        let frames = geometry.frames(windows.length);
        if frames < MIN_FRAMES || specifications.duration > MAX_DURATION {
            return Err(SetupError::Duration {
                duration: specifications.duration,
            });
        }
        Ok(Self {
            network: network.into(),
            geometry,
            sample_rate,
            powerset,
            windows,
        })
    }

    /// The same with a step of `ratio` times the window. pyannote.audio `SpeakerDiarization(segmentation_step)`.
    ///
    /// # Errors
    /// [`SetupError::Step`] if that is more than a window or less than a frame.
    pub fn with_step(mut self, ratio: f64) -> std::result::Result<Self, SetupError> {
        let step = (ratio * self.windows.length as f64).round() as usize;
        if !(self.geometry.step..=self.windows.length).contains(&step) {
            return Err(SetupError::Step { ratio });
        }
        self.windows.step = step;
        Ok(self)
    }

    /// Samples per second of its input.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The windows over a recording.
    #[must_use]
    pub fn windows(&self) -> Windows {
        self.windows
    }

    /// The classes of its outputs.
    #[must_use]
    pub fn powerset(&self) -> &Powerset {
        &self.powerset
    }

    /// Frames of a window.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.geometry.frames(self.windows.length)
    }

    /// A probe that takes the built-in embeddings of a batch.
    pub(crate) fn voice_probe(&self) -> VoiceProbe {
        let names = self.lstm_layers().map(|(name, _)| name.to_owned());
        VoiceProbe::new(names.collect())
    }

    /// Values of a built-in embedding.
    pub(crate) fn voice_features(&self) -> usize {
        let widths: Vec<usize> = self.lstm_layers().map(|(_, width)| width).collect();
        widths[voice_layers(widths.len())].iter().sum()
    }

    /// Names and output features of the LSTM layers.
    fn lstm_layers(&self) -> impl Iterator<Item = (&str, usize)> {
        let stages = self.network.graph(false).stages().iter();
        stages.filter_map(|stage| match stage.op {
            Op::Lstm {
                hidden,
                bidirectional,
                ..
            } => Some((&*stage.name, hidden * (1 + usize::from(bidirectional)))),
            _ => None,
        })
    }

    /// The frames of a whole recording.
    #[must_use]
    pub fn grid(&self) -> FrameGrid {
        let seconds = |samples: usize| samples as f64 / f64::from(self.sample_rate());
        let geometry = self.geometry;
        FrameGrid {
            duration: seconds(geometry.receptive_field),
            step: seconds(geometry.step),
            window_duration: seconds(self.windows.length),
            window_step: seconds(self.windows.step),
        }
    }

    /// Log-probability of each set of speakers in the windows `range` of `samples`, `[window, frame, set]`.
    ///
    /// # Errors
    /// If the device or the probe fails, or a score is NaN.
    pub fn scores(
        &self,
        samples: &[f32],
        range: Range<usize>,
        probe: &mut dyn Probe,
    ) -> Result<Array3<f32>> {
        let waveforms = Tensor::from_vec(
            self.windows.batch(samples, range.clone()),
            (range.len(), 1, self.windows.length),
            &self.network.engine().device,
        )?;
        let scores = to_array(&self.network.forward((&waveforms).into(), probe)?)?;
        match scores.iter().find(|score| score.is_nan()) {
            None => Ok(scores),
            Some(score) => Err(TensorError::msg(format!(
                "a score is {score} in {:?}; try a wider dtype",
                self.network.engine().dtype
            ))),
        }
    }
}

/// A tensor of three axes as an array.
pub(crate) fn to_array(tensor: &Tensor) -> Result<Array3<f32>> {
    let shape = tensor.dims3()?;
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Array3::from_shape_vec(shape, values).map_err(TensorError::wrap)
}
