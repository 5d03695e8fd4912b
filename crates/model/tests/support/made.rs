//! Networks of made-up weights.

use std::collections::HashMap;

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use soundalike_convert::{Bundle, METADATA_KEY};
use soundalike_network::Architecture;

/// A PyanNet with `change` made to its hyperparameters.
pub(crate) fn pyannet(change: impl Fn(&mut Value)) -> Bundle {
    let mut hyperparameters = json!({
        "sample_rate": 16000, "num_channels": 1, "sincnet": {"stride": 10, "filters": "baked"},
        "lstm": {"hidden_size": 16, "num_layers": 2, "bidirectional": true, "monolithic": true},
        "linear": {"hidden_size": 8, "num_layers": 2}, "num_outputs": 7, "activation": "log-softmax",
    });
    change(&mut hyperparameters);
    bundle("PyanNet", &hyperparameters)
}

/// A WeSpeakerResNet18 of two channels and eight bands, with `change` made to its hyperparameters.
pub(crate) fn wespeaker(change: impl Fn(&mut Value)) -> Bundle {
    let mut hyperparameters = json!({
        "depth": 18, "block": "basic", "num_blocks": [2, 2, 2, 2], "m_channels": 2, "embed_dim": 3,
        "two_emb_layer": false, "sample_rate": 16000, "num_channels": 1, "num_mel_bins": 8,
        "frame_length": 25.0, "frame_shift": 10.0, "round_to_power_of_two": true, "snip_edges": true,
        "dither": 0.0, "window_type": "hamming", "use_energy": false, "fbank_centering_span": null,
    });
    change(&mut hyperparameters);
    bundle("WeSpeakerResNet", &hyperparameters)
}

fn bundle(architecture: &str, hyperparameters: &Value) -> Bundle {
    let header = json!({
        "format": 1, "architecture": architecture, "hyperparameters": hyperparameters,
        "specifications": null, "notes": [],
        "source": {"file": "made", "format": "pytorch-zip", "sha256": "", "converter": "0"},
    });
    let architecture: Architecture =
        serde_json::from_value(header.clone()).expect("an architecture");
    let tensors = architecture.tensors();
    let floats = tensors.iter().filter(|tensor| !tensor.optional);
    let floats: Vec<(String, Vec<usize>, Vec<u8>)> = floats
        .map(|tensor| {
            let values = (0..tensor.shape.iter().product()).map(|i: usize| {
                let value = (i * i * 31 + 7 * i + tensor.name.len()) % 101;
                // Variances are above 0, and whatever is multiplied by may be.
                let least = match tensor.name.ends_with("running_var") {
                    true => 0.5,
                    false => -0.4,
                };
                value as f32 / 101.0 + least
            });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (tensor.name.clone(), tensor.shape.clone(), bytes)
        })
        .collect();
    let views = floats.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor");
        (name, view)
    });
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), header.to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("a file");
    Bundle::from_bytes(bytes, "made").expect("a bundle")
}
