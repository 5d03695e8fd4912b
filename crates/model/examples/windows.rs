//! How long the networks take for a window of ten seconds.
//!
//! ```sh
//! cargo run --release -p soundalike-model --example windows -- BUNDLE BATCH
//! ```

#![expect(clippy::print_stdout, reason = "it has nothing else to do")]

use std::time::Instant;

use soundalike_convert::Architecture;
use soundalike_model::{
    DType, Device, InstructionSet, Kernels, PyanNet, Result, Silent, Tensor, WeSpeakerResNet,
};

/// Runs of which the median counts.
const RUNS: usize = 5;
/// Ten seconds.
const SAMPLES: usize = 160_000;
/// Speakers of a window, and frames of the segmentation that says where they are.
const MASKS: (usize, usize) = (3, 589);

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(batch)) = (args.next(), args.next()) else {
        return Err("usage: windows BUNDLE BATCH".into());
    };
    let batch: usize = batch.parse()?;
    let bundle = soundalike_convert::load(path.as_ref())?;
    let waveforms: Vec<f32> = (0..batch * SAMPLES)
        .map(|i| (i as f32 * 0.05).sin() * (i as f32 * 0.0003).sin() * 0.3)
        .collect();
    let waveforms = Tensor::from_vec(waveforms, (batch, 1, SAMPLES), &Device::Cpu)?;
    let masks = Tensor::ones((batch, MASKS.0, MASKS.1), DType::F32, &Device::Cpu)?;
    let native = InstructionSet::all().into_iter().map(Kernels::Native);
    for kernels in native.chain([Kernels::Portable]) {
        let name = format!("{kernels:?}");
        // One value at a time is what the others are tested against, and no way to run.
        if name.contains("scalar") {
            continue;
        }
        let (dtype, device) = (DType::F32, &Device::Cpu);
        if let Architecture::WeSpeakerResNet(_) = bundle.architecture() {
            let network = WeSpeakerResNet::load_with(&bundle, dtype, device, kernels)?;
            time(&format!("{name}: filter bank"), batch, || {
                network.compute_fbank(&waveforms, &mut Silent)
            })?;
            time(&format!("{name}: trunk and filter bank"), batch, || {
                network.forward_frames(&waveforms, &mut Silent)
            })?;
            time(&format!("{name}: embeddings by 3 masks"), batch, || {
                network.forward(&waveforms, Some(&masks), &mut Silent)
            })?;
        } else {
            let network = PyanNet::load_with(&bundle, dtype, device, kernels)?;
            time(&format!("{name}: segmentation"), batch, || {
                network.forward(&waveforms, &mut Silent)
            })?;
        }
    }
    Ok(())
}

/// Prints the median time of `run` for one of `batch` windows.
fn time(what: &str, batch: usize, run: impl Fn() -> Result<Tensor>) -> Result<()> {
    run()?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3 / batch as f64);
        if times.iter().sum::<f64>() * batch as f64 > 2e4 {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{what}: {:.1} ms", times[times.len() / 2]);
    Ok(())
}
