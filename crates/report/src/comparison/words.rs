//! Sentences on the result of a comparison.

use std::{collections::BTreeSet, fmt::Write};

use soundalike_compare::{
    EmbeddingAgreement, EngineInfo, Figure, LEAST_FLOOR, Match, MatchedBy, OutputAgreement,
    PathCheck, Report, StageError, StageReport, Verdict,
};

use crate::{
    document::Item,
    text::{listed, near_one, percent},
};

/// The R of an error, or R_d if the candidate has fewer bits than f32.
pub(crate) fn measure(error: &StageError) -> f64 {
    error.r_d.unwrap_or(error.r)
}

/// The name of [`measure`] in `report`.
pub(crate) fn measured(report: &Report) -> &'static str {
    let forced = report.stages.iter().map(|stage| &stage.teacher_forced);
    let free = report.stages.iter().map(|stage| &stage.free_running);
    let mut errors = forced.chain(free).flatten();
    if errors.any(|error| error.r_d.is_some()) {
        "R_d"
    } else {
        "R"
    }
}

/// `segmentation-3.0: candle-cpu against torch`.
#[must_use]
pub fn title(report: &Report) -> String {
    format!(
        "{}: {} against {}",
        report.model, report.candidate, report.reference
    )
}

/// Inputs, version, processor, threads, and the engines of both sides.
pub(crate) fn provenance(report: &Report) -> Vec<String> {
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

/// Packages whose versions are shown; the JSON has all.
const COMPUTING: [&str; 5] = [
    "pyannote.audio",
    "torch",
    "soundalike",
    "onnxruntime",
    "ai-edge-litert",
];

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
        ([], _) => "unknown engine".to_owned(),
        (what, "") => what.join(", "),
        (what, device) => format!("{} on {device}", what.join(", ")),
    }];
    parts.extend(versions);
    parts.extend([info.cpu.clone(), threads, verified].into_iter().flatten());
    parts.join(", ")
}

/// The start of a SHA-256, enough to identify a file.
pub(crate) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

pub(crate) fn verdict(report: &Report) -> Verdict {
    let verdicts = report.stages.iter().map(|stage| stage.verdict);
    verdicts.max().unwrap_or(Verdict::NotObserved)
}

/// The wrong stage with the evidence, or that none is wrong.
#[must_use]
pub fn finding(report: &Report) -> String {
    let source = report.source.first();
    let mut stages = report.stages.iter();
    let Some(stage) = source.and_then(|name| stages.find(|stage| stage.name == *name)) else {
        let other = inconclusive(report).or_else(|| unproven(report));
        return other.unwrap_or_else(|| closest(report));
    };
    let name = &match stage.folded.as_slice() {
        [] => stage.name.clone(),
        folded => format!(
            "{} (or {}, which the candidate does not show)",
            stage.name,
            listed(folded.iter().cloned())
        ),
    };
    let mut words = if let (true, Some(error)) = (stage.is_unsteady(), &stage.free_running) {
        format!(
            "Not rounding: {name} is wrong in the free run: {}, although it is right on the reference's input",
            size(report, stage, error)
        )
    } else if let Some(error) = &stage.teacher_forced {
        format!(
            "Not rounding: {name} is wrong. Fed with the reference's own input, {}",
            match (&error.r_d, &error.shape) {
                (None, None) => format!(
                    "its error is {} times {}, {} times at its worst ({})",
                    Figure(error.r),
                    rounding(report),
                    Figure(error.r_local),
                    place(report, error)
                ),
                _ => size(report, stage, error),
            }
        )
    } else if let Some(error) = &stage.free_running {
        format!(
            "Not rounding: {name} is the first wrong stage; {}, and later stages may only pass it on",
            size(report, stage, error)
        )
    } else {
        format!("{name} is wrong")
    };
    words.extend(fewer_bits(report));
    if let Some(diagnosis) = &report.diagnosis {
        let subject = match &diagnosis.engine {
            None => "Cause".to_owned(),
            Some(engine) => format!(
                "Cause, at {} of {engine}, which fuses no stages",
                diagnosis.stage
            ),
        };
        let r = Figure(diagnosis.r);
        let _ = write!(words, ". {subject}: {} (R {r}", diagnosis.text);
        if let Some(next) = &diagnosis.runner_up {
            let _ = write!(words, "; next best is {}, R {}", next.cause, Figure(next.r));
        }
        words.push(')');
    }
    if let Some(undiagnosed) = &report.undiagnosed {
        if let (Some(engine), Some(stage)) = (&undiagnosed.engine, &undiagnosed.stage)
            && undiagnosed.signature.is_some()
        {
            let _ = write!(
                words,
                ". {engine}, which fuses no stages, is wrong at {stage}"
            );
        }
        let only_fused = undiagnosed.engine.is_some() && undiagnosed.signature.is_none();
        // Where none was tried, the reason says nothing about the candidate.
        if undiagnosed.tried || only_fused {
            let _ = write!(words, ". Cause: {}", undiagnosed.reason);
        }
        // Two shapes were told above.
        let signature = undiagnosed.signature.as_ref();
        if let Some(signature) = signature.filter(|found| found.shapes.is_none()) {
            let _ = write!(words, ". Signature of its error: {signature}");
        }
    }
    if let [_, others @ ..] = &report.source[..]
        && !others.is_empty()
    {
        let verb = if others.len() == 1 { "is" } else { "are" };
        let _ = write!(
            words,
            ". {} {verb} wrong as well",
            listed(others.iter().cloned())
        );
    }
    if let Some(end) = aftermath(report, stage) {
        let _ = write!(words, ". {end}");
    }
    words + "."
}

