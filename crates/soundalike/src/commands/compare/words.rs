//! The result of a comparison in words.

use std::{collections::BTreeSet, fmt::Write};

use soundalike_compare::{
    EmbeddingAgreement, EngineInfo, Figure, OutputAgreement, Report, StageError, StageReport,
    Verdict,
};
use soundalike_torch::BUILT;

use crate::document::Item;

/// How an error is judged: by R, or by R_d where the candidate has fewer bits than f32.
pub(super) fn measure(error: &StageError) -> f64 {
    error.r_d.unwrap_or(error.r)
}

/// What [`measure`] is called in `report`.
pub(super) fn measured(report: &Report) -> &'static str {
    let forced = report.stages.iter().map(|stage| &stage.teacher_forced);
    let free = report.stages.iter().map(|stage| &stage.free_running);
    let mut errors = forced.chain(free).flatten();
    if errors.any(|error| error.r_d.is_some()) {
        "R_d"
    } else {
        "R"
    }
}

/// Names that a sentence lists.
pub(super) const LISTED: usize = 6;

/// `segmentation-3.0: candle-cpu against torch`.
pub(super) fn title(report: &Report) -> String {
    format!(
        "{}: {} against {}",
        report.model, report.candidate, report.reference
    )
}

/// By what and on what: inputs, versions, processor, threads, arithmetic of both sides.
pub(super) fn provenance(report: &Report) -> Vec<String> {
    let of = &report.provenance;
    vec![
        format!(
            "on {}",
            listed(report.inputs.iter().map(ToString::to_string))
        ),
        format!(
            "soundalike {}, {}, {} threads",
            of.soundalike, of.cpu, of.threads
        ),
        format!("reference: {}", engine(&of.reference)),
        format!("candidate: {}", engine(&of.candidate)),
    ]
}

/// The versions that computed something; the JSON has the others too.
const COMPUTING: [&str; 3] = ["pyannote.audio", "torch", "soundalike"];

fn engine(info: &EngineInfo) -> String {
    let versions = COMPUTING.iter().filter_map(|name| {
        let version = info.versions.get(*name)?;
        Some(format!("{name} {version}"))
    });
    let threads = info.threads.map(|threads| match threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    });
    let verified = info.verified.as_ref().map(|capture| {
        format!(
            "verified against pyannote.audio {} on {} ({})",
            capture.pyannote_audio,
            capture.model,
            short(&capture.sha256)
        )
    });
    let what = [&info.engine, &info.dtype].map(String::as_str);
    let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
    let mut parts = vec![match (what.as_slice(), info.device.as_str()) {
        ([], _) => "does not say what it is".to_owned(),
        (what, "") => what.join(", "),
        (what, device) => format!("{} on {device}", what.join(", ")),
    }];
    parts.extend(
        versions
            .chain(info.cpu.clone())
            .chain(threads)
            .chain(verified),
    );
    parts.join(", ")
}

/// The start of a SHA-256, enough to tell files apart.
pub(super) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// What all of it means.
pub(super) fn verdict(report: &Report) -> Verdict {
    report
        .stages
        .iter()
        .map(|stage| stage.verdict)
        .max()
        .unwrap_or(Verdict::NotObserved)
}

