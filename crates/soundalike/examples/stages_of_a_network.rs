//! What a network is, as data: its stages with their operations and shapes, without running it.
//!
//!     cargo run --release --example stages_of_a_network [-- model.safetensors]

#![allow(clippy::print_stdout, reason = "the result of an example")]

use std::{env, error::Error, path::PathBuf};

use soundalike::network::InputShapes;

fn main() -> Result<(), Box<dyn Error>> {
    let bundle = match env::args_os().nth(1).map(PathBuf::from) {
        Some(path) => soundalike::load(&path)?,
        None => soundalike::segmentation()?,
    };
    let graph = bundle.architecture().graph(false).ok_or("not a network")?;
    let ten_seconds = InputShapes {
        batch: 1,
        samples: 160_000,
        masks: None,
    };
    let shapes = graph.shapes(ten_seconds).ok_or("too few samples")?;
    for (stage, shape) in graph.stages().iter().zip(shapes) {
        println!("{:32} {shape:?} {:?}", stage.name, stage.op);
    }
    Ok(())
}
