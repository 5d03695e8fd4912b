//! Saved runs, and what is written of turns.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use support::{all_pass, annotation, clip, names, soundalike_in};

/// A folder with `a.wav`, and `a.safetensors`, the run saved of it.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 12.0)).unwrap();
    soundalike_in(here, "diarize -q a.wav --save-run a.safetensors -o a.rttm").ok();
    folder
}

fn read(here: &Path, name: &str) -> String {
    fs::read_to_string(here.join(name)).unwrap()
}

#[test]
fn a_saved_run_gives_the_turns_of_diarize_with_the_same_options() {
    let folder = saved();
    let here = folder.path();
    let mut failures = Vec::new();
    for options in [
        "",
        " --num-speakers 1",
        " --min-speakers 3 --labels pyannote",
        " --threshold 0.1 --min-duration-off 0.5",
        " --exclusive --tracks --format json",
        " --format textgrid",
    ] {
        let diarized = soundalike_in(here, &format!("diarize a.wav{options}"));
        let again = soundalike_in(here, &format!("recluster a.safetensors{options}"));
        let stderr = again.stderr.replace("a.safetensors", "a.wav");
        if again.code != Some(0) || again.stdout != diarized.stdout || stderr != diarized.stderr {
            failures.push(format!("`{options}`: {again:?} for {diarized:?}"));
        }
    }
    all_pass(failures);
    let again = soundalike_in(here, "diarize -q a.wav --save-run b.safetensors -o b.rttm");
    again.ok();
    let [a, b] = ["a", "b"].map(|name| fs::read(here.join(format!("{name}.safetensors"))).unwrap());
    assert!(a == b, "the same run, other bytes");
}

#[test]
fn what_is_no_saved_run_is_refused() {
    let folder = saved();
    let here = folder.path();
    let run = fs::read(here.join("a.safetensors")).unwrap();
    fs::write(here.join("cut.safetensors"), &run[..run.len() / 2]).unwrap();
    fs::write(
        here.join("text.safetensors"),
        "no run at all, but some text",
    )
    .unwrap();
    fs::write(here.join("empty.safetensors"), "").unwrap();
    fs::create_dir(here.join("folder")).unwrap();
    // Its own header says how long it is: here, longer than any memory.
    fs::write(
        here.join("long.safetensors"),
        [[0xff; 8], *b"{\"a\": 1}"].concat(),
    )
    .unwrap();
    let before = names(here);
    let mut failures = Vec::new();
    for (words, parts) in [
        (
            "recluster missing.safetensors",
            &["missing.safetensors: cannot be read: No such file"][..],
        ),
        ("recluster folder", &["folder: cannot be read"]),
        (
            "recluster empty.safetensors",
            &["not even a safetensors file"],
        ),
        (
            "recluster text.safetensors",
            &["text.safetensors: is not a saved run"],
        ),
        (
            "recluster long.safetensors",
            &["not even a safetensors file"],
        ),
        (
            "recluster cut.safetensors -o out.rttm",
            &["cut.safetensors: is not a saved run"],
        ),
        (
            "recluster a.wav",
            &["a.wav: is not a saved run", "diarize --save-run"],
        ),
        (
            "recluster a.safetensors -o a.safetensors",
            &["is an input (run)"],
        ),
        (
            "recluster a.safetensors --fa 0.1",
            &["--fa is not a parameter of the built-in clustering"],
        ),
        (
            "recluster a.safetensors --threshold 3",
            &["--threshold is 3, expected"],
        ),
        (
            "recluster a.safetensors --min-duration-off=-1",
            &["--min-duration-off is -1"],
        ),
        ("diarize a.wav --step 0", &["--step is 0, expected"]),
        (
            "diarize a.wav --save-run a.wav",
            &["a.wav: is an input (recording)"],
        ),
        (
            "diarize a.wav b.wav --save-run b.safetensors",
            &["--save-run saves one recording"],
        ),
        (
            "diarize a.wav --save-run missing/b.safetensors",
            &["missing is not a directory"],
        ),
    ] {
        let failure = soundalike_in(here, words).no_refusal(parts);
        failures.extend(failure.map(|failure| format!("{words}: {failure}")));
    }
    all_pass(failures);
    assert_eq!(names(here), before);
}

