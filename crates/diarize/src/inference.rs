//! The outputs of the networks for a recording, and the turns that follow from them.

mod file;

use ndarray::{Array2, Array3, ArrayView1};
use serde::{Deserialize, Serialize};
use soundalike_convert::Bundle;
use soundalike_metrics::{Annotation, Turn};
use soundalike_network::Architecture;

use self::file::refuse;
use crate::{
    Parameters, SpeakerBounds,
    built_in::clustering::Clustering,
    clustering::{Method, SetupError},
    count::speaker_count,
    diarization::{Diarization, Model, Speaker, Warning},
    frames::FrameGrid,
    parameters::SpeakerClustering,
    reconstruction::{Assignment, at_most, clusters, reconstruct, speakers_with_phantoms},
    turns::{Numbering, label_turns, speaker_labels},
};

pub use file::InferenceError;

/// Clusters that the built-in clustering adds at most where some clusters get no turn.
const MAX_EXTRA_CLUSTERS: usize = 16;
/// Longest plausible window, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// The outputs of the networks for a recording: all that clustering needs, so that it can be repeated.
#[derive(Debug, Clone)]
pub struct Inference {
    header: Header,
    activity: Array3<f32>,
    embeddings: Array3<f32>,
    /// If the clustering needs one.
    plda: Option<Bundle>,
}

/// A run without its arrays. As JSON, the header of a saved run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// Version of the file format.
    pub(crate) format: u32,
    pub(crate) uri: String,
    /// Length of the recording.
    pub(crate) samples: usize,
    pub(crate) sample_rate: u32,
    pub(crate) grid: FrameGrid,
    pub(crate) parameters: Parameters,
    pub(crate) models: Vec<Model>,
    /// Version of this crate.
    pub(crate) version: String,
}

/// Options of [`Inference::diarize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiarizeOptions {
    /// Allowed numbers of speakers.
    pub speakers: SpeakerBounds,
    /// How speakers are numbered. [`Numbering::FirstSeen`] also drops *phantoms*: speakers without a cluster, which
    /// pyannote.audio adds where more speakers are active at once than there are clusters.
    pub numbering: Numbering,
}

impl Inference {
    /// A run of these outputs: see [`Self::activity`] and [`Self::embeddings`].
    ///
    /// # Errors
    /// [`InferenceError`] if there is no window, the arrays do not fit each other, the grid or the PLDA, a parameter has an
    /// invalid value, or the clustering cannot be set up.
    pub(crate) fn new(
        header: Header,
        activity: Array3<f32>,
        embeddings: Array3<f32>,
        plda: Option<Bundle>,
    ) -> Result<Self, InferenceError> {
        header.parameters.check()?;
        let FrameGrid {
            duration,
            step,
            window_duration,
            window_step,
        } = header.grid;
        for seconds in [duration, step, window_duration, window_step] {
            // A frame is at least a sample.
            if !(1.0 / f64::from(header.sample_rate)..=MAX_SECONDS).contains(&seconds) {
                let expected = format!("times from one sample to {MAX_SECONDS} s");
                return Err(refuse("grid", format!("{:?}", header.grid), expected));
            }
        }
        if window_step < step {
            let found = format!("windows every {window_step} s, frames every {step} s");
            return Err(refuse("grid", found, "no more windows than frames"));
        }
        let (windows, frames, speakers) = activity.dim();
        let [found, embedded] = [activity.shape(), embeddings.shape()].map(|x| format!("{x:?}"));
        for (name, array, found) in [
            ("segmentations", &activity, &found),
            ("embeddings", &embeddings, &embedded),
        ] {
            if array.is_empty() {
                return Err(refuse(name, found, "three axes, none of them empty"));
            }
        }
        if embeddings.shape()[..2] != [windows, speakers] {
            let expected = format!("[{windows}, {speakers}, dimension]");
            return Err(refuse("embeddings", embedded, expected));
        }
        let fit = header.grid.count(windows) - header.grid.first_frame(windows - 1);
        if frames > fit {
            let expected = format!("windows of at most {fit} frames, as many as fit on the grid");
            return Err(refuse("segmentations", found, expected));
        }
        if let SpeakerClustering::Pyannote(clustering) = &header.parameters.clustering {
            Method::new(clustering, plda.as_ref())?;
        }
        if let Some(Architecture::Plda(plda)) = plda.as_ref().map(Bundle::architecture)
            && plda.embedding_dim != embeddings.dim().2
        {
            let expected = format!("[.., .., {}], the input of the PLDA", plda.embedding_dim);
            return Err(refuse("embeddings", embedded, expected));
        }
        Ok(Self {
            header,
            activity,
            embeddings,
            plda,
        })
    }

