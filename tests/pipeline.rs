//! `soundalike diarize --model` on whole pipelines.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use std::{fs, path::Path};

use support::{Encoding, RATE, all_pass, annotation, clip, names, soundalike_in, wav};

/// A pipeline's configuration around captured models.
fn config(captures: &Path, clustering: &str, parameters: &str) -> String {
    let models = captures.join("pipelines/vbx");
    let models = models.display();
    format!(
        "pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: {clustering}
    segmentation: {models}/segmentation
    embedding: {models}/embedding
    embedding_exclude_overlap: true
    plda: {models}/plda
params:
  clustering: {{{parameters}}}
  segmentation: {{min_duration_off: 0.0}}
"
    )
}

const COMMUNITY_1: (&str, &str) = ("VBxClustering", "threshold: 0.6, Fa: 0.07, Fb: 0.8");

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn a_pipeline_gives_the_same_as_it_is_converted_and_from_a_saved_run() {
        let captures = checkpoint::captures();
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        fs::write(here.join("a.wav"), clip(4.0, 15.0)).unwrap();
        let original = captures.join("pipelines/vbx");
        let original = original.display();
        soundalike_in(here, &format!("convert -q {original} -o converted")).ok();
        let json = "--labels pyannote --format json --tracks";
        let run = soundalike_in(
            here,
            &format!("diarize a.wav --model {original} {json} --save-run a.safetensors"),
        );
        assert_eq!(run.stderr, "", "no fallback, no warning");
        let expected = run.ok();
        for words in [
            format!("diarize a.wav --model converted {json}"),
            format!("recluster a.safetensors {json}"),
        ] {
            let run = soundalike_in(here, &words);
            assert_eq!(run.stderr, "", "{words}");
            assert_eq!(run.ok(), expected, "{words}");
        }

        let json: serde_json::Value = serde_json::from_str(&expected).unwrap();
        let parts: Vec<_> = json["models"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| &model["part"])
            .collect();
        assert_eq!(parts, ["segmentation", "embedding", "plda"]);
        let embedding = json["speakers"][0]["embedding"].as_array().unwrap();
        assert_eq!(embedding.len(), 256);
        let clustering = serde_json::json!({"threshold": 0.6, "Fa": 0.07, "Fb": 0.8});
        assert_eq!(json["parameters"]["clustering"]["parameters"], clustering);

        // Options override the configuration, also of a saved run.
        let overridden = soundalike_in(
            here,
            "recluster a.safetensors --format json --fa 0.5 --threshold 1.5 --min-duration-off 2",
        );
        let json: serde_json::Value = serde_json::from_str(&overridden.ok()).unwrap();
        let clustering = serde_json::json!({"threshold": 1.5, "Fa": 0.5, "Fb": 0.8});
        assert_eq!(json["parameters"]["clustering"]["parameters"], clustering);
        assert_eq!(json["parameters"]["min_duration_off"], 2.0);
        let forced = soundalike_in(here, "recluster -q a.safetensors --num-speakers 3");
        assert_eq!(annotation(&forced.ok()).labels().len(), 3);
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn recordings_that_crash_pyannote_get_a_result_and_a_warning() {
        let captures = checkpoint::captures();
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let model = captures.join("pipelines/vbx");
        let silence = |samples| wav(Encoding::I16, RATE, 1, &vec![0.0; samples]);
        fs::write(here.join("silence.wav"), silence(100_000)).unwrap();
        fs::write(here.join("tiny.wav"), silence(100)).unwrap();
        fs::write(here.join("short.wav"), clip(0.5, 2.0)).unwrap();
        let mut failures = Vec::new();
        for (words, speakers, warning) in [
            ("silence.wav", 0, "silence.wav: no speech found"),
            (
                "silence.wav --num-speakers 2",
                0,
                "silence.wav: no speech found",
            ),
            (
                "tiny.wav",
                0,
                "tiny.wav: has 100 samples, fewer than the 991",
            ),
            ("short.wav", 1, ""),
            ("short.wav --num-speakers 4", 1, "4 speakers requested"),
        ] {
            let words = format!("diarize {words} --model {}", model.display());
            let run = soundalike_in(here, &words);
            if !(run.stderr.contains(warning) && run.stderr.is_empty() == warning.is_empty()) {
                failures.push(format!("{words}: {}", run.stderr));
            }
            let found = annotation(&run.ok()).labels().len();
            if found != speakers {
                failures.push(format!("{words}: {found} speakers"));
            }
        }
        all_pass(failures);
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn what_is_no_diarization_pipeline_is_refused() {
        let captures = checkpoint::captures();
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        fs::write(here.join("a.wav"), clip(0.0, 2.0)).unwrap();
        fs::create_dir(here.join("p")).unwrap();
        let config =
            |(clustering, parameters): (&str, &str)| config(&captures, clustering, parameters);
        let community_1 = config(COMMUNITY_1);
        let threshold = "method: centroid, min_cluster_size: 12, threshold: 0.7";
        let changed = |from: &str, to: &str| {
            assert!(community_1.contains(from));
            community_1.replace(from, to)
        };
        let mut failures = Vec::new();
        for (yaml, options, parts) in [
            (
                changed("SpeakerDiarization", "VoiceActivityDetection"),
                "",
                &[
                    "p/config.yaml",
                    "pipelines.VoiceActivityDetection, expected",
                    "SpeakerDiarization",
                ][..],
            ),
            (
                config(("OracleClustering", "")),
                "",
                &["OracleClustering needs the true speakers"],
            ),
            (
                changed("/embedding\n", "/segmentation\n"),
                "",
                &["PyanNet", "embedding"],
            ),
            (changed("0.07", "-1.0"), "", &["clustering.Fa", "-1"]),
            (
                config(("AgglomerativeClustering", threshold)),
                " --fa 0.1",
                &["--fa is not a parameter of AgglomerativeClustering"],
            ),
            (
                changed("threshold: 0.6", "threshold: 7"),
                "",
                &["p: configuration: threshold is 7, expected"],
            ),
            (community_1.clone(), " --fb 0", &["--fb is 0, expected"]),
            (community_1.clone(), " --step 2", &["--step is 2, expected"]),
            (
                community_1.clone(),
                " --step 0.001",
                &["step is 0.001, expected"],
            ),
        ] {
            fs::write(here.join("p/config.yaml"), yaml).unwrap();
            let words = format!("diarize a.wav --model p -o out.rttm{options}");
            failures.extend(
                soundalike_in(here, &words)
                    .no_refusal(parts)
                    .map(|failure| format!("{words}: {failure}")),
            );
        }
        all_pass(failures);
        assert_eq!(names(here), ["a.wav", "p"]);
    }
}
