//! The operations of a graph in f64, as their definitions read.

use std::f64::consts::PI;

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis, Ix1, Ix2, Ix3, Ix4, concatenate, s};
use soundalike_convert::Bundle;
use soundalike_network::{FbankOptions, Graph, Op, SincFilters, Stage};

/// The output of `stage` of `graph`, which reads `operands`, with the weights of `bundle`.
pub(crate) fn run(
    graph: &Graph,
    stage: &Stage,
    operands: &[&ArrayD<f64>],
    bundle: &Bundle,
) -> ArrayD<f64> {
    let tensor = |index: usize| weights(bundle, stage, index);
    let x = || operands[0].clone();
    let vector = |index: usize| {
        tensor(index)
            .into_dimensionality::<Ix1>()
            .expect("a vector")
    };
    match &stage.op {
        Op::InstanceNorm { eps, .. } => instance_norm(x(), &vector(0), &vector(1), *eps),
        Op::SincFilters {
            filters: SincFilters::Baked,
            ..
        } => tensor(0),
        Op::SincFilters { sample_rate, .. } => {
            sinc_filters([0, 1, 2, 3].map(tensor), f64::from(*sample_rate))
        }
        Op::Conv1d { stride, .. } if operands.len() == 2 => conv1d(x(), operands[1], None, *stride),
        Op::Conv1d { stride, .. } => conv1d(x(), &tensor(0), Some(&vector(1)), *stride),
        Op::Abs => x().mapv(f64::abs),
        Op::MaxPool { size } => max_pool(&x(), *size),
        Op::LeakyRelu { slope } => x().mapv(|x| if x < 0.0 { slope * x } else { x }),
        Op::LstmDirection { reverse, .. } => {
            let direction = [0, 1, 2, 3].map(tensor);
            lstm(&sequences(graph, stage, x()), direction, *reverse).into_dyn()
        }
        Op::Lstm { .. } => {
            let x = sequences(graph, stage, x());
            let directions: Vec<Array3<f64>> = (0..stage.parameters.len() / 4)
                .map(|index| {
                    let tensors = [0, 1, 2, 3].map(|k| tensor(4 * index + k));
                    lstm(&x, tensors, index == 1)
                })
                .collect();
            let views: Vec<_> = directions
                .iter()
                .map(|direction| direction.view())
                .collect();
            concatenate(Axis(2), &views).expect("directions").into_dyn()
        }
        Op::Linear { .. } => linear(&x(), &tensor(0), &vector(1)),
        Op::LogSoftmax => log_softmax(x()),
        Op::Sigmoid => x().mapv(sigmoid),
        Op::Fbank(options) => fbank(&x(), options),
        Op::Centre { span } => centre(x(), *span),
        Op::Conv2d {
            stride, padding, ..
        } => conv2d(image(x()), &tensor(0), *stride, *padding),
        Op::BatchNorm { eps, affine, .. } => {
            let first = if *affine { 2 } else { 0 };
            let (mean, variance) = (vector(first), vector(first + 1));
            let scale = variance.mapv(|variance| 1.0 / (variance + eps).sqrt());
            let scale = if *affine { scale * vector(0) } else { scale };
            let mut x = x();
            for (channel, mut values) in x.axis_iter_mut(Axis(1)).enumerate() {
                let shift = if *affine { vector(1)[channel] } else { 0.0 };
                values.mapv_inplace(|x| (x - mean[channel]) * scale[channel] + shift);
            }
            x
        }
        Op::Relu => x().mapv(|x| x.max(0.0)),
        Op::Add => operands[0] + operands[1],
        Op::ResampleMasks => resample(operands[1], *operands[0].shape().last().expect("frames")),
        Op::StatsPool => stats_pool(&x(), operands.get(1).copied()),
        Op::Other(name) => panic!("{name} is not defined"),
    }
}

fn weights(bundle: &Bundle, stage: &Stage, index: usize) -> ArrayD<f64> {
    let name = &stage.parameters[index].name;
    let tensor = bundle.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    // The golden is the network in f32, widened.
    let values = tensor.to_f32().expect("floats").into_iter().map(f64::from);
    ArrayD::from_shape_vec(tensor.shape, values.collect()).expect("its shape")
}

/// `[batch, frame, feature]`, transposed where the stage before has its channels first.
fn sequences(graph: &Graph, stage: &Stage, x: ArrayD<f64>) -> Array3<f64> {
    let mut x = x.into_dimensionality::<Ix3>().expect("sequences");
    if graph.is_transposed(stage) {
        x.swap_axes(1, 2);
    }
    x
}

