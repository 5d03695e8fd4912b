//! How long the convolutions of a WeSpeaker ResNet34 take for ten seconds of audio.
//!
//! ```sh
//! cargo run --release -p soundalike-kernels --example convolutions
//! ```

#![expect(clippy::print_stdout, reason = "it has nothing else to do")]

use std::time::Instant;

use soundalike_kernels::{Conv2d, Images, InstructionSet, Pool};

/// Runs of which the quickest counts.
const RUNS: usize = 25;

fn main() {
    let threads = rayon::current_num_threads();
    println!("GFLOP/s on {threads} threads, as if each multiplication were done");
    for instructions in InstructionSet::all() {
        if instructions.name() == "scalar" {
            continue;
        }
        let peak = instructions.peak(std::time::Duration::from_millis(300));
        println!("{:8} peak {:6.1} GFLOP/s", instructions.name(), peak / 1e9);
        for (inputs, outputs, kernel, stride, height, width) in [
            (1, 32, 3, 1, 80, 998),
            (32, 32, 3, 1, 80, 998),
            (32, 64, 3, 2, 80, 998),
            (32, 64, 1, 2, 80, 998),
            (64, 64, 3, 1, 40, 499),
            (128, 128, 3, 1, 20, 250),
            (256, 256, 3, 1, 10, 125),
        ] {
            let pool = Pool::default();
            let shape = [1, inputs, height, width];
            let pixels: Vec<f32> = (0..shape.iter().product())
                .map(|i: usize| (i as f32 * 0.37).sin())
                .collect();
            let images = Images::from_planes(&pool, shape, &pixels);
            let weight = vec![0.01; outputs * inputs * kernel * kernel];
            let (scale, shift) = (vec![1.0; outputs], vec![0.0; outputs]);
            let shape = [outputs, inputs, kernel];
            let conv = Conv2d::new(instructions, shape, stride, &weight, &scale, &shift);
            let mut best = f64::INFINITY;
            for _ in 0..RUNS {
                let start = Instant::now();
                let out = conv.forward(&images, None, true);
                best = best.min(start.elapsed().as_secs_f64());
                drop(out);
            }
            let sums = outputs * height.div_ceil(stride) * width.div_ceil(stride);
            let operations = 2.0 * (sums * inputs * kernel * kernel) as f64;
            println!(
                "{:8} {inputs:3} to {outputs:3}, {kernel}x{kernel} / {stride}, {height:2} x {width:3}: {:6.2} ms {:6.1} GFLOP/s",
                instructions.name(),
                best * 1e3,
                operations / best / 1e9
            );
        }
    }
}
