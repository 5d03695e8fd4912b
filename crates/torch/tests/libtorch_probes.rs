//! What a probe may do to the reference engine, and what bad input gets.

use std::collections::HashMap;

use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use soundalike_convert::{Architecture, Bundle, METADATA_KEY};
use soundalike_torch::{Error, Precision, Probe, PyanNet, Result, Silent, Tensor, WeSpeakerResNet};

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

/// A WeSpeakerResNet18 of two channels and eight bands, with `change` made to its hyperparameters.
fn embedding_bundle(change: impl Fn(&mut serde_json::Value)) -> Bundle {
    let mut hyperparameters = json!({
        "depth": 18, "block": "basic", "num_blocks": [2, 2, 2, 2], "m_channels": 2, "embed_dim": 3,
        "two_emb_layer": false, "sample_rate": 16000, "num_channels": 1, "num_mel_bins": 8,
        "frame_length": 25.0, "frame_shift": 10.0, "round_to_power_of_two": true, "snip_edges": true,
        "dither": 0.0, "window_type": "hamming", "use_energy": false, "fbank_centering_span": null,
    });
    change(&mut hyperparameters);
    let header = json!({
        "format": 1, "architecture": "WeSpeakerResNet", "hyperparameters": hyperparameters,
        "specifications": null, "notes": [],
        "source": {"file": "made", "format": "pytorch-zip", "sha256": "", "converter": "0"},
    });
    let architecture: Architecture =
        serde_json::from_value(header.clone()).expect("an architecture");
    let tensors = architecture.tensors();
    let floats = tensors.iter().filter(|tensor| !tensor.optional);
    let floats: Vec<(String, Vec<usize>, Vec<u8>)> = floats
        .map(|tensor| {
            let values = (0..tensor.shape.iter().product()).map(|i: usize| {
                let value = (i * i * 31 + 7 * i + tensor.name.len()) % 101;
                // Variances are above 0, and whatever is multiplied by may be.
                value as f32 / 101.0
                    + if tensor.name.ends_with("running_var") {
                        0.5
                    } else {
                        -0.4
                    }
            });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (tensor.name.clone(), tensor.shape.clone(), bytes)
        })
        .collect();
    let views = floats.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor");
        (name, view)
    });
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), header.to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("a file");
    Bundle::from_bytes(bytes, "made").expect("a bundle")
}

fn embedding_network(precision: Precision) -> WeSpeakerResNet {
    WeSpeakerResNet::load(&embedding_bundle(|_| ()), precision).expect("a network")
}

/// Two speakers, who are not the same backwards.
fn masks() -> Tensor {
    let first = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let second = [0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0];
    Tensor::from_f32(&[first, second].concat(), &[1, 2, 8]).expect("masks")
}

/// A network with everything that it runs on.
type Run = Box<dyn Fn(&mut dyn Probe) -> Tensor>;

/// Each network, the one for embeddings by both of its ways to pool.
fn runs(precision: Precision) -> [(&'static str, Run); 3] {
    let segmentation: Run = Box::new(move |probe| {
        let scores = network(precision).forward(&waveforms(1), probe);
        scores.expect("scores")
    });
    let embedding = |masks: Option<Tensor>| -> Run {
        let network = embedding_network(precision);
        Box::new(move |probe| {
            let embeddings = network.forward(&waveforms(1), masks.as_ref(), probe);
            embeddings.expect("embeddings")
        })
    };
    [
        ("segmentation", segmentation),
        ("embedding of a window", embedding(None)),
        ("embeddings of speakers", embedding(Some(masks()))),
    ]
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
        for (name, run) in runs(precision) {
            let silent = run(&mut Silent).to_f64().expect("values");
            let seen = run(&mut Replace::new("no stage", Ok));
            assert_eq!(silent, seen.to_f64().expect("values"), "{name} {precision}");
            assert!(silent.iter().all(|x| x.is_finite()), "{name} {precision}");
            assert_eq!(seen.precision(), precision, "{name}");
        }
    }
}

