//! Every operation of both networks, in every dtype, has a kernel in candle's Metal sources; and how many are launched.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    sync::Mutex,
};

use objc2_foundation::NSString;
use objc2_metal::{MTLCreateSystemDefaultDevice, MTLDevice, MTLLibrary, take_launches};
use soundalike_convert::Bundle;
use soundalike_model::{
    DType, Device, DeviceChoice, Engine, Input, Kernels, NoProbe, Tensor, load,
};

/// Ten seconds.
const SAMPLES: usize = 160_000;
/// Frames of ten seconds.
const FRAMES: usize = 589;

/// There is one list of launches.
static ALONE: Mutex<()> = Mutex::new(());

/// Launches of one forward pass of `batch` windows; or what Metal lacks for it.
fn launches(
    bundle: &Bundle,
    kernels: Kernels,
    dtype: DType,
    batch: usize,
) -> Result<BTreeMap<String, usize>, Box<dyn std::error::Error>> {
    let _alone = ALONE.lock();
    let device = DeviceChoice::Metal.open()?;
    let zeros = |shape| Tensor::zeros(shape, DType::F32, &Device::Cpu)?.to_device(&device);
    let waveforms = zeros((batch, 1, SAMPLES))?;
    let engine = Engine {
        dtype,
        device: device.clone(),
        kernels,
    };
    let network = load(bundle, &engine)?;
    let masks = zeros((batch, 3, FRAMES))?;
    take_launches();
    network.forward((&waveforms).into(), &mut NoProbe)?;
    if network.graph(true) != network.graph(false) {
        let input = Input {
            waveforms: &waveforms,
            masks: Some(&masks),
        };
        network.forward(input, &mut NoProbe)?;
    }
    Ok(take_launches())
}

fn embedded() -> Bundle {
    soundalike_weights::segmentation().unwrap()
}

/// What Metal lacks for `bundle`.
fn lacking(name: &str, bundle: &Bundle) -> Vec<String> {
    let mut lacking = Vec::new();
    for kernels in [Kernels::Portable, Kernels::Experimental] {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for batch in [1, 2] {
                let name = format!("{name}, {kernels}, {dtype:?}, batch of {batch}");
                match launches(bundle, kernels, dtype, batch) {
                    Ok(launches) => {
                        let kernels = launches.len();
                        let launches: usize = launches.values().sum();
                        println!("{name}: {launches} launches of {kernels} kernels");
                    }
                    Err(error) => lacking.push(format!("{name}: {error}")),
                }
            }
        }
    }
    lacking
}

#[test]
fn every_operation_of_the_embedded_network_has_a_metal_kernel() {
    let lacking = lacking("segmentation-3.0", &embedded());
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

mod captures {
    use super::*;

    /// The checkpoints of `scripts/capture_suite.sh`: both networks, with all hyperparameters.
    fn checkpoints() -> Vec<PathBuf> {
        let captures = env::var_os("SOUNDALIKE_CAPTURES").map(PathBuf::from);
        let captures = captures.expect("SOUNDALIKE_CAPTURES");
        let files = |folder: &str| {
            let entries = fs::read_dir(captures.join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().path())
        };
        let mut found: Vec<_> = files("variants").chain(files("wespeaker")).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "ckpt"));
        found.sort();
        assert!(!found.is_empty(), "no checkpoints in {captures:?}");
        found
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn every_operation_of_both_networks_has_a_metal_kernel() {
        let mut found = Vec::new();
        for path in checkpoints() {
            let bundle = soundalike_convert::load(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy();
            found.extend(lacking(&name, &bundle));
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Layers of the embedded LSTM.
const LAYERS: usize = 4;
/// What is not a step of it, at most: SincNet, the layers after the LSTM, and what an LSTM does once.
const OTHERS: usize = 300;

/// Asserts that one window, and 32, take less than `allowed` launches, and returns those of the 32.
fn assert_fewer(allowed: usize, kernels: Kernels) -> BTreeMap<String, usize> {
    let of = |batch| launches(&embedded(), kernels, DType::F32, batch).unwrap();
    let (one, many) = (of(1), of(32));
    println!("{kernels}, 32 windows:");
    for (kernel, count) in &many {
        println!("{count:6} {kernel}");
    }
    let [one, all] = [&one, &many].map(|launches| launches.values().sum::<usize>());
    println!("{kernels}: {one} launches for one window, {all} for 32");
    assert!(
        one < allowed && all < allowed,
        "{kernels}: {one} and {all}, expected less than {allowed}"
    );
    many
}

#[test]
fn a_step_of_an_lstm_launches_ten_kernels_for_both_directions_and_all_windows() {
    assert_fewer(10 * FRAMES * LAYERS + OTHERS, Kernels::Portable);
}

#[test]
fn the_experimental_kernel_is_launched_once_for_a_layer_however_many_frames_and_windows() {
    let launches = assert_fewer(OTHERS, Kernels::Experimental);
    let of_lstm = launches
        .iter()
        .filter(|(kernel, _)| kernel.starts_with("lstm"));
    assert_eq!(of_lstm.map(|(_, count)| count).sum::<usize>(), LAYERS);
}

#[test]
fn a_kernel_that_is_not_in_the_source_is_not_found() {
    let source = r#"
        #include <metal_stdlib>
        #define NAMED(name) template [[host_name("kernel_" #name)]] [[kernel]] decltype(f<name>) f<name>;
        NAMED(half)
        kernel void plain(device float *x [[buffer(0)]]) {}
    "#;
    let device = MTLCreateSystemDefaultDevice().unwrap();
    let library = device.newLibraryWithSource_options_error(&NSString::from_str(source), None);
    let library = library.unwrap();
    let found = ["kernel_half", "plain", "kernel_float", "f"];
    let found = found.map(|name| {
        library
            .newFunctionWithName(&NSString::from_str(name))
            .is_some()
    });
    assert_eq!(found, [true, true, false, false]);
}