#[test]
fn several_formats_are_written_at_once_each_with_its_extension() {
    let folder = saved();
    let here = folder.path();
    let recluster =
        |options: &str| soundalike_in(here, &format!("recluster -q a.safetensors {options}"));
    let all = "rttm,json,csv,srt,vtt,audacity,textgrid";
    recluster(&format!("--format {all} -o out/")).ok();
    let expected = [
        "a.TextGrid",
        "a.csv",
        "a.json",
        "a.rttm",
        "a.srt",
        "a.txt",
        "a.vtt",
    ];
    assert_eq!(names(&here.join("out")), expected);
    recluster("--format rttm --format json,rttm -o talk.old").ok();
    assert_eq!(
        names(here),
        [
            "a.rttm",
            "a.safetensors",
            "a.wav",
            "out",
            "talk.json",
            "talk.rttm"
        ]
    );
    assert_eq!(read(here, "talk.rttm"), read(here, "a.rttm"));
    assert_eq!(read(here, "out/a.rttm"), read(here, "a.rttm"));
    assert_eq!(read(here, "talk.json"), read(here, "out/a.json"));
    // The extension says what is wanted, where --format does not.
    for (name, same) in [
        ("b.json", "a.json"),
        ("b.srt", "a.srt"),
        ("b.textgrid", "a.TextGrid"),
    ] {
        recluster(&format!("-o {name}")).ok();
        assert_eq!(read(here, name), read(here, &format!("out/{same}")));
    }
    recluster("-o b.turns").ok();
    assert_eq!(read(here, "b.turns"), read(here, "a.rttm"));

    let mut failures = Vec::new();
    for (words, parts) in [
        (
            "recluster a.safetensors --format rttm,json",
            &["stdout takes one format"][..],
        ),
        (
            "recluster a.safetensors --format rttm,json -o talk",
            &["talk: several formats need a file name"],
        ),
    ] {
        failures.extend(soundalike_in(here, words).no_refusal(parts));
    }
    all_pass(failures);
}

#[test]
fn the_json_holds_the_turns_the_speakers_and_where_they_come_from() {
    let folder = saved();
    let here = folder.path();
    let run = soundalike_in(here, "recluster -q a.safetensors --format json");
    let json: serde_json::Value = serde_json::from_str(&run.ok()).unwrap();
    let rttm = annotation(&read(here, "a.rttm"));
    let turns = json["diarization"].as_array().unwrap();
    assert_eq!(turns.len(), rttm.turns().len());
    for (turn, expected) in turns.iter().zip(rttm.turns()) {
        assert_eq!(turn["speaker"], expected.speaker);
        assert!((turn["start"].as_f64().unwrap() - expected.segment.start).abs() < 1e-9);
    }
    assert_eq!(json["uri"], "a");
    assert_eq!(json["duration"], 12.0);
    let speakers = json["speakers"].as_array().unwrap();
    let labels: Vec<_> = speakers.iter().map(|speaker| &speaker["label"]).collect();
    assert_eq!(labels, ["SPEAKER_00", "SPEAKER_01"]);
    let sha256 = json["models"][0]["sha256"].as_str().unwrap();
    assert_eq!(
        (sha256.len(), &json["models"][0]["part"]),
        (64, &"segmentation".into())
    );
    assert_eq!(json["parameters"]["clustering"]["built_in_threshold"], 0.4);
}

#[test]
fn exclusive_turns_never_overlap_and_cover_the_same_speech() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // Both voices at once from 13.2 s on, for half a second.
    fs::write(here.join("a.wav"), clip(8.0, 20.0)).unwrap();
    soundalike_in(here, "diarize -q a.wav --save-run a.safetensors -o a.rttm").ok();
    let [all, exclusive] = ["", " --exclusive"].map(|option| {
        annotation(&soundalike_in(here, &format!("recluster -q a.safetensors{option}")).ok())
    });
    assert!(overlap(&all) > 0.1, "there is overlap to take away");
    assert_eq!(overlap(&exclusive), 0.0);
    let speech = |turns: &soundalike_metrics::Annotation| turns.timeline().duration();
    assert!((speech(&all) - speech(&exclusive)).abs() < 1e-6);
}

/// Seconds by which the turns are longer than the speech.
fn overlap(turns: &soundalike_metrics::Annotation) -> f64 {
    let all: f64 = turns
        .turns()
        .iter()
        .map(|turn| turn.segment.duration())
        .sum();
    let overlap = all - turns.timeline().duration();
    if overlap < 1e-6 { 0.0 } else { overlap }
}

#[test]
fn several_recordings_share_a_file_where_its_format_can_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("a.wav"), clip(0.0, 4.0)).unwrap();
    fs::write(here.join("b.wav"), clip(5.0, 8.0)).unwrap();
    let diarize = |options: &str| soundalike_in(here, &format!("diarize -q a.wav b.wav {options}"));
    let csv = diarize("--format csv").ok();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "uri,start,end,duration,speaker");
    assert_eq!(csv.matches("uri,").count(), 1, "{csv}");
    assert!(
        lines[1].starts_with("a,") && lines[lines.len() - 1].starts_with("b,"),
        "{csv}"
    );
    diarize("-o both.csv").ok();
    assert_eq!(read(here, "both.csv"), csv);
    diarize("--format csv -o out/").ok();
    for (name, start) in [("a", "a,"), ("b", "b,")] {
        let text = read(here, &format!("out/{name}.csv"));
        let (header, rows) = text.split_once('\n').unwrap();
        assert_eq!(header, lines[0]);
        assert!(rows.lines().all(|row| row.starts_with(start)), "{text}");
    }
    let mut failures = Vec::new();
    for options in ["--format srt", "-o both.json"] {
        failures.extend(diarize(options).no_refusal(&["holds one recording, found 2"]));
    }
    all_pass(failures);
}
