//! The kernel of the LSTM against the original: each layer gets the golden input, rounded to f32, and its error is
//! measured in that of a reference in f32 (R). Matrix products with the input are candle's, as in the network.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are shown with --show-output"
)]

use std::{
    collections::BTreeMap,
    env,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use ndarray::{ArrayD, Slice};
use soundalike_compare::{
    EXACT_R, Floors, ReferenceTrace, Running, STRUCTURAL_R_LOCAL, StageError,
};
use soundalike_convert::Bundle;
use soundalike_diarize::audio::Audio;
use soundalike_model::{DType, Device, Engine, Kernels, Network, Probe, Result, Tensor, load};
use soundalike_network::{Architecture, Axes, Axis};

/// `shares` `[batch, frame, direction, hidden, 4]` and `recurrent` `[direction, hidden, hidden, 4]` to
/// `[batch, frame, direction, hidden]`, by the program that `scripts/check_wgsl.sh` builds.
fn on_gpu(shares: &Tensor, recurrent: &Tensor) -> Tensor {
    let program = env::var_os("SOUNDALIKE_WGSL");
    let program = program.expect("SOUNDALIKE_WGSL names no program: scripts/check_wgsl.sh does");
    let mut run = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shape = &shares.dims()[..4];
    let sizes = shape.iter().map(|size| u32::try_from(*size).unwrap());
    let mut input: Vec<u8> = sizes.flat_map(u32::to_ne_bytes).collect();
    for values in [shares, recurrent] {
        let values = values.flatten_all().unwrap().to_vec1().unwrap();
        input.extend(values.into_iter().flat_map(f32::to_ne_bytes));
    }
    run.stdin.take().unwrap().write_all(&input).unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let (states, _) = output.stdout.as_chunks();
    let states = states.iter().map(|state| f32::from_ne_bytes(*state));
    Tensor::from_vec(states.collect(), shape, &Device::Cpu).unwrap()
}

/// The stage before the first layer.
const ENCODED: &str = "sincnet.norm1d.2.leaky_relu";

/// One layer of an LSTM, gates by unit.
struct Layer {
    /// Of each direction, `[4 hidden, inputs]` and `[4 hidden]`.
    input: Vec<[Tensor; 2]>,
    /// `[direction, hidden, hidden, 4]`
    recurrent: Tensor,
}

impl Layer {
    fn load(bundle: &Bundle, index: usize) -> Self {
        let Architecture::PyanNet(config) = bundle.architecture() else {
            panic!("not a PyanNet");
        };
        let directions = if config.lstm.bidirectional { 2 } else { 1 };
        let hidden = config.lstm.hidden_size;
        let of = |kind: &str, direction: usize| {
            let name = config.lstm.tensor_name(kind, index, direction == 1);
            let values = bundle.tensor(&name).unwrap().to_f32().unwrap();
            let width = values.len() / (4 * hidden);
            let weight = Tensor::from_vec(values, (4, hidden, width), &Device::Cpu);
            weight.unwrap().transpose(0, 1).unwrap()
        };
        let input = (0..directions).map(|direction| {
            let bias = of("bias_ih", direction) + of("bias_hh", direction);
            let weight = of("weight_ih", direction).flatten(0, 1).unwrap();
            [weight, bias.unwrap().flatten_all().unwrap()]
        });
        let recurrent = (0..directions).map(|direction| {
            let to_from = of("weight_hh", direction).permute((2, 0, 1)).unwrap();
            to_from.contiguous().unwrap()
        });
        let recurrent: Vec<_> = recurrent.collect();
        Self {
            input: input.collect(),
            recurrent: Tensor::stack(&recurrent, 0).unwrap(),
        }
    }

    /// `x` `[batch, frame, inputs]` to `[batch, frame, directions x hidden]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, frames, inputs) = x.dims3().unwrap();
        let (directions, hidden, ..) = self.recurrent.dims4().unwrap();
        let x = x.reshape((batch * frames, inputs)).unwrap();
        let shares = self.input.iter().map(|[weight, bias]| {
            let product = x.matmul(&weight.t().unwrap()).unwrap();
            product.broadcast_add(bias).unwrap()
        });
        let shares = Tensor::stack(&shares.collect::<Vec<_>>(), 1).unwrap();
        let shares = shares.reshape((batch, frames, directions, hidden, 4));
        let states = on_gpu(&shares.unwrap(), &self.recurrent);
        states.flatten_from(2).unwrap()
    }
}

