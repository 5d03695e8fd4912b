//! `soundalike score`, as a user runs it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic like the tests themselves"
)]

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use support::{all_pass, data, soundalike_in};
use tempfile::TempDir;

/// Rates and seconds of the official scorer may differ by this, as in crates/metrics/tests/pyannote.rs.
const MAX_DIFFERENCE: f64 = 1e-9;

/// One second of B is given to A: 10 % of confusion.
const REFERENCE: &str =
    "SPEAKER x 1 0 8 <NA> <NA> A <NA> <NA>\nSPEAKER x 1 8 2 <NA> <NA> B <NA> <NA>\n";
const HYPOTHESIS: &str =
    "SPEAKER x 1 0 9 <NA> <NA> 1 <NA> <NA>\nSPEAKER x 1 9 1 <NA> <NA> 2 <NA> <NA>\n";

/// A new directory with these files, some of them in directories.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A turn of RTTM.
fn turn(uri: &str, start: f64, end: f64, speaker: &str) -> String {
    let duration = end - start;
    format!("SPEAKER {uri} 1 {start} {duration} <NA> <NA> {speaker} <NA> <NA>\n")
}

/// What `score` with these words says in JSON.
#[track_caller]
fn scores(folder: &Path, words: &str) -> Value {
    let text = soundalike_in(folder, &format!("score {words} --format json")).ok();
    serde_json::from_str(&text).unwrap()
}

/// The pooled diarization error rate.
#[track_caller]
fn der(folder: &Path, words: &str) -> Option<f64> {
    scores(folder, words)["reports"][0]["pooled"]["der"].as_f64()
}

/// Where our figures have what `reference/metrics.py` calls so.
const OFFICIAL: [(&str, &str); 18] = [
    ("der.rate", "/der"),
    ("der.missed detection", "/components/missed_detection"),
    ("der.false alarm", "/components/false_alarm"),
    ("der.confusion", "/components/confusion"),
    ("der.correct", "/components/correct"),
    ("der.total", "/components/total"),
    ("jer.rate", "/jer"),
    ("purity.rate", "/purity"),
    ("coverage.rate", "/coverage"),
    ("purity-coverage.f", "/purity_coverage_f"),
    ("detection.error rate", "/detection/error_rate"),
    ("detection.accuracy", "/detection/accuracy"),
    ("detection.precision", "/detection/precision"),
    ("detection.recall", "/detection/recall"),
    ("detection.f", "/detection/f1"),
    (
        "detection.false positive",
        "/detection/seconds/false_positive",
    ),
    ("detection.total", "/detection/seconds/total"),
    ("speaker count.error", "/speaker_count_error"),
];

/// One side of a frozen case as RTTM. None where start and duration cannot say in f64 what start and end do.
fn side(uri: &str, rows: &Value) -> Option<String> {
    let mut text = String::new();
    for row in rows.as_array().unwrap() {
        let (start, end) = (row[0].as_f64().unwrap(), row[1].as_f64().unwrap());
        // Turns that end before they start are left out by both, and no RTTM can hold them.
        if end < start {
            continue;
        }
        if start + (end - start) != end {
            return None;
        }
        // RTTM cannot hold the white space of a label.
        text += &turn(uri, start, end, &row[2].as_str().unwrap().replace(' ', "_"));
    }
    Some(text)
}

