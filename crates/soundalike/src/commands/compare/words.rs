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
    parts.extend(versions);
    parts.extend([info.cpu.clone(), threads, verified].into_iter().flatten());
    parts.join(", ")
}

/// The start of a SHA-256, enough to tell files apart.
pub(super) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// What all of it means.
pub(super) fn verdict(report: &Report) -> Verdict {
    let verdicts = report.stages.iter().map(|stage| stage.verdict);
    verdicts.max().unwrap_or(Verdict::NotObserved)
}

/// What is wrong, or that nothing is, with the evidence.
pub(super) fn finding(report: &Report) -> String {
    let source = report.source.first();
    let mut stages = report.stages.iter();
    let Some(stage) = source.and_then(|name| stages.find(|stage| stage.name == *name)) else {
        return inconclusive(report).unwrap_or_else(|| closest(report));
    };
    let name = &stage.name;
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
        let _ = write!(
            words,
            ". It is {} (R {}",
            diagnosis.text,
            Figure(diagnosis.r)
        );
        if let Some(next) = &diagnosis.runner_up {
            let _ = write!(words, "; next comes {}, R {}", next.cause, Figure(next.r));
        }
        words.push(')');
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
    if let [_, others @ ..] = &report.source[..]
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
    let frame = error.worst_frame.map(|frame| format!(", frame {frame}"));
    let (frame, input) = (frame.unwrap_or_default(), input(report, error, "of"));
    format!("channel {}{frame}{input}", error.worst_channel)
}

/// On which input an error is largest, after `preposition`, where there are several.
fn input(report: &Report, error: &StageError, preposition: &str) -> String {
    match (report.inputs.len(), report.inputs.get(error.worst_input)) {
        (2.., Some(input)) => format!(" {preposition} {input}"),
        _ => String::new(),
    }
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
        input(report, error, "on")
    )
}

/// The error by which a stage is judged: its own, where it is known.
fn judged(stage: &StageReport) -> Option<(&'static str, &StageError)> {
    match (&stage.teacher_forced, &stage.free_running) {
        (Some(error), _) => Some(("teacher-forced", error)),
        (None, Some(error)) => Some(("free-running", error)),
        (None, None) => None,
    }
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
    let decisions = output.decisions.as_ref().map(|decisions| {
        let ties = match decisions.near_ties {
            0 => String::new(),
            1 => " (1 near-tie)".to_owned(),
            n => format!(" ({n} near-ties)"),
        };
        let alike = percent(decisions.frame_agreement);
        format!(", {alike} of {} frames decided alike{ties}", output.frames)
    });
    format!(
        "output: correlation {}{}, largest error {}, mean L2 {}",
        near_one(output.correlation),
        decisions.unwrap_or_default(),
        Figure(output.max_abs),
        Figure(output.mean_l2)
    )
}

fn embeddings(output: &OutputAgreement) -> Option<String> {
    let embeddings = || output.embeddings.iter();
    let cosines = embeddings().map(|embedding| embedding.cosine);
    let least = cosines.reduce(f64::min)?;
    let gain = |of: fn(&EmbeddingAgreement) -> f64| {
        let gains = embeddings().map(|embedding| (of(embedding) - 1.0).abs());
        Figure(gains.fold(0.0, f64::max))
    };
    Some(format!(
        "embeddings: cosine {} or more, lengths within {} of the reference's (PyTorch's own f32: {})",
        near_one(least),
        gain(|embedding| embedding.rms_ratio),
        gain(|embedding| embedding.reference_rms_ratio)
    ))
}

/// What was not compared.
pub(super) fn coverage(report: &Report) -> Vec<String> {
    let kinds = [
        (&report.missing, "not observed in the candidate"),
        (&report.unexpected, "unknown to the reference"),
    ];
    let kinds = kinds.into_iter().filter(|(names, _)| !names.is_empty());
    kinds
        .map(|(names, what)| format!("{what}: {}", listed(names.iter().cloned())))
        .collect()
}

/// Failures of a gate that a summary shows.
const SHOWN_FAILURES: usize = 4;

/// The verdict of the gate, with the limits that were not kept.
pub(super) fn gate(report: &Report) -> Option<Item> {
    let gate = report.gate.as_ref()?;
    let limits = gate.checks.len();
    if gate.passed {
        return Some(Item::from(match inconclusive(report) {
            Some(_) => "gate: INCONCLUSIVE, there was nothing to limit".to_owned(),
            None => format!("gate: passed, {limits} limits kept"),
        }));
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
        text: format!("gate: FAILED, {failures} of {limits} limits not kept"),
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
    let shown = names.take(LISTED).collect::<Vec<_>>().join(", ");
    match more {
        0 => shown,
        n => format!("{shown} and {n} more"),
    }
}
