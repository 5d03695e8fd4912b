//! What a forward pass shows is the graph: by name, in order and by shape, for every architecture, kernel set and batch.

#[path = "support/made.rs"]
mod made;

use serde_json::json;
use soundalike_convert::Bundle;
use soundalike_model::{
    Device, Engine, Input, InstructionSet, Kernels, Probe, Result, Tensor, load,
};
use soundalike_network::{Graph, InputShapes, Op, Operand};

/// Networks that differ in every hyperparameter that changes the stages.
fn networks() -> Vec<(&'static str, Bundle)> {
    vec![
        ("PyanNet", made::pyannet(|_| ())),
        (
            "the embedded network",
            soundalike_weights::segmentation().expect("the embedded bundle"),
        ),
        (
            "split layers, parametrised filters, sigmoid",
            made::pyannet(|h| {
                h["sincnet"] = json!({"stride": 5, "filters": "parametrised"});
                h["lstm"]["monolithic"] = json!(false);
                h["activation"] = json!("sigmoid");
            }),
        ),
        (
            "one direction, no linear layers",
            made::pyannet(|h| {
                h["lstm"]["bidirectional"] = json!(false);
                h["linear"]["num_layers"] = json!(0);
            }),
        ),
        ("WeSpeakerResNet18", made::wespeaker(|_| ())),
        (
            "bottleneck blocks, mirrored edges, a running average",
            made::wespeaker(|h| {
                h["depth"] = json!(50);
                h["block"] = json!("bottleneck");
                h["num_blocks"] = json!([3, 4, 6, 3]);
                h["snip_edges"] = json!(false);
                h["fbank_centering_span"] = json!(0.05);
            }),
        ),
    ]
}

/// Writes down names and shapes.
#[derive(Default)]
struct Shown(Vec<(String, Vec<usize>)>);

impl Probe for Shown {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.0.push((name.to_owned(), value.dims().to_vec()));
        Ok(value)
    }
}

/// The kernel that computes the stage at `index` together with later ones: their operations, the last of which is shown.
fn fusion(graph: &Graph, index: usize, shown: &[(String, Vec<usize>)]) -> Vec<&'static str> {
    let stages = graph.stages();
    let mut operations = Vec::new();
    let mut at = index;
    loop {
        operations.push(match stages[at].op {
            Op::Conv1d { .. } => "conv1d",
            Op::Abs => "abs",
            Op::MaxPool { .. } => "pool",
            Op::InstanceNorm { .. } => "norm",
            Op::LeakyRelu { .. } => "leaky relu",
            Op::Conv2d { .. } => "conv2d",
            Op::BatchNorm { .. } => "batch norm",
            Op::Relu => "relu",
            Op::Add => "add",
            Op::LstmDirection { .. } => "direction",
            Op::Lstm { .. } => "layer",
            _ => "another",
        });
        if shown.iter().any(|(name, _)| *name == stages[at].name) {
            return operations;
        }
        let reads = |next: &usize| stages[*next].operands.contains(&Operand::Stage(at));
        let next = stages[at].part_of.or((at + 1..stages.len()).find(reads));
        at = next.expect("a stage that is not shown is computed together with a later one");
    }
}

/// What kernels compute in one pass, from any of its stages to the last.
const FUSIONS: [&[&str]; 5] = [
    &["conv1d", "abs", "pool"],
    &["conv1d", "pool"],
    &["norm", "leaky relu"],
    &["conv2d", "batch norm", "relu"],
    &["conv2d", "batch norm", "add", "relu"],
];
/// The same for those that end with a norm that is shown, and for the directions of an LSTM.
const SHORT: [&[&str]; 2] = [&["conv2d", "batch norm"], &["direction", "layer"]];

#[test]
fn what_forward_shows_is_the_graph() {
    for (name, bundle) in networks() {
        let mut kernel_sets = vec![Kernels::Portable, Kernels::MetalOps, Kernels::Experimental];
        kernel_sets.extend(InstructionSet::all().into_iter().map(Kernels::Native));
        for kernels in kernel_sets {
            let engine = Engine {
                kernels,
                ..Engine::default()
            };
            let network = load(&bundle, &engine).expect("a network");
            for batch in [1, 2, 13] {
                for masks in [None, Some((3, 7))] {
                    if masks.is_some() && network.graph(true) == network.graph(false) {
                        continue;
                    }
                    let case = format!("{name}, {kernels}, a batch of {batch}, masks {masks:?}");
                    assert_is_the_graph(&case, network.as_ref(), batch, masks);
                }
            }
        }
    }
}

fn assert_is_the_graph(
    case: &str,
    network: &dyn soundalike_model::Network,
    batch: usize,
    masks: Option<(usize, usize)>,
) {
    let samples = 5_000;
    let wave = (0..batch * samples).map(|i| (i as f32 * 0.013).sin() * 0.3);
    let waveforms = Tensor::from_iter(wave, &Device::Cpu)
        .and_then(|wave| wave.reshape((batch, 1, samples)))
        .expect("waveforms");
    let weights = masks.map(|(masks, frames)| {
        let weights = Tensor::ones(
            (batch, masks, frames),
            soundalike_model::DType::F32,
            &Device::Cpu,
        );
        weights.expect("masks")
    });
    let input = Input {
        waveforms: &waveforms,
        masks: weights.as_ref(),
    };
    let mut shown = Shown::default();
    let output = network.forward(input, &mut shown).expect("a forward pass");
    let shown = shown.0;

    let graph = network.graph(masks.is_some());
    let shapes = graph
        .shapes(InputShapes {
            batch,
            samples,
            masks,
        })
        .expect("shapes");
    let all: Vec<(String, Vec<usize>)> = graph
        .stages()
        .iter()
        .map(|stage| stage.name.clone())
        .zip(shapes)
        .collect();
    // By name, in order, by shape; kernels show fewer.
    let expected: Vec<_> = all
        .iter()
        .filter(|(name, _)| shown.iter().any(|(seen, _)| seen == name))
        .cloned()
        .collect();
    let mut in_order = shown.clone();
    // A block's shortcut is computed before the convolution that it is added to, where both are one.
    in_order.sort_by_key(|(name, _)| graph.position(name));
    assert_eq!(in_order, expected, "{case}");
    assert_eq!(
        shown.len(),
        expected.len(),
        "{case}: a stage was shown twice"
    );
    assert_eq!(
        shown.last().map(|(_, shape)| &shape[..]),
        Some(output.dims()),
        "{case}"
    );
    for (index, (name, _)) in all.iter().enumerate() {
        if shown.iter().any(|(seen, _)| seen == name) {
            continue;
        }
        let fused = fusion(graph, index, &shown);
        let declared = FUSIONS
            .iter()
            .chain(&SHORT)
            .any(|declared| declared.ends_with(&fused) && fused.len() > 1);
        assert!(
            declared,
            "{case}: {name} is not shown, and {fused:?} is not a declared fusion"
        );
    }
    let is_portable = !network.engine().kernels.to_string().ends_with("kernels")
        || network.engine().kernels.to_string() == "no kernels";
    if is_portable && !matches!(network.engine().kernels, Kernels::Native(_)) {
        assert_eq!(
            shown, all,
            "{case}: each stage by itself, in the order of the graph"
        );
    }
}
