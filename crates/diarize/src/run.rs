//! What the networks said of a recording, and the turns that it gives.

use ndarray::{Array2, Array3, ArrayView1};
use soundalike_convert::Bundle;
use soundalike_metrics::Annotation;

use crate::{
    Parameters, SpeakerBounds,
    built_in::{clustering::Clustering, embedding::Embeddings},
    clustering::{self, Method, SetupError},
    count::speaker_count,
    diarization::{Diarization, Model, Speaker, Warning},
    frames::FrameGrid,
    parameters::SpeakerClustering,
    reconstruction::{Assignment, at_most, reconstruct, speakers_with_phantoms},
    turns::{Numbering, label_turns, speaker_labels},
};

/// Clusters that the built-in clustering tries beyond the fewest speakers asked for, where some of them get
/// no turn.
const MAX_EXTRA_CLUSTERS: usize = 16;

/// What the networks said of a recording: all that clustering needs, so that it can be done again.
#[derive(Debug, Clone)]
pub struct Run {
    /// Name of the recording.
    pub uri: String,
    /// Its length.
    pub samples: usize,
    /// Samples per second.
    pub sample_rate: u32,
    /// The frames of the recording, and where the windows lie on them.
    pub grid: FrameGrid,
    /// Who speaks in each window, 0 or 1, `[window, frame, local speaker]`.
    pub activity: Array3<f32>,
    /// What they sound like, `[window, local speaker, dimension]`; zeros for a silent one.
    pub embeddings: Array3<f32>,
    /// The PLDA, where the clustering needs it.
    pub plda: Option<Bundle>,
    /// The numbers it was made with, and that clustering goes by.
    pub parameters: Parameters,
    /// The models it was made with.
    pub models: Vec<Model>,
}

/// What a caller wants of the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// How many speakers there may be.
    pub speakers: SpeakerBounds,
    /// How they are numbered. By first appearance means, too, that there are no *phantoms*: where more people
    /// speak at once than there are clusters, pyannote.audio makes up speakers whom nobody has heard.
    pub numbering: Numbering,
}

impl Run {
    /// Seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.samples as f64 / f64::from(self.sample_rate)
    }

    /// Who spoke when. pyannote.audio `SpeakerDiarization.apply`, from the clustering on.
    ///
    /// # Errors
    /// [`SetupError`] where the clustering needs what is not there.
    pub fn diarize(&self, options: &Options) -> Result<Diarization, SetupError> {
        let bounds = options.speakers;
        let (activity, grid) = (self.activity.view(), &self.grid);
        let count = at_most(speaker_count(activity, grid).view(), bounds.max());
        let mut result = Diarization {
            turns: Annotation::new(&*self.uri),
            exclusive: Annotation::new(&*self.uri),
            speakers: Vec::new(),
            duration: self.duration(),
            warnings: Vec::new(),
            bounds,
            parameters: self.parameters.clone(),
            models: self.models.clone(),
        };
        let needed = (grid.duration * f64::from(self.sample_rate)).round() as usize;
        if self.samples < needed {
            let samples = self.samples;
            result.warnings.push(Warning::TooShort { samples, needed });
        }
        if count.iter().all(|count| *count == 0) {
            result.warnings.push(Warning::NoSpeech);
            return Ok(result);
        }
        let (assignment, centroids) = match &self.parameters.clustering {
            SpeakerClustering::BuiltIn { built_in_threshold } => {
                let assignment = self.built_in(*built_in_threshold, bounds, count.view());
                (assignment, None)
            }
            SpeakerClustering::Pyannote(config) => {
                let method = Method::new(config, self.plda.as_ref())?;
                let clusters = method.cluster(self.embeddings.view(), activity, bounds);
                let warnings = clusters.warnings.into_iter().map(Warning::Clustering);
                result.warnings.extend(warnings);
                (clusters.assignment, Some(clusters.centroids))
            }
        };
        let speakers = match options.numbering {
            Numbering::FirstSeen => clusters(&assignment),
            Numbering::Pyannote => speakers_with_phantoms(&assignment, count.view()),
        };
        let active = reconstruct(activity, &assignment, speakers, count.view(), grid);
        let labels = speaker_labels(active.view(), options.numbering);
        let pause = self.parameters.min_duration_off;
        result.turns = label_turns(active.view(), &labels, pause, grid, &self.uri);
        let one = at_most(count.view(), 1);
        let active = reconstruct(activity, &assignment, speakers, one.view(), grid);
        result.exclusive = label_turns(active.view(), &labels, pause, grid, &self.uri);
        result.speakers = described(&result.turns, &labels, centroids.as_ref());

        let found = result.speakers.len();
        let explained = |warning: &Warning| {
            matches!(
                warning,
                Warning::Clustering(clustering::Warning::TooFewEmbeddings { .. })
            )
        };
        if !bounds.contains(found) && !result.warnings.iter().any(explained) {
            let warning = Warning::SpeakersOutOfBounds { found, bounds };
            result.warnings.push(warning);
        }
        let frames = count.iter().filter(|count| **count > found).count();
        if frames > 0 {
            let speakers = found;
            let warning = Warning::MoreVoicesThanSpeakers { frames, speakers };
            result.warnings.push(warning);
        }
        Ok(result)
    }

    /// Which local speakers are one person, by the built-in embeddings.
    fn built_in(
        &self,
        threshold: f64,
        bounds: SpeakerBounds,
        count: ArrayView1<'_, usize>,
    ) -> Assignment {
        let (activity, grid) = (self.activity.view(), &self.grid);
        let embeddings = Embeddings::new(self.embeddings.clone(), activity);
        let clustering = Clustering::new(activity, &embeddings, grid, bounds);
        let heard = |assignment: &Assignment| {
            let active = reconstruct(activity, assignment, clusters(assignment), count, grid);
            let labels = speaker_labels(active.view(), Numbering::FirstSeen);
            labels.iter().flatten().count()
        };
        let most = clustering.max_clusters();
        let fewest = clustering.clusters_at(threshold);
        let fewest = fewest.clamp(bounds.min(), bounds.max()).min(most);
        let mut assignment = clustering.cut(fewest);
        // A cluster that nobody hears, because others are more active wherever it is, is no speaker.
        for clusters in (fewest + 1..=most).take(MAX_EXTRA_CLUSTERS) {
            if heard(&assignment) >= bounds.min() {
                break;
            }
            let more = clustering.cut(clusters);
            if heard(&more) <= bounds.max() {
                assignment = more;
            }
        }
        assignment
    }
}

