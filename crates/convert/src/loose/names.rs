//! Names of other projects.

use super::Tensors;

/// Tensors under PyTorch's names, as far as these are known. Others keep their own.
pub(super) fn of_pytorch(tensors: Tensors<'_>) -> Tensors<'_> {
    let mut found = Tensors::new();
    for (name, tensor) in tensors {
        match of_mlx_lstm(&name) {
            Some(Lstm::Weight(name)) => {
                found.insert(name, tensor);
            }
            Some(Lstm::Bias([input, hidden])) => {
                found.insert(hidden, tensor.zeros());
                found.insert(input, tensor);
            }
            None => {
                found.insert(renamed(&name), tensor);
            }
        }
    }
    found
}

/// A tensor of one direction of an LSTM in MLX.
enum Lstm {
    Weight(String),
    /// The sum of PyTorch's two biases: the names of both.
    Bias([String; 2]),
}

/// `lstm_fwd.layers.0.Wx`: `mlx.nn.LSTM`, one for each direction.
fn of_mlx_lstm(name: &str) -> Option<Lstm> {
    let (rest, suffix) = match name.strip_prefix("lstm_fwd.layers.") {
        Some(rest) => (rest, ""),
        None => (name.strip_prefix("lstm_bwd.layers.")?, "_reverse"),
    };
    let (layer, kind) = rest.split_once('.')?;
    let named = |kind: &str| format!("lstm.{kind}_l{layer}{suffix}");
    Some(match kind {
        "Wx" => Lstm::Weight(named("weight_ih")),
        "Wh" => Lstm::Weight(named("weight_hh")),
        "bias" => Lstm::Bias(["bias_ih", "bias_hh"].map(named)),
        _ => return None,
    })
}

/// Parts of names of ports to MLX for Swift, and of speakrs: theirs and PyTorch's.
const PARTS: [(&str, &str); 6] = [
    ("sincnet.conv.0.weight", "sincnet.conv1d.0.filters"),
    ("sincnet.conv.", "sincnet.conv1d."),
    ("sincnet.norm.", "sincnet.norm1d."),
    ("sincnet.wav_norm.", "sincnet.wav_norm1d."),
    (".shortcut.weight", ".shortcut.0.weight"),
    (".shortcut.bias", ".shortcut.0.bias"),
];

fn renamed(name: &str) -> String {
    let mut name = name.to_owned();
    for (theirs, ours) in PARTS {
        name = name.replace(theirs, ours);
    }
    if let Some(leaf) = name.strip_prefix("embedding.") {
        name = format!("seg_1.{leaf}");
    }
    // speakrs: the bias of a convolution into which a norm was folded.
    match name.strip_suffix(".weight_bias") {
        Some(module) => format!("{module}.bias"),
        None => name,
    }
}
