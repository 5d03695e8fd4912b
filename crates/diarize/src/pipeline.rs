//! The networks over a recording.

use std::ops::Range;

use ndarray::{Array3, Axis, s};
use soundalike_convert::{Bundle, ModelRole, PipelineDirectory};
use soundalike_model::{Engine, LoadError, NoProbe, Probe, TensorError};

use crate::{
    Diarization, DiarizeOptions, Parameters,
    audio::AudioError,
    clustering::{self, Method},
    diarization::Model,
    inference::{Header, Inference, InferenceError},
    parameters::{Overrides, ParameterError, SpeakerClustering},
    recording::Recording,
    segmentation::{self, Segmenter},
    speaker_embedding::SpeakerEmbedder,
};

/// Windows per batch: enough to fill the tiles of a recurrent kernel and to keep all threads busy. More cost memory
/// and gain little.
pub const BATCH: usize = 24;

/// Why these models and parameters give no pipeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An override has an invalid value.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A parameter of the pipeline directory has an invalid value.
    #[error("configuration")]
    Configuration(#[source] ParameterError),
    /// The segmentation network cannot be used.
    #[error("segmentation")]
    Segmentation(#[from] segmentation::SetupError),
    /// The speaker embedding network cannot be built.
    #[error("embedding")]
    Embedding(#[from] LoadError),
    /// A model is missing.
    #[error("the pipeline has no {part} model, which diarization needs")]
    Missing {
        /// The model.
        part: ModelRole,
    },
    /// The networks have different sample rates.
    #[error(
        "the segmentation takes {segmentation} samples per second, the embedding {embedding}: are they of one pipeline?"
    )]
    SampleRates {
        /// Of the segmentation network.
        segmentation: u32,
        /// Of the speaker embedding network.
        embedding: u32,
    },
    /// The clustering cannot be set up.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
}

/// Why a recording could not be diarized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recording and the networks have different sample rates.
    #[error("the recording has {found} samples per second, expected {expected}")]
    SampleRate {
        /// Of the networks.
        expected: u32,
        /// Of the recording.
        found: u32,
    },
    /// The recording cannot be read any more.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// A network failed.
    #[error("the network failed in the windows {windows:?}")]
    Network {
        /// The batch.
        windows: Range<usize>,
        /// The network's error.
        source: TensorError,
    },
    /// The outputs of the networks do not fit each other.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The clustering cannot be set up.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
}

/// Progress of [`Diarizer::infer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Segmentation or embedding.
    pub part: ModelRole,
    /// Windows done.
    pub done: usize,
    /// Windows of the recording.
    pub windows: usize,
}

/// The whole pipeline. pyannote.audio `SpeakerDiarization`.
#[derive(Debug, Clone)]
pub struct Diarizer {
    segmenter: Segmenter,
    /// `None`: the built-in embeddings are used.
    embedder: Option<SpeakerEmbedder>,
    plda: Option<Bundle>,
    parameters: Parameters,
    models: Vec<Model>,
}

impl Diarizer {
    /// The pipeline of the segmentation network of `bundle` and built-in embeddings.
    ///
    /// # Errors
    /// [`SetupError`] if the bundle holds another network, or an override has an invalid value.
    pub fn built_in(
        bundle: &Bundle,
        overrides: &Overrides,
        engine: &Engine,
    ) -> Result<Self, SetupError> {
        let parameters = Parameters::built_in().with(overrides)?;
        Ok(Self {
            segmenter: Segmenter::new(bundle, engine)?.with_step(parameters.segmentation_step)?,
            embedder: None,
            plda: None,
            parameters,
            models: vec![Model::new(ModelRole::Segmentation, bundle)],
        })
    }

