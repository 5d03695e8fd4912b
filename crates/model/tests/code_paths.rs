//! Whatever code computes a network, whole windows or a part of them, with or without a probe: the result is the same.

#[path = "support/made.rs"]
mod made;

use soundalike_convert::Bundle;
use soundalike_model::{
    DType, Device, Engine, Input, Kernels, NoProbe, Probe, Result, Tensor, load,
};

/// Samples of a window.
const SAMPLES: usize = 16_000;
/// Frames of a mask.
const FRAMES: usize = 59;

fn bundles() -> [Bundle; 2] {
    // Filters computed from parameters, and a number of units that fills no register.
    let pyannet = made::pyannet(|h| {
        h["sincnet"]["filters"] = "parametrised".into();
        h["lstm"]["hidden_size"] = 19.into();
    });
    [pyannet, made::wespeaker(|_| ())]
}

fn engine(kernels: Kernels, dtype: DType) -> Engine {
    Engine {
        kernels,
        dtype,
        ..Engine::default()
    }
}

/// Noise, the same each time.
fn waveforms(windows: usize) -> Tensor {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let samples: Vec<f32> = (0..windows * SAMPLES).map(|_| 0.1 * next()).collect();
    Tensor::from_vec(samples, (windows, 1, SAMPLES), &Device::Cpu).expect("waveforms")
}

/// Of each window, speakers who are active up to a frame.
fn masks(windows: usize, ends: &[usize]) -> Tensor {
    let mask = |end: &usize| {
        let end = *end;
        (0..FRAMES).map(move |frame| f32::from(frame < end))
    };
    let values: Vec<f32> = (0..windows)
        .flat_map(|_| ends.iter().flat_map(mask))
        .collect();
    Tensor::from_vec(values, (windows, ends.len(), FRAMES), &Device::Cpu).expect("masks")
}

fn values(x: Result<Tensor>) -> Vec<f64> {
    let x = x.and_then(|x| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1());
    x.expect("a forward pass")
}

/// Largest difference, relative to the largest value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()), "{a:?}, {b:?}");
    let size = b.iter().fold(0.0_f64, |size, b| size.max(b.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0_f64, f64::max) / size
}

/// f32 rounds to 1e-7, and layers add up and amplify it by a few hundred. A wrong operation is visible in the first digits.
const ROUNDING: f64 = 1e-4;

/// Replaces one stage by `factor` times its value.
struct Scaled {
    stage: &'static str,
    factor: f64,
    seen: usize,
}

impl Probe for Scaled {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if name != self.stage {
            return Ok(value);
        }
        self.seen += 1;
        if self.factor == 1.0 {
            return Ok(value);
        }
        value * self.factor
    }

    fn needs(&self, name: &str) -> bool {
        name == self.stage
    }
}

#[test]
fn every_code_gives_the_result_of_f64() {
    let waveforms = waveforms(2);
    for bundle in bundles() {
        let run = |kernels, dtype| {
            let network = load(&bundle, &engine(kernels, dtype)).expect("a network");
            values(network.forward((&waveforms).into(), &mut NoProbe))
        };
        let golden = run(Kernels::Portable, DType::F64);
        for kernels in [
            Kernels::native(),
            Kernels::Portable,
            Kernels::MetalOps,
            Kernels::Experimental,
        ] {
            let error = difference(&run(kernels, DType::F32), &golden);
            assert!(error < ROUNDING, "{kernels}: {error}");
        }
    }
}

/// Not of the other codes: candle multiplies the state of one window and those of several in different loops.
#[test]
fn a_window_among_others_has_the_bits_that_it_has_alone() {
    for bundle in bundles() {
        for kernels in [Kernels::native(), Kernels::Experimental] {
            let network = load(&bundle, &engine(kernels, DType::F32)).expect("a network");
            let run = |x: &Tensor| values(network.forward(x.into(), &mut NoProbe));
            for count in [2, 3] {
                let windows = waveforms(count);
                let alone = (0..count).map(|index| windows.narrow(0, index, 1).expect("a window"));
                let alone: Vec<f64> = alone.flat_map(|window| run(&window)).collect();
                assert!(run(&windows) == alone, "{count} windows, {kernels}");
            }
        }
    }
}

