//! `soundalike attribute`, as a user runs it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic like the tests themselves"
)]

#[path = "../crates/convert/tests/support/mod.rs"]
mod checkpoint;
mod support;

use std::path::Path;

use checkpoint::assets;
use serde_json::Value;
use support::soundalike;

/// `attribute` of two directories with a pipeline's clustering, and more words.
fn attribute(reference: &Path, candidate: &Path, pipeline: &Path, more: &[&str]) -> support::Run {
    let [reference, candidate, pipeline] =
        [reference, candidate, pipeline].map(|path| path.display().to_string());
    let words = ["attribute", &reference, &candidate, "--model", &pipeline];
    soundalike(words.iter().chain(more))
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn a_run_compared_with_itself_costs_nothing_at_any_stage() {
        let assets = assets();
        let capture = assets.join("pyannote-captures/03_dual_speaker");
        let pipeline = assets.join("pipelines/community-1-synthetic");
        let text = attribute(&capture, &capture, &pipeline, &[]).ok();
        assert!(
            text.contains(
                "No stage of the candidate changes a turn of the reference. The reference has 2"
            ),
            "{text}"
        );
        let json = attribute(&capture, &capture, &pipeline, &["--format", "json"]).ok();
        let json: Value = serde_json::from_str(&json).unwrap();
        let splices = json["splices"].as_array().unwrap();
        let stages: Vec<_> = splices.iter().map(|splice| &splice["stage"]).collect();
        let expected = [
            "segmentation",
            "counts",
            "embeddings",
            "plda",
            "ahc",
            "vbx",
            "assignment",
        ];
        assert_eq!(stages, expected);
        for splice in splices {
            assert_eq!(splice["outcome"]["score"]["der"], 0.0, "{splice}");
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn what_cannot_be_spliced_is_refused_in_one_line() {
        let assets = assets();
        let capture = assets.join("pyannote-captures/03_dual_speaker");
        let (community_1, older) = (
            assets.join("pipelines/community-1-synthetic"),
            assets.join("pipelines/3.1-synthetic"),
        );
        let empty = tempfile::tempdir().unwrap();
        let damaged = tempfile::tempdir().unwrap();
        let file = damaged.path().join("raw_embeddings.npz");
        std::fs::write(file, "PK\u{3}\u{4} and no more").unwrap();
        let cases = [
            (
                &*capture,
                empty.path(),
                &*community_1,
                "has no stage output",
            ),
            (
                empty.path(),
                &*capture,
                &*community_1,
                "has no segmentation",
            ),
            (
                &*capture,
                damaged.path(),
                &*community_1,
                "raw_embeddings.npz",
            ),
            (
                &*capture,
                &*capture,
                &*older,
                "does not cluster by VBxClustering",
            ),
        ];
        for (reference, candidate, pipeline, part) in cases {
            let problem = attribute(reference, candidate, pipeline, &[]).no_refusal(&[part]);
            assert_eq!(problem, None, "{part}");
        }
        let run = soundalike(["attribute", "a", "b"]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
    }
}