#[test]
fn frozen_answers_of_the_official_scorer_are_what_is_printed() {
    let path = data("../../reference/metrics_cases.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let folder = folder(&[]);
    let mut groups: BTreeMap<String, BTreeMap<String, &Value>> = BTreeMap::new();
    for (index, case) in file["cases"].as_array().unwrap().iter().enumerate() {
        let uri = format!("case{index}");
        let (Some(reference), Some(hypothesis)) = (
            side(&uri, &case["reference"]),
            side(&uri, &case["hypothesis"]),
        ) else {
            continue;
        };
        let mut options = format!("--collar {}", case["collar"]);
        if case["skip_overlap"] == true {
            options += " --skip-overlap";
        }
        if !case["uem"].is_null() {
            options += " --uem uem";
        }
        let group = options.replace([' ', '-'], "_");
        for (kind, text) in [("reference", reference), ("hypothesis", hypothesis)] {
            let directory = folder.path().join(&group).join(kind);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("{uri}.rttm")), text).unwrap();
        }
        for region in case["uem"].as_array().into_iter().flatten() {
            let directory = folder.path().join(&group).join("uem");
            fs::create_dir_all(&directory).unwrap();
            let file = directory.join(format!("{uri}.uem"));
            let before = fs::read_to_string(&file).unwrap_or_default();
            let (start, end) = (region[0].as_f64().unwrap(), region[1].as_f64().unwrap());
            // As with turns: regions that end before they start are left out by both.
            let end = end.max(start);
            fs::write(file, format!("{before}{uri} 1 {start} {end}\n")).unwrap();
        }
        groups
            .entry(options)
            .or_default()
            .insert(uri, &case["answers"]);
    }

    let (mut cases, mut failures) = (0, Vec::new());
    for (options, answers) in &groups {
        let group = options.replace([' ', '-'], "_");
        let scores = scores(
            &folder.path().join(group),
            &format!("reference hypothesis {options}"),
        );
        let recordings = scores["reports"][0]["recordings"].as_array().unwrap();
        assert_eq!(recordings.len(), answers.len(), "{options}");
        for recording in recordings {
            let uri = recording["uri"].as_str().unwrap();
            for (name, pointer) in OFFICIAL {
                let ours = recording["figures"]
                    .pointer(pointer)
                    .unwrap()
                    .as_f64()
                    .unwrap();
                let official = answers[uri][name].as_f64().unwrap();
                let close = (ours - official).abs() <= MAX_DIFFERENCE;
                if !close {
                    failures.push(format!(
                        "{uri} {options}: {name} {ours}, official {official}"
                    ));
                }
            }
            cases += 1;
        }
    }
    all_pass(failures);
    assert!(
        cases >= 100 && groups.len() >= 8,
        "{cases} cases in {} groups",
        groups.len()
    );
}

#[test]
fn the_table_says_what_is_wrong_and_who_is_who() {
    let folder = folder(&[("ref.rttm", REFERENCE), ("hyp.rttm", HYPOTHESIS)]);
    let run = soundalike_in(folder.path(), "score ref.rttm hyp.rttm");
    assert_eq!(run.stderr, "");
    assert_eq!(
        run.ok(),
        "\
pyannote: no collar, overlap scored

recording    DER  missed  false alarm  confusion    JER  speech  speakers
               %       %            %          %      %       s   hyp/ref
x          10.00    0.00         0.00      10.00  30.56  10.000       2/2
TOTAL      10.00    0.00         0.00      10.00  30.56  10.000       2/2

speech detection  error  accuracy  precision  recall       F
                      %         %          %       %       %
pyannote           0.00    100.00     100.00  100.00  100.00

purity 90.00 %, coverage 90.00 %, F 90.00 %

reference  turns  speech  hypothesis  turns  speech
                       s                          s
A              1   8.000  1               1   9.000
B              1   2.000  2               1   1.000
"
    );
}

#[test]
fn json_has_the_keys_that_are_promised() {
    let folder = folder(&[("ref.rttm", REFERENCE), ("hyp.rttm", HYPOTHESIS)]);
    let figures = json!({
        "der": 0.1, "jer": (1.0 / 9.0 + 0.5) / 2.0,
        "components": {"missed_detection": 0.0, "false_alarm": 0.0, "confusion": 1.0, "correct": 9.0, "total": 10.0},
        "purity": 0.9, "coverage": 0.9, "purity_coverage_f": 0.9,
        "detection": {
            "seconds": {"true_positive": 10.0, "true_negative": 0.0, "false_positive": 0.0, "false_negative": 0.0,
                        "total": 10.0},
            "error_rate": 0.0, "accuracy": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0
        },
        "speaker_count_error": 0.0
    });
    let spread = |rate: &Value| {
        json!({"recordings": 1, "min": rate, "lower_quartile": rate, "median": rate, "upper_quartile": rate,
               "max": rate, "mean": rate})
    };
    let speaker =
        |label: &str, seconds: f64| json!({"label": label, "turns": 1, "speaking_time": seconds});
    let expected = json!({
        "schema": 1, "uem": null, "differences": null,
        "reports": [{
            "convention": "pyannote",
            "options": {"collar": 0.0, "skip_overlap": false, "mapping": "optimal"},
            "collar_per_side": 0.0,
            "recordings": [{
                "uri": "x", "figures": figures, "mapping": [["1", "A"], ["2", "B"]],
                "speaker_count": {"reference": 2, "hypothesis": 2},
                "reference_speakers": [speaker("A", 8.0), speaker("B", 2.0)],
                "hypothesis_speakers": [speaker("1", 9.0), speaker("2", 1.0)]
            }],
            "pooled": figures,
            "der": spread(&figures["der"]), "jer": spread(&figures["jer"]),
            "notes": []
        }]
    });
    assert_eq!(scores(folder.path(), "ref.rttm hyp.rttm"), expected);
}

