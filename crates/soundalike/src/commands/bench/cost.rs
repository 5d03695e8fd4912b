//! Multiplications that a network takes, by stage, as its layers are defined: a transform that needs fewer of them
//! (Winograd's) does not change the count.

use std::collections::BTreeMap;

use soundalike_convert::{Block, Lstm, SincNet};
use soundalike_model::{PyanNet, WeSpeakerResNet};

/// Multiply-adds of one window, by the stage that a fused kernel shows.
pub(super) type Costs = BTreeMap<String, usize>;

/// The same by the stages of portable code, which shows a convolution before what follows it.
pub(super) fn unfused(costs: Costs) -> Costs {
    let stage = |name: String| match &*name {
        "resnet.bn1.relu" => "resnet.conv1".to_owned(),
        _ => name.replace("sincnet.pool1d.", "sincnet.conv1d."),
    };
    costs
        .into_iter()
        .map(|(name, adds)| (stage(name), adds))
        .collect()
}

/// Of `samples` samples.
pub(super) fn of_pyannet(network: &PyanNet, samples: usize) -> Costs {
    let config = network.config();
    let mut costs = Costs::new();
    let (mut frames, mut inputs) = (samples, 1);
    for (index, outputs) in SincNet::CHANNELS.into_iter().enumerate() {
        let (kernel, stride) = match index {
            0 => (SincNet::KERNEL_SIZE, config.sincnet.stride),
            _ => (SincNet::CONV_KERNEL_SIZE, 1),
        };
        frames = (frames - kernel) / stride + 1;
        let cost = frames * outputs * inputs * kernel;
        costs.insert(format!("sincnet.pool1d.{index}"), cost);
        frames /= SincNet::POOL_SIZE;
        inputs = outputs;
    }
    let Lstm {
        hidden_size: hidden,
        num_layers,
        bidirectional,
        ..
    } = config.lstm;
    let directions = 1 + usize::from(bidirectional);
    for index in 0..num_layers {
        let cost = frames * directions * 4 * hidden * (inputs + hidden);
        costs.insert(format!("lstm.{index}"), cost);
        inputs = directions * hidden;
    }
    for index in 0..config.linear.num_layers {
        let outputs = config.linear.hidden_size;
        costs.insert(format!("linear.{index}"), frames * inputs * outputs);
        inputs = outputs;
    }
    let cost = frames * inputs * config.num_outputs;
    costs.insert("classifier".to_owned(), cost);
    costs
}

/// Of `samples` samples and `speakers` speakers.
pub(super) fn of_wespeaker(network: &WeSpeakerResNet, samples: usize, speakers: usize) -> Costs {
    let config = network.config();
    let mut costs = Costs::new();
    let mut bands = config.num_mel_bins;
    let frame = (config.frame_length * f64::from(config.sample_rate) / 1e3) as usize;
    let shift = (config.frame_shift * f64::from(config.sample_rate) / 1e3) as usize;
    let mut frames = samples.saturating_sub(frame) / shift.max(1) + 1;
    let mut channels = config.m_channels;
    costs.insert("resnet.bn1.relu".to_owned(), bands * frames * channels * 9);
    let strides = soundalike_convert::WeSpeakerResNet::STRIDES;
    for (layer, (count, stride)) in config.num_blocks.into_iter().zip(strides).enumerate() {
        let planes = config.m_channels << layer;
        let outputs = planes * config.block.expansion();
        for index in 0..count {
            let name = format!("resnet.layer{}.{index}", layer + 1);
            let stride = if index == 0 { stride } else { 1 };
            let before = bands * frames;
            (bands, frames) = (bands.div_ceil(stride), frames.div_ceil(stride));
            let pixels = bands * frames;
            let mut insert = |stage: &str, cost| costs.insert(format!("{name}{stage}"), cost);
            match config.block {
                Block::Basic => {
                    insert(".bn1.relu", pixels * channels * planes * 9);
                    insert("", pixels * planes * outputs * 9);
                }
                Block::Bottleneck => {
                    insert(".bn1.relu", before * channels * planes);
                    insert(".bn2.relu", pixels * planes * planes * 9);
                    insert("", pixels * planes * outputs);
                }
            }
            if stride != 1 || channels != outputs {
                insert(".shortcut.1", pixels * channels * outputs);
            }
            channels = outputs;
        }
    }
    let cost = speakers * config.pool_out_dim() * config.embed_dim;
    costs.insert("resnet.seg_1".to_owned(), cost);
    costs
}