/// That the candidate's weights are the reference's in fewer bits, which explains errors of its stages.
fn fewer_bits(report: &Report) -> Option<String> {
    let candidate = report.audit.as_ref()?.candidate.as_ref()?;
    let explains = candidate.rounded > 0 && candidate.is_same();
    explains.then(|| {
        format!(
            ". Its weights are the reference's in fewer bits ({} of {} tensors)",
            candidate.rounded, candidate.weights.tensors
        )
    })
}

/// Whether the error of the wrong stage `source` reaches the end of the free run, or is a spike that later stages take away.
fn aftermath(report: &Report, source: &StageReport) -> Option<String> {
    let last = report
        .stages
        .iter()
        .rfind(|stage| stage.free_running.is_some())?;
    let error = last
        .free_running
        .as_ref()
        .filter(|_| last.name != source.name)?;
    if !measure(error).is_finite() {
        return None;
    }
    let figure = Figure(measure(error));
    Some(match Verdict::of(error) {
        Verdict::Exact | Verdict::Precision => {
            format!(
                "In the free run, later stages take the error away: at {}, it is {figure} times",
                last.name
            )
        }
        _ => format!(
            "In the free run the error reaches {}: {figure} times",
            last.name
        ),
    })
}

/// The unit of errors.
pub(crate) fn rounding(report: &Report) -> String {
    match measured(report) {
        "R_d" => format!(
            "the error of PyTorch that rounds every stage to {}",
            report.provenance.candidate.dtype
        ),
        _ => "PyTorch's own f32 rounding".to_owned(),
    }
}

/// How large the error of a wrong stage is, and where.
fn size(report: &Report, stage: &StageReport, error: &StageError) -> String {
    match &error.shape {
        Some(shape) => format!("its shape is {shape:?}, expected {:?}", stage.shape),
        None => format!(
            "its error is {} times {} ({})",
            Figure(measure(error)),
            rounding(report),
            place(report, error)
        ),
    }
}

/// The place of the largest error.
fn place(report: &Report, error: &StageError) -> String {
    let frame = error.worst_frame.map(|frame| format!(", frame {frame}"));
    let (frame, input) = (frame.unwrap_or_default(), input(report, error, "of"));
    format!("channel {}{frame}{input}", error.worst_channel)
}

/// The input with the largest error, after `preposition`; empty if there is one input only.
fn input(report: &Report, error: &StageError, preposition: &str) -> String {
    match (report.inputs.len(), report.inputs.get(error.worst_input)) {
        (2.., Some(input)) => format!(" {preposition} {input}"),
        _ => String::new(),
    }
}

/// That users get other outputs than the compared ones.
fn unproven(report: &Report) -> Option<String> {
    let wrong = report.production.iter().find(|check| check.wrong > 0)?;
    Some(format!(
        "A bug outside of the compared stages: they are exact, but users get other outputs. {}.",
        production(wrong)
    ))
}

/// Why nothing can be concluded, if the reference has no meaning, or if no stage of the candidate was compared with the reference's.
#[must_use]
pub fn inconclusive(report: &Report) -> Option<String> {
    if let Some(input) = report.unstable().next() {
        return Some(format!(
            "INCONCLUSIVE: the reference itself is not stable on {input}: the error of its own f32 is {} of its output.",
            Figure(input.reference_error.unwrap_or(f64::NAN))
        ));
    }
    match verdict(report) {
        Verdict::NotObserved => Some(format!(
            "INCONCLUSIVE: nothing was compared. The candidate has none of the {} stages of the reference.",
            report.stages.len()
        )),
        Verdict::NotComparable => Some(
            "INCONCLUSIVE: nothing could be compared. The input of every stage of the candidate has another shape than \
             the reference's."
                .to_owned(),
        ),
        Verdict::Inconclusive if !is_limited(report) => Some(format!(
            "INCONCLUSIVE: how far the reference's own f32 is from f64 is not known, so that a difference may be rounding or a \
             bug. {}",
            divergence(report)
        )),
        Verdict::FreeOnly
        | Verdict::Exact
        | Verdict::OverPrecise
        | Verdict::Inconclusive
        | Verdict::Precision
        | Verdict::Structural => None,
    }
}