    /// The same outputs with other `parameters`.
    ///
    /// # Errors
    /// [`InferenceError`] if one has an invalid value, or the clustering cannot be set up.
    pub fn with_parameters(self, parameters: Parameters) -> Result<Self, InferenceError> {
        let header = Header {
            parameters,
            ..self.header
        };
        Self::new(header, self.activity, self.embeddings, self.plda)
    }

    /// Name of the recording.
    pub fn uri(&self) -> &str {
        &self.header.uri
    }

    /// Length of the recording in seconds.
    pub fn duration(&self) -> f64 {
        self.header.samples as f64 / f64::from(self.header.sample_rate)
    }

    /// Parameters of the pipeline.
    pub fn parameters(&self) -> &Parameters {
        &self.header.parameters
    }

    /// Activity of each local speaker, 0 or 1, `[window, frame, local speaker]`.
    pub fn activity(&self) -> &Array3<f32> {
        &self.activity
    }

    /// Speaker embeddings, `[window, local speaker, dimension]`; zeros for a silent local speaker.
    pub fn embeddings(&self) -> &Array3<f32> {
        &self.embeddings
    }

    /// The speaker turns. pyannote.audio `SpeakerDiarization.apply`, from the clustering on.
    ///
    /// # Errors
    /// [`SetupError`] if the clustering cannot be set up.
    pub fn diarize(&self, options: &DiarizeOptions) -> Result<Diarization, SetupError> {
        let bounds = options.speakers;
        let (header, grid, uri) = (&self.header, &self.header.grid, self.uri());
        let activity = self.activity.view();
        let count = at_most(speaker_count(activity, grid).view(), bounds.max());
        let mut result = Diarization {
            turns: Annotation::new(uri),
            exclusive: Annotation::new(uri),
            speakers: Vec::new(),
            duration: self.duration(),
            warnings: Vec::new(),
            bounds,
            parameters: header.parameters.clone(),
            models: header.models.clone(),
        };
        let samples = header.samples;
        let needed = (grid.duration * f64::from(header.sample_rate)).round() as usize;
        if samples < needed {
            result.warnings.push(Warning::TooShort { samples, needed });
        }
        if count.iter().all(|count| *count == 0) {
            result.warnings.push(Warning::NoSpeech);
            return Ok(result);
        }
        let (assignment, centroids) = match &header.parameters.clustering {
            SpeakerClustering::BuiltIn { built_in_threshold } => {
                let assignment = self.built_in(*built_in_threshold, bounds, count.view());
                (assignment, None)
            }
            SpeakerClustering::Pyannote(config) => {
                let method = Method::new(config, self.plda.as_ref())?;
                let clusters = method.cluster(self.embeddings.view(), activity, bounds);
                result.warnings.extend(clusters.warnings);
                (clusters.assignment, Some(clusters.centroids))
            }
        };
        let speakers = match options.numbering {
            Numbering::FirstSeen => clusters(&assignment),
            Numbering::Pyannote => speakers_with_phantoms(&assignment, count.view()),
        };
        let active = reconstruct(activity, &assignment, speakers, count.view(), grid);
        let labels = speaker_labels(active.view(), options.numbering);
        let pause = header.parameters.min_duration_off;
        result.turns = label_turns(active.view(), &labels, pause, grid, uri);
        let one = at_most(count.view(), 1);
        let active = reconstruct(activity, &assignment, speakers, one.view(), grid);
        result.exclusive = label_turns(active.view(), &labels, pause, grid, uri);
        if options.numbering == Numbering::FirstSeen {
            // pyannote's turns may end in the padding of the last window.
            for turns in [&mut result.turns, &mut result.exclusive] {
                *turns = within(turns, result.duration);
            }
        }
        result.speakers = speakers_of(&result.turns, &labels, centroids.as_ref());

        let found = result.speakers.len();
        let (min, max) = (bounds.min(), bounds.max());
        let explained = |warning: &Warning| matches!(warning, Warning::TooFewEmbeddings { .. });
        if !result.warnings.iter().any(explained) {
            if found < min {
                result.warnings.push(Warning::TooFewSpeakers { found, min });
            } else if found > max {
                result
                    .warnings
                    .push(Warning::TooManySpeakers { found, max });
            }
        }
        let frames = count.iter().filter(|count| **count > found).count();
        if frames > 0 {
            result
                .warnings
                .push(Warning::DroppedVoices { frames, found });
        }
        Ok(result)
    }

