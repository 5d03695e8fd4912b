//! What the comparisons of networks with the official pyannote.audio share.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::ArrayD;
use soundalike_harness::{
    EXACT_R, Recorder, ReferenceTrace, Running, STRUCTURAL_R_LOCAL, StageError, Teacher,
};
use soundalike_model::{Device, Probe, Result, Tensor};

/// A run of the network on a window, through a probe.
pub(crate) trait Forward: Fn(&Tensor, &mut dyn Probe) -> Result<Tensor> {}

impl<F: Fn(&Tensor, &mut dyn Probe) -> Result<Tensor>> Forward for F {}

/// The outputs of all stages of a network on the window of `reference`.
fn stages(
    forward: &impl Forward,
    reference: &mut ReferenceTrace<File>,
    running: Running,
) -> Vec<(String, ArrayD<f64>)> {
    let waveform = tensor(reference.waveform().expect("a trace has its waveform"));
    match running {
        Running::Free => {
            let mut recorder = Recorder::default();
            forward(&waveform, &mut recorder).expect("the forward pass");
            recorder.into_stages()
        }
        Running::Forced => {
            let mut teacher = Teacher::new(reference);
            forward(&waveform, &mut teacher).expect("the forward pass");
            teacher.into_stages()
        }
    }
    .expect("stages on the CPU")
}

/// Compares all stages of one window both ways, and has `output` look at the last one as it comes when the
/// network feeds itself.
pub(crate) fn assert_exact(
    path: &Path,
    forward: impl Forward,
    output: impl Fn(&str, &ArrayD<f64>, &mut ReferenceTrace<File>),
) {
    let case = case(path);
    let mut reference = ReferenceTrace::open(path).unwrap_or_else(|error| panic!("{error}"));
    let expected = reference.manifest().stages.clone();
    let mut inexact = Vec::new();
    for running in [Running::Free, Running::Forced] {
        let ours = stages(&forward, &mut reference, running);
        let names: Vec<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
        let wanted: Vec<_> = expected.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(
            names, wanted,
            "{case}: the stages of the reference, in its order"
        );
        for (stage, (name, ours)) in expected.iter().zip(&ours) {
            let floors = reference.floors(stage, running).expect("floors");
            let golden = reference.golden(name).expect("a golden output");
            let error = StageError::new(ours, &golden, &floors, stage);
            println!(
                "{case} {running:?} {name}: R {:.2}, R_local {:.2}",
                error.r, error.r_local
            );
            // What must hold is asked for, not what must not: every comparison with NaN is false.
            if !(error.r < EXACT_R && error.r_local < STRUCTURAL_R_LOCAL && error.non_finite == 0) {
                inexact.push(format!("{case} {running:?} {name}: {error:?}"));
            }
        }
        if running == Running::Free {
            let (_, ours) = ours.last().expect("there are stages");
            output(&case, ours, &mut reference);
        }
    }
    assert!(inexact.is_empty(), "not exact:\n{}", inexact.join("\n"));
}

/// The trace's file and folder, by which messages name it.
fn case(path: &Path) -> String {
    let part = |path: &Path| {
        path.file_stem()
            .map(|part| part.to_string_lossy().into_owned())
    };
    let folder = path.parent().and_then(part).unwrap_or_default();
    format!("{folder}/{}", part(path).unwrap_or_default())
}

/// On the CPU.
pub(crate) fn tensor(values: ArrayD<f32>) -> Tensor {
    let shape = values.shape().to_vec();
    Tensor::from_vec(values.into_raw_vec_and_offset().0, shape, &Device::Cpu).expect("a tensor")
}

/// Where `scripts/capture_suite.sh` left its captures.
pub(crate) fn captures() -> Option<PathBuf> {
    let directory = std::env::var_os("SOUNDALIKE_CAPTURES").map(PathBuf::from);
    if directory.is_none() {
        println!("skipped: no captures (SOUNDALIKE_CAPTURES names no directory)");
    }
    directory
}

/// The files in `directory` with this extension, by name. There must be some.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = directory
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    assert!(
        !files.is_empty(),
        "{} holds no .{extension}",
        directory.display()
    );
    files.sort();
    files
}
