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
use soundalike_compare::{EXACT_R, Recorder, ReferenceTrace};
use soundalike_model::{DType, Device, InstructionSet, Kernels, Silent, Tensor, WeSpeakerResNet};
use support::{captures, files, tensor};

/// The stage that is the embedding.
const EMBEDDING: &str = "resnet.seg_1";

fn network(checkpoint: &Path, dtype: DType, kernels: Kernels) -> WeSpeakerResNet {
    let bundle = soundalike_convert::load(checkpoint).unwrap_or_else(|error| panic!("{error}"));
    WeSpeakerResNet::load_with(&bundle, dtype, &Device::Cpu, kernels)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// `NETWORK.ckpt`, and its traces in `NETWORK/`.
fn networks() -> Vec<(PathBuf, Vec<PathBuf>)> {
    let Some(directory) = captures() else {
        return Vec::new();
    };
    let checkpoints = files(&directory.join("wespeaker"), "ckpt");
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

#[test]
fn embeddings_are_exact_at_every_stage() {
    for (checkpoint, traces) in networks() {
        for kernels in [Kernels::Portable, Kernels::MetalOps] {
            let network = network(&checkpoint, DType::F32, kernels);
            for trace in &traces {
                println!("{kernels}");
                let masks = masks(trace);
                support::assert_exact(
                    trace,
                    |waveform, probe| network.forward(waveform, masks.as_ref(), probe),
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
fn embeddings_by_every_instruction_set_are_exact() {
    for (checkpoint, traces) in networks() {
        let portable = network(&checkpoint, DType::F32, Kernels::Portable);
        for instructions in InstructionSet::all() {
            let network = network(&checkpoint, DType::F32, Kernels::Native(instructions));
            for trace in &traces {
                println!("{instructions:?}");
                support::assert_same_bits(trace, |waveform, probe| {
                    let frames = network.forward_frames(waveform, probe)?;
                    network.forward_embedding(&frames, None, probe)
                });
                let masks = masks(trace);
                support::assert_fused(
                    trace,
                    |waveform, probe| network.forward(waveform, masks.as_ref(), probe),
                    |waveform, probe| portable.forward(waveform, masks.as_ref(), probe),
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
fn in_f64_the_mel_bank_is_all_that_is_not_the_golden() {
    for (checkpoint, traces) in networks() {
        let network = network(&checkpoint, DType::F64, Kernels::Portable);
        for trace in traces {
            let mut reference = ReferenceTrace::open(&trace).expect("a trace");
            let mut recorder = Recorder::default();
            let waveform = tensor(reference.waveform().expect("a waveform"));
            network
                .forward(&waveform, masks(&trace).as_ref(), &mut recorder)
                .expect("the forward pass");
            for (name, ours) in recorder.into_stages().expect("stages") {
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
fn one_trunk_serves_all_speakers() {
    for (checkpoint, traces) in networks() {
        let network = network(&checkpoint, DType::F32, Kernels::native());
        for trace in traces {
            let Some(masks) = masks(&trace) else { continue };
            let mut reference = ReferenceTrace::open(&trace).expect("a trace");
            let waveform = tensor(reference.waveform().expect("a waveform"));
            let values = |x: &Tensor| -> Vec<f32> {
                x.flatten_all().and_then(|x| x.to_vec1()).expect("values")
            };
            let frames = network
                .forward_frames(&waveform, &mut Silent)
                .expect("the trunk");
            let samples = waveform.dim(2).expect("samples");
            assert_eq!(frames.dim(3).expect("frames"), network.num_frames(samples));
            let together = network.forward(&waveform, Some(&masks), &mut Silent);
            let together = together.expect("all speakers");
            for speaker in 0..masks.dim(1).expect("speakers") {
                let of = |x: &Tensor| x.narrow(1, speaker, 1).expect("one speaker");
                let alone = network.forward_embedding(&frames, Some(&of(&masks)), &mut Silent);
                let alone = values(&alone.expect("one speaker"));
                assert!(alone.iter().all(|x| x.is_finite()), "{trace:?} {speaker}");
                let largest = alone
                    .iter()
                    .zip(values(&of(&together)))
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
