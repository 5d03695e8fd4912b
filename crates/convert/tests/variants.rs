//! Tensor names and shapes of many hyperparameters, against the official package.
//!
//! `golden/variants.json` was made by `reference/make_variants.py --list` with pyannote.audio
//! 4.0.7; it holds a SHA-256 over all names and shapes of each network.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Digest;
use soundalike_network::{Architecture, Role, WeSpeakerResNet};

#[derive(Deserialize)]
struct Variant {
    hyperparameters: Value,
    tensors: usize,
    parameters: usize,
    buffers: usize,
    sha256: String,
}

fn architecture(name: &str, given: &Value) -> Architecture {
    if let Some(rest) = name.strip_prefix("wespeaker-") {
        let depth: u32 = rest.split('-').next().unwrap().parse().unwrap();
        let (block, num_blocks) = WeSpeakerResNet::blocks(depth).unwrap();
        return serde_json::from_value(json!({
            "architecture": "WeSpeakerResNet",
            "hyperparameters": {
                "depth": depth, "block": block, "num_blocks": num_blocks,
                "m_channels": 32, "embed_dim": 256, "two_emb_layer": false,
                "sample_rate": 16000, "num_channels": 1,
                "num_mel_bins": given["num_mel_bins"],
                "frame_length": given["frame_length"], "frame_shift": given["frame_shift"],
                "round_to_power_of_two": true, "snip_edges": true, "dither": 0.0,
                "window_type": "hamming", "use_energy": false, "fbank_centering_span": null,
            },
        }))
        .unwrap();
    }
    let lstm = &given["lstm"];
    // The number of outputs is in the specifications, which are not hyperparameters.
    let num_outputs = match name {
        "multilabel" | "no-linear-unidirectional" | "split-unidirectional" => 4,
        "four-speakers" => 11,
        _ => 7,
    };
    serde_json::from_value(json!({
        "architecture": "PyanNet",
        "hyperparameters": {
            "sample_rate": 16000, "num_channels": 1,
            "sincnet": { "stride": given["sincnet"]["stride"], "filters": "parametrised" },
            "lstm": {
                "hidden_size": lstm["hidden_size"], "num_layers": lstm["num_layers"],
                "bidirectional": lstm["bidirectional"], "monolithic": lstm["monolithic"],
            },
            "linear": given["linear"],
            "num_outputs": num_outputs, "activation": "sigmoid",
        },
    }))
    .unwrap()
}

#[test]
fn every_variant_needs_the_tensors_that_the_official_package_has() {
    let variants: BTreeMap<String, Variant> =
        serde_json::from_str(include_str!("golden/variants.json")).unwrap();
    assert_eq!(variants.len(), 17);
    for (name, variant) in variants {
        let mut tensors = architecture(&name, &variant.hyperparameters).tensors();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let lines: String = tensors
            .iter()
            .map(|tensor| format!("{} {:?}\n", tensor.name, tensor.shape))
            .collect();
        let digest = sha2::Sha256::digest(lines.as_bytes());
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let count = |role| -> usize {
            let of_role = tensors.iter().filter(|tensor| tensor.role == role);
            of_role
                .map(|tensor| tensor.shape.iter().product::<usize>())
                .sum()
        };
        assert_eq!(tensors.len(), variant.tensors, "{name}");
        assert_eq!(count(Role::Parameter), variant.parameters, "{name}");
        assert_eq!(count(Role::Buffer), variant.buffers, "{name}");
        assert_eq!(sha256, variant.sha256, "{name}");
    }
}
