//! The diarization error rate of a hypothesis, as pyannote.metrics computes it.
//!
//!     cargo run --release --example score -- reference.rttm hypothesis.rttm

#![allow(clippy::print_stdout, reason = "the result of an example")]

use std::{env, error::Error, path::Path};

use soundalike::score::{Convention, ScoreOptions, ScoreReport, pair, rttm};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [reference, hypothesis] = &arguments[..] else {
        return Err("give a reference and a hypothesis, both RTTM".into());
    };
    let read = |path: &str| rttm::read(Path::new(path));
    let (recordings, notes) = pair(read(reference)?, read(hypothesis)?, None)?;
    let report = ScoreReport::new(
        Convention::Pyannote,
        ScoreOptions::default(),
        &recordings,
        notes,
    );
    match report.pooled.der {
        Some(der) => println!("DER {:.2} %", 100.0 * der),
        None => println!("no speech in the reference"),
    }
    Ok(())
}
