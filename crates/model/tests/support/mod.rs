//! What the comparisons of networks with the official pyannote.audio share.

#[path = "../../../../tests/support/assets.rs"]
mod data;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use ndarray::{Array1, ArrayD, ArrayViewD, Axis};
use soundalike_compare::{
    EXACT_R, Floors, ReferenceTrace, Running, STRUCTURAL_R_LOCAL, StageError,
};
use soundalike_model::{DType, Device, NoProbe, Probe, Result, Tensor, TensorError};
use soundalike_network::Stage;

pub(crate) use data::captures;

/// Keeps every stage and changes nothing: free-running.
#[derive(Default)]
pub(crate) struct Recorder(Vec<(String, Tensor)>);

impl Recorder {
    /// The stages in order of execution, widened to f64.
    pub(crate) fn into_stages(self) -> Vec<(String, ArrayD<f64>)> {
        let widened = |(name, value): (String, Tensor)| {
            let values = value
                .to_dtype(DType::F64)
                .and_then(|x| x.flatten_all()?.to_vec1());
            let values = values.expect("stages on the CPU");
            (
                name,
                ArrayD::from_shape_vec(value.dims(), values).expect("their shape"),
            )
        };
        self.0.into_iter().map(widened).collect()
    }
}

impl Probe for Recorder {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.0.push((name.to_owned(), value.clone()));
        Ok(value)
    }
}

/// Keeps every stage and returns the reference's: teacher-forced. Parts of a stage (the directions of an LSTM layer) keep
/// their own value, or the stage they stand in would be compared with itself.
struct Teacher<'a> {
    reference: &'a mut ReferenceTrace<File>,
    recorder: Recorder,
}

impl Probe for Teacher<'_> {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let value = self.recorder.observe(name, value)?;
        let stage = self.reference.manifest().graph().get(name);
        if stage.is_some_and(Stage::is_part) {
            return Ok(value);
        }
        let golden = self.reference.golden(name).map_err(TensorError::wrap)?;
        let (values, _) = golden.mapv(|x| x as f32).into_raw_vec_and_offset();
        Tensor::from_vec(values, golden.shape(), value.device())?.to_dtype(value.dtype())
    }
}

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
            let mut teacher = Teacher {
                reference,
                recorder: Recorder::default(),
            };
            forward(&waveform, &mut teacher).expect("the forward pass");
            teacher.recorder.into_stages()
        }
    }
}

/// Compares all stages of one window both ways, and has `output` look at the last one as it comes when the
/// network feeds itself.
pub(crate) fn assert_exact(
    path: &Path,
    forward: impl Forward,
    output: impl Fn(&str, &ArrayD<f64>, &mut ReferenceTrace<File>),
) {
    let mut case = Case::open(path);
    for running in [Running::Free, Running::Forced] {
        let ours = stages(&forward, &mut case.reference, running);
        let names: Vec<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
        let wanted: Vec<_> = case
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        let name = &case.name;
        assert_eq!(
            names, wanted,
            "{name}: the stages of the reference, in its order"
        );
        for (name, ours) in &ours {
            let floors = case.floors(name, running);
            case.judge(name, ours, &floors, running);
        }
        if running == Running::Free {
            case.output(&ours, &output);
        }
    }
    case.end();
}

/// As [`assert_exact`] for kernels that take several stages in one pass, and show the last of them.
///
/// Fed by the reference, such a pass makes the error of all its stages, and the floor of its last alone is not what
/// PyTorch's f32 would make of them. The floor is that of the same stages by the `portable` expression, fed where
/// the kernels are: each of its stages was found exact by [`assert_exact`].
#[allow(dead_code, reason = "not every test program has fused stages")]
pub(crate) fn assert_fused(
    path: &Path,
    forward: impl Forward,
    portable: impl Forward,
    output: impl Fn(&str, &ArrayD<f64>, &mut ReferenceTrace<File>),
) {
    let mut case = Case::open(path);
    let free = stages(&forward, &mut case.reference, Running::Free);
    let seen: BTreeSet<String> = free.iter().map(|(name, _)| name.clone()).collect();
    let in_order = case
        .stages
        .iter()
        .filter(|stage| seen.contains(&stage.name));
    assert!(
        in_order
            .map(|stage| &stage.name)
            .eq(free.iter().map(|(name, _)| name)),
        "{}: stages of the reference, in its order, among them {seen:?}",
        case.name
    );
    for (name, ours) in &free {
        let floors = case.floors(name, Running::Free);
        case.judge(name, ours, &floors, Running::Free);
    }
    case.output(&free, &output);

    let waveform = tensor(case.reference.waveform().expect("a waveform"));
    let mut teacher = Teacher {
        reference: &mut case.reference,
        recorder: Recorder::default(),
    };
    let mut probe = Only(&seen, &mut teacher);
    portable(&waveform, &mut probe).expect("the forward pass");
    let mut expected: BTreeMap<_, _> = teacher.recorder.into_stages().into_iter().collect();
    for (name, ours) in stages(&forward, &mut case.reference, Running::Forced) {
        let portable = expected.remove(&name).expect("the same stage");
        let error = portable - case.reference.golden(&name).expect("a golden output");
        let stage = case.stage(&name);
        let rms = |x: ArrayViewD<'_, f64>| (x.mapv(|x| x * x).mean().unwrap_or(0.0)).sqrt();
        let slices = |floors: &mut Array1<f64>, axis: usize| {
            for (floor, error) in floors.iter_mut().zip(error.axis_iter(Axis(axis))) {
                *floor = floor.max(rms(error));
            }
        };
        let mut floors = case.floors(&name, Running::Forced);
        floors.whole = floors.whole.max(rms(error.view()));
        slices(&mut floors.channel, stage.axes.channel());
        if let (Some(floors), Some(axis)) = (&mut floors.frame, stage.axes.frame()) {
            slices(floors, axis);
        }
        case.judge(&name, &ours, &floors, Running::Forced);
    }
    case.end();
}