    /// Clusters local speakers by the built-in embeddings.
    fn built_in(
        &self,
        threshold: f64,
        bounds: SpeakerBounds,
        count: ArrayView1<'_, usize>,
    ) -> Assignment {
        let (activity, grid) = (self.activity.view(), &self.header.grid);
        let clustering = Clustering::new(activity, self.embeddings.view(), grid, bounds);
        let speakers_with_turns = |assignment: &Assignment| {
            let active = reconstruct(activity, assignment, clusters(assignment), count, grid);
            let labels = speaker_labels(active.view(), Numbering::FirstSeen);
            labels.iter().flatten().count()
        };
        let most = clustering.max_clusters();
        let fewest = clustering.clusters_at(threshold);
        let fewest = fewest.clamp(bounds.min(), bounds.max()).min(most);
        let mut assignment = clustering.cut(fewest);
        // A cluster gets no turn if others are more active at all of its frames.
        for clusters in (fewest + 1..=most).take(MAX_EXTRA_CLUSTERS) {
            if speakers_with_turns(&assignment) >= bounds.min() {
                break;
            }
            let more = clustering.cut(clusters);
            if speakers_with_turns(&more) <= bounds.max() {
                assignment = more;
            }
        }
        assignment
    }
}

/// The turns, cut at the end of the recording.
fn within(turns: &Annotation, duration: f64) -> Annotation {
    let cut = turns.turns().iter().filter_map(|turn| {
        let end = turn.segment.end.min(duration);
        (turn.segment.start < end).then(|| Turn::new(turn.segment.start, end, &turn.speaker))
    });
    Annotation::from_turns(&turns.uri, cut)
}

