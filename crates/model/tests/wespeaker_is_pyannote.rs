//! Every stage of the speaker embedding network against the official pyannote.audio.
//!
//! The networks have random weights and settled norms. They are compared where `SOUNDALIKE_CAPTURES` names the
//! directory that `scripts/capture_suite.sh` filled: with three speakers, with one who is silent and one who has
//! a single frame, and without masks, which is another path through the statistics.

#![expect(
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

mod support;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::{ArrayD, ArrayView1, Axis};
use ndarray_npy::NpzReader;
use soundalike_compare::{EXACT_R, ReferenceTrace};
use soundalike_model::{
    DType, Engine, Input, InstructionSet, Kernels, Network, NoProbe, Tensor, load,
};
use support::{Recorder, captures, files, tensor};

/// The stage that is the embedding.
const EMBEDDING: &str = "resnet.seg_1";

fn network(checkpoint: &Path, dtype: DType, kernels: Kernels) -> Box<dyn Network> {
    let bundle = soundalike_convert::load(checkpoint).unwrap_or_else(|error| panic!("{error}"));
    let engine = Engine {
        dtype,
        kernels,
        ..Engine::default()
    };
    load(&bundle, &engine).unwrap_or_else(|error| panic!("{error}"))
}

/// The window and the masks.
fn input<'a>(waveforms: &'a Tensor, masks: Option<&'a Tensor>) -> Input<'a> {
    Input { waveforms, masks }
}

/// `NETWORK.ckpt`, and its traces in `NETWORK/`.
fn networks() -> Vec<(PathBuf, Vec<PathBuf>)> {
    let checkpoints = files(&captures().join("wespeaker"), "ckpt");
    let traces = |checkpoint: PathBuf| {
        let traces = files(&checkpoint.with_extension(""), "npz");
        (checkpoint, traces)
    };
    checkpoints.into_iter().map(traces).collect()
}

/// An entry of a trace that only this network has.
fn entry(trace: &Path, name: &str) -> Option<ArrayD<f32>> {
    let mut npz = NpzReader::new(File::open(trace).expect("a trace")).expect("an .npz");
    let there = npz
        .names()
        .expect("names")
        .iter()
        .any(|found| found == name);
    there.then(|| npz.by_name(name).expect(name))
}

/// The masks of a trace, `[1, speaker, frame]`; none where the whole window was pooled.
fn masks(trace: &Path) -> Option<Tensor> {
    entry(trace, "masks").map(tensor)
}