#[test]
fn a_stage_that_is_replaced_changes_the_result_alike_in_every_code() {
    let waveforms = waveforms(1);
    let [pyannet, wespeaker] = bundles();
    for (bundle, stage) in [
        (&pyannet, "lstm.0.forward"),
        (&pyannet, "lstm.1.reverse"),
        (&pyannet, "lstm.1"),
        (&wespeaker, "resnet.layer1.0"),
        (&wespeaker, "resnet.layer3.0.shortcut.1"),
    ] {
        let run = |kernels, dtype, factor| {
            let network = load(bundle, &engine(kernels, dtype)).expect("a network");
            let mut probe = Scaled {
                stage,
                factor,
                seen: 0,
            };
            let found = values(network.forward((&waveforms).into(), &mut probe));
            assert_eq!(probe.seen, 1, "{stage}, {kernels}");
            found
        };
        let golden = run(Kernels::Portable, DType::F64, 0.5);
        let unchanged = run(Kernels::Portable, DType::F64, 1.0);
        assert!(
            difference(&unchanged, &golden) > 100.0 * ROUNDING,
            "{stage}"
        );
        for kernels in [Kernels::native(), Kernels::Portable, Kernels::Experimental] {
            let error = difference(&run(kernels, DType::F32, 0.5), &golden);
            assert!(error < ROUNDING, "{stage}, {kernels}: {error}");
        }
    }
}

/// With a probe, whole windows are computed; without one, only the frames up to the last that is active.
#[test]
fn an_embedding_has_the_bits_of_the_whole_window_wherever_speech_ends() {
    let network = load(&made::wespeaker(|_| ()), &Engine::default()).expect("a network");
    for windows in [1, rayon::current_num_threads() + 1] {
        let waveforms = waveforms(windows);
        for end in [0, 1, 2, 17, 40, FRAMES - 1, FRAMES] {
            let masks = masks(windows, &[end, end / 3, 0]);
            let input = Input {
                waveforms: &waveforms,
                masks: Some(&masks),
            };
            let mut watching = Scaled {
                stage: "resnet.seg_1",
                factor: 1.0,
                seen: 0,
            };
            let whole = values(network.forward(input, &mut watching));
            assert_eq!(watching.seen, 1);
            let found = values(network.forward(input, &mut NoProbe));
            assert!(found == whole, "{windows} windows, {end} frames");
        }
    }
}

#[test]
fn input_of_another_shape_is_refused_with_the_shape_that_is_expected() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("zeros");
    for bundle in bundles() {
        let network = load(&bundle, &Engine::default()).expect("a network");
        for shape in [[1, 2, SAMPLES], [1, 1, 100]] {
            let error = network.forward((&zeros(&shape)).into(), &mut NoProbe);
            let error = error.expect_err("another shape").to_string();
            assert!(error.contains("expected [batch, 1, at least"), "{error}");
        }
    }
    let network = load(&made::wespeaker(|_| ()), &Engine::default()).expect("a network");
    let waveforms = waveforms(1);
    for shape in [[2, 3, FRAMES], [1, 0, FRAMES], [1, 3, 0]] {
        let input = Input {
            waveforms: &waveforms,
            masks: Some(&zeros(&shape)),
        };
        let error = network.forward(input, &mut NoProbe);
        let error = error.expect_err("another shape").to_string();
        assert!(error.contains("expected [1, speakers, frames]"), "{error}");
    }
}

#[test]
fn no_windows_have_no_embeddings() {
    let network = load(&made::wespeaker(|_| ()), &Engine::default()).expect("a network");
    let found = network.forward((&waveforms(0)).into(), &mut NoProbe);
    assert_eq!(found.expect("a forward pass").dims(), [0, 3]);
}
