//! Whole pipelines, from audio to RTTM, against what pyannote.audio computed with the same models.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed, and the figures are shown with --show-output"
)]

mod support;

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1, Axis};
use ndarray_npy::ReadNpyExt;
use soundalike_convert::PipelineDirectory;
use soundalike_diarize::{
    Diarization, DiarizeOptions, Diarizer, Inference, Overrides, Recording, audio::Audio,
    turns::Numbering,
};
use soundalike_metrics::{Annotation, rttm};
use soundalike_model::Engine;
use support::{assets, data::captures};

/// Of an embedding: f32 through a network of 33 convolutions, where PyTorch and we differ by some 1e-6 of each
/// value.
const MIN_COSINE: f64 = 1.0 - 1e-6;
/// As pyannote numbers speakers.
const PYANNOTE: DiarizeOptions = DiarizeOptions {
    speakers: soundalike_diarize::SpeakerBounds::ANY,
    numbering: Numbering::Pyannote,
};

/// Recordings that pyannote has diarized, by name.
fn recordings(assets: &Path, expected: &Path) -> Vec<(String, PathBuf)> {
    let mut names: Vec<String> = std::fs::read_dir(expected)
        .expect("results of pyannote")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().ok()?;
            Some(name.strip_suffix(".embeddings.npy")?.to_owned())
        })
        .collect();
    names.sort();
    let audio = |name: &String| match assets.join(format!("pyannote-captures/{name}/clip_16k.wav"))
    {
        path if path.is_file() => path,
        _ => assets.join(format!("audio/{name}.wav")),
    };
    names
        .iter()
        .map(|name| (name.clone(), audio(name)))
        .collect()
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sample.wav")
}

fn pipeline(path: &Path) -> (PipelineDirectory, Diarizer) {
    let pipeline = PipelineDirectory::read(path).unwrap_or_else(|error| panic!("{error}"));
    let diarizer = Diarizer::from_pipeline(&pipeline, &Overrides::default(), &Engine::default());
    (pipeline, diarizer.unwrap_or_else(|error| panic!("{error}")))
}

fn infer(diarizer: &Diarizer, name: &str, path: &Path) -> Inference {
    let recording = Recording::open(path, diarizer.sample_rate());
    let mut recording = recording.unwrap_or_else(|error| panic!("{error}"));
    let run = diarizer.infer(name, &mut recording, &mut |_| {});
    run.unwrap_or_else(|error| panic!("{error}"))
}

fn lines(annotation: &Annotation) -> String {
    let mut bytes = Vec::new();
    rttm::write(annotation, &mut bytes).expect("a vector can be written to");
    String::from_utf8(bytes).expect("text")
}

fn cosine(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
}

/// The smallest cosine of a speaker's embedding to that of pyannote. Phantoms are zeros in both.
fn least_cosine(ours: &Diarization, expected: &Path, name: &str) -> f64 {
    let bytes = std::fs::read(expected.join(format!("{name}.embeddings.npy"))).expect("embeddings");
    // VBx weighs them in f64, the agglomerative clustering averages them in f32.
    let theirs = Array2::<f64>::read_npy(&bytes[..])
        .or_else(|_| Array2::<f32>::read_npy(&bytes[..]).map(|theirs| theirs.mapv(f64::from)))
        .expect("embeddings");
    assert_eq!(ours.speakers.len(), theirs.nrows(), "{name}");
    let pairs = ours.speakers.iter().zip(theirs.axis_iter(Axis(0)));
    pairs
        .map(|(ours, theirs)| match &ours.embedding {
            Some(ours) if theirs.iter().any(|x| *x != 0.0) => {
                cosine(ArrayView1::from(ours), theirs)
            }
            Some(ours) => f64::from(ours.iter().all(|x| *x == 0.0)),
            None => f64::from(theirs.iter().all(|x| x.is_nan())),
        })
        .fold(1.0, f64::min)
}