    /// The pipeline of a directory, with the parameters in `overrides` replaced.
    ///
    /// # Errors
    /// [`SetupError`] if the models or parameters are not those of a diarization pipeline.
    pub fn from_pipeline(
        pipeline: &PipelineDirectory,
        overrides: &Overrides,
        engine: &Engine,
    ) -> Result<Self, SetupError> {
        let parameters = Parameters::from(pipeline.config());
        parameters.check().map_err(SetupError::Configuration)?;
        let parameters = parameters.with(overrides)?;
        let model = |part| pipeline.model(part).ok_or(SetupError::Missing { part });
        let (plda, needs_plda) = (pipeline.model(ModelRole::Plda), pipeline.config().needs());
        let plda = plda.filter(|_| needs_plda.contains(&ModelRole::Plda));
        // Checked here, not minutes later after the networks.
        let method = match &parameters.clustering {
            SpeakerClustering::Pyannote(clustering) => Some(Method::new(clustering, plda)?),
            SpeakerClustering::BuiltIn { .. } => None,
        };
        let (segmentation, embedding) = (
            model(ModelRole::Segmentation)?,
            model(ModelRole::Embedding)?,
        );
        let exclude_overlap = parameters.embedding_exclude_overlap;
        let (segmenter, (embedder, models)) = rayon::join(
            || Segmenter::new(segmentation, engine)?.with_step(parameters.segmentation_step),
            || {
                rayon::join(
                    || SpeakerEmbedder::new(embedding, exclude_overlap, engine),
                    || {
                        let mut models = vec![
                            Model::new(ModelRole::Segmentation, segmentation),
                            Model::new(ModelRole::Embedding, embedding),
                        ];
                        models.extend(plda.map(|plda| Model::new(ModelRole::Plda, plda)));
                        models
                    },
                )
            },
        );
        let (segmenter, embedder) = (segmenter?, embedder?);
        if let Some(method) = method {
            method.check_dimension(embedder.dimension())?;
        }
        if embedder.sample_rate() != segmenter.sample_rate() {
            return Err(SetupError::SampleRates {
                segmentation: segmenter.sample_rate(),
                embedding: embedder.sample_rate(),
            });
        }
        Ok(Self {
            segmenter,
            embedder: Some(embedder),
            plda: plda.cloned(),
            parameters,
            models,
        })
    }

    /// Samples per second of its input.
    pub fn sample_rate(&self) -> u32 {
        self.segmenter.sample_rate()
    }

    /// The models of the pipeline: segmentation, embedding, PLDA.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Whether it has no speaker embedding network and uses the built-in embeddings, a fallback.
    pub fn is_built_in(&self) -> bool {
        self.embedder.is_none()
    }

    /// The speaker turns of the recording `uri`: [`Self::infer`], then [`Inference::diarize`].
    ///
    /// # Errors
    /// [`Error`] of either.
    pub fn diarize(
        &self,
        uri: &str,
        recording: &mut Recording,
        options: &DiarizeOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Diarization, Error> {
        Ok(self.infer(uri, recording, progress)?.diarize(options)?)
    }

    /// Runs the networks over `recording`, whose name is `uri`: the segmentation and the speaker embeddings of each
    /// window. `progress` is called twice for each batch: after its segmentation and after its embeddings.
    ///
    /// # Errors
    /// [`Error`] if the recording has another sample rate or cannot be read, or if a network fails.
    pub fn infer(
        &self,
        uri: &str,
        recording: &mut Recording,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Inference, Error> {
        if recording.sample_rate() != self.sample_rate() {
            return Err(Error::SampleRate {
                expected: self.sample_rate(),
                found: recording.sample_rate(),
            });
        }
        let (segmenter, powerset) = (&self.segmenter, self.segmenter.powerset());
        let speakers = powerset.num_speakers();
        let dimension = match &self.embedder {
            None => segmenter.voice_features(),
            Some(embedder) => embedder.dimension(),
        };
        let windows = segmenter.windows().count(recording.length());
        let mut activity = Array3::zeros((windows, segmenter.frames(), speakers));
        let mut embeddings = Array3::zeros((windows, speakers, dimension));
        let mut report = |part, done| {
            progress(Progress {
                part,
                done,
                windows,
            })
        };
        for start in (0..windows).step_by(BATCH) {
            let range = start..windows.min(start + BATCH);
            let failed = |source| Error::Network {
                windows: range.clone(),
                source,
            };
            let samples = recording.samples(segmenter.windows().span(range.clone()))?;
            let mut voices = segmenter.voice_probe();
            let probe: &mut dyn Probe = match &self.embedder {
                None => &mut voices,
                Some(_) => &mut NoProbe,
            };
            let scores = segmenter.scores(samples, 0..range.len(), probe);
            for (window, scores) in range.clone().zip(scores.map_err(failed)?.outer_iter()) {
                activity
                    .index_axis_mut(Axis(0), window)
                    .assign(&powerset.decode(scores));
            }
            report(ModelRole::Segmentation, range.end);
            let speaking = activity.slice(s![range.clone(), .., ..]);
            let vectors = match &self.embedder {
                None => voices.embed(speaking),
                Some(embedder) => embedder.embed(samples, segmenter.windows(), speaking),
            };
            embeddings
                .slice_mut(s![range.clone(), .., ..])
                .assign(&vectors.map_err(failed)?);
            report(ModelRole::Embedding, range.end);
        }
        let header = Header {
            format: Header::FORMAT,
            uri: uri.to_owned(),
            samples: recording.length(),
            sample_rate: recording.sample_rate(),
            grid: segmenter.grid(),
            parameters: self.parameters.clone(),
            models: self.models.clone(),
            version: Header::VERSION.into(),
        };
        Ok(Inference::new(
            header,
            activity,
            embeddings,
            self.plda.clone(),
        )?)
    }
}
