//! Networks, recognised by names and shapes of tensors.

use soundalike_network::{
    Activation, Architecture, BlockKind, LinearOptions, LstmOptions, PyanNet, SincFilters, SincNet,
    WeSpeakerResNet,
};

use super::{Recognised, Tensors};
use crate::{error::ErrorKind, told::Told};

/// A tensor that every PyanNet has, and no other network.
const PYANNET: &str = "sincnet.wav_norm1d.weight";
/// Tensors that every WeSpeaker ResNet has.
const WESPEAKER: [&str; 2] = ["seg_1.weight", "layer1.0.conv1.weight"];
/// What WeSpeaker's training has after the embedding.
const PROJECTION: &str = "projection.weight";
/// PyTorch's prefix in pyannote.
const RESNET: &str = "resnet.";

/// Whether a file with these names may hold a known network.
pub(super) fn is_known<'n>(names: impl Iterator<Item = &'n str>) -> bool {
    let mut names = names;
    names.any(|name| {
        [PYANNET, "sincnet.wav_norm.weight", WESPEAKER[1]]
            .iter()
            .any(|known| name.ends_with(known))
    })
}

/// The network of which these are the tensors.
pub(super) fn recognise<'a>(
    tensors: Tensors<'a>,
    told: &Told,
) -> Result<Option<Recognised<'a>>, ErrorKind> {
    let prefix = |leaf: &str| {
        let mut names = tensors.keys();
        names
            .find_map(|name| name.strip_suffix(leaf))
            .map(str::to_owned)
    };
    if let Some(prefix) = prefix(PYANNET) {
        return pyannet(below(tensors, &prefix, ""), told).map(Some);
    }
    let Some(prefix) = prefix(WESPEAKER[1]) else {
        return Ok(None);
    };
    if !tensors.contains_key(&format!("{prefix}{}", WESPEAKER[0])) {
        return Ok(None);
    }
    Ok(wespeaker(below(tensors, &prefix, RESNET)))
}

/// Tensors with another prefix. Those without it keep their names.
fn below<'a>(tensors: Tensors<'a>, prefix: &str, ours: &str) -> Tensors<'a> {
    let renamed = tensors.into_iter().map(|(name, tensor)| {
        let leaf = name
            .strip_prefix(prefix)
            .map(|leaf| format!("{ours}{leaf}"));
        (leaf.unwrap_or(name), tensor)
    });
    renamed.collect()
}

/// The size of one axis of a tensor; 0 if it is missing, which the check of the architecture refuses.
fn size(tensors: &Tensors<'_>, name: &str, axis: usize) -> usize {
    let tensor = tensors.get(name);
    tensor
        .and_then(|tensor| tensor.shape.get(axis))
        .copied()
        .unwrap_or(0)
}

/// How many tensors are there, counted from 0.
fn count(tensors: &Tensors<'_>, name: impl Fn(usize) -> String) -> usize {
    (0..tensors.len())
        .take_while(|&index| tensors.contains_key(&name(index)))
        .count()
}

fn pyannet<'a>(tensors: Tensors<'a>, told: &Told) -> Result<Recognised<'a>, ErrorKind> {
    let monolithic = tensors.contains_key("lstm.weight_hh_l0");
    let options = |hidden_size, num_layers, bidirectional| LstmOptions {
        hidden_size,
        num_layers,
        bidirectional,
        monolithic,
    };
    let named = |layer, reverse| options(0, 0, false).tensor_name("weight_hh", layer, reverse);
    let lstm = options(
        size(&tensors, &named(0, false), 1),
        count(&tensors, |layer| named(layer, false)),
        tensors.contains_key(&named(0, true)),
    );
    let num_outputs = size(&tensors, "classifier.weight", 0);
    // pyannote's powersets have one class more than a power of two or a few pairs; independent speakers are 4 at most.
    let powerset = told.most.is_some() || num_outputs == 7;
    let activation = match powerset {
        true => Activation::LogSoftmax,
        false => Activation::Sigmoid,
    };
    let baked = tensors.contains_key("sincnet.conv1d.0.filters");
    let mut notes =
        vec!["recognised by names and shapes: the file does not say what it is".to_owned()];
    if baked {
        notes.push("sinc filters are baked: the file holds the built filters".to_owned());
    }
    let pyannet = PyanNet {
        // SincNet supports only one.
        sample_rate: 16000,
        num_channels: 1,
        sincnet: SincNet {
            // pyannote's default, which no tensor shows.
            stride: 10,
            filters: match baked {
                true => SincFilters::Baked,
                false => SincFilters::Parametrised,
            },
        },
        lstm,
        linear: LinearOptions {
            hidden_size: size(&tensors, "linear.0.weight", 0),
            num_layers: count(&tensors, |layer| format!("linear.{layer}.weight")),
        },
        num_outputs,
        activation,
    };
    Ok(Recognised {
        specifications: told.specifications(num_outputs, activation, "file", &mut notes),
        architecture: Architecture::PyanNet(pyannet),
        tensors,
        notes,
    })
}

/// `None` for an unknown depth.
fn wespeaker(mut tensors: Tensors<'_>) -> Option<Recognised<'_>> {
    let mut notes =
        vec!["recognised by names and shapes: the file does not say what it is".to_owned()];
    if tensors.keys().any(|name| name.ends_with(PROJECTION)) {
        tensors.retain(|name, _| !name.ends_with(PROJECTION));
        notes.push(format!("{PROJECTION} is left out: only training uses it"));
    }
    let block = match tensors.contains_key("resnet.layer1.0.conv3.weight") {
        true => BlockKind::Bottleneck,
        false => BlockKind::Basic,
    };
    let num_blocks = [1, 2, 3, 4].map(|layer| {
        count(&tensors, |index| {
            format!("resnet.layer{layer}.{index}.conv1.weight")
        })
    });
    let depth = WeSpeakerResNet::depth(block, num_blocks)?;
    let folded = tensors.contains_key("resnet.conv1.bias");
    if folded {
        notes.push("norms are folded into the convolutions before them".to_owned());
    }
    let m_channels = size(&tensors, "resnet.conv1.weight", 0);
    // Mean and deviation of each channel in each of the bands that three strides of 2 leave.
    let of_a_band = m_channels * 8 * block.expansion() * 2;
    let bands = size(&tensors, "resnet.seg_1.weight", 1).checked_div(of_a_band)?;
    let resnet = WeSpeakerResNet {
        depth,
        block,
        num_blocks,
        m_channels,
        embed_dim: size(&tensors, "resnet.seg_1.weight", 0),
        two_emb_layer: tensors.contains_key("resnet.seg_2.weight"),
        num_mel_bins: 8 * bands,
        folded,
        ..WeSpeakerResNet::default()
    };
    Some(Recognised {
        architecture: Architecture::WeSpeakerResNet(resnet),
        specifications: None,
        tensors,
        notes,
    })
}
