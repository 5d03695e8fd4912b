//! From a recording to what the networks say of it.

use std::ops::Range;

use ndarray::{Array3, Axis, s};
use soundalike_convert::{Bundle, Part, PipelineDirectory};
use soundalike_model::{Engine, LoadError, Probe, Silent, TensorError};

use crate::{
    Diarization, Options, Parameters,
    audio::AudioError,
    clustering::{self, Method},
    diarization::Model,
    parameters::{Overrides, ParameterError, SpeakerClustering},
    recording::Recording,
    run::Run,
    segmentation::{self, Segmenter},
    speaker_embedding::SpeakerEmbedder,
};

/// Windows that go through the networks together: enough to fill the tiles of a recurrent kernel and to keep all
/// threads busy. More of them cost memory and gain little.
const BATCH: usize = 24;

/// Why there is no pipeline around these models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An override cannot have its value.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A parameter of the pipeline cannot have its value.
    #[error("configuration")]
    Configuration(#[source] ParameterError),
    /// The segmentation network cannot segment speech.
    #[error("segmentation")]
    Segmentation(#[from] segmentation::SetupError),
    /// The speaker embedding network cannot be built.
    #[error("embedding")]
    Embedding(#[from] LoadError),
    /// A model is missing.
    #[error("the pipeline has no {part}, without which speakers cannot be told apart")]
    Missing {
        /// The model.
        part: Part,
    },
    /// The networks listen at different rates.
    #[error(
        "the segmentation takes {segmentation} samples per second, the embedding {embedding}: are they of one pipeline?"
    )]
    SampleRates {
        /// Of the segmentation network.
        segmentation: u32,
        /// Of the speaker embedding network.
        embedding: u32,
    },
    /// The clustering cannot be done.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
}

/// Why a recording could not be diarized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recording has another sample rate than the networks.
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
        /// The windows that were in it.
        windows: Range<usize>,
        /// What it said.
        source: TensorError,
    },
    /// The clustering cannot be done.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
}

/// How far the networks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Segmentation or embedding.
    pub part: Part,
    /// Windows that it is done with.
    pub done: usize,
    /// All windows of the recording.
    pub windows: usize,
}

/// The whole pipeline. pyannote.audio `SpeakerDiarization`.
#[derive(Debug, Clone)]
pub struct Diarizer {
    segmenter: Segmenter,
    /// `None`: the segmentation network itself tells voices apart.
    embedder: Option<SpeakerEmbedder>,
    plda: Option<Bundle>,
    parameters: Parameters,
    models: Vec<Model>,
}

impl Diarizer {
    /// The pipeline around the segmentation network of `bundle` alone.
    ///
    /// # Errors
    /// [`SetupError`] where the bundle holds something else, or a parameter makes no sense.
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
            models: vec![Model::new(Part::Segmentation, bundle)],
        })
    }

    /// The pipeline of a directory, with other parameters where `overrides` says so.
    ///
    /// # Errors
    /// [`SetupError`] where the models or parameters are not those of a diarization pipeline.
    pub fn from_pipeline(
        pipeline: &PipelineDirectory,
        overrides: &Overrides,
        engine: &Engine,
    ) -> Result<Self, SetupError> {
        let parameters = Parameters::from(pipeline.config());
        parameters.check().map_err(SetupError::Configuration)?;
        let parameters = parameters.with(overrides)?;
        let model = |part| pipeline.model(part).ok_or(SetupError::Missing { part });
        let (plda, needs_plda) = (pipeline.model(Part::Plda), pipeline.config().needs());
        let plda = plda.filter(|_| needs_plda.contains(&Part::Plda));
        // Before a recording is listened to for minutes.
        let method = match &parameters.clustering {
            SpeakerClustering::Pyannote(clustering) => Some(Method::new(clustering, plda)?),
            SpeakerClustering::BuiltIn { .. } => None,
        };
        let (segmentation, embedding) = (model(Part::Segmentation)?, model(Part::Embedding)?);
        let exclude_overlap = parameters.embedding_exclude_overlap;
        let (segmenter, (embedder, models)) = rayon::join(
            || Segmenter::new(segmentation, engine)?.with_step(parameters.segmentation_step),
            || {
                rayon::join(
                    || SpeakerEmbedder::new(embedding, exclude_overlap, engine),
                    || {
                        let mut models = vec![
                            Model::new(Part::Segmentation, segmentation),
                            Model::new(Part::Embedding, embedding),
                        ];
                        models.extend(plda.map(|plda| Model::new(Part::Plda, plda)));
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

    /// Samples per second that it expects.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.segmenter.sample_rate()
    }

    /// The models: segmentation, embedding, PLDA, as far as there are.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Whether voices are told apart by the segmentation network itself, a fallback.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.embedder.is_none()
    }

    /// Who spoke when in the recording `uri`: [`Self::listen`], then [`Run::diarize`].
    ///
    /// # Errors
    /// [`Error`] as these.
    pub fn diarize(
        &self,
        uri: &str,
        recording: &mut Recording,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Diarization, Error> {
        Ok(self.listen(uri, recording, progress)?.diarize(options)?)
    }

    /// Runs the networks over `recording`, from its beginning to its end: who speaks in each window, and what they
    /// sound like. `uri` is its name. `progress` is told of each batch of windows when it is segmented, and again when
    /// its voices are known.
    ///
    /// # Errors
    /// [`Error`] where the recording has another sample rate, cannot be read, or the device fails.
    pub fn listen(
        &self,
        uri: &str,
        recording: &mut Recording,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Run, Error> {
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
        let mut tell = |part, done| {
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
                Some(_) => &mut Silent,
            };
            let scores = segmenter.scores(samples, 0..range.len(), probe);
            for (window, scores) in range.clone().zip(scores.map_err(failed)?.outer_iter()) {
                activity
                    .index_axis_mut(Axis(0), window)
                    .assign(&powerset.decode(scores));
            }
            tell(Part::Segmentation, range.end);
            let speaking = activity.slice(s![range.clone(), .., ..]);
            let vectors = match &self.embedder {
                None => voices.describe(speaking),
                Some(embedder) => embedder.embed(samples, segmenter.windows(), speaking),
            };
            embeddings
                .slice_mut(s![range.clone(), .., ..])
                .assign(&vectors.map_err(failed)?);
            tell(Part::Embedding, range.end);
        }
        Ok(Run {
            uri: uri.to_owned(),
            samples: recording.length(),
            sample_rate: recording.sample_rate(),
            grid: segmenter.grid(),
            activity,
            embeddings,
            plda: self.plda.clone(),
            parameters: self.parameters.clone(),
            models: self.models.clone(),
        })
    }
}