/// Whether the gate limits stages although the rounding of the reference is not known.
fn is_limited(report: &Report) -> bool {
    let checks = || report.gate.iter().flat_map(|gate| &gate.checks);
    let limited =
        |stage: &StageReport| checks().any(|check| check.place == stage.name && check.kept);
    let mut stages = report.stages.iter();
    stages.any(|stage| stage.verdict == Verdict::Inconclusive && limited(stage))
}

/// The stage at which the relative error grows most, with the errors before and there.
fn divergence(report: &Report) -> String {
    let errors = report.stages.iter();
    let errors = errors.filter_map(|stage| Some((stage, judged(stage)?.1.rel_l2)));
    let errors: Vec<_> = errors.filter(|(_, error)| !error.is_nan()).collect();
    // Errors below the rounding of an f32 do not grow: they appear.
    let growth = |before: f64, error: f64| error / before.max(LEAST_FLOOR);
    let mut before = LEAST_FLOOR;
    let mut steps = Vec::new();
    for (stage, error) in &errors {
        steps.push((stage, before, *error));
        before = before.max(*error);
    }
    let most = steps
        .into_iter()
        .max_by(|a, b| growth(a.1, a.2).total_cmp(&growth(b.1, b.2)));
    let Some((stage, before, error)) = most else {
        return "No stage differs.".to_owned();
    };
    format!(
        "The relative error grows most at {}: {}, at most {} before.",
        stage.name,
        Figure(error),
        Figure(before)
    )
}