/// `[batch, channel, band, frame]`, of features an image of one channel.
fn image(x: ArrayD<f64>) -> Array4<f64> {
    match x.ndim() {
        3 => {
            let mut x = x.into_dimensionality::<Ix3>().expect("features");
            x.swap_axes(1, 2);
            x.insert_axis(Axis(1))
        }
        _ => x.into_dimensionality::<Ix4>().expect("an image"),
    }
}

fn instance_norm(
    mut x: ArrayD<f64>,
    weight: &Array1<f64>,
    bias: &Array1<f64>,
    eps: f64,
) -> ArrayD<f64> {
    for mut example in x.outer_iter_mut() {
        for (channel, mut values) in example.outer_iter_mut().enumerate() {
            let mean = values.mean().expect("samples");
            let deviation = (values.var(0.0) + eps).sqrt();
            values.mapv_inplace(|x| (x - mean) / deviation * weight[channel] + bias[channel]);
        }
    }
    x
}

/// asteroid-filterbanks `ParamSincFB.filters`.
fn sinc_filters([low_hz, band_hz, window, n]: [ArrayD<f64>; 4], rate: f64) -> ArrayD<f64> {
    let (pairs, half) = (low_hz.len(), window.len());
    let kernel = 2 * half + 1;
    let mut filters = Array3::zeros((2 * pairs, 1, kernel));
    for pair in 0..pairs {
        let low = 50.0 + low_hz[[pair, 0]].abs();
        let high = (low + 50.0 + band_hz[[pair, 0]].abs()).clamp(50.0, rate / 2.0);
        let band = high - low;
        for place in 0..half {
            let (n, window) = (n[[0, place]], window[[place]]);
            let even = ((high * n).sin() - (low * n).sin()) / (n / 2.0) * window / (2.0 * band);
            let odd = ((low * n).cos() - (high * n).cos()) / (n / 2.0) * window / (2.0 * band);
            filters[[pair, 0, place]] = even;
            filters[[pair, 0, kernel - 1 - place]] = even;
            filters[[pairs + pair, 0, place]] = odd;
            filters[[pairs + pair, 0, kernel - 1 - place]] = -odd;
        }
        filters[[pair, 0, half]] = 1.0;
    }
    filters.into_dyn()
}

fn conv1d(
    x: ArrayD<f64>,
    filters: &ArrayD<f64>,
    bias: Option<&Array1<f64>>,
    stride: usize,
) -> ArrayD<f64> {
    let x = x.into_dimensionality::<Ix3>().expect("a signal");
    let filters = filters
        .view()
        .into_dimensionality::<Ix3>()
        .expect("filters");
    let (batch, _, samples) = x.dim();
    let (outputs, _, kernel) = filters.dim();
    let frames = (samples - kernel) / stride + 1;
    let mut out = Array3::zeros((batch, outputs, frames));
    for row in 0..batch {
        let mut sum = Array2::<f64>::zeros((outputs, frames));
        for k in 0..kernel {
            let last = k + stride * (frames - 1) + 1;
            sum += &filters
                .slice(s![.., .., k])
                .dot(&x.slice(s![row, .., k..last;stride]));
        }
        if let Some(bias) = bias {
            sum += &bias.view().insert_axis(Axis(1));
        }
        out.slice_mut(s![row, .., ..]).assign(&sum);
    }
    out.into_dyn()
}