/// That a window gives the same bits whether a probe looks or not, and alone or at any place of a `batch` of other windows.
pub(crate) fn assert_same_bits(path: &Path, batch: usize, forward: impl Forward) {
    let mut reference = ReferenceTrace::open(path).unwrap_or_else(|error| panic!("{error}"));
    let window = tensor(reference.waveform().expect("a waveform"));
    let bits = |x: &Tensor, probe: &mut dyn Probe| -> Vec<u32> {
        let out = forward(x, probe).and_then(|out| out.flatten_all()?.to_vec1::<f32>());
        let out = out.expect("the forward pass");
        out.into_iter().map(f32::to_bits).collect()
    };
    let name = case(path);
    // All windows are different: a result in another's place would be seen.
    let windows: Vec<Tensor> = (1..=batch)
        .map(|place| (&window * (place as f64 / batch as f64)).expect("a tensor"))
        .collect();
    let alone: Vec<_> = windows.iter().map(|x| bits(x, &mut NoProbe)).collect();
    let looked_at = bits(&windows[0], &mut Recorder::default());
    assert!(looked_at == alone[0], "{name}: looked at");
    let together = bits(&Tensor::cat(&windows, 0).expect("a batch"), &mut NoProbe);
    let parts: Vec<_> = together.chunks(alone[0].len()).collect();
    let wrong: Vec<_> = (0..batch)
        .filter(|place| parts[*place] != alone[*place])
        .collect();
    assert!(wrong.is_empty(), "{name}: places {wrong:?} of a batch");
}

/// Shows some stages only to another probe.
#[allow(dead_code, reason = "not every test program has fused stages")]
struct Only<'a, P>(&'a BTreeSet<String>, &'a mut P);

impl<P: Probe> Probe for Only<'_, P> {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if self.0.contains(name) {
            self.1.observe(name, value)
        } else {
            Ok(value)
        }
    }
}

/// One window of a reference, and what was found not to be as it is.
struct Case {
    name: String,
    reference: ReferenceTrace<File>,
    stages: Vec<Stage>,
    inexact: Vec<String>,
}

impl Case {
    fn open(path: &Path) -> Self {
        let reference = ReferenceTrace::open(path).unwrap_or_else(|error| panic!("{error}"));
        Self {
            name: case(path),
            stages: reference.manifest().graph().stages().to_vec(),
            reference,
            inexact: Vec::new(),
        }
    }

    fn stage(&self, name: &str) -> Stage {
        let stage = self.stages.iter().find(|stage| stage.name == name);
        stage.expect("a stage of the reference").clone()
    }

    fn floors(&mut self, name: &str, running: Running) -> Floors {
        let stage = self.stage(name);
        self.reference.floors(&stage, running).expect("floors")
    }

    fn judge(&mut self, name: &str, ours: &ArrayD<f64>, floors: &Floors, running: Running) {
        let case = &self.name;
        let golden = self.reference.golden(name).expect("a golden output");
        let error = StageError::new(ours, &golden, floors, &self.stage(name).axes);
        println!(
            "{case} {running:?} {name}: R {:.2}, R_local {:.2}",
            error.r, error.r_local
        );
        // What must hold is asked for, not what must not: every comparison with NaN is false.
        if !(error.r < EXACT_R && error.r_local < STRUCTURAL_R_LOCAL && error.non_finite == 0) {
            self.inexact
                .push(format!("{case} {running:?} {name}: {error:?}"));
        }
    }

    fn output(
        &mut self,
        ours: &[(String, ArrayD<f64>)],
        output: impl Fn(&str, &ArrayD<f64>, &mut ReferenceTrace<File>),
    ) {
        let (_, last) = ours.last().expect("there are stages");
        output(&self.name, last, &mut self.reference);
    }

    fn end(self) {
        let inexact = self.inexact;
        assert!(inexact.is_empty(), "not exact:\n{}", inexact.join("\n"));
    }
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