/// What is wrong, or that nothing is, with the evidence.
pub(super) fn finding(report: &Report) -> String {
    let Some((name, stage)) = report.source.first().and_then(|name| {
        Some((
            name,
            report.stages.iter().find(|stage| stage.name == *name)?,
        ))
    }) else {
        return inconclusive(report).unwrap_or_else(|| closest(report));
    };
    let mut words = if let Some(error) = &stage.teacher_forced {
        format!(
            "Not rounding: {name} is wrong. Fed with the reference's own input, its error is {} times {}{} ({})",
            Figure(measure(error)),
            rounding(report),
            match error.r_d {
                None => format!(", {} times at its worst", Figure(error.r_local)),
                Some(_) => String::new(),
            },
            place(report, error)
        )
    } else if let Some(error) = &stage.free_running {
        format!(
            "Not rounding: {name} is the first stage that is wrong, its error {} times {} ({}); those after it may be \
             its victims",
            Figure(measure(error)),
            rounding(report),
            place(report, error)
        )
    } else {
        format!("{name} is wrong")
    };
    if let Some(diagnosis) = &report.diagnosis {
        let next = diagnosis
            .runner_up
            .as_ref()
            .map(|second| format!("; next comes {}, R {}", second.cause, Figure(second.r)));
        let _ = write!(
            words,
            ". It is {} (R {}{})",
            diagnosis.text,
            Figure(diagnosis.r),
            next.unwrap_or_default()
        );
    }
    if let Some(undiagnosed) = &report.undiagnosed {
        // That a build has no libtorch is no news about the candidate.
        if BUILT {
            let _ = write!(words, ". Cause: {}", undiagnosed.reason);
        }
        if let Some(signature) = &undiagnosed.signature {
            let _ = write!(words, ". Its error looks like this: {signature}");
        }
    }
    if let [_, others @ ..] = report.source.as_slice()
        && !others.is_empty()
    {
        let verb = if others.len() == 1 { "is" } else { "are" };
        let _ = write!(words, ". So {verb} {}", listed(others.iter().cloned()));
    }
    words + "."
}

/// In what errors are measured.
pub(super) fn rounding(report: &Report) -> String {
    match measured(report) {
        "R_d" => format!(
            "the error of PyTorch rounding to {} at every stage",
            report.provenance.candidate.dtype
        ),
        _ => "PyTorch's own f32 rounding".to_owned(),
    }
}

/// Where an error is largest.
fn place(report: &Report, error: &StageError) -> String {
    let frame = error
        .worst_frame
        .map_or(String::new(), |frame| format!(", frame {frame}"));
    let input = match (report.inputs.len(), report.inputs.get(error.worst_input)) {
        (2.., Some(input)) => format!(" of {input}"),
        _ => String::new(),
    };
    format!("channel {}{frame}{input}", error.worst_channel)
}

/// Why nothing can be concluded, where that is so: no stage of the candidate was compared with the reference's.
pub(super) fn inconclusive(report: &Report) -> Option<String> {
    match verdict(report) {
        Verdict::NotObserved => Some(format!(
            "INCONCLUSIVE: nothing was compared. The candidate shows none of the {} stages of the reference.",
            report.stages.len()
        )),
        Verdict::NotComparable => Some(
            "INCONCLUSIVE: nothing could be compared. Every stage that the candidate shows was fed an input of another \
             shape than the reference's."
                .to_owned(),
        ),
        Verdict::Exact | Verdict::Precision | Verdict::Structural => None,
    }
}

/// No stage is wrong: the one that comes closest.
fn closest(report: &Report) -> String {
    let comparable = |stage: &&StageReport| stage.verdict != Verdict::NotComparable;
    let stages = report.stages.iter().filter(comparable);
    let errors = stages.filter_map(|stage| {
        let (way, error) = judged(stage)?;
        Some((stage, way, error))
    });
    let Some((stage, way, error)) = errors.max_by(|a, b| measure(a.2).total_cmp(&measure(b.2)))
    else {
        return "INCONCLUSIVE: the report has no error of any stage.".to_owned();
    };
    let kind = match verdict(report) {
        Verdict::Precision => "Less precise, but no bug",
        _ => "Rounding, no bug",
    };
    format!(
        "{kind}: the largest error is {} times {}, {way} at {}{}.",
        Figure(measure(error)),
        rounding(report),
        stage.name,
        match (report.inputs.len(), report.inputs.get(error.worst_input)) {
            (2.., Some(input)) => format!(" on {input}"),
            _ => String::new(),
        }
    )
}

/// The error by which a stage is judged: its own, where it is known.
fn judged(stage: &StageReport) -> Option<(&'static str, &StageError)> {
    let forced = stage
        .teacher_forced
        .as_ref()
        .map(|error| ("teacher-forced", error));
    forced.or(stage
        .free_running
        .as_ref()
        .map(|error| ("free-running", error)))
}

/// Agreement of the outputs, and of what they are decoded to.
pub(super) fn output(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(output) = &report.output {
        lines.push(agreement(output));
        lines.extend(embeddings(output));
    }
    if let Some(task) = &report.task {
        lines.push(format!(
            "decoded: DER {} (missed {}, false alarm {}, confusion {}), {} speaker(s) against {}",
            rate(task.der),
            rate(task.missed_detection),
            rate(task.false_alarm),
            rate(task.confusion),
            task.num_speakers.candidate,
            task.num_speakers.reference
        ));
    }
    if let Some(budget) = &report.budget {
        lines.push(budget.text.clone());
    }
    lines
}

