//! What `soundalike compare` prints for people and for CI servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs::{self, File};

use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use quick_junit::TestCaseStatus;
use support::{command, soundalike};

const FAULT: [&str; 3] = ["compare", "--inject", "relu-for-leaky-relu"];

/// `compare` with the mistake of the 88.6 %, and more arguments; stdout. The gate fails.
fn fault(more: &[&str]) -> String {
    let run = soundalike(FAULT.iter().chain(more));
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    run.stdout
}

#[test]
fn the_table_is_one_screen_that_names_the_stage_without_colours() {
    let table = fault(&[]);
    let widest = table
        .lines()
        .filter(|line| line.contains("exact"))
        .map(|line| line.chars().count())
        .max();
    assert!(widest.unwrap() <= 132, "{table}");
    assert!(table.lines().count() <= 40, "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
    let marked: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with(" > "))
        .collect();
    assert_eq!(marked.len(), 2, "{table}");
    assert!(
        marked[0].contains("linear.0.leaky_relu") && marked[0].contains("structural"),
        "{table}"
    );
    assert!(
        table.contains("Not rounding: linear.0.leaky_relu is wrong"),
        "{table}"
    );
    assert!(
        table.contains("sincnet.wav_norm1d .. linear.0 ("),
        "{table}"
    );
    assert!(table.contains("reproduce: soundalike compare"), "{table}");
    assert!(table.contains("weights: "), "{table}");

    let clean = soundalike(["compare"]).ok();
    assert!(
        clean.contains("Rounding, no bug: the largest error is"),
        "{clean}"
    );
    assert!(clean.contains("gate: passed"), "{clean}");
    let verbose = soundalike(["compare", "--verbose"]).ok();
    assert!(
        verbose.contains("lstm.2.reverse") && !clean.contains("lstm.2.reverse"),
        "{verbose}"
    );
}

