//! What a probe may do to the reference engine, and what bad input gets.

use soundalike_convert::Bundle;
use soundalike_torch::{Error, Precision, Probe, PyanNet, Result, Silent, Tensor};

/// Half a second of something that is neither silence nor periodic.
fn waveforms(batch: usize) -> Tensor {
    let samples = 8_000;
    let values: Vec<f32> = (0..batch * samples)
        .map(|i| ((i * i % 8_191) as f32 / 4_096.0 - 1.0) * (i as f32 * 1e-3).sin())
        .collect();
    Tensor::from_f32(&values, &[batch, 1, samples]).expect("a waveform")
}

fn network(precision: Precision) -> PyanNet {
    let bundle: Bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    PyanNet::load(&bundle, precision).expect("a network")
}

/// Keeps every stage, and replaces the output of the stage `name` by `value` of it.
struct Replace {
    name: &'static str,
    value: fn(Tensor) -> Result<Tensor>,
    stages: Vec<(String, Tensor)>,
}

impl Replace {
    fn new(name: &'static str, value: fn(Tensor) -> Result<Tensor>) -> Self {
        let stages = Vec::new();
        Self {
            name,
            value,
            stages,
        }
    }
}

impl Probe for Replace {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.stages.push((name.to_owned(), value.clone()));
        if name == self.name {
            (self.value)(value)
        } else {
            Ok(value)
        }
    }
}

/// Last value first: another sign would be lost in the absolute value after the filters, and another scale in
/// the norms.
fn reversed(value: Tensor) -> Result<Tensor> {
    let values: Vec<f64> = value.to_f64()?.into_iter().rev().collect();
    Tensor::from_f64(&values, &value.shape())?.to_precision(value.precision())
}

#[test]
fn observing_changes_nothing() {
    for precision in [Precision::F32, Precision::F64] {
        let (network, waveforms) = (network(precision), waveforms(1));
        let silent = network.forward(&waveforms, &mut Silent).expect("scores");
        let mut recorder = Replace::new("no stage", Ok);
        let seen = network.forward(&waveforms, &mut recorder).expect("scores");
        assert_eq!(
            silent.to_f64().expect("values"),
            seen.to_f64().expect("values"),
            "{precision}"
        );
        assert_eq!(seen.precision(), precision);
    }
}

#[test]
fn what_a_probe_returns_is_what_the_network_goes_on_with() {
    let (network, waveforms) = (network(Precision::F64), waveforms(1));
    let run = |name: &'static str| {
        let mut probe = Replace::new(name, reversed);
        network.forward(&waveforms, &mut probe).expect("scores");
        probe.stages
    };
    let free = run("no stage");
    for (index, (name, _)) in free.iter().enumerate() {
        if index + 1 == free.len() {
            break; // the output, which nothing follows
        }
        let name: &'static str = name.clone().leak();
        let replaced = run(name);
        let changed = |i: usize| {
            let values = |stages: &[(String, Tensor)]| stages[i].1.to_f64().expect("values");
            values(&free) != values(&replaced)
        };
        assert!(
            (0..=index).all(|i| !changed(i)),
            "{name} reaches back to what came before it"
        );
        assert!(
            (index + 1..free.len()).any(changed),
            "{name} does not reach what follows"
        );
    }
}

#[test]
fn a_probe_must_return_the_shape_and_the_precision_it_saw() {
    let (network, waveforms) = (network(Precision::F32), waveforms(1));
    let fails = |value: fn(Tensor) -> Result<Tensor>| {
        let mut probe = Replace::new("linear.0", value);
        let scores = network.forward(&waveforms, &mut probe).map(|_| ());
        scores.expect_err("another output").to_string()
    };
    let one = fails(|_| Tensor::from_f32(&[1.0], &[1, 1, 1]));
    assert!(
        one.contains("`linear.0`, f32 [1, 26, 128], by f32 [1, 1, 1]"),
        "{one}"
    );
    let wide = fails(|value| value.to_precision(Precision::F64));
    assert!(wide.contains("f32 [1, 26, 128], by f64"), "{wide}");
    let own = fails(|_| Err(Error::probe("the trace ends here")));
    assert_eq!(own, "the trace ends here");
}

#[test]
fn the_windows_of_a_batch_do_not_see_each_other() {
    let (network, both) = (network(Precision::F64), waveforms(2));
    let values = both.to_f64().expect("values");
    let together = network.forward(&both, &mut Silent).expect("scores");
    let together = together.to_f64().expect("values");
    let apart: Vec<f64> = values
        .chunks(8_000)
        .flat_map(|window| {
            let window = Tensor::from_f64(window, &[1, 1, 8_000]).expect("a window");
            let scores = network.forward(&window, &mut Silent).expect("scores");
            scores.to_f64().expect("values")
        })
        .collect();
    let furthest = together
        .iter()
        .zip(&apart)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    // Another order of f64 sums, whose f32 counterparts differ by 1e-4 at most.
    assert!(
        together.len() == apart.len() && furthest < 1e-12,
        "{furthest}"
    );
}

#[test]
fn waveforms_that_are_too_short_or_not_mono_are_refused_in_one_line() {
    let network = network(Precision::F32);
    let refused = |shape: &[usize]| {
        let values = vec![0.0; shape.iter().product()];
        let waveforms = Tensor::from_f32(&values, shape).expect("a tensor");
        let scores = network.forward(&waveforms, &mut Silent).map(|_| ());
        scores.map_err(|error| error.to_string())
    };
    // Two frames: a receptive field of 991 samples and a step of 270.
    assert_eq!(refused(&[1, 1, 1261]), Ok(()));
    for shape in [&[1, 1, 1260][..], &[1, 2, 8000], &[0, 1, 8000], &[8000]] {
        assert_eq!(
            refused(shape),
            Err(format!(
                "waveforms have shape {shape:?}, expected [batch, 1, at least 1261 samples]"
            ))
        );
    }
    let odd = Tensor::from_f32(&[0.0; 5], &[2, 3]).map(|_| ());
    assert_eq!(
        odd.expect_err("five values are not six").to_string(),
        "5 values do not fill the shape [2, 3]"
    );
}