fn agreement(output: &OutputAgreement) -> String {
    let decisions = output
        .decisions
        .as_ref()
        .map_or(String::new(), |decisions| {
            let ties = match decisions.near_ties {
                0 => String::new(),
                1 => " (1 near-tie)".to_owned(),
                n => format!(" ({n} near-ties)"),
            };
            format!(
                ", {} of {} frames decided alike{ties}",
                percent(decisions.frame_agreement),
                output.frames
            )
        });
    format!(
        "output: correlation {}{decisions}, largest error {}, mean L2 {}",
        near_one(output.correlation),
        Figure(output.max_abs),
        Figure(output.mean_l2)
    )
}

fn embeddings(output: &OutputAgreement) -> Option<String> {
    let least = output
        .embeddings
        .iter()
        .map(|embedding| embedding.cosine)
        .reduce(f64::min)?;
    let gain = |of: fn(&EmbeddingAgreement) -> f64| {
        output
            .embeddings
            .iter()
            .map(|embedding| (of(embedding) - 1.0).abs())
            .fold(0.0, f64::max)
    };
    Some(format!(
        "embeddings: cosine {} or more, lengths within {} of the reference's (PyTorch's own f32: {})",
        near_one(least),
        Figure(gain(|embedding| embedding.rms_ratio)),
        Figure(gain(|embedding| embedding.reference_rms_ratio))
    ))
}

/// What was not compared.
pub(super) fn coverage(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for (names, what) in [
        (&report.missing, "not observed in the candidate"),
        (&report.unexpected, "unknown to the reference"),
    ] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", listed(names.iter().cloned())));
        }
    }
    lines
}

/// Failures of a gate that a summary shows.
const SHOWN_FAILURES: usize = 4;

/// The verdict of the gate, with the limits that were not kept.
pub(super) fn gate(report: &Report) -> Option<Item> {
    let gate = report.gate.as_ref()?;
    if gate.passed && inconclusive(report).is_some() {
        return Some(Item::from(
            "gate: INCONCLUSIVE, there was nothing to limit".to_owned(),
        ));
    }
    if gate.passed {
        let limits = gate.checks.len();
        return Some(Item::from(format!("gate: passed, {limits} limits kept")));
    }
    let failures = gate.failures.len();
    let shown = || gate.failures.iter().take(SHOWN_FAILURES);
    let mut details: Vec<_> = shown().map(|failure| failure.text.clone()).collect();
    if failures > SHOWN_FAILURES {
        let more = failures - SHOWN_FAILURES;
        details.push(format!("and {more} more (--format json lists them)"));
    }
    let reasons: BTreeSet<_> = shown().map(|failure| &failure.because).collect();
    details.extend(reasons.iter().map(|because| format!("because {because}")));
    Some(Item {
        text: format!(
            "gate: FAILED, {failures} of {} limits not kept",
            gate.checks.len()
        ),
        details,
    })
}

/// A correlation near 1 as what it lacks.
pub(in crate::commands) fn near_one(correlation: f64) -> String {
    let lacks = 1.0 - correlation;
    if lacks < 1e-4 {
        format!("1 - {}", Figure(lacks.max(0.0)))
    } else {
        format!("{correlation:.4}")
    }
}

/// A part of a whole; all of it is said only of all of it.
pub(in crate::commands) fn percent(part: f64) -> String {
    let shown = 100.0 * part;
    if part < 1.0 && shown >= 99.995 {
        format!("{shown:.4} %")
    } else if part == 1.0 {
        "100 %".to_owned()
    } else {
        format!("{shown:.2} %")
    }
}

fn rate(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else {
        format!("{rate:.4}")
    }
}

/// The first names, and how many more there are.
pub(in crate::commands) fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let shown: Vec<_> = names.take(LISTED).collect();
    match more {
        0 => shown.join(", "),
        n => format!("{} and {n} more", shown.join(", ")),
    }
}