/// What was found, and what of it is too much.
#[derive(Default)]
struct Verdicts {
    largest: f64,
    inexact: Vec<String>,
}

impl Verdicts {
    /// Judges each direction of a layer by itself; `floors` gives the error of the reference in a slice.
    fn judge(&mut self, case: &str, directions: usize, [ours, golden, rounded]: [&ArrayD<f64>; 3]) {
        let width = ours.shape()[2] / directions;
        for (direction, part) in ["forward", "reverse"].iter().take(directions).enumerate() {
            let features = Slice::from(direction * width..(direction + 1) * width);
            let [ours, golden, rounded] = [ours, golden, rounded]
                .map(|x| x.slice_axis(ndarray::Axis(2), features).to_owned());
            let axes = Axes::new(&[Axis::Batch, Axis::Frame, Axis::Feature]);
            let floors = Floors::new(&rounded, &golden, &axes);
            self.add(
                &format!("{case}.{part}"),
                StageError::new(&ours, &golden, &floors, &axes),
            );
        }
    }

    fn add(&mut self, case: &str, error: StageError) {
        self.largest = self.largest.max(error.r);
        println!("{case}: R {:.2}, R_local {:.2}", error.r, error.r_local);
        let exact = error.r < EXACT_R && error.r_local < STRUCTURAL_R_LOCAL;
        if !(exact && error.non_finite == 0) {
            self.inexact.push(format!("{case}: {error:?}"));
        }
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        println!("largest R {:.2}", self.largest);
        if !std::thread::panicking() {
            assert!(
                self.inexact.is_empty(),
                "not exact:\n{}",
                self.inexact.join("\n")
            );
        }
    }
}

fn array(x: &Tensor) -> ArrayD<f64> {
    let values = x.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    ArrayD::from_shape_vec(x.dims(), values.to_vec1().unwrap()).unwrap()
}

/// As an f32 network gets it.
fn rounded(x: &ArrayD<f64>) -> Tensor {
    let values = x.iter().map(|x| *x as f32).collect();
    Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap()
}

/// Keeps each stage, and goes on with that of another run, if there is one. The directions of a layer, which are
/// part of it, are left alone.
#[derive(Default)]
struct Run {
    stages: BTreeMap<String, Tensor>,
    teacher: BTreeMap<String, Tensor>,
}

impl Probe for Run {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if name.ends_with(".forward") || name.ends_with(".reverse") {
            return Ok(value);
        }
        let next = match self.teacher.get(name) {
            Some(golden) => golden.to_dtype(value.dtype())?,
            None => value.clone(),
        };
        self.stages.insert(name.to_owned(), value);
        Ok(next)
    }
}

#[path = "../../../tests/support/assets.rs"]
mod data;

fn embedded() -> Bundle {
    soundalike_weights::segmentation().unwrap()
}

fn layers(bundle: &Bundle) -> usize {
    match bundle.architecture() {
        Architecture::PyanNet(config) => config.lstm.num_layers,
        _ => 0,
    }
}

/// The name of what layer `index` gets.
fn before(index: usize) -> String {
    match index {
        0 => ENCODED.to_owned(),
        _ => format!("lstm.{}", index - 1),
    }
}