/// If no stage is wrong: the one with the largest error.
fn closest(report: &Report) -> String {
    match verdict(report) {
        Verdict::Inconclusive => {
            return format!("Within the limits of the gate. {}", divergence(report));
        }
        Verdict::OverPrecise if is_over_precise(report) => {
            return "More exact than f32 can be: the candidate computes in f64, or is the reference itself.".to_owned();
        }
        _ => {}
    }
    let comparable = |stage: &&StageReport| stage.verdict != Verdict::NotComparable;
    let stages = report.stages.iter().filter(comparable);
    let errors = stages.filter_map(|stage| {
        let (way, error) = judged(stage)?;
        Some((stage, way, error))
    });
    let Some((stage, way, error)) = errors.max_by(|a, b| measure(a.2).total_cmp(&measure(b.2)))
    else {
        return "INCONCLUSIVE: no stage has an error figure.".to_owned();
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

/// Whether most stages that differ, or that no f32 equals, do so by far less than the rounding of f32.
fn is_over_precise(report: &Report) -> bool {
    let is_over = |stage: &&StageReport| stage.verdict == Verdict::OverPrecise;
    let differs = |stage: &&StageReport| {
        is_over(stage) || judged(stage).is_some_and(|(_, error)| error.r > 0.0)
    };
    let over = report.stages.iter().filter(is_over).count();
    2 * over > report.stages.iter().filter(differs).count()
}

/// The error that decides the verdict of a stage: teacher-forced if it is known.
fn judged(stage: &StageReport) -> Option<(&'static str, &StageError)> {
    match (&stage.teacher_forced, &stage.free_running) {
        (Some(error), _) => Some(("teacher-forced", error)),
        (None, Some(error)) => Some(("free-running", error)),
        (None, None) => None,
    }
}

/// Agreement of the outputs and of the decoded turns.
pub(crate) fn output(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(output) = &report.output {
        lines.push(agreement(output));
        lines.extend(embeddings(output));
    }
    if let Some(task) = &report.task {
        lines.push(format!(
            "decoded: DER {} (missed {}, false alarm {}, confusion {}), speakers: {}, reference {}",
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
    lines.extend(report.production.iter().map(production));
    lines
}

/// Whether users get the compared outputs on a path.
fn production(check: &PathCheck) -> String {
    let (path, runs) = (check.path.name(), &check.runs);
    let (outputs, right) = (check.outputs, check.outputs - check.wrong);
    let largest = Figure(check.largest);
    let text = match (&check.first, check.differing) {
        (Some(first), _) => format!(
            "{} of {outputs} outputs are NOT the compared ones, the first on {first}; largest difference {largest}",
            check.wrong
        ),
        (None, 0) => format!("{right} of {outputs} outputs bit-equal to the compared ones"),
        (None, _) => format!(
            "{right} of {outputs} outputs within {largest} of the compared ones, allowed {}",
            Figure(check.allowed)
        ),
    };
    format!("{path}: {text} ({runs})")
}

fn agreement(output: &OutputAgreement) -> String {
    let decisions = output.decisions.as_ref().map(|decisions| {
        let ties = match decisions.near_ties {
            0 => String::new(),
            1 => " (1 near-tie)".to_owned(),
            n => format!(" ({n} near-ties)"),
        };
        let alike = percent(decisions.frame_agreement);
        format!(
            ", same decision in {alike} of {} frames{ties}",
            output.frames
        )
    });
    // A single value has none.
    let correlation = match output.correlation.is_nan() {
        true => String::new(),
        false => format!("correlation {}", near_one(output.correlation)),
    };
    let agreement = format!("{correlation}{}", decisions.unwrap_or_default());
    let agreement = match agreement.trim_start_matches(", ") {
        "" => String::new(),
        agreement => format!("{agreement}, "),
    };
    format!(
        "output: {agreement}largest error {}, mean L2 {}",
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

/// How many stages were compared, and which were not.
pub(crate) fn coverage(report: &Report) -> Vec<String> {
    let of = &report.coverage;
    let compared = match of.teacher_forced {
        0 => "in the free run only, which cannot tell a stage's own error from an inherited one"
            .to_owned(),
        forced if forced == of.observed => "all of them fed by the reference as well".to_owned(),
        forced => format!("{forced} of them fed by the reference as well"),
    };
    let line = format!(
        "coverage: {} of {} stages compared, {compared}",
        of.observed, of.stages
    );
    let line = (of.observed > 0).then_some(line);
    let others = differences([
        (&report.missing, "not observed in the candidate"),
        (&report.unexpected, "not in the reference"),
    ]);
    line.into_iter().chain(others).collect()
}

/// Stages under other names that are shown.
const SHOWN_MATCHES: usize = 12;

/// How stages were found in a candidate with other names. None where all have the reference's names.
pub(crate) fn matched(report: &Report) -> Option<Item> {
    let matched = || {
        let stages = report.stages.iter();
        stages.filter_map(|stage| Some((&stage.name, stage.matched.as_ref()?)))
    };
    let count = |by: MatchedBy| matched().filter(|(_, found)| found.by == by).count();
    let [name, value, order] = [MatchedBy::Name, MatchedBy::Value, MatchedBy::Order].map(count);
    if name + value + order == 0 {
        return None;
    }
    let others = || matched().filter(|(stage, found)| **stage != found.name);
    let line = |(stage, found): (&String, &Match)| {
        let by = match found.by {
            MatchedBy::Name => "name",
            MatchedBy::Value => "its values",
            MatchedBy::Order => "its place in the order",
        };
        let mut line = format!("{stage} is {}, by {by}", found.name);
        match &found.axes {
            None => line += ", in another shape",
            Some(axes) if !axes.is_sorted() => {
                let axes: Vec<_> = axes.iter().map(ToString::to_string).collect();
                line += &format!(", axes in the order {}", axes.join(" "));
            }
            Some(_) => {}
        }
        if !found.ambiguous.is_empty() {
            let ambiguous = listed(found.ambiguous.iter().cloned());
            line += &format!("; {ambiguous} would fit as well");
        }
        line
    };
    let mut details: Vec<_> = others().take(SHOWN_MATCHES).map(line).collect();
    let more = others().count().saturating_sub(SHOWN_MATCHES);
    if more > 0 {
        details.push(format!("and {more} more (--format json lists them)"));
    }
    Some(Item {
        text: format!(
            "stages found in the candidate: {name} by name, {value} by their values, {order} by their place in the order"
        ),
        details,
    })
}

/// A line for each kind of names, if there are any.
pub(crate) fn differences(kinds: [(&Vec<String>, &str); 2]) -> Vec<String> {
    let kinds = kinds.into_iter().filter(|(names, _)| !names.is_empty());
    kinds
        .map(|(names, what)| format!("{what}: {}", listed(names.iter().cloned())))
        .collect()
}

/// Failures of a gate that are shown.
const SHOWN_FAILURES: usize = 4;

/// The result of the gate, with the limits that are not kept.
pub(crate) fn gate(report: &Report) -> Option<Item> {
    let gate = report.gate.as_ref()?;
    let limits = gate.checks.len();
    if gate.passed {
        return Some(Item::from(match inconclusive(report) {
            Some(_) => "gate: INCONCLUSIVE, no limit applied".to_owned(),
            None => format!("gate: passed, {limits} of {limits} limits met"),
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
        text: format!("gate: FAILED, {failures} of {limits} limits not met"),
        details,
    })
}

fn rate(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else {
        format!("{rate:.4}")
    }
}