fn max_pool(x: &ArrayD<f64>, size: usize) -> ArrayD<f64> {
    let time = Axis(x.ndim() - 1);
    let windows = x.axis_chunks_iter(time, size);
    let whole = windows.filter(|window| window.len_of(time) == size);
    let most: Vec<ArrayD<f64>> = whole
        .map(|window| window.fold_axis(time, f64::NEG_INFINITY, |a, b| a.max(*b)))
        .collect();
    let views: Vec<_> = most.iter().map(|most| most.view()).collect();
    ndarray::stack(time, &views).expect("pools")
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One direction of `torch.nn.LSTM`, zero initial state.
fn lstm(
    x: &Array3<f64>,
    [input, recurrent, bias_ih, bias_hh]: [ArrayD<f64>; 4],
    reverse: bool,
) -> Array3<f64> {
    let input = input.into_dimensionality::<Ix2>().expect("weights");
    let recurrent = recurrent.into_dimensionality::<Ix2>().expect("weights");
    let bias = (bias_ih + bias_hh)
        .into_dimensionality::<Ix1>()
        .expect("a bias");
    let (batch, frames, _) = x.dim();
    let hidden = recurrent.ncols();
    let mut out = Array3::zeros((batch, frames, hidden));
    for row in 0..batch {
        let (mut h, mut c) = (Array1::<f64>::zeros(hidden), Array1::<f64>::zeros(hidden));
        for step in 0..frames {
            let frame = if reverse { frames - 1 - step } else { step };
            let gates = input.dot(&x.slice(s![row, frame, ..])) + recurrent.dot(&h) + &bias;
            for unit in 0..hidden {
                let gate = |index: usize| gates[index * hidden + unit];
                c[unit] = sigmoid(gate(1)) * c[unit] + sigmoid(gate(0)) * gate(2).tanh();
                h[unit] = sigmoid(gate(3)) * c[unit].tanh();
            }
            out.slice_mut(s![row, frame, ..]).assign(&h);
        }
    }
    out
}

fn linear(x: &ArrayD<f64>, weight: &ArrayD<f64>, bias: &Array1<f64>) -> ArrayD<f64> {
    let weight = weight.view().into_dimensionality::<Ix2>().expect("weights");
    let mut shape = x.shape().to_vec();
    let inputs = shape.pop().expect("features");
    let rows = x.as_standard_layout().into_owned();
    let rows = rows
        .into_shape_with_order((x.len() / inputs, inputs))
        .expect("rows");
    shape.push(bias.len());
    let out = rows.dot(&weight.t()) + bias;
    out.into_dyn()
        .into_shape_with_order(shape)
        .expect("its shape")
}

fn log_softmax(mut x: ArrayD<f64>) -> ArrayD<f64> {
    let classes = Axis(x.ndim() - 1);
    for mut scores in x.lanes_mut(classes) {
        let most = scores.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
        scores.mapv_inplace(|score| score - most - sum.ln());
    }
    x
}

/// `torchaudio.compliance.kaldi.fbank`, the transform as its definition reads.
fn fbank(x: &ArrayD<f64>, options: &FbankOptions) -> ArrayD<f64> {
    let (size, shift) = (options.window_size(), options.window_shift());
    let padded = options.padded_window_size();
    let turn = |n: usize| 2.0 * PI * n as f64 / (size - 1) as f64;
    let window = |n: usize| match &*options.window_type {
        "hamming" => 0.54 - 0.46 * turn(n).cos(),
        "hanning" => 0.5 - 0.5 * turn(n).cos(),
        "povey" => (0.5 - 0.5 * turn(n).cos()).powf(0.85),
        "rectangular" => 1.0,
        "blackman" => 0.42 - 0.5 * turn(n).cos() + 0.08 * (2.0 * turn(n)).cos(),
        other => panic!("no window {other}"),
    };
    let bands = mel_bands(options, padded);
    let lines = padded / 2;
    let angle = |(n, line): (usize, usize)| 2.0 * PI * ((n * line) % padded) as f64 / padded as f64;
    let cosine = Array2::from_shape_fn((size, lines), |place| angle(place).cos());
    let sine = Array2::from_shape_fn((size, lines), |place| angle(place).sin());
    let (batch, samples) = (x.shape()[0], x.shape()[2]);
    let frames = options.num_frames(samples);
    let mut out = Array3::zeros((batch, frames, options.num_mel_bins));
    for row in 0..batch {
        let signal: Vec<f64> = x
            .slice(s![row, 0, ..])
            .iter()
            .map(|x| x * 32_768.0)
            .collect();
        let sample = |place: isize| {
            // The signal goes on as its own mirror image, the sample at the edge twice.
            let length = signal.len() as isize;
            let place = match place {
                place if place < 0 => -1 - place,
                place if place < length => place,
                place => 2 * length - 1 - place,
            };
            signal[place as usize]
        };
        let before = match options.snip_edges {
            true => 0,
            false => (size / 2) as isize - (shift / 2) as isize,
        };
        let mut taken = Array2::zeros((frames, size));
        for (frame, mut values) in taken.outer_iter_mut().enumerate() {
            for (n, value) in values.iter_mut().enumerate() {
                *value = sample((frame * shift + n) as isize - before);
            }
            let mean = values.mean().expect("samples");
            values -= mean;
            for n in (0..size).rev() {
                values[n] -= 0.97 * values[n.saturating_sub(1)];
                values[n] *= window(n);
            }
        }
        let (real, imaginary) = (taken.dot(&cosine), taken.dot(&sine));
        let power = &real * &real + &imaginary * &imaginary;
        let energies = power.dot(&bands);
        let log = energies.mapv(|energy: f64| energy.max(f64::from(f32::EPSILON)).ln());
        out.slice_mut(s![row, .., ..]).assign(&log);
    }
    out.into_dyn()
}

/// torchaudio `get_mel_banks`, `[line, band]`: in f32, as torchaudio has it in either precision.
fn mel_bands(options: &FbankOptions, padded: usize) -> Array2<f64> {
    let rate = f64::from(options.sample_rate);
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let (low, high) = (mel(20.0), mel(rate / 2.0));
    let step = ((high - low) / (options.num_mel_bins + 1) as f64) as f32;
    Array2::from_shape_fn((padded / 2, options.num_mel_bins), |(line, band)| {
        let hz = (rate / padded as f64) as f32 * line as f32;
        let place = 1127.0 * (1.0 + hz / 700.0).ln();
        let corner = |offset: f32| (band as f32 + offset) * step + low as f32;
        let (left, centre, right) = (corner(0.0), corner(1.0), corner(2.0));
        let up = (place - left) / (centre - left);
        f64::from(up.min((right - place) / (right - centre)).max(0.0))
    })
}

fn centre(mut x: ArrayD<f64>, span: Option<usize>) -> ArrayD<f64> {
    for mut features in x.outer_iter_mut() {
        let frames = features.len_of(Axis(0));
        let taken = features.to_owned();
        for (frame, mut values) in features.outer_iter_mut().enumerate() {
            let range = match span {
                None => 0..frames,
                Some(span) => {
                    let half = span / 2;
                    frame.saturating_sub(half)..(frame + half + 1).min(frames)
                }
            };
            let part = taken.slice_axis(Axis(0), range.into());
            values -= &part.mean_axis(Axis(0)).expect("frames");
        }
    }
    x
}

fn conv2d(x: Array4<f64>, weight: &ArrayD<f64>, stride: usize, padding: usize) -> ArrayD<f64> {
    let weight = weight
        .view()
        .into_dimensionality::<Ix4>()
        .expect("a kernel");
    let (batch, inputs, bands, frames) = x.dim();
    let (outputs, _, kernel, _) = weight.dim();
    let (height, width) = (bands + 2 * padding, frames + 2 * padding);
    let (rows, columns) = (
        (height - kernel) / stride + 1,
        (width - kernel) / stride + 1,
    );
    let mut out = Array4::zeros((batch, outputs, rows, columns));
    for row in 0..batch {
        let mut padded = Array3::zeros((inputs, height, width));
        let inside = s![.., padding..padding + bands, padding..padding + frames];
        padded
            .slice_mut(inside)
            .assign(&x.slice(s![row, .., .., ..]));
        let mut sum = Array2::<f64>::zeros((outputs, rows * columns));
        for down in 0..kernel {
            for right in 0..kernel {
                let (bottom, edge) = (
                    down + stride * (rows - 1) + 1,
                    right + stride * (columns - 1) + 1,
                );
                let seen = padded.slice(s![.., down..bottom;stride, right..edge;stride]);
                let seen = seen.as_standard_layout().into_owned();
                let seen = seen.into_shape_with_order((inputs, rows * columns));
                let weight = weight.slice(s![.., .., down, right]);
                sum += &weight.dot(&seen.expect("pixels"));
            }
        }
        let sum = sum.into_shape_with_order((outputs, rows, columns));
        out.slice_mut(s![row, .., .., ..])
            .assign(&sum.expect("an image"));
    }
    out.into_dyn()
}

/// `torch.nn.functional.interpolate(mode="nearest")`, whose places are computed in f32.
fn resample(masks: &ArrayD<f64>, frames: usize) -> ArrayD<f64> {
    let length = *masks.shape().last().expect("frames");
    let scale = length as f32 / frames as f32;
    let nearest = |frame: usize| ((frame as f32 * scale).floor() as usize).min(length - 1);
    let places: Vec<usize> = (0..frames).map(nearest).collect();
    masks.select(Axis(masks.ndim() - 1), &places)
}

/// pyannote.audio `StatsPool`.
fn stats_pool(x: &ArrayD<f64>, masks: Option<&ArrayD<f64>>) -> ArrayD<f64> {
    const EPS: f64 = 1e-8;
    let frames = *x.shape().last().expect("frames");
    let batch = x.shape()[0];
    let features = x.len() / batch / frames;
    let x = x.as_standard_layout().into_owned();
    let x = x
        .into_shape_with_order((batch, features, frames))
        .expect("sequences");
    let Some(masks) = masks else {
        let mean = x.mean_axis(Axis(2)).expect("frames");
        let deviation = x.std_axis(Axis(2), 1.0);
        return concatenate(Axis(1), &[mean.view(), deviation.view()])
            .expect("statistics")
            .into_dyn();
    };
    let count = masks.shape()[1];
    let mut out = Array3::zeros((batch, count, 2 * features));
    for row in 0..batch {
        for mask in 0..count {
            let weights = masks.slice(s![row, mask, ..]);
            let v1 = weights.sum() + EPS;
            let v2 = weights.mapv(|weight| weight * weight).sum();
            for feature in 0..features {
                let values = x.slice(s![row, feature, ..]);
                let mean = values.dot(&weights) / v1;
                let squares = values.mapv(|x| (x - mean).powi(2)).dot(&weights);
                let variance = squares / (v1 - v2 / v1 + EPS);
                out[[row, mask, feature]] = mean;
                out[[row, mask, features + feature]] = variance.sqrt();
            }
        }
    }
    out.into_dyn()
}
