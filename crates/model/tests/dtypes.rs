//! The network in other dtypes than f32, on the embedded weights.

use std::{fs::File, path::Path};

use ndarray::ArrayD;
use soundalike_compare::{EXACT_R, ReferenceTrace};
use soundalike_model::{DType, Device, Engine, Kernels, NoProbe, Tensor, load};

fn reference() -> ReferenceTrace<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/selftest/captured/segmentation-3.0_1s.npz");
    ReferenceTrace::open(&path).expect("the committed trace")
}

/// Log-probabilities of the window of the committed trace.
fn scores(dtype: DType) -> ArrayD<f64> {
    let bundle = soundalike_weights::segmentation().expect("the embedded bundle opens");
    let engine = Engine {
        dtype,
        kernels: Kernels::native(),
        ..Engine::default()
    };
    let network = load(&bundle, &engine).expect("a network");
    let waveform = reference().waveform().expect("a waveform");
    let shape = waveform.shape().to_vec();
    let waveform = Tensor::from_vec(waveform.into_raw_vec_and_offset().0, shape, &Device::Cpu);
    let scores = network
        .forward((&waveform.expect("a tensor")).into(), &mut NoProbe)
        .expect("the forward pass");
    assert_eq!(scores.dtype(), dtype);
    let shape = scores.dims().to_vec();
    let scores = scores
        .to_dtype(DType::F64)
        .and_then(|scores| scores.flatten_all()?.to_vec1());
    ArrayD::from_shape_vec(shape, scores.expect("scores")).expect("their shape")
}

#[test]
fn in_f64_it_is_the_golden() {
    let golden = reference().golden("activation").expect("a golden output");
    let largest = (scores(DType::F64) - golden)
        .iter()
        .fold(0.0_f64, |largest, error| largest.max(error.abs()));
    // The same sums in f32 end within 4e-6 of the golden (3.4e-6 by `compare`); f64 rounds 2^29 times
    // finer, and another order of the sums may cost EXACT_R times that.
    let allowed = EXACT_R * 4e-6 / 2.0_f64.powi(29);
    assert!(largest < allowed, "{largest} is not below {allowed}");
}

#[test]
fn in_sixteen_bits_it_still_gives_probabilities() {
    // Half a unit in the last place of 1.
    for (dtype, rounding) in [
        (DType::F16, 2.0_f64.powi(-11)),
        (DType::BF16, 2.0_f64.powi(-8)),
    ] {
        for frame in scores(dtype).rows() {
            let total: f64 = frame.iter().map(|score| score.exp()).sum();
            // Each log-probability is rounded where it is worth its own size, and the logarithm of their
            // sum once more where it is worth at most 20.
            let allowed: f64 = frame
                .iter()
                .map(|score| score.exp() * (score.abs() + 20.0) * rounding)
                .sum();
            assert!(
                (total - 1.0).abs() <= allowed,
                "{dtype:?}: {total} of {frame}"
            );
        }
    }
}
