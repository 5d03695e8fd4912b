//! Each kernel on the shapes that ten seconds of audio have in segmentation-3.0 and in WeSpeaker's ResNet34, with every
//! instruction set of this machine.
//!
//! ```sh
//! cargo bench --workspace --bench kernels -- AVX-512
//! ```
//!
//! Elements are floating-point operations as the layers are defined; a convolution by transforms does fewer.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use soundalike_kernels::{
    Conv1d, Conv1dOptions, Conv2d, Images, InstanceNorm, InstructionSet, Lstm, LstmWeights, Pool,
};

/// Inputs, outputs, kernel, stride, height and width.
const CONV2D: [[usize; 6]; 10] = [
    [1, 32, 3, 1, 80, 998],
    [32, 32, 3, 1, 80, 998],
    [32, 64, 3, 2, 80, 998],
    [32, 64, 1, 2, 80, 998],
    [64, 64, 3, 1, 40, 499],
    [64, 128, 3, 2, 40, 499],
    [128, 128, 3, 1, 20, 250],
    [128, 256, 3, 2, 20, 250],
    [128, 256, 1, 2, 20, 250],
    [256, 256, 3, 1, 10, 125],
];
/// Inputs, outputs, kernel, stride, frames, and frames of which the largest is kept.
const CONV1D: [[usize; 6]; 3] = [
    [1, 80, 251, 10, 160_000, 3],
    [80, 60, 5, 1, 5325, 3],
    [60, 60, 5, 1, 1773, 3],
];
/// Inputs and hidden units of a layer in both directions.
const LSTM: [[usize; 2]; 2] = [[60, 128], [256, 128]];
/// Windows at a time, and frames of each.
const LSTM_INPUT: [usize; 2] = [32, 589];
/// Channels and frames.
const NORM: [[usize; 2]; 4] = [[1, 160_000], [80, 5325], [60, 1773], [60, 589]];

/// A kernel with every instruction set; a run has `operations`.
fn each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    operations: usize,
    mut kernel: impl FnMut(InstructionSet, &mut dyn FnMut(&mut dyn FnMut())),
) {
    group.throughput(Throughput::Elements(operations as u64));
    for instructions in InstructionSet::all() {
        kernel(instructions, &mut |run| {
            group.bench_function(format!("{}/{what}", instructions.name()), |bencher| {
                bencher.iter(&mut *run)
            });
        });
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn conv2d(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv2d");
    for [inputs, outputs, kernel, stride, height, width] in CONV2D {
        let pixels = height.div_ceil(stride) * width.div_ceil(stride);
        let pool = Pool::default();
        let images = Images::from_planes(
            &pool,
            [1, inputs, height, width],
            &values(inputs * height * width),
        );
        let weight = values(outputs * inputs * kernel * kernel);
        let (scale, shift) = (vec![1.0; outputs], vec![0.0; outputs]);
        let what =
            format!("{inputs} to {outputs}, {kernel}x{kernel} by {stride}, {height} x {width}");
        each(
            &mut group,
            &what,
            2 * pixels * outputs * inputs * kernel * kernel,
            |instructions, bench| {
                let conv = Conv2d::new(
                    instructions,
                    [outputs, inputs, kernel],
                    stride,
                    &weight,
                    &scale,
                    &shift,
                );
                bench(&mut || drop(conv.forward(&images, None, true)));
            },
        );
    }
}

fn conv1d(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv1d");
    for [inputs, outputs, kernel, stride, frames, pool] in CONV1D {
        let x = values(frames * inputs);
        let weight = values(outputs * inputs * kernel);
        let bias = vec![0.0; outputs];
        let after = Conv1dOptions {
            stride,
            abs: false,
            pool,
        };
        let results = (frames - kernel) / stride + 1;
        let what = format!("{inputs} to {outputs}, {kernel} by {stride}, {frames} frames");
        each(
            &mut group,
            &what,
            2 * results * outputs * inputs * kernel,
            |instructions, bench| {
                let conv = Conv1d::new(
                    instructions,
                    [outputs, inputs, kernel],
                    &weight,
                    &bias,
                    after,
                );
                bench(&mut || drop(conv.forward(&x, 1)));
            },
        );
    }
}

fn lstm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lstm");
    let [batch, frames] = LSTM_INPUT;
    for [inputs, hidden] in LSTM {
        let x = values(batch * frames * inputs);
        let [input, recurrent] = [inputs, hidden].map(|depth| values(4 * hidden * depth));
        let bias = values(4 * hidden);
        let weights = LstmWeights {
            input: &input,
            recurrent: &recurrent,
            bias: &bias,
        };
        let what = format!("{inputs} to 2 x {hidden}, {batch} x {frames} frames");
        each(
            &mut group,
            &what,
            2 * batch * frames * 2 * 4 * hidden * (inputs + hidden),
            |instructions, bench| {
                let layer = Lstm::new(instructions, [inputs, hidden], &[weights; 2]);
                bench(&mut || drop(layer.forward(&x, batch)));
            },
        );
    }
}

fn instance_norm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instance norm");
    for [channels, frames] in NORM {
        let x = values(channels * frames);
        let what = format!("{channels} x {frames}");
        each(
            &mut group,
            &what,
            channels * frames,
            |instructions, bench| {
                let norm = InstanceNorm {
                    instructions,
                    weight: vec![1.0; channels],
                    bias: vec![0.0; channels],
                    eps: 1e-5,
                };
                bench(&mut || drop(norm.forward(&x, 1, Some(0.01))));
            },
        );
    }
}

criterion_group!(benches, conv2d, conv1d, lstm, instance_norm);
criterion_main!(benches);
