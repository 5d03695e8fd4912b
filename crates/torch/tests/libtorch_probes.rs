//! What a probe may do to the reference engine, and what bad input gets.

use std::collections::HashMap;

use ndarray::{Array3, ArrayD, Axis, Slice};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use soundalike_convert::{Bundle, METADATA_KEY};
use soundalike_network::Architecture;
use soundalike_torch::{Error, Network, Precision, Probe, Result, load};

/// Half a second of something that is neither silence nor periodic.
fn waveforms(batch: usize) -> ArrayD<f32> {
    let samples = 8_000;
    let value = |(row, _, n): (usize, usize, usize)| {
        let i = row * samples + n;
        ((i * i % 8_191) as f32 / 4_096.0 - 1.0) * (i as f32 * 1e-3).sin()
    };
    Array3::from_shape_fn((batch, 1, samples), value).into_dyn()
}

/// Looks at nothing.
fn silent(_: &str, _: ArrayD<f64>) -> Result<Option<ArrayD<f64>>> {
    Ok(None)
}

fn network(precision: Precision) -> Box<dyn Network> {
    let bundle: Bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    load(&bundle, precision.into()).expect("a network")
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

fn embedding_network(precision: Precision) -> Box<dyn Network> {
    load(&embedding_bundle(|_| ()), precision.into()).expect("a network")
}

/// Two speakers, who are not the same backwards.
fn masks() -> ArrayD<f32> {
    let first = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let second = [0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0];
    let masks = [first, second].concat();
    ArrayD::from_shape_vec(vec![1, 2, 8], masks).expect("masks")
}

/// A network with everything that it runs on.
type Run = Box<dyn Fn(&mut Probe<'_>) -> ArrayD<f64>>;

/// Each network, the one for embeddings by both of its ways to pool.
fn runs(precision: Precision) -> [(&'static str, Run); 3] {
    let of = |network: Box<dyn Network>, masks: Option<ArrayD<f32>>| -> Run {
        Box::new(move |probe| {
            let output = network.forward(&waveforms(1), masks.as_ref(), probe);
            output.expect("an output")
        })
    };
    [
        ("segmentation", of(network(precision), None)),
        (
            "embedding of a window",
            of(embedding_network(precision), None),
        ),
        (
            "embeddings of speakers",
            of(embedding_network(precision), Some(masks())),
        ),
    ]
}

/// All stages of a run in which the output of the stage `name` is replaced by its values in reverse: another sign would be
/// lost in the absolute value after the filters, and another scale in the norms.
fn stages(run: &Run, name: &str) -> Vec<(String, ArrayD<f64>)> {
    let mut stages = Vec::new();
    run(&mut |stage, value| {
        stages.push((stage.to_owned(), value.clone()));
        let mut reversed: Vec<f64> = value.iter().copied().collect();
        reversed.reverse();
        let reversed = ArrayD::from_shape_vec(value.shape(), reversed).expect("its shape");
        Ok((stage == name).then_some(reversed))
    });
    stages
}

#[test]
fn observing_changes_nothing() {
    for precision in [Precision::F32, Precision::F64] {
        for (name, run) in runs(precision) {
            let free = run(&mut silent);
            let seen = stages(&run, "no stage");
            let (_, last) = seen.last().expect("stages");
            assert_eq!(&free, last, "{name} {precision}");
            assert!(free.iter().all(|x| x.is_finite()), "{name} {precision}");
        }
    }
}

#[test]
fn a_network_shows_its_graph() {
    let run = |network: Box<dyn Network>, masks: Option<ArrayD<f32>>| {
        let mut names = Vec::new();
        let output = network.forward(&waveforms(1), masks.as_ref(), &mut |name, _| {
            names.push(name.to_owned());
            Ok(None)
        });
        output.expect("an output");
        let graph = network.graph(masks.is_some()).stages();
        let expected: Vec<String> = graph.iter().map(|stage| stage.name.clone()).collect();
        assert_eq!(names, expected);
    };
    run(network(Precision::F32), None);
    run(embedding_network(Precision::F32), None);
    run(embedding_network(Precision::F32), Some(masks()));
}

#[test]
fn what_a_probe_returns_is_what_the_network_goes_on_with() {
    for (network, run) in runs(Precision::F64) {
        let free = stages(&run, "no stage");
        // The output is the last: nothing follows it.
        for (index, (name, _)) in free.iter().enumerate().take(free.len() - 1) {
            let replaced = stages(&run, name);
            let changed = |i: usize| free[i].1 != replaced[i].1;
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
fn a_probe_must_return_the_shape_it_saw() {
    let (network, waveforms) = (network(Precision::F32), waveforms(1));
    let fails = |value: fn() -> Result<Option<ArrayD<f64>>>| {
        let mut probe = |name: &str, _: ArrayD<f64>| match name {
            "linear.0" => value(),
            _ => Ok(None),
        };
        let scores = network.forward(&waveforms, None, &mut probe).map(|_| ());
        scores.expect_err("another output").to_string()
    };
    let one = fails(|| Ok(Some(ArrayD::zeros(vec![1, 1, 1]))));
    assert!(
        one.contains("`linear.0`, of shape [1, 26, 128], by one of shape [1, 1, 1]"),
        "{one}"
    );
    let own = fails(|| Err(Error::probe("the trace ends here")));
    assert_eq!(own, "the trace ends here");
}

#[test]
fn the_windows_of_a_batch_do_not_see_each_other() {
    let (network, both) = (network(Precision::F64), waveforms(2));
    let together = network.forward(&both, None, &mut silent).expect("scores");
    for row in 0..2 {
        let window = both.slice_axis(Axis(0), Slice::from(row..=row)).to_owned();
        let alone = network.forward(&window, None, &mut silent).expect("scores");
        let furthest = (&alone - &together.slice_axis(Axis(0), Slice::from(row..=row)))
            .iter()
            .fold(0.0_f64, |furthest, apart| furthest.max(apart.abs()));
        // Another order of f64 sums, whose f32 counterparts differ by 1e-4 at most.
        assert!(furthest < 1e-12, "{furthest}");
    }
}

#[test]
fn waveforms_that_are_too_short_or_not_mono_are_refused_in_one_line() {
    let network = network(Precision::F32);
    let refused = |shape: &[usize]| {
        let scores = network.forward(&ArrayD::zeros(shape), None, &mut silent);
        scores.map(|_| ()).map_err(|error| error.to_string())
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
}

#[test]
fn each_mask_has_an_embedding_of_its_own() {
    let network = embedding_network(Precision::F64);
    let together = network.forward(&waveforms(1), Some(&masks()), &mut silent);
    let together = together.expect("embeddings");
    for speaker in 0..2 {
        let slice = Slice::from(speaker..=speaker);
        let mask = masks().slice_axis(Axis(1), slice).to_owned();
        let alone = network.forward(&waveforms(1), Some(&mask), &mut silent);
        let alone = alone.expect("an embedding");
        let apart = &alone - &together.slice_axis(Axis(1), slice);
        // Of one row the last layer adds up its f64 products in another order.
        assert!(apart.iter().all(|apart| apart.abs() < 1e-12), "{speaker}");
    }
    let [first, second] = [0, 1].map(|speaker| together.index_axis(Axis(1), speaker).to_owned());
    assert_ne!(first, second, "both speakers are one");
}

#[test]
fn what_is_no_window_or_no_mask_is_refused_in_one_line() {
    let network = embedding_network(Precision::F32);
    let refused = |waveforms: &[usize], masks: &[usize]| {
        let (waveforms, masks) = (
            ArrayD::from_elem(waveforms, 0.1),
            ArrayD::from_elem(masks, 0.1),
        );
        let embeddings = network.forward(&waveforms, Some(&masks), &mut silent);
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
                "masks have shape {shape:?}, expected [1, speakers, frames]"
            ))
        );
    }
}

#[test]
fn hyperparameters_that_the_package_cannot_run_are_named() {
    for (key, value, expected) in [
        ("dither", json!(1.0), "`dither` is 1, expected 0"),
        ("use_energy", json!(true), "`use_energy` is true"),
        ("window_type", json!("kaiser"), "`window_type` is kaiser"),
        ("two_emb_layer", json!(true), "`two_emb_layer` is true"),
        ("frame_shift", json!(0.01), "`frame_shift` is 0.01 ms"),
        (
            "frame_length",
            json!(0.01),
            "`frame_length` is 0.01 ms, 0 samples",
        ),
        (
            "fbank_centering_span",
            json!(0.02),
            "`fbank_centering_span` is 0.02 s",
        ),
    ] {
        let bundle = embedding_bundle(|hyperparameters| hyperparameters[key] = value.clone());
        let network = load(&bundle, Precision::F32.into()).map(|_| ());
        let error = network.expect_err(key).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
