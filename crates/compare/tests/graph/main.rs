//! The graph is that of the official package: its stages, operands and axes are those of every capture, and its operations,
//! computed one by one in f64, give every golden output.
//!
//! The window in `reference/segmentation-3.0/` is always compared; more windows, networks of other hyperparameters and
//! embeddings where `SOUNDALIKE_CAPTURES` names the directory that `scripts/capture_suite.sh` filled.

#![expect(
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

#[path = "../../../../tests/support/assets.rs"]
mod data;
mod interpreter;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ndarray::ArrayD;
use soundalike_compare::{EXACT_R, LEAST_FLOOR, ReferenceTrace, Running, rms};
use soundalike_convert::Bundle;
use soundalike_network::{Graph, Op, Operand};

/// The golden of a capture and the interpreter are both exact engines of f64, whose unit is 2^-29 of that of f32: each is as
/// far from the truth as an exact f32 engine, so much finer, and they are on either side of it.
const ALLOWED: f64 = 2.0 * EXACT_R / (1u64 << 29) as f64;
/// torch's f32 logarithm is up to one unit in the last place off, which a mel weight shows as 1e-5 of 1.
const MEL_BANK: f64 = 1e-5;

fn embedded() -> Bundle {
    soundalike_weights::segmentation().expect("the embedded bundle opens")
}

fn one_second() -> PathBuf {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selftest/captured");
    reference.join("segmentation-3.0_1s.npz")
}

/// Every capture with the weights of its network.
fn networks() -> Vec<(PathBuf, Bundle)> {
    let directory = data::captures();
    let files = |folder: &Path, extension: &str| -> Vec<PathBuf> {
        let entries = folder.read_dir().unwrap_or_else(|error| panic!("{error}"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        paths.sort();
        assert!(
            !paths.is_empty(),
            "{} holds no .{extension}",
            folder.display()
        );
        paths
    };
    let load = |checkpoint: &Path| {
        soundalike_convert::load(checkpoint).unwrap_or_else(|error| panic!("{error}"))
    };
    let mut captures: Vec<(PathBuf, Bundle)> = files(&directory, "npz")
        .into_iter()
        .map(|trace| (trace, embedded()))
        .collect();
    for checkpoint in files(&directory.join("variants"), "ckpt") {
        captures.push((checkpoint.with_extension("npz"), load(&checkpoint)));
    }
    for checkpoint in files(&directory.join("wespeaker"), "ckpt") {
        let traces = files(&checkpoint.with_extension(""), "npz").into_iter();
        captures.extend(traces.map(|trace| (trace, load(&checkpoint))));
    }
    captures
}

/// Names, operands, axes and parts: what a capture says of its stages.
fn assert_same_graph(path: &Path, graph: &Graph, captured: &Graph) {
    let plain = |graph: &Graph| -> Vec<_> {
        let stages = graph.stages().iter().cloned();
        stages
            .map(|stage| (stage.name, stage.operands, stage.axes, stage.part_of))
            .collect()
    };
    assert_eq!(plain(graph), plain(captured), "{}", path.display());
}

/// Every stage by its operation alone, fed the golden operands.
fn assert_same_outputs(path: &Path, bundle: &Bundle) {
    let case = path.display();
    let mut trace = ReferenceTrace::open(path).unwrap_or_else(|error| panic!("{error}"));
    let window = trace.window().expect("a window");
    let graph = bundle.architecture().graph(window.masks.is_some());
    let graph = graph.expect("a network");
    assert_same_graph(path, &graph, trace.manifest().graph());

    let waveform = window.waveform.mapv(f64::from);
    let masks = window
        .masks
        .map(|masks| masks.values.mapv(f64::from).into_dyn());
    let readers = graph.last_readers();
    let mut golden: BTreeMap<usize, ArrayD<f64>> = BTreeMap::new();
    let mut worst = (0.0_f64, "");
    for (index, stage) in graph.stages().iter().enumerate() {
        let operands: Vec<&ArrayD<f64>> = stage
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Input => &waveform,
                Operand::Masks => masks.as_ref().expect("masks"),
                Operand::Stage(index) => &golden[index],
            })
            .collect();
        let ours = interpreter::run(&graph, stage, &operands, bundle);
        let expected = trace.golden(&stage.name).expect("a golden output");
        assert_eq!(ours.shape(), expected.shape(), "{case} {}", stage.name);
        let floor = trace.floors(stage, Running::Forced).expect("floors").whole;
        let size = rms(expected.view());
        let exact = ALLOWED * floor.max(LEAST_FLOOR * size);
        let allowed = match stage.op {
            Op::Fbank(_) => MEL_BANK * size,
            // torch adds up the variance of f32 in f64, so that the floor has nothing of its rounding. Of f64 it adds up one
            // value after the other, and each may lose a unit.
            Op::InstanceNorm { channels, .. } => {
                let values = operands[0].len() / (operands[0].shape()[0] * channels);
                exact + f64::EPSILON * values as f64 * size
            }
            _ => exact,
        };
        let error = rms((&ours - &expected).view());
        // Where a norm scales up nothing but rounding, the golden output is some of it.
        let degenerate = trace.manifest().is_degenerate(index);
        assert!(
            error <= allowed || degenerate,
            "{case} {}: {error} above {allowed}",
            stage.name
        );
        if error > worst.0 * allowed && !degenerate {
            worst = (error / allowed, &stage.name);
        }
        golden.insert(index, expected);
        golden.retain(|kept, _| readers[*kept] > index);
    }
    println!(
        "{case}: {} stages, at most {:.2} of what f64 allows ({})",
        graph.stages().len(),
        worst.0,
        worst.1
    );
}

#[test]
fn the_graph_computes_the_embedded_capture() {
    assert_same_outputs(&one_second(), &embedded());
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_graph_computes_every_capture() {
        for (path, bundle) in networks() {
            assert_same_outputs(&path, &bundle);
        }
    }
}
