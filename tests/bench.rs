//! `soundalike bench`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use serde_json::Value;
use support::{data, soundalike};

/// The report on the embedded network, and on the sample through the whole pipeline.
fn report(more: &[&str]) -> Value {
    let sample = data("sample.wav");
    let mut arguments = vec![
        "bench",
        sample.to_str().unwrap(),
        "--windows",
        "2",
        "--runs",
        "1",
    ];
    arguments.extend(["--format", "json"]);
    arguments.extend(more);
    serde_json::from_str(&soundalike(&arguments).ok()).unwrap()
}

#[test]
fn each_part_of_a_network_and_of_the_pipeline_has_a_time() {
    let report = report(&[]);
    let network = &report["networks"][0];
    assert_eq!(
        (&network["name"], &network["windows"]),
        (&"PyanNet".into(), &2.into())
    );
    for name in ["sincnet.pool1d.0", "lstm.0", "lstm.3"] {
        let stages = network["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["name"] == name);
        let stage = stage.unwrap_or_else(|| panic!("{name} is not among {stages:?}"));
        assert!(stage["ms"].as_f64().unwrap() > 0.0 && stage["gflop"].as_f64().unwrap() > 0.0);
    }
    let parts: Vec<_> = report["pipeline"]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    let names: Vec<_> = parts.iter().map(|part| part[0].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "model",
            "decoding",
            "segmentation",
            "embedding",
            "clustering"
        ]
    );
    let all: f64 = parts.iter().map(|part| part[1].as_f64().unwrap()).sum();
    assert!(all <= report["pipeline"]["seconds"].as_f64().unwrap());
    assert_eq!(report["pipeline"]["speakers"], 2);
}

#[test]
fn without_kernels_a_convolution_has_its_multiplications_before_it_is_pooled() {
    let report = report(&["--portable"]);
    let stages = report["networks"][0]["stages"].as_array().unwrap();
    let gflop = |name: &str| {
        let stage = stages.iter().find(|stage| stage["name"] == name);
        stage.and_then(|stage| stage["gflop"].as_f64())
    };
    assert!(gflop("sincnet.conv1d.0").is_some_and(|gflop| (gflop - 0.642).abs() < 1e-3));
    assert_eq!(gflop("sincnet.pool1d.0"), None);
}