/// The speakers who have turns, by label. `labels` and `centroids` are those of the clusters; a speaker without a
/// cluster has an embedding of zeros, as in pyannote.
fn speakers_of(
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
        let finite = centroid.iter().all(|value| value.is_finite());
        finite.then_some(centroid)
    };
    let speakers = turns.speakers().into_iter().map(|speaker| Speaker {
        embedding: embedding(&speaker.label),
        label: speaker.label,
        turns: speaker.turns,
        speaking_time: speaker.speaking_time,
    });
    speakers.collect()
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

    /// A run with 3.1's clustering. Each `(window, local speaker, frames, voice)` is active in those frames of the
    /// window and has the unit vector `voice` as embedding.
    fn run(
        windows: usize,
        speaking: &[(usize, usize, std::ops::Range<usize>, usize)],
    ) -> Inference {
        let mut activity = Array3::zeros((windows, FRAMES, 3));
        let mut embeddings = Array3::zeros((windows, 3, 16));
        for (window, local, frames, voice) in speaking {
            activity
                .slice_mut(s![*window, frames.clone(), *local])
                .fill(1.0);
            embeddings[[*window, *local, *voice]] = 1.0;
        }
        let header = Header {
            format: Header::FORMAT,
            uri: "talk".into(),
            samples: 50 * (windows + 1),
            sample_rate: 1,
            grid: GRID,
            parameters: Parameters {
                clustering: SpeakerClustering::Pyannote(Config::Agglomerative {
                    method: Linkage::Centroid,
                    min_cluster_size: 1,
                    threshold: 0.7,
                }),
                ..Parameters::built_in()
            },
            models: Vec::new(),
            version: Header::VERSION.into(),
        };
        Inference::new(header, activity, embeddings, None).unwrap()
    }

    fn options(min: usize, max: usize, numbering: Numbering) -> DiarizeOptions {
        DiarizeOptions {
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
    fn outputs_that_do_not_fit_each_other_are_refused() {
        let talk = run(2, &[(0, 0, 0..40, 0)]);
        for (activity, embeddings, expected) in [
            ((0, FRAMES, 3), (0, 3, 16), "`segmentations` is [0, 100, 3]"),
            ((2, FRAMES, 3), (2, 3, 0), "`embeddings` is [2, 3, 0]"),
            ((2, FRAMES, 3), (1, 3, 16), "expected [2, 3, dimension]"),
            ((2, 102, 3), (2, 3, 16), "windows of at most 101 frames"),
        ] {
            let (activity, embeddings) = (Array3::zeros(activity), Array3::zeros(embeddings));
            let run = Inference::new(talk.header.clone(), activity, embeddings, None);
            let error = run.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_recording_lasts_its_samples_at_their_rate() {
        let mut talk = run(3, &[]);
        (talk.header.samples, talk.header.sample_rate) = (4000, 16_000);
        assert_eq!(talk.duration(), 0.25);
    }

    #[test]
    fn turns_end_with_the_recording_but_for_pyannote() {
        let mut talk = run(1, &[(0, 0, 40..85, 0), (0, 1, 88..99, 1)]);
        talk.header.samples = 80;
        let ends = |numbering| {
            let result = talk.diarize(&options(1, 9, numbering)).unwrap();
            let ends = |turns: &Annotation| -> Vec<f64> {
                turns.turns().iter().map(|turn| turn.segment.end).collect()
            };
            (ends(&result.turns), ends(&result.exclusive))
        };
        // What lies behind the end is no turn.
        assert_eq!(ends(Numbering::FirstSeen), (vec![80.0], vec![80.0]));
        let (turns, exclusive) = ends(Numbering::Pyannote);
        assert_eq!((turns.len(), exclusive.len()), (2, 2));
        assert!(turns.iter().chain(&exclusive).all(|end| *end > 80.0));
    }

    #[test]
    fn silence_is_no_turns_and_a_warning() {
        for options in [
            DiarizeOptions::default(),
            options(2, 2, Numbering::Pyannote),
        ] {
            let result = run(3, &[]).diarize(&options).unwrap();
            assert!(result.turns.is_empty() && result.exclusive.is_empty());
            assert_eq!(
                (result.speakers.len(), result.warnings),
                (0, vec![Warning::NoSpeech])
            );
        }
    }

    #[test]
    fn a_recording_shorter_than_a_frame_has_a_warning() {
        let mut short = run(1, &[]);
        (short.header.samples, short.header.sample_rate) = (3, 10);
        let result = short.diarize(&DiarizeOptions::default()).unwrap();
        let warning = Warning::TooShort {
            samples: 3,
            needed: 10,
        };
        assert_eq!(result.warnings, [warning, Warning::NoSpeech]);
    }

    #[test]
    fn one_frame_of_speech_is_a_speaker_without_an_embedding() {
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
    fn more_speakers_than_voices_have_one_warning() {
        let talk = run(2, &[(0, 0, 0..40, 0), (1, 1, 60..99, 1)]);
        let result = talk.diarize(&options(5, 5, Numbering::FirstSeen)).unwrap();
        assert_eq!(result.speakers.len(), 2);
        let warning = Warning::TooFewEmbeddings {
            requested: 5,
            kept: 2,
        };
        assert_eq!(result.warnings, [warning]);
    }

    /// One voice, and another local speaker at the same time in the same cluster.
    fn with_phantom() -> Inference {
        run(1, &[(0, 0, 0..60, 0), (0, 1, 50..60, 0)])
    }

    #[test]
    fn phantoms_are_as_in_pyannote_or_dropped_with_a_warning() {
        let result = with_phantom()
            .diarize(&options(1, 9, Numbering::Pyannote))
            .unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00", "SPEAKER_01"]);
        assert_eq!(labels(&result.exclusive), ["SPEAKER_00"]);
        assert_eq!(result.speakers[1].embedding, Some(vec![0.0; 16]));
        assert_eq!(result.warnings, []);

        let result = with_phantom().diarize(&DiarizeOptions::default()).unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00"]);
        let warning = Warning::DroppedVoices {
            frames: 10,
            found: 1,
        };
        assert_eq!(result.warnings, [warning]);
    }

    #[test]
    fn no_more_speakers_at_once_than_requested() {
        let result = with_phantom()
            .diarize(&options(1, 1, Numbering::Pyannote))
            .unwrap();
        assert_eq!(labels(&result.turns), ["SPEAKER_00"]);
        assert_eq!(result.warnings, []);
    }

    #[test]
    fn embeddings_stay_with_their_speakers_in_either_numbering() {
        // The first in time is voice 1, the second voice 0.
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
    fn embeddings_of_silent_local_speakers_change_nothing() {
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
        talk.header.parameters.min_duration_off = 5.0;
        let result = talk.diarize(&DiarizeOptions::default()).unwrap();
        assert_eq!(
            (result.turns.turns().len(), result.exclusive.turns().len()),
            (1, 1)
        );
    }
}