/// Compares embeddings `[..., 256]`, each on its own, with PyTorch's of f32.
///
/// Not with the golden: a mask of one frame has a deviation of 0 in f32 and one of 6e-5 means in f64, where
/// the epsilons that are added do not vanish.
fn assert_embeddings(trace: &Path, case: &str, ours: &ArrayD<f64>, golden: &ArrayD<f64>) {
    let theirs = entry(trace, &format!("f32/{EMBEDDING}")).expect("an f32 output");
    let theirs = theirs.mapv(f64::from);
    assert_eq!(ours.shape(), theirs.shape(), "{case}");
    let length = |x: ArrayView1<'_, f64>| x.dot(&x).sqrt();
    let last = Axis(ours.ndim() - 1);
    let pairs = ours.lanes(last).into_iter().zip(theirs.lanes(last));
    for ((ours, theirs), golden) in pairs.zip(golden.lanes(last)) {
        let cosine = ours.dot(&theirs) / (length(ours) * length(theirs));
        let ratio = length(ours) / length(theirs);
        println!(
            "{case}: cosine 1 - {:.1e}, rms ratio 1 + {:.1e}",
            1.0 - cosine,
            ratio - 1.0
        );
        assert!(cosine > 1.0 - 1e-9, "{case}: cosine {cosine}");
        // Where PyTorch's own rounding is larger than the ratio that is asked for, as much as R allows.
        let rounding = length((&theirs - &golden).view()) / length(golden);
        let allowed = (EXACT_R * rounding).max(1e-6);
        assert!((ratio - 1.0).abs() < allowed, "{case}: rms ratio {ratio}");
    }
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn embeddings_are_exact_at_every_stage() {
        for (checkpoint, traces) in networks() {
            for kernels in [Kernels::Portable, Kernels::MetalOps] {
                let network = network(&checkpoint, DType::F32, kernels);
                for trace in &traces {
                    println!("{kernels}");
                    let masks = masks(trace);
                    support::assert_exact(
                        trace,
                        |waveform, probe| network.forward(input(waveform, masks.as_ref()), probe),
                        |case, ours, reference: &mut ReferenceTrace<File>| {
                            let golden = reference.golden(EMBEDDING).expect("a golden output");
                            assert_embeddings(trace, case, ours, &golden);
                        },
                    );
                }
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn embeddings_by_every_instruction_set_are_exact() {
        for (checkpoint, traces) in networks() {
            let portable = network(&checkpoint, DType::F32, Kernels::Portable);
            for instructions in InstructionSet::all() {
                let network = network(&checkpoint, DType::F32, Kernels::Native(instructions));
                for trace in &traces {
                    println!("{instructions:?}");
                    // Each window by itself, on its own thread.
                    support::assert_same_bits(trace, 3, |waveform, probe| {
                        network.forward(waveform.into(), probe)
                    });
                    let masks = masks(trace);
                    support::assert_fused(
                        trace,
                        |waveform, probe| network.forward(input(waveform, masks.as_ref()), probe),
                        |waveform, probe| portable.forward(input(waveform, masks.as_ref()), probe),
                        |case, ours, reference: &mut ReferenceTrace<File>| {
                            let golden = reference.golden(EMBEDDING).expect("a golden output");
                            assert_embeddings(trace, case, ours, &golden);
                        },
                    );
                }
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn in_f64_the_mel_bank_is_all_that_is_not_the_golden() {
        for (checkpoint, traces) in networks() {
            let network = network(&checkpoint, DType::F64, Kernels::Portable);
            for trace in traces {
                let mut reference = ReferenceTrace::open(&trace).expect("a trace");
                let mut recorder = Recorder::default();
                let waveform = tensor(reference.waveform().expect("a waveform"));
                network
                    .forward(input(&waveform, masks(&trace).as_ref()), &mut recorder)
                    .expect("the forward pass");
                for (name, ours) in recorder.into_stages() {
                    let golden = reference.golden(&name).expect("a golden output");
                    let rms = |x: &ArrayD<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
                    let error = rms(&(&ours - &golden));
                    // torch's f32 logarithm is up to one unit in the last place off, which a mel weight shows
                    // as 1e-5 of 1; the rest is f64.
                    assert!(error <= 1e-5 * rms(&golden), "{trace:?} {name}: {error}");
                }
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn one_trunk_serves_all_speakers() {
        for (checkpoint, traces) in networks() {
            let network = network(&checkpoint, DType::F32, Kernels::native());
            for trace in traces {
                let Some(masks) = masks(&trace) else { continue };
                let mut reference = ReferenceTrace::open(&trace).expect("a trace");
                let waveform = tensor(reference.waveform().expect("a waveform"));
                let vectors = |masks: &Tensor| -> Vec<f32> {
                    let vectors = network.forward(input(&waveform, Some(masks)), &mut NoProbe);
                    let values = vectors.and_then(|x| x.flatten_all()?.to_vec1());
                    values.expect("embeddings")
                };
                let speakers = masks.dim(1).expect("speakers");
                let together = vectors(&masks);
                for (speaker, together) in together.chunks(together.len() / speakers).enumerate() {
                    let alone = vectors(&masks.narrow(1, speaker, 1).expect("one speaker"));
                    assert!(alone.iter().all(|x| x.is_finite()), "{trace:?} {speaker}");
                    let largest = alone
                        .iter()
                        .zip(together)
                        .fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
                    // The matrix product may take its sums in another order for another number of rows.
                    let size = alone.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
                    assert!(
                        largest <= 1e-5 * size,
                        "{trace:?} {speaker}: {largest} of {size}"
                    );
                }
            }
        }
    }
}