/// Clusters that somebody is in, and those of lower number.
fn clusters(assignment: &Assignment) -> usize {
    assignment.iter().flatten().max().map_or(0, |last| last + 1)
}

/// Those who have turns, by label. A speaker who is no cluster has zeros for an embedding, as in pyannote.
fn described(
    turns: &Annotation,
    labels: &[Option<String>],
    centroids: Option<&Array2<f64>>,
) -> Vec<Speaker> {
    let embedding = |label: &str| {
        let centroids = centroids?;
        let column = labels.iter().position(|of| of.as_deref() == Some(label))?;
        if column >= centroids.nrows() {
            return Some(vec![0.0; centroids.ncols()]);
        }
        let centroid = centroids.row(column).to_vec();
        centroid
            .iter()
            .all(|value| value.is_finite())
            .then_some(centroid)
    };
    turns
        .speakers()
        .into_iter()
        .map(|speaker| Speaker {
            embedding: embedding(&speaker.label),
            label: speaker.label,
            turns: speaker.turns,
            speaking_time: speaker.speaking_time,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::s;
    use soundalike_convert::{Clustering as Config, Linkage};

    use super::*;

    const FRAMES: usize = 100;
    /// Windows of 100 frames every 50.
    const GRID: FrameGrid = FrameGrid {
        duration: 1.0,
        step: 1.0,
        window_duration: 100.0,
        window_step: 50.0,
    };

    /// A run of 3.1's clustering: in window `window`, for each `(window, local speaker, frames, voice)`,
    /// somebody with that voice speaks.
    fn run(windows: usize, speaking: &[(usize, usize, std::ops::Range<usize>, usize)]) -> Run {
        let mut activity = Array3::zeros((windows, FRAMES, 3));
        let mut embeddings = Array3::zeros((windows, 3, 16));
        for (window, local, frames, voice) in speaking {
            activity
                .slice_mut(s![*window, frames.clone(), *local])
                .fill(1.0);
            embeddings[[*window, *local, *voice]] = 1.0;
        }
        Run {
            uri: "talk".into(),
            samples: 50 * (windows + 1),
            sample_rate: 1,
            grid: GRID,
            activity,
            embeddings,
            plda: None,
            parameters: Parameters {
                clustering: SpeakerClustering::Pyannote(Config::Agglomerative {
                    method: Linkage::Centroid,
                    min_cluster_size: 1,
                    threshold: 0.7,
                }),
                ..Parameters::built_in()
            },
            models: Vec::new(),
        }
    }

    fn options(min: usize, max: usize, numbering: Numbering) -> Options {
        Options {
            speakers: SpeakerBounds::new(min, max).unwrap(),
            numbering,
        }
    }

    fn labels(annotation: &Annotation) -> Vec<&str> {
        annotation
            .turns()
            .iter()
            .map(|turn| turn.speaker.as_str())
            .collect()
    }

    #[test]
    fn silence_is_no_turns_and_a_warning() {
        for options in [Options::default(), options(2, 2, Numbering::Pyannote)] {
            let result = run(3, &[]).diarize(&options).unwrap();
            assert!(result.turns.is_empty() && result.exclusive.is_empty());
            assert_eq!(
                (result.speakers.len(), result.warnings),
                (0, vec![Warning::NoSpeech])
            );
        }
    }

    #[test]
    fn a_recording_shorter_than_a_frame_is_told_of() {
        let mut short = run(1, &[]);
        (short.samples, short.sample_rate) = (3, 10);
        let result = short.diarize(&Options::default()).unwrap();
        let warning = Warning::TooShort {
            samples: 3,
            needed: 10,
        };
        assert_eq!(result.warnings, [warning, Warning::NoSpeech]);
    }

    #[test]
    fn one_frame_of_speech_is_a_speaker_whose_voice_is_unknown() {
        for numbering in [Numbering::FirstSeen, Numbering::Pyannote] {
            let result = run(1, &[(0, 2, 40..41, 5)])
                .diarize(&options(1, 9, numbering))
                .unwrap();
            assert_eq!(labels(&result.turns), ["SPEAKER_00"]);
            assert_eq!(result.speakers[0].embedding, None);
            assert_eq!(
                (result.speakers[0].speaking_time, result.warnings.len()),
                (1.0, 0)
            );
        }
    }

    #[test]
    fn more_speakers_than_voices_are_told_of_once() {
        let talk = run(2, &[(0, 0, 0..40, 0), (1, 1, 60..99, 1)]);
        let result = talk.diarize(&options(5, 5, Numbering::FirstSeen)).unwrap();
        assert_eq!(result.speakers.len(), 2);
        let warning = clustering::Warning::TooFewEmbeddings { asked: 5, kept: 2 };
        assert_eq!(result.warnings, [Warning::Clustering(warning)]);
    }

    /// One voice, and somebody speaking along whom the clustering does not tell from it.
    fn with_phantom() -> Run {
        run(1, &[(0, 0, 0..60, 0), (0, 1, 50..60, 0)])
    }

    #[test]
    fn phantoms_are_as_in_pyannote_or_left_out_with_a_warning() {
        let result = with_phantom()
            .diarize(&options(1, 9, Numbering::Pyannote))
            .unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00", "SPEAKER_01"]);
        assert_eq!(labels(&result.exclusive), ["SPEAKER_00"]);
        assert_eq!(result.speakers[1].embedding, Some(vec![0.0; 16]));
        assert_eq!(result.warnings, []);

        let result = with_phantom().diarize(&Options::default()).unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00"]);
        let warning = Warning::MoreVoicesThanSpeakers {
            frames: 10,
            speakers: 1,
        };
        assert_eq!(result.warnings, [warning]);
    }

    #[test]
    fn never_more_speak_at_once_than_are_asked_for() {
        let result = with_phantom()
            .diarize(&options(1, 1, Numbering::Pyannote))
            .unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00"]);
        assert_eq!(result.warnings, []);
    }

    #[test]
    fn embeddings_stand_with_their_speakers_whatever_they_are_called() {
        // The voice heard first has the higher cluster: voice 1 founds cluster 0 in neither numbering.
        let talk = run(2, &[(0, 0, 0..40, 1), (1, 0, 60..99, 0)]);
        for numbering in [Numbering::FirstSeen, Numbering::Pyannote] {
            let result = talk.diarize(&options(2, 2, numbering)).unwrap();
            for speaker in &result.speakers {
                let turn = result
                    .turns
                    .turns()
                    .iter()
                    .find(|turn| turn.speaker == speaker.label);
                let voice = usize::from(turn.unwrap().segment.start < 50.0);
                let embedding = speaker.embedding.as_ref().unwrap();
                assert_eq!(
                    embedding.iter().position(|x| *x > 0.5),
                    Some(voice),
                    "{numbering:?}"
                );
            }
        }
    }

    #[test]
    fn what_a_silent_local_speaker_sounds_like_changes_nothing() {
        let speaking = [(0, 0, 0..40, 0), (0, 1, 50..90, 1), (1, 2, 0..40, 1)];
        let talk = run(3, &speaking);
        let expected = talk.diarize(&options(1, 9, Numbering::Pyannote)).unwrap();
        for value in [-1e3, 1.0, 1e3] {
            let mut other = talk.clone();
            for ((window, local, _), embedding) in other.embeddings.indexed_iter_mut() {
                if talk.activity.slice(s![window, .., local]).sum() == 0.0 {
                    *embedding = value;
                }
            }
            let result = other.diarize(&options(1, 9, Numbering::Pyannote)).unwrap();
            assert_eq!(
                (&result.turns, &result.exclusive),
                (&expected.turns, &expected.exclusive)
            );
            assert_eq!(result.speakers, expected.speakers);
        }
    }

    #[test]
    fn pauses_are_filled_in_both_kinds_of_turns() {
        let mut talk = run(1, &[(0, 0, 0..40, 0), (0, 1, 44..90, 0)]);
        talk.parameters.min_duration_off = 5.0;
        let result = talk.diarize(&Options::default()).unwrap();
        assert_eq!(
            (result.turns.turns().len(), result.exclusive.turns().len()),
            (1, 1)
        );
    }
}