/// Judges all layers on a window that the official package went through.
fn against_the_official_package(path: &Path, bundle: &Bundle, verdicts: &mut Verdicts) {
    let mut reference = ReferenceTrace::open(path).unwrap();
    for index in 0..layers(bundle) {
        let layer = Layer::load(bundle, index);
        let mut x = reference.golden(&before(index)).unwrap();
        if index == 0 {
            x.swap_axes(1, 2);
            x = x.as_standard_layout().into_owned();
        }
        let name = format!("lstm.{index}");
        let stage = reference.manifest().graph().get(&name).unwrap().clone();
        let floors = reference.floors(&stage, Running::Forced).unwrap();
        let golden = reference.golden(&name).unwrap();
        let ours = array(&layer.forward(&rounded(&x)));
        let case = format!("{}, {name}", path.file_stem().unwrap().display());
        verdicts.add(&case, StageError::new(&ours, &golden, &floors, &stage.axes));
    }
}

#[test]
fn every_layer_is_that_of_the_official_package() {
    let mut verdicts = Verdicts::default();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../selftest/captured");
    let second = reference.join("segmentation-3.0_1s.npz");
    against_the_official_package(&second, &embedded(), &mut verdicts);
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn hard_input_and_other_hyperparameters_are_those_of_the_official_package() {
        let mut verdicts = Verdicts::default();
        let captures = data::captures();
        for window in ["speech", "silence", "padded", "offset", "clipped", "scaled"] {
            let path = captures.join(window).with_extension("npz");
            against_the_official_package(&path, &embedded(), &mut verdicts);
        }
        let mut variants = 0;
        for entry in captures.join("variants").read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "ckpt")
            {
                let bundle = soundalike_convert::load(&path).unwrap();
                against_the_official_package(&path.with_extension("npz"), &bundle, &mut verdicts);
                variants += 1;
            }
        }
        assert!(variants > 0, "no networks of other hyperparameters");
    }

    /// `batch` windows of the sample, of so many frames, each from elsewhere and of another loudness.
    fn windows(batch: usize, frames: usize, network: &dyn Network) -> Tensor {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sample.wav");
        let sample = Audio::read(&sample, 16_000).unwrap().samples;
        let geometry = network.graph(false).frame_geometry().unwrap();
        let length = geometry.receptive_field + (frames - 1) * geometry.step;
        let mut samples = Vec::with_capacity(batch * length);
        for window in 0..batch {
            let start = window * (sample.len() - length) / batch;
            let gain = 1.0 / (1 + window % 3) as f32;
            samples.extend(sample[start..][..length].iter().map(|sample| sample * gain));
        }
        Tensor::from_vec(samples, (batch, 1, length), &Device::Cpu).unwrap()
    }

    #[test]
    fn both_directions_are_exact_for_any_number_of_frames_and_windows() {
        let mut verdicts = Verdicts::default();
        let bundle = embedded();
        let network = |dtype| {
            let engine = Engine {
                dtype,
                kernels: Kernels::Portable,
                ..Engine::default()
            };
            load(&bundle, &engine).unwrap()
        };
        let [golden, portable] = [DType::F64, DType::F32].map(network);
        for batch in [1, 32] {
            for frames in [1, 2, 7, 589, 590] {
                let windows = windows(batch, frames, portable.as_ref());
                let mut truth = Run::default();
                golden.forward((&windows).into(), &mut truth).unwrap();
                let truth = truth.stages;
                let mut floor = Run {
                    teacher: truth.clone(),
                    ..Run::default()
                };
                portable.forward((&windows).into(), &mut floor).unwrap();
                for index in 0..layers(&bundle) {
                    let x = match (index, &truth[&before(index)]) {
                        (0, x) => x.transpose(1, 2).unwrap().contiguous().unwrap(),
                        (_, x) => x.clone(),
                    };
                    let x = x.to_dtype(DType::F32).unwrap();
                    let ours = Layer::load(&bundle, index).forward(&x);
                    let name = format!("lstm.{index}");
                    let [ours, truth, floor] =
                        [&ours, &truth[&name], &floor.stages[&name]].map(array);
                    let case = format!("batch {batch}, {frames} frames, {name}");
                    verdicts.judge(&case, 2, [&ours, &truth, &floor]);
                }
            }
        }
    }

    /// As `torch.nn.LSTM`, one number after the other, in f64: the state of the last unit at the last frame.
    fn by_the_book(shares: &ArrayD<f64>, recurrent: &ArrayD<f64>) -> ArrayD<f64> {
        let [batch, frames, directions, hidden, _] = shares.shape().try_into().unwrap();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut states = ArrayD::zeros(vec![batch, frames, directions, hidden]);
        for sequence in 0..batch {
            for direction in 0..directions {
                let mut before = vec![0.0; hidden];
                let mut cell = vec![0.0; hidden];
                for step in 0..frames {
                    let frame = [step, frames - 1 - step][direction];
                    for unit in 0..hidden {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| {
                            let from = |(k, state): (usize, &f64)| {
                                state * recurrent[[direction, k, unit, gate].as_slice()]
                            };
                            let share = shares[[sequence, frame, direction, unit, gate].as_slice()];
                            share + before.iter().enumerate().map(from).sum::<f64>()
                        });
                        cell[unit] = sigmoid(f) * cell[unit] + sigmoid(i) * g.tanh();
                        states[[sequence, frame, direction, unit].as_slice()] =
                            sigmoid(o) * cell[unit].tanh();
                    }
                    let state = states.index_axis(ndarray::Axis(0), sequence);
                    let state = state.index_axis(ndarray::Axis(0), frame);
                    let state = state.index_axis(ndarray::Axis(0), direction);
                    before = state.iter().copied().collect();
                }
            }
        }
        states
    }

    #[test]
    fn any_number_of_units_is_computed_as_in_the_book() {
        for hidden in [1, 3, 5, 127, 130, 260, 1024] {
            let frames = if hidden > 500 { 3 } else { 20 };
            let values = |scale: f64, shape: &[usize]| {
                let count = shape.iter().product();
                let values: Vec<f32> = (0..count)
                    .map(|i: usize| {
                        (scale * (i as f64 * 0.7).sin() * (i as f64 * 0.013).cos()) as f32
                    })
                    .collect();
                Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
            };
            let shares = values(3.0, &[2, frames, 2, hidden, 4]);
            let recurrent = values(2.0 / (hidden as f64).sqrt(), &[2, hidden, hidden, 4]);
            let ours = array(&on_gpu(&shares, &recurrent));
            let expected = by_the_book(&array(&shares), &array(&recurrent));
            let largest = (ours - expected)
                .iter()
                .fold(0.0_f64, |max, x| max.max(x.abs()));
            println!("{hidden} units: largest error {largest:.1e}");
            // A state is below 1, and an f32 has 1.2e-7 of it.
            assert!(largest < 3e-6, "{hidden} units: {largest}");
        }
    }

    #[test]
    fn large_gates_saturate_and_what_is_not_a_number_stays_so() {
        let gates = [1e4_f32, 1e30, 89.0, f32::INFINITY];
        for gate in gates {
            for sign in [1.0, -1.0] {
                let shares = Tensor::from_vec(
                    vec![gate, -gate, sign * gate, gate],
                    (1, 1, 1, 1, 4),
                    &Device::Cpu,
                );
                let recurrent = Tensor::zeros((1, 1, 1, 4), DType::F32, &Device::Cpu).unwrap();
                let state = array(&on_gpu(&shares.unwrap(), &recurrent));
                let expected = f64::from(sign) * 1_f64.tanh();
                let error = (state[[0, 0, 0, 0].as_slice()] - expected).abs();
                assert!(
                    error < 1e-6,
                    "gates of ±{gate}: {state}, expected {expected}"
                );
            }
        }
        let nan = Tensor::full(f32::NAN, (1, 1, 1, 1, 4), &Device::Cpu).unwrap();
        let recurrent = Tensor::zeros((1, 1, 1, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(array(&on_gpu(&nan, &recurrent)).iter().all(|x| x.is_nan()));
    }
}