#[test]
fn a_collar_is_said_in_both_forms_and_removes_what_the_scorer_means() {
    // Of 8 s and 2 s, a collar of 0.25 s on each side takes 0.25 s at the ends and 0.5 s in the middle.
    let folder = folder(&[("ref.rttm", REFERENCE), ("hyp.rttm", HYPOTHESIS)]);
    for (words, line, total) in [
        (
            "--collar 0.5",
            "pyannote: collar of 0.5 s in all, 0.25 s on each side of a boundary, overlap scored",
            9.0,
        ),
        (
            "--as md-eval --collar 0.25",
            "md-eval: collar of 0.5 s in all, 0.25 s on each side of a boundary, overlap scored",
            9.0,
        ),
        (
            "--as dscore --collar 0.5 --skip-overlap",
            "dscore: collar of 1 s in all, 0.5 s on each side of a boundary, overlap not scored",
            8.0,
        ),
    ] {
        let words = format!("ref.rttm hyp.rttm {words}");
        let text = soundalike_in(folder.path(), &format!("score {words}")).ok();
        assert_eq!(text.lines().next(), Some(line));
        let scores = scores(folder.path(), &words);
        assert_eq!(
            scores["reports"][0]["pooled"]["components"]["total"], total,
            "{line}"
        );
    }
}

