//! The stages in order.

use ndarray::{Array3, Axis, s};
use soundalike_convert::Bundle;
use soundalike_metrics::Annotation;
use soundalike_model::{DType, Device};

use crate::{
    audio::Audio,
    built_in::{
        clustering::{Clustering, DEFAULT_THRESHOLD},
        embedding::Embeddings,
    },
    clustering::SpeakerBounds,
    count::speaker_count,
    reconstruction::reconstruct,
    segmentation::{Segmenter, SetupError, to_array},
    turns::to_annotation,
};

/// Windows that go through the network together. More of them cost memory and gain little.
const BATCH: usize = 8;

/// Clusters that are tried beyond the fewest speakers asked for, where some of them get no turn.
const MAX_EXTRA_CLUSTERS: usize = 16;

/// What a caller may choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How many speakers there may be.
    pub speakers: SpeakerBounds,
    /// Average cosine distance up to which clusters of local speakers are joined, 0 to 2.
    pub threshold: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            speakers: SpeakerBounds::default(),
            threshold: DEFAULT_THRESHOLD,
        }
    }
}

/// Who spoke when.
#[derive(Debug, Clone)]
pub struct Diarization {
    /// The turns.
    pub annotation: Annotation,
    /// What the caller should know of them.
    pub warnings: Vec<Warning>,
}

/// Something that went differently than asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// In some frames more people speak at once than there are speakers; the others have no name.
    MoreVoicesThanSpeakers {
        /// Frames.
        frames: usize,
        /// Speakers found.
        speakers: usize,
    },
    /// Other than the number of speakers asked for.
    SpeakersOutOfBounds {
        /// Speakers found.
        found: usize,
        /// Speakers asked for.
        bounds: SpeakerBounds,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MoreVoicesThanSpeakers { frames, speakers } => write!(
                f,
                "in {frames} frame(s) more people speak at once than the {speakers} found: the others are left out"
            ),
            Self::SpeakersOutOfBounds { found, bounds } => write!(
                f,
                "found {found} speaker(s), not the {} or more asked for: there is too little speech",
                bounds.min()
            ),
        }
    }
}

/// Why a recording could not be diarized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recording has another sample rate than the network.
    #[error("the recording has {found} samples per second, expected {expected}")]
    SampleRate {
        /// Of the network.
        expected: u32,
        /// Of the recording.
        found: u32,
    },
    /// The recording is shorter than what one frame of the network sees.
    #[error(
        "the recording has {samples} samples at {sample_rate} Hz, expected at least {needed}, what one frame of the network sees"
    )]
    TooShort {
        /// Samples of the recording.
        samples: usize,
        /// Samples per second.
        sample_rate: u32,
        /// Samples that one frame sees.
        needed: usize,
    },
    /// The network failed.
    #[error("the segmentation network failed: {0}")]
    Network(#[from] soundalike_model::TensorError),
}

/// The whole pipeline.
#[derive(Debug, Clone)]
pub struct Diarizer {
    segmenter: Segmenter,
}

impl Diarizer {
    /// The pipeline around the segmentation network of `bundle`.
    ///
    /// # Errors
    /// [`SetupError`] where the bundle holds something else.
    pub fn new(bundle: &Bundle, dtype: DType, device: &Device) -> Result<Self, SetupError> {
        Ok(Self {
            segmenter: Segmenter::new(bundle, dtype, device)?,
        })
    }

    /// Samples per second that it expects.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.segmenter.sample_rate()
    }

    /// Who spoke when in the recording `uri`. `progress` is told how many windows are done, of how many.
    ///
    /// # Errors
    /// [`Error`] where the recording has another sample rate, is too short for a frame or the device fails.
    pub fn diarize(
        &self,
        uri: &str,
        audio: &Audio,
        options: &Options,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Diarization, Error> {
        if audio.sample_rate != self.sample_rate() {
            return Err(Error::SampleRate {
                expected: self.sample_rate(),
                found: audio.sample_rate,
            });
        }
        let (samples, needed) = (audio.samples.len(), self.segmenter.receptive_field());
        if samples < needed {
            return Err(Error::TooShort {
                samples,
                sample_rate: audio.sample_rate,
                needed,
            });
        }
        let grid = self.segmenter.grid();
        let (activity, embeddings) = self.listen(&audio.samples, progress)?;
        let count = speaker_count(activity.view(), &grid);
        let bounds = options.speakers;
        let clustering = Clustering::new(activity.view(), &embeddings, &grid, bounds);
        let turns = |clusters: usize| {
            let assignment = clustering.cut(clusters);
            let active = reconstruct(activity.view(), &assignment, clusters, count.view(), &grid);
            to_annotation(active.view(), &grid, uri)
        };
        let clusters = clustering.clusters_at(options.threshold);
        let clusters = clusters
            .clamp(bounds.min(), bounds.max())
            .min(clustering.max_clusters());
        let mut annotation = turns(clusters);
        // A cluster that nobody hears, because others are more active wherever it is, is no speaker.
        for clusters in (clusters + 1..=clustering.max_clusters()).take(MAX_EXTRA_CLUSTERS) {
            if annotation.labels().len() >= bounds.min() {
                break;
            }
            let more = turns(clusters);
            if more.labels().len() <= bounds.max() {
                annotation = more;
            }
        }
        let found = annotation.labels().len();
        let mut warnings = Vec::new();
        if found > 0 && !bounds.contains(found) {
            warnings.push(Warning::SpeakersOutOfBounds { found, bounds });
        }
        let nameless = count.iter().filter(|count| **count > found).count();
        if found > 0 && nameless > 0 {
            warnings.push(Warning::MoreVoicesThanSpeakers {
                frames: nameless,
                speakers: found,
            });
        }
        Ok(Diarization {
            annotation,
            warnings,
        })
    }

    /// Runs the network over the recording: who speaks in each window, and what they sound like.
    fn listen(
        &self,
        samples: &[f32],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(Array3<f32>, Embeddings), Error> {
        let (segmenter, powerset) = (&self.segmenter, self.segmenter.powerset());
        let windows = segmenter.windows().count(samples.len());
        let mut activity = Array3::zeros((windows, segmenter.frames(), powerset.num_speakers()));
        let mut embeddings =
            Embeddings::new(windows, powerset.num_speakers(), segmenter.voice_features());
        progress(0, windows);
        for start in (0..windows).step_by(BATCH) {
            let range = start..windows.min(start + BATCH);
            let mut voices = segmenter.voice_probe();
            let scores = segmenter.scores(samples, range.clone(), &mut voices)?;
            let features = to_array(&voices.features()?)?;
            for (index, window) in range.clone().enumerate() {
                let speaking = powerset.decode(scores.index_axis(Axis(0), index));
                embeddings.push(speaking.view(), features.index_axis(Axis(0), index));
                activity.slice_mut(s![window, .., ..]).assign(&speaking);
            }
            progress(range.end, windows);
        }
        Ok((activity, embeddings))
    }
}