#[test]
fn the_page_is_one_file_that_asks_for_nothing_outside() {
    for page in [
        fault(&["--format", "html"]),
        soundalike(["compare", "--format", "html"]).ok(),
    ] {
        assert!(
            page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"),
            "{page}"
        );
        assert!(page.len() < 300_000, "{}", page.len());
        // The name space of SVG, in the timelines and in their script; no link.
        let addresses = page
            .match_indices("http")
            .map(|(at, _)| &page[at..page.len().min(at + 26)]);
        assert!(
            addresses
                .clone()
                .all(|found| found == "http://www.w3.org/2000/svg"),
            "{:?}",
            addresses.collect::<Vec<_>>()
        );
        for outside in ["src=", "href=", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for part in [
            "class=\"heatmap\"",
            "class=\"scatter\"",
            "class=\"picture\"",
            "class=\"track\"",
            "weights: ",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}

#[cfg(unix)]
#[test]
fn names_that_others_chose_stay_text_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let trace = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../crates/selftest/captured/segmentation-3.0_1s.npz"
    );
    let name = "<script>alert(1)<|>&\".npz";
    fs::copy(trace, folder.path().join(name)).unwrap();
    for (format, shown) in [
        ("html", "&lt;script&gt;alert(1)&lt;|&gt;&amp;&quot;.npz"),
        ("markdown", "\\<script\\>alert(1)\\<\\|\\>&\".npz"),
        ("junit", "&lt;script&gt;alert(1)&lt;|&gt;&amp;"),
    ] {
        let text = command([
            "compare",
            "--format",
            format,
            "--candidate",
            &format!("trace:{name}"),
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(shown), "{format}: {text}");
        if format != "markdown" {
            assert!(!text.contains("<script>alert"), "{format}");
        }
    }
}

#[test]
fn junit_has_a_case_for_each_limit_and_fails_those_that_json_fails() {
    let parsed = |text: &str| quick_junit::Report::deserialize_from_str(text).unwrap();
    let failed = |report: &quick_junit::Report| -> Vec<String> {
        let cases = report
            .test_suites
            .iter()
            .flat_map(|suite| &suite.test_cases);
        cases
            .filter(|case| matches!(case.status, TestCaseStatus::NonSuccess { .. }))
            .map(|case| case.classname.clone().unwrap().to_string())
            .collect()
    };
    let every_stage = ["--candidate", "candle-cpu-portable", "--format", "junit"];
    let clean = parsed(&soundalike(["compare"].iter().chain(&every_stage)).ok());
    assert_eq!((clean.failures, failed(&clean).len()), (0, 0));
    // Both R both ways at 33 stages, at the least.
    assert!(clean.tests >= 33 * 4, "{}", clean.tests);
    let wrong = parsed(&fault(&every_stage));
    let json = fault(&["--candidate", "candle-cpu-portable", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let failures = json["gate"]["failures"].as_array().unwrap();
    assert_eq!(failed(&wrong).len(), failures.len());
    assert_eq!(failed(&wrong)[0], "linear.0.leaky_relu");
    // A network with an injected fault is not run as `diarize` does, in two ways.
    assert_eq!(wrong.tests + 2, clean.tests);
}

#[test]
fn github_gets_annotations_and_the_summary_of_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.md");
    fs::write(&summary, "before\n").unwrap();
    let run = |fault: bool| {
        let arguments: &[&str] = if fault { &FAULT } else { &FAULT[..1] };
        let output = command(arguments.iter().chain(&["--github", "--format", "json"]))
            .env("GITHUB_STEP_SUMMARY", &summary)
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let clean = run(false);
    assert!(
        clean.starts_with("::notice title=segmentation-3.0") && clean.lines().count() == 1,
        "{clean}"
    );
    let wrong = run(true);
    assert!(
        wrong.lines().count() > 1 && wrong.lines().all(|line| line.starts_with("::error title=")),
        "{wrong}"
    );
    assert!(
        wrong.contains("linear.0.leaky_relu: teacher-forced R is"),
        "{wrong}"
    );
    let text = fs::read_to_string(&summary).unwrap();
    assert!(
        text.starts_with("before\n## ") && text.matches("\n## ").count() == 2,
        "{text}"
    );
    assert!(
        text.contains("Not rounding: linear.0.leaky\\_relu is wrong"),
        "{text}"
    );
}

#[test]
fn a_foreign_trace_is_read_by_a_map_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Channels last, other names, as an MLX port has them.
    foreign_trace(&path("mlx.npz"));
    let compare = |map: &str| {
        fs::write(path("names.toml"), map).unwrap();
        let candidate = format!("trace:{}", path("mlx.npz"));
        soundalike([
            "compare",
            "--format",
            "json",
            "--candidate",
            &candidate,
            "--map",
            &path("names.toml"),
        ])
    };
    let turned = "\"encoder.pool0\" = { name = \"sincnet.pool1d.0\", transpose = [0, 2, 1] }\n\"head\" = \"activation\"";
    let run = compare(turned);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let stage = |name: &str| {
        let stages = report["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).unwrap()["verdict"].clone()
    };
    // The goldens themselves: more exact than f32 can be, where its own error is large.
    assert_eq!(
        (stage("sincnet.pool1d.0"), stage("activation")),
        ("over_precise".into(), "exact".into()),
        "{}",
        run.stderr
    );
    assert_eq!(stage("linear.0"), "not_observed");

    let refused = [
        (
            "\"head\" = \"activations\"",
            "`activations`, which the reference does not have",
        ),
        ("\"tail\" = \"activation\"", "`tail`"),
        (
            "\"head\" = \"activation\"\n\"encoder.pool0\" = \"activation\"",
            "both mapped to `activation`",
        ),
        ("head = 3", "line 1"),
    ];
    support::all_pass(
        refused
            .into_iter()
            .filter_map(|(map, part)| compare(map).no_refusal(&["names.toml", part]))
            .collect(),
    );
    let ours = soundalike(["compare", "--map", &path("names.toml")]);
    assert_eq!(ours.no_refusal(&["--map", "--candidate trace:"]), None);
}

#[test]
fn sarif_has_the_wrong_stage_as_a_place() {
    let log: serde_json::Value = serde_json::from_str(&fault(&["--format", "sarif"])).unwrap();
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results[0]["ruleId"], "finding");
    let place = &results[0]["locations"][0]["logicalLocations"][0];
    assert_eq!(place["fullyQualifiedName"], "linear.0.leaky_relu");
    assert!(
        results.len() > 4 && run["properties"]["coverage"]["observed"] == 33,
        "{run}"
    );
}

#[test]
fn an_array_in_fortran_order_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fortran.npz");
    let mut npz = NpzWriter::new(File::create(&path).unwrap());
    let golden = golden("activation");
    // numpy.asfortranarray
    let turned = golden.t().as_standard_layout().into_owned();
    npz.add_array("activation", &turned.t()).unwrap();
    npz.finish().unwrap();
    let trace = format!("trace:{}", path.display());
    let run = soundalike(["compare", "--candidate", &trace, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let stages = report["stages"].as_array().unwrap();
    let activation = stages.iter().find(|stage| stage["name"] == "activation");
    assert_eq!(
        activation.unwrap()["free_running"]["r"],
        0.0,
        "{activation:?}"
    );
}

/// The official package's output of a stage of the built-in trace.
fn golden(stage: &str) -> ArrayD<f64> {
    let trace = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../crates/selftest/captured/segmentation-3.0_1s.npz"
    );
    NpzReader::new(File::open(trace).unwrap())
        .unwrap()
        .by_name(stage)
        .unwrap()
}

/// Two stages of the built-in trace as an MLX port would save them: f32, channels last, names of its own.
fn foreign_trace(path: &str) {
    let mut npz = NpzWriter::new(File::create(path).unwrap());
    let pooled = golden("sincnet.pool1d.0").permuted_axes(IxDyn(&[0, 2, 1]));
    let pooled = pooled.as_standard_layout().mapv(|x| x as f32);
    npz.add_array("encoder.pool0", &pooled).unwrap();
    npz.add_array("head", &golden("activation").mapv(|x| x as f32))
        .unwrap();
    npz.finish().unwrap();
}
