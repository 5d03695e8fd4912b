//! Who speaks when in a recording, with the embedded model or with a pipeline directory of pyannote.
//!
//!     cargo run --release --example diarize -- tests/data/sample.wav [speaker-diarization-community-1/]

#![allow(clippy::print_stdout, reason = "the result of an example")]

use std::{env, error::Error, path::PathBuf};

use soundalike::{DiarizeOptions, Diarizer, Engine, Overrides, PipelineDirectory, Recording};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let audio = arguments.next().ok_or("give a recording")?;
    let (overrides, engine) = (Overrides::default(), Engine::default());
    let diarizer = match arguments.next() {
        Some(directory) => {
            Diarizer::from_pipeline(&PipelineDirectory::read(&directory)?, &overrides, &engine)?
        }
        None => Diarizer::built_in(&soundalike::segmentation()?, &overrides, &engine)?,
    };
    let mut recording = Recording::open(&audio, diarizer.sample_rate())?;
    let result = diarizer.diarize(
        "sample",
        &mut recording,
        &DiarizeOptions::default(),
        &mut |_| {},
    )?;
    for turn in result.turns.turns() {
        let (start, end) = (turn.segment.start, turn.segment.end);
        println!("{start:.2} {end:.2} {}", turn.speaker);
    }
    Ok(())
}
