//! Times the metrics on two long annotations, and writes these for the official scorer:
//!
//! ```text
//! cargo run --release -p soundalike-metrics --example speed -- FOLDER
//! python reference/metrics.py --time FOLDER/reference.rttm FOLDER/hypothesis.rttm
//! ```

#![allow(clippy::print_stdout)]

use std::{fs::File, time::Instant};

use soundalike_metrics::{
    Annotation, Convention, DiarizationErrorRate, Scope, ScoreOptions, Turn, jaccard, rttm,
};

const TURNS: usize = 10_000;
const SPEAKERS: u64 = 50;

/// Reproducible numbers between 0 and 1 (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A turn starts every second on average and lasts two and a half.
fn side(seed: u64) -> Annotation {
    let mut draw = Draw(seed);
    let milliseconds = |x: f64| (x * 1000.0).round() / 1000.0;
    let mut start = 0.0;
    Annotation::from_turns(
        "speed",
        (0..TURNS).map(|_| {
            start = milliseconds(start + 2.0 * draw.next());
            let end = milliseconds(start + 0.2 + 4.6 * draw.next());
            Turn::new(
                start,
                end,
                format!("speaker{}", (draw.next() * SPEAKERS as f64) as u64),
            )
        }),
    )
}

/// Median of 11 runs, in milliseconds.
fn time<T>(what: &str, mut run: impl FnMut() -> T) {
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let begin = Instant::now();
            std::hint::black_box(run());
            begin.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:8.2} ms  {what}", times[times.len() / 2]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (reference, hypothesis) = (side(1), side(2));
    if let Some(folder) = std::env::args_os().nth(1) {
        let folder = std::path::Path::new(&folder);
        rttm::write(&reference, File::create(folder.join("reference.rttm"))?)?;
        rttm::write(&hypothesis, File::create(folder.join("hypothesis.rttm"))?)?;
    }
    println!("{TURNS} turns against {TURNS}, {SPEAKERS} speakers, median of 11 runs");
    let der = DiarizationErrorRate::default();
    time("DER", || der.components(&reference, &hypothesis, None));
    let collar = DiarizationErrorRate {
        collar: 0.5,
        skip_overlap: true,
        ..der
    };
    time("DER, collar 0.5, without overlap", || {
        collar.components(&reference, &hypothesis, None)
    });
    time("JER", || {
        jaccard(Scope::default(), &reference, &hypothesis, None)
    });
    for convention in Convention::ALL {
        time(convention.name(), || {
            convention.score(ScoreOptions::default(), &reference, &hypothesis, None)
        });
    }
    println!(
        "DER {}",
        der.components(&reference, &hypothesis, None).rate()
    );
    Ok(())
}
