//! How the outputs of the stages lie in memory, by the names of the stages.

use crate::Stage;

/// What there is to know of the stage `name` of a live network, whose output has `shape`. `names` are all its
/// stages.
pub(crate) fn stage(name: &str, shape: &[usize], names: &[String]) -> Stage {
    let (channel_axis, frame_axis) = axes(name, shape.len());
    let parts = ["forward", "reverse"].map(|direction| format!("{name}.{direction}"));
    Stage {
        name: name.to_owned(),
        shape: shape.to_vec(),
        channel_axis,
        frame_axis,
        parts: parts
            .into_iter()
            .filter(|part| names.contains(part))
            .collect(),
        degenerate: false,
    }
}

/// Axis of channels (or features) and axis of frames (where time is pooled away, of the masks it was pooled
/// by) of an output of `rank` dimensions. As `reference/capture.py` has them.
fn axes(name: &str, rank: usize) -> (usize, Option<usize>) {
    match (name, rank) {
        // [channel, _, time]: no frame of the input is in it.
        ("sincnet.conv1d.0.filters", _) => (0, None),
        // [batch, mask, frame]
        ("weights", _) => (1, Some(2)),
        // [batch, channel, time]
        (name, 3) if name.starts_with("sincnet.") => (1, Some(2)),
        // [batch, frame, feature], [batch, mask, feature]
        (_, 3) => (2, Some(1)),
        // [batch, channel, band, time]
        (_, 4) => (1, Some(3)),
        // [batch, feature]
        (_, rank) => (rank.saturating_sub(1), None),
    }
}

/// Names the waveform among the [`inputs`] of a stage.
pub(crate) const WAVEFORM: &str = "waveform";
/// Names the masks among the [`inputs`] of a stage.
pub(crate) const MASKS: &str = "masks";

/// What the stage `name` is fed, in the order of its operands: stages `before` it (in order of execution), or the
/// inputs of the network.
pub(crate) fn inputs<'a>(name: &'a str, before: &[&'a str]) -> Vec<&'a str> {
    let last = |wanted: &dyn Fn(&str) -> bool| before.iter().rev().find(|name| wanted(name));
    // What a residual block is fed.
    let block = |block: &str| {
        let first = before.iter().position(|name| {
            name.strip_prefix(block)
                .is_some_and(|rest| rest == ".conv1")
        });
        first.and_then(|first| before.get(first.checked_sub(1)?))
    };
    let found = match name {
        "sincnet.wav_norm1d" | "fbank" => return vec![WAVEFORM],
        // The second says how many frames there are.
        "weights" => return [MASKS].into_iter().chain(before.last().copied()).collect(),
        "sincnet.conv1d.0.filters" => return Vec::new(),
        "sincnet.conv1d.0" => vec![last(&|name| !is_constant(name)), before.last()],
        "resnet.pool" => vec![
            last(&|name| name != "weights"),
            before.last().filter(|name| **name == "weights"),
        ],
        _ if is_part(name) => vec![last(&|name| !is_part(name))],
        _ if name.starts_with("lstm.") => {
            let parts = before.iter().rev().take_while(|name| is_part(name));
            let mut parts: Vec<_> = parts.map(Some).collect();
            parts.reverse();
            parts
        }
        _ => match (name.strip_suffix(".shortcut.0"), name.strip_suffix(".add")) {
            (Some(name), _) => vec![block(name)],
            (_, Some(name)) => {
                let norm = last(&|stage| stage.starts_with(&format!("{name}.bn")));
                let shortcut = last(&|stage| stage == format!("{name}.shortcut.1"));
                vec![norm, shortcut.or(block(name))]
            }
            _ => vec![before.last()],
        },
    };
    found.into_iter().flatten().copied().collect()
}

/// Whether the stage `name` stands beside others in a larger one: a direction of an LSTM layer.
pub(crate) fn is_part(name: &str) -> bool {
    name.starts_with("lstm.") && (name.ends_with(".forward") || name.ends_with(".reverse"))
}

/// Whether the stage `name` is made of weights alone, whatever the network hears.
pub(crate) fn is_constant(name: &str) -> bool {
    name == "sincnet.conv1d.0.filters"
}

/// Whether the stage `name` divides by the deviation of its input.
pub(crate) fn is_instance_norm(name: &str) -> bool {
    let norm = name.strip_prefix("sincnet.norm1d.");
    name == "sincnet.wav_norm1d" || norm.is_some_and(|index| !index.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReferenceTrace;

    #[test]
    fn a_live_stage_lies_as_the_capture_says() {
        let trace = ReferenceTrace::embedded().unwrap();
        let stages = &trace.manifest().stages;
        let names: Vec<_> = stages.iter().map(|stage| stage.name.clone()).collect();
        for captured in stages {
            assert_eq!(&stage(&captured.name, &captured.shape, &names), captured);
        }
        let parts: Vec<_> = stages.iter().flat_map(|stage| &stage.parts).collect();
        assert!(
            names
                .iter()
                .all(|name| is_part(name) == parts.contains(&name))
        );
        let norms = names.iter().filter(|name| is_instance_norm(name));
        assert_eq!(norms.count(), 4);
    }

    #[test]
    fn a_stage_is_fed_by_what_forward_feeds_it() {
        let block = "resnet.layer2.0";
        let stages = [
            "fbank",
            "fbank.centred",
            "resnet.bn1.relu",
            "resnet.layer2.0.conv1",
            "resnet.layer2.0.bn1",
            "resnet.layer2.0.bn1.relu",
            "resnet.layer2.0.conv2",
            "resnet.layer2.0.bn2",
            "resnet.layer2.0.shortcut.0",
            "resnet.layer2.0.shortcut.1",
            "resnet.layer2.0.add",
            block,
            "weights",
            "resnet.pool",
        ];
        let fed = |name: &'static str| {
            let place = stages.iter().position(|stage| *stage == name).unwrap();
            inputs(name, &stages[..place])
        };
        assert_eq!(fed("fbank"), [WAVEFORM]);
        assert_eq!(fed("resnet.layer2.0.conv1"), ["resnet.bn1.relu"]);
        assert_eq!(fed("resnet.layer2.0.shortcut.0"), ["resnet.bn1.relu"]);
        assert_eq!(
            fed("resnet.layer2.0.add"),
            ["resnet.layer2.0.bn2", "resnet.layer2.0.shortcut.1"]
        );
        assert_eq!(fed("resnet.pool"), [block, "weights"]);
        assert_eq!(
            inputs("resnet.layer2.0.add", &stages[..8]),
            ["resnet.layer2.0.bn2", "resnet.bn1.relu"]
        );
        let encoder = ["sincnet.wav_norm1d", "sincnet.conv1d.0.filters"];
        assert_eq!(inputs("sincnet.conv1d.0", &encoder), encoder);
        let layers = ["lstm.0", "lstm.1.forward", "lstm.1.reverse"];
        assert_eq!(inputs("lstm.1.reverse", &layers[..2]), ["lstm.0"]);
        assert_eq!(inputs("lstm.1", &layers), layers[1..]);
    }

    #[test]
    fn embeddings_lie_as_the_capture_says() {
        // reference/README.md, "What is in the file".
        for (name, rank, expected) in [
            ("fbank.centred", 3, (2, Some(1))),
            ("resnet.layer1.0.conv1", 4, (1, Some(3))),
            ("weights", 3, (1, Some(2))),
            ("resnet.pool", 3, (2, Some(1))),
            ("resnet.seg_1", 2, (1, None)),
        ] {
            assert_eq!(axes(name, rank), expected, "{name}");
        }
    }
}
