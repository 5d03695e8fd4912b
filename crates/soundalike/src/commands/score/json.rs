//! Scores for programs: rates as fractions, times in seconds, all digits. Schema 1: keys may be added, not renamed.
//!
//! ```text
//! {"schema": 1,
//!  "uem": null | "the path given",
//!  "reports": [one for each convention: one, or with --all pyannote, md-eval, dscore
//!   {"convention": "pyannote" | "md-eval" | "dscore",
//!    "options": {"collar": as given, "skip_overlap": false, "mapping": "optimal" | "greedy"},
//!    "collar_per_side": seconds,
//!    "recordings": [
//!     {"uri": "...", "figures": FIGURES,
//!      "mapping": [["hypothesis label", "reference label"], ...],
//!      "speaker_count": {"reference": 2, "hypothesis": 2},
//!      "reference_speakers": [{"label": "...", "turns": 7, "speaking_time": seconds}, ...],
//!      "hypothesis_speakers": [the same]}, ...],
//!    "pooled": FIGURES,
//!    "der": null | {"recordings": 3, "min", "lower_quartile", "median", "upper_quartile", "max", "mean"},
//!    "jer": null | the same,
//!    "notes": [{"kind": "no-hypothesis" | "no-reference" | "not-in-uem", "uri": "..."}
//!              | {"kind": "other-name", "reference": "...", "hypothesis": "..."}, ...]}],
//!  "differences": null | with --all [{"uri": "...", "reasons": [{"kind": "...", its numbers, "text": "..."}, ...]}, ...]}
//!
//! FIGURES: {"der": null | rate, "jer": null | rate,
//!           "components": {"missed_detection", "false_alarm", "confusion", "correct", "total"},
//!           "purity", "coverage", "purity_coverage_f",
//!           "detection": {"seconds": {"true_positive", "true_negative", "false_positive", "false_negative", "total"},
//!                         "error_rate", "accuracy", "precision", "recall", "f1"},
//!           "speaker_count_error"}
//! ```

use serde::Serialize;
use soundalike_metrics::{Reason, ScoreReport};

use super::scores::Scores;

/// Version of the keys.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    uem: Option<&'a str>,
    reports: &'a [ScoreReport],
    differences: Option<Vec<Difference<'a>>>,
}

#[derive(Serialize)]
struct Difference<'a> {
    uri: &'a str,
    reasons: Vec<Explained<'a>>,
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    reason: &'a Reason,
    text: String,
}

pub(super) fn render(scores: &Scores) -> anyhow::Result<String> {
    let explained = |reason| Explained {
        reason,
        text: Reason::to_string(reason),
    };
    let differences = scores.differences.as_ref().map(|differences| {
        let recordings = scores.recordings.iter().zip(differences);
        let difference = recordings.map(|(recording, reasons)| Difference {
            uri: &recording.reference.uri,
            reasons: reasons.iter().map(explained).collect(),
        });
        difference.collect()
    });
    let document = Document {
        schema: SCHEMA,
        uem: scores.uem.as_deref(),
        reports: &scores.reports,
        differences,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