#[test]
fn what_a_probe_returns_is_what_the_network_goes_on_with() {
    for (network, run) in runs(Precision::F64) {
        let run = |name: &'static str| {
            let mut probe = Replace::new(name, reversed);
            run(&mut probe);
            probe.stages
        };
        let free = run("no stage");
        // The output is the last: nothing follows it.
        for (index, (name, _)) in free.iter().enumerate().take(free.len() - 1) {
            let name: &'static str = name.clone().leak();
            let replaced = run(name);
            let changed = |i: usize| {
                let values = |stages: &[(String, Tensor)]| stages[i].1.to_f64().expect("values");
                values(&free) != values(&replaced)
            };
            assert!(
                (0..=index).all(|i| !changed(i)),
                "{network}: {name} reaches back to what came before it"
            );
            assert!(
                (index + 1..free.len()).any(changed),
                "{network}: {name} does not reach what follows"
            );
        }
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

#[test]
fn a_trunk_serves_all_speakers() {
    let network = embedding_network(Precision::F64);
    let together = network.forward(&waveforms(1), Some(&masks()), &mut Silent);
    let frames = network.forward_frames(&waveforms(1), &mut Silent);
    let apart = network.forward_embedding(&frames.expect("frames"), Some(&masks()), &mut Silent);
    let values = |x: Result<Tensor>| x.and_then(|x| x.to_f64()).expect("embeddings");
    let (together, apart) = (values(together), values(apart));
    assert_eq!(together, apart);
    assert_ne!(together[..3], together[3..], "both speakers are one");
}

#[test]
fn what_is_no_window_or_no_mask_is_refused_in_one_line() {
    let network = embedding_network(Precision::F32);
    let tensor = |shape: &[usize]| {
        let values = vec![0.1; shape.iter().product()];
        Tensor::from_f32(&values, shape).expect("a tensor")
    };
    let refused = |waveforms: &[usize], weights: &[usize]| {
        let embeddings = network.forward(&tensor(waveforms), Some(&tensor(weights)), &mut Silent);
        embeddings.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(refused(&[1, 1, 400], &[1, 2, 7]), Ok(()));
    for shape in [&[1, 1, 399][..], &[1, 2, 8000], &[0, 1, 8000], &[8000]] {
        assert_eq!(
            refused(shape, &[1, 2, 7]),
            Err(format!(
                "waveforms have shape {shape:?}, expected [batch, 1, at least 400 samples]"
            ))
        );
    }
    for shape in [&[2, 2, 7][..], &[1, 0, 7], &[1, 2, 0], &[1, 7]] {
        assert_eq!(
            refused(&[1, 1, 8000], shape),
            Err(format!(
                "weights have shape {shape:?}, expected [1, speakers, frames]"
            ))
        );
    }
    let frames = network.forward_embedding(&tensor(&[1, 16, 7]), None, &mut Silent);
    assert_eq!(
        frames.map(|_| ()).expect_err("no frames").to_string(),
        "frames have shape [1, 16, 7], expected [batch, channel, band, frame]"
    );
}

#[test]
fn hyperparameters_that_the_package_cannot_run_are_named() {
    for (key, value, expected) in [
        ("dither", json!(1.0), "dither = 1, expected 0"),
        ("use_energy", json!(true), "use_energy = true"),
        ("window_type", json!("kaiser"), "window_type = kaiser"),
        ("two_emb_layer", json!(true), "two_emb_layer = true"),
        ("frame_shift", json!(0.01), "frame_shift = 0.01 ms"),
        (
            "frame_length",
            json!(0.01),
            "frame_length = 0.01 ms, 0 samples",
        ),
        (
            "fbank_centering_span",
            json!(0.02),
            "fbank_centering_span = 0.02 s",
        ),
    ] {
        let bundle = embedding_bundle(|hyperparameters| hyperparameters[key] = value.clone());
        let network = WeSpeakerResNet::load(&bundle, Precision::F32).map(|_| ());
        let error = network.expect_err(key).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let segmentation = soundalike_weights::segmentation().expect("the embedded bundle");
    let other = WeSpeakerResNet::load(&segmentation, Precision::F32).map(|_| ());
    assert_eq!(
        other.expect_err("a PyanNet").to_string(),
        "the bundle holds a PyanNet, expected a WeSpeakerResNet"
    );
}