/// Of one embedding, relative to its length.
fn relative_difference(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    let difference = &a - &b;
    (difference.dot(&difference) / b.dot(&b).max(f32::MIN_POSITIVE)).sqrt()
}

/// Asserts that two pipelines, of the same networks and different clusterings, give pyannote's turns.
fn assert_is_pyannote(pipelines: &[PathBuf; 2], recordings: Vec<(String, PathBuf)>) {
    let [(_, first), (second, other)] = pipelines.each_ref().map(|path| pipeline(path));
    let mut differing = Vec::new();
    for (name, path) in recordings {
        let mut run = infer(&first, &name, &path);
        for (index, pipeline) in pipelines.iter().enumerate() {
            if index == 1 {
                // The networks are the same, so their outputs are.
                assert_eq!(other.models()[..2], first.models()[..2]);
                run = run.with_parameters(second.config().into()).expect("a run");
            }
            let ours = run
                .diarize(&PYANNOTE)
                .unwrap_or_else(|error| panic!("{error}"));
            let expected = pipeline.join("expected");
            let pipeline = pipeline.display();
            for (kind, annotation) in [("", &ours.turns), (".exclusive", &ours.exclusive)] {
                let theirs = std::fs::read_to_string(expected.join(format!("{name}{kind}.rttm")));
                let (ours, theirs) = (lines(annotation), theirs.expect("a result of pyannote"));
                println!("{pipeline} {name}{kind}: {} lines", theirs.lines().count());
                for line in ours.lines().filter(|line| !theirs.contains(line)) {
                    differing.push(format!("{pipeline} {name}{kind}: only ours: {line}"));
                }
                if ours != theirs {
                    differing.push(format!("{pipeline} {name}{kind}: another text"));
                }
            }
            let cosine = least_cosine(&ours, &expected, &name);
            println!("{pipeline} {name}: least cosine 1 - {:.1e}", 1.0 - cosine);
            assert!(cosine > MIN_COSINE, "{pipeline} {name}: {cosine}");
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_sample_becomes_pyannotes_turns_with_both_pipelines() {
        let folder = captures().join("pipelines");
        let pipelines = ["vbx", "agglomerative"].map(|name| folder.join(name));
        assert_is_pyannote(&pipelines, vec![("sample".to_owned(), sample())]);
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn what_a_window_gives_does_not_depend_on_its_batch_or_its_neighbours() {
        let (_, diarizer) = pipeline(&captures().join("pipelines/vbx"));
        let audio = Audio::read(&sample(), diarizer.sample_rate());
        let mut audio = audio.unwrap_or_else(|error| panic!("{error}"));
        // Six to eighteen seconds: speech from the first window on, padding in none.
        audio.samples = audio.samples[96_000..288_000].to_vec();
        let together = diarizer
            .infer("x", &mut audio.clone().into(), &mut |_| {})
            .expect("a run");
        assert_eq!(together.activity().dim(), (3, 589, 3));
        for window in 0..3 {
            let mut alone = audio.clone();
            alone.samples = audio.samples[window * 16_000..][..160_000].to_vec();
            let alone = diarizer
                .infer("x", &mut alone.into(), &mut |_| {})
                .expect("a run");
            assert_eq!(
                alone.activity().index_axis(Axis(0), 0),
                together.activity().index_axis(Axis(0), window)
            );
            for speaker in 0..3 {
                let [a, b] = [(&alone, 0), (&together, window)]
                    .map(|(run, window)| run.embeddings().slice(ndarray::s![window, speaker, ..]));
                // f32 sums of up to 2304 terms in another order.
                assert!(
                    relative_difference(a, b) < 1e-5,
                    "window {window}, speaker {speaker}"
                );
            }
        }
    }
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn audio_becomes_pyannotes_turns_with_both_pipelines() {
        let assets = assets();
        let folder = assets.join("pipelines");
        let pipelines = ["community-1-synthetic", "3.1-synthetic"].map(|name| folder.join(name));
        let recordings = recordings(&assets, &pipelines[0].join("expected"));
        assert_is_pyannote(&pipelines, recordings);
    }
}