#[test]
fn all_three_stand_side_by_side_with_the_reasons() {
    let hypothesis = format!("{HYPOTHESIS}{}", turn("x", 10.0, 12.0, "2"));
    let folder = folder(&[
        ("ref.rttm", REFERENCE),
        ("hyp.rttm", &hypothesis),
        ("same.rttm", REFERENCE),
    ]);
    let text = soundalike_in(folder.path(), "score ref.rttm hyp.rttm --all").ok();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for expected in [
        ["x", "pyannote", "30.00", "0.00", "20.00", "10.00"],
        ["TOTAL", "pyannote", "30.00", "0.00", "20.00", "10.00"],
    ] {
        assert!(
            rows.iter().any(|row| row.starts_with(&expected)),
            "{expected:?}\n{text}"
        );
    }
    let row =
        |name: &str| rows.iter().find(|row| row.first() == Some(&name)).unwrap()[1..3].to_vec();
    assert_eq!(
        (row("md-eval"), row("dscore")),
        (vec!["10.00", "0.00"], vec!["30.00", "0.00"])
    );
    assert!(
        text.contains(
            "\nx: the scorers differ because\n- the hypothesis has 2.000 s of speech before or after all reference speech: \
             false alarm in pyannote and dscore, not scored by md-eval"
        ),
        "{text}"
    );

    let scores = scores(folder.path(), "ref.rttm hyp.rttm --all");
    let conventions: Vec<_> = scores["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["convention"])
        .collect();
    assert_eq!(conventions, ["pyannote", "md-eval", "dscore"]);
    let difference = &scores["differences"][0];
    assert_eq!(
        (&difference["uri"], &difference["reasons"][0]["kind"]),
        (&json!("x"), &json!("outside-reference"))
    );
    assert_eq!(difference["reasons"][0]["seconds"], 2.0);
    assert!(
        difference["reasons"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("the hypothesis has 2.000 s")
    );

    let text = soundalike_in(folder.path(), "score ref.rttm same.rttm --all").ok();
    assert!(text.contains("the scorers agree"), "{text}");
}

#[test]
fn directories_are_pooled_sorted_and_what_is_missing_is_said() {
    let speech = |uri: &str, end: f64| turn(uri, 0.0, end, "A");
    let folder = folder(&[
        ("ref/a.rttm", &(speech("long", 90.0) + &speech("b", 8.0))),
        ("ref/c.rttm", &speech("missing", 2.0)),
        ("ref/silent.rttm", ""),
        ("ref/notes.txt", "not RTTM"),
        (
            "hyp/1.rttm",
            &(speech("other", 5.0) + &speech("long", 90.0)),
        ),
        ("hyp/2.RTTM", &speech("b", 4.0)),
        ("hyp/silent.rttm", ""),
    ]);
    let run = soundalike_in(folder.path(), "score ref hyp");
    assert_eq!(
        run.stderr,
        "warning: ref/silent.rttm: no turns; the recording `silent` has no speech\n\
         warning: hyp/silent.rttm: no turns\n\
         warning: `missing` has no hypothesis: all its speech is missed\n\
         warning: `other` has no reference: it is not scored\n"
    );
    let text = run.ok();
    let rows = |text: &str| -> Vec<(String, String)> {
        let lines = text.lines().skip(4).take_while(|line| !line.is_empty());
        let cells = lines.map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        cells
            .map(|cells| (cells[0].clone(), cells[1].clone()))
            .collect()
    };
    let row = |name: &str, der: &str| (name.to_owned(), der.to_owned());
    let (b, long) = (row("b", "50.00"), row("long", "0.00"));
    let (missing, silent, total) = (
        row("missing", "100.00"),
        row("silent", "0.00"),
        row("TOTAL", "6.00"),
    );
    assert_eq!(
        rows(&text),
        [
            b.clone(),
            long.clone(),
            missing.clone(),
            silent.clone(),
            total.clone()
        ]
    );
    let quartiles: Vec<&str> = text
        .lines()
        .find(|l| l.starts_with("DER %"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        (quartiles[2], quartiles[4], quartiles[6], quartiles[7]),
        ("0.00", "25.00", "100.00", "37.50")
    );

    let worst = soundalike_in(folder.path(), "score ref hyp --sort worst --quiet");
    assert_eq!(worst.stderr, "");
    assert_eq!(rows(&worst.ok()), [missing, b, long, silent, total]);

    let scores = scores(folder.path(), "ref hyp --sort worst");
    assert_eq!(scores["reports"][0]["recordings"][0]["uri"], "missing");
    assert_eq!(
        scores["reports"][0]["notes"],
        json!([{"kind": "no-hypothesis", "uri": "missing"}, {"kind": "no-reference", "uri": "other"}])
    );

    // The same files one by one, as other scorers take them.
    let one_by_one =
        "-r ref/a.rttm ref/c.rttm ref/silent.rttm -s hyp/1.rttm hyp/2.RTTM hyp/silent.rttm";
    assert_eq!(der(folder.path(), one_by_one), Some(0.06));
    assert_eq!(der(folder.path(), "ref hyp/1.rttm hyp/2.RTTM"), Some(0.06));
}

#[test]
fn a_uem_says_what_is_scored() {
    let folder = folder(&[
        ("ref.rttm", REFERENCE),
        ("hyp.rttm", HYPOTHESIS),
        ("right.uem", "x 1 0 8\n"),
        ("wrong.uem", ";; the second in which it is wrong\nx 1 8 9\n"),
        ("uem/x.uem", "x 1 8 10\n"),
        ("other.uem", "y 1 0 1\n"),
    ]);
    for (uem, expected) in [
        ("right.uem", 0.0),
        ("wrong.uem", 0.0),
        ("uem", 0.5),
        ("other.uem", 0.1),
    ] {
        let run = soundalike_in(
            folder.path(),
            &format!("score ref.rttm hyp.rttm --uem {uem}"),
        );
        let noted = run.stderr == "warning: `x` is not in the UEM: scored without a UEM\n";
        assert_eq!(noted, uem == "other.uem", "{}", run.stderr);
        assert!(run.ok().contains(&format!("within {uem}\n")));
        assert_eq!(
            der(folder.path(), &format!("ref.rttm hyp.rttm --uem {uem}")),
            Some(expected),
            "{uem}"
        );
    }
}

#[test]
fn greedy_mapping_is_another_mapping() {
    // 1 has most in common with A, but A for 2 and B for 1 have more in common together.
    let reference = turn("x", 0.0, 10.0, "A") + &turn("x", 10.0, 16.0, "B");
    let hypothesis =
        turn("x", 0.0, 4.0, "2") + &turn("x", 4.0, 15.0, "1") + &turn("x", 15.0, 16.0, "3");
    let folder = folder(&[("ref.rttm", &reference), ("hyp.rttm", &hypothesis)]);
    assert_eq!(der(folder.path(), "ref.rttm hyp.rttm"), Some(7.0 / 16.0));
    assert_eq!(
        der(folder.path(), "ref.rttm hyp.rttm --greedy"),
        Some(9.0 / 16.0)
    );
    let refused = soundalike_in(
        folder.path(),
        "score ref.rttm hyp.rttm --greedy --as md-eval",
    );
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
}

/// Names that mean something to a terminal or a format.
const HOSTILE: &str = "<script>alert(1)</script>,\"|\u{1b}[31m`_";

#[test]
fn every_format_holds_every_recording_and_names_stay_names() {
    let file = |who: &str| turn(HOSTILE, 0.0, 4.0, who) + &turn("plain", 1.0, 5.0, who);
    let folder = folder(&[("ref.rttm", &file("A")), ("hyp.rttm", &file(HOSTILE))]);
    let score = |format: &str| {
        soundalike_in(
            folder.path(),
            &format!("score ref.rttm hyp.rttm --all {format}"),
        )
        .ok()
    };

    for format in ["table", "markdown"] {
        let text = score(&format!("--format {format}"));
        assert!(
            !text.contains('\u{1b}') && text.contains("script"),
            "{format}"
        );
    }
    let markdown = score("--format markdown");
    let tables = markdown.lines().filter(|line| line.starts_with('|'));
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    // recordings and scorers with header, rule and total; quartiles; speech detection
    assert_eq!(
        tables.clone().filter(|line| bars(line) == 10).count(),
        2 + 3 * 3
    );
    assert!(tables.clone().any(|line| line.contains("\\<script\\>")));

    let csv = score("--format csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 * 3);
    assert!(lines[0].starts_with("recording,convention,der,missed_detection,"));
    assert!(lines[1].starts_with(&format!(
        "\"{}\",pyannote,0,0,0,0,4,4,",
        HOSTILE.replace('"', "\"\"")
    )));
    assert!(
        lines[5].starts_with("plain,md-eval,0,0,0,0,4,4,,"),
        "md-eval has no JER: {}",
        lines[5]
    );
    for line in lines.iter().skip(4) {
        assert_eq!(
            line.split(',').count(),
            lines[0].split(',').count(),
            "{line}"
        );
    }
    assert!(lines[9].starts_with("TOTAL,dscore,0,0,0,0,8,8,0,"));

    let html = score("-o page.html");
    assert_eq!(html, "", "it went to the file");
    let html = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert_eq!(
        html.matches("<svg xmlns").count(),
        2,
        "a picture for each recording"
    );
    assert_eq!(html.matches("<script").count(), 2, "ours, one in each");
    assert!(!html.contains('\u{1b}'));
    for outside in ["src=", "href=", "url(", "@import", "https:"] {
        assert!(!html.contains(outside), "nothing from outside: {outside}");
    }

    let refused = soundalike_in(folder.path(), "score ref.rttm hyp.rttm -o picture.svg");
    assert_eq!(
        refused.no_refusal(&["shows one recording, found 2", "--format html"]),
        None
    );
}

#[test]
fn the_ending_of_the_file_chooses_the_format() {
    let folder = folder(&[("ref.rttm", REFERENCE), ("hyp.rttm", HYPOTHESIS)]);
    for (name, start) in [
        ("a.json", "{\n"),
        ("a.csv", "recording,"),
        ("a.md", "## hyp.rttm against ref.rttm\n"),
        ("a.html", "<!DOCTYPE html>"),
        ("a.svg", "<svg "),
        ("a.txt", "pyannote: "),
        ("a.html --format csv", "recording,"),
    ] {
        let run = soundalike_in(folder.path(), &format!("score ref.rttm hyp.rttm -o {name}"));
        assert_eq!(run.ok(), "");
        let file = name.split(' ').next().unwrap();
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.starts_with(start), "{name}: {text}");
    }
}

#[test]
fn bad_input_gets_one_line_that_begins_with_its_path() {
    let folder = folder(&[
        ("x.rttm", "SPEAKER x 1 0 5 <NA> <NA> A <NA> <NA>\n"),
        ("again.rttm", "SPEAKER x 1 0 5 <NA> <NA> A <NA> <NA>\n"),
        (
            "xy.rttm",
            &(turn("x", 0.0, 1.0, "A") + &turn("y", 0.0, 1.0, "A")),
        ),
        ("z.rttm", &turn("z", 0.0, 1.0, "A")),
        ("negative.rttm", "SPEAKER x 1 0 -1 <NA> <NA> A <NA> <NA>\n"),
        (
            "nan.rttm",
            "SPEAKER x 1 0 1 <NA> <NA> A\nSPEAKER x 1 nan 1 <NA> <NA> A\n",
        ),
        ("infinite.rttm", "SPEAKER x 1 0 inf <NA> <NA> A\n"),
        ("columns.rttm", "SPEAKER x 1 0 1\n"),
        ("audio.rttm", "RIFF....WAVEfmt \n"),
        ("reversed.uem", "x 1 5 1\n"),
        ("uem/1.uem", "x 1 0 1\n"),
        ("uem/2.uem", "x 1 0 2\n"),
        ("empty/readme.txt", ""),
    ]);
    let cases = [
        (
            "negative.rttm x.rttm",
            "negative.rttm:1:15: duration -1 is negative",
        ),
        (
            "x.rttm negative.rttm",
            "negative.rttm:1:15: duration -1 is negative",
        ),
        (
            "x.rttm nan.rttm",
            "nan.rttm:2:13: start `nan` is not a finite number",
        ),
        (
            "x.rttm infinite.rttm",
            "infinite.rttm:1:15: duration `inf` is not a finite number",
        ),
        (
            "columns.rttm x.rttm",
            "columns.rttm:1:16: 5 columns, expected at least 8",
        ),
        (
            "x.rttm audio.rttm",
            "audio.rttm:1:1: unknown type `RIFF....WAVEfmt`",
        ),
        ("x.rttm nowhere.rttm", "nowhere.rttm: "),
        ("empty x.rttm", "empty: no .rttm file in this directory"),
        (
            "x.rttm x.rttm again.rttm",
            "again.rttm: has `x`, and so has x.rttm: score one system at a time",
        ),
        (
            "-r x.rttm again.rttm -s z.rttm",
            "again.rttm: has `x`, and so has x.rttm: one reference is enough",
        ),
        (
            "xy.rttm z.rttm",
            "z.rttm: none of its recordings (`z`) is in the reference (`x`, `y`)",
        ),
        (
            "x.rttm x.rttm --uem reversed.uem",
            "reversed.uem:1:7: the region ends at 1, before it starts at 5",
        ),
        (
            "x.rttm x.rttm --uem uem",
            "uem/2.uem: another file has `x` too",
        ),
        ("x.rttm x.rttm --uem none.uem", "none.uem: "),
        (
            "x.rttm z.rttm -o x.rttm",
            "x.rttm: is an input (scored file)",
        ),
        ("x.rttm z.rttm -o empty", "empty: is a directory"),
        (
            "x.rttm z.rttm -o nowhere/a.html",
            "nowhere/a.html: cannot be written",
        ),
    ];
    let refused = cases.iter().filter_map(|(words, line)| {
        let run = soundalike_in(folder.path(), &format!("score {words}"));
        let problem = run.no_refusal(&[&format!("error: {line}")])?;
        Some(format!("score {words}: {problem}"))
    });
    all_pass(refused.collect());

    for words in [
        "",
        "x.rttm",
        "-r x.rttm",
        "-s x.rttm",
        "x.rttm x.rttm -r x.rttm -s x.rttm",
        "x.rttm x.rttm --collar nan",
        "x.rttm x.rttm --collar=-1",
        "x.rttm x.rttm --collar inf",
        "x.rttm x.rttm --as somebody",
        "x.rttm x.rttm --as dscore --all",
        "x.rttm x.rttm --format pdf",
    ] {
        let run = soundalike_in(folder.path(), format!("score {words}").trim());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{words}");
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("x.rttm"))
            .unwrap()
            .lines()
            .count(),
        1,
        "it is still there"
    );
}

#[test]
fn a_reference_without_speech_has_a_defined_answer() {
    let folder = folder(&[
        ("silent.rttm", "SPEAKER x 1 3 0 <NA> <NA> A <NA> <NA>\n"),
        ("x.rttm", ""),
        ("speech.rttm", &turn("x", 0.0, 5.0, "1")),
        ("named_otherwise.rttm", &turn("y", 0.0, 5.0, "1")),
    ]);
    for (words, expected) in [
        ("silent.rttm speech.rttm", Some(1.0)),
        ("silent.rttm silent.rttm", Some(0.0)),
        ("silent.rttm x.rttm", Some(0.0)),
        ("x.rttm speech.rttm", Some(1.0)),
        ("x.rttm x.rttm", Some(0.0)),
        ("speech.rttm x.rttm", Some(1.0)),
        ("speech.rttm named_otherwise.rttm", Some(0.0)),
        ("silent.rttm speech.rttm --as md-eval", None),
        ("silent.rttm speech.rttm --as dscore", None),
        ("speech.rttm speech.rttm --collar 20", Some(0.0)),
    ] {
        assert_eq!(der(folder.path(), words), expected, "{words}");
        for format in ["table", "csv", "markdown", "html", "svg"] {
            let text =
                soundalike_in(folder.path(), &format!("score {words} --format {format}")).ok();
            assert!(
                !text.contains("NaN") && !text.contains("-0,") && !text.contains("-0.0"),
                "{text}"
            );
        }
    }
    // dscore has a rate for the recording, and leaves it out of the total.
    let dscore = scores(folder.path(), "silent.rttm speech.rttm --as dscore");
    assert_eq!(dscore["reports"][0]["recordings"][0]["figures"]["der"], 1.0);
}

/// Numbers between 0 and 1, the same every time (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Turns of 50 speakers; one starts every second on average and lasts two and a half.
fn long(seed: u64, turns: usize) -> String {
    let (mut draw, mut start) = (Draw(seed), 0.0);
    let mut text = String::new();
    for _ in 0..turns {
        start += 2.0 * draw.next();
        let (duration, speaker) = (0.2 + 4.6 * draw.next(), (50.0 * draw.next()) as u32);
        text +=
            &format!("SPEAKER x 1 {start:.3} {duration:.3} <NA> <NA> speaker{speaker} <NA> <NA>\n");
    }
    text
}

#[test]
fn ten_thousand_turns_are_scored() {
    const TURNS: usize = 10_000;
    let folder = folder(&[("ref.rttm", &long(1, TURNS)), ("hyp.rttm", &long(2, TURNS))]);
    let scores = scores(folder.path(), "ref.rttm hyp.rttm --all");
    for report in scores["reports"].as_array().unwrap() {
        let recording = &report["recordings"][0];
        assert_eq!(recording["mapping"].as_array().unwrap().len(), 50);
        let turns = |side: &str| -> u64 {
            let speakers = recording[side].as_array().unwrap().iter();
            speakers.map(|s| s["turns"].as_u64().unwrap()).sum()
        };
        assert_eq!(
            (turns("reference_speakers"), turns("hypothesis_speakers")),
            (TURNS as u64, TURNS as u64)
        );
        // Two draws that have nothing to do with each other.
        assert!(report["pooled"]["der"].as_f64().unwrap() > 0.9);
    }
}

#[test]
fn what_diarize_writes_is_scored_against_the_truth() {
    let folder = folder(&[]);
    let hypothesis = support::sample_run().clone().ok();
    fs::write(folder.path().join("hyp.rttm"), hypothesis).unwrap();
    fs::copy(data("sample.rttm"), folder.path().join("ref.rttm")).unwrap();
    let rate = der(folder.path(), "ref.rttm hyp.rttm").unwrap();
    // The figure of the README. Turns have the same bits on every machine.
    assert_eq!(format!("{:.1} %", 100.0 * rate), "3.6 %");
}
