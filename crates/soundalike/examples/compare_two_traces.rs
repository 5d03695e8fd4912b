//! Which stage of a port differs from the original by more than rounding; any network, no model.
//!
//!     cargo run --release --example compare_two_traces -- reference.npz port.npz

#![allow(clippy::print_stdout, reason = "the result of an example")]

use std::{env, error::Error, path::Path};

use soundalike::compare::{
    About, ActivationTrace, Candidate, EngineInfo, Meaning, NameMap, Provenance, Reference,
    ReferenceTrace, compare,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [reference, port] = &arguments[..] else {
        return Err("give a reference trace and the trace of a port".into());
    };
    let mut trace = ReferenceTrace::open(Path::new(reference))?;
    let window = trace.window()?;
    let candidate = ActivationTrace::open(Path::new(port), &NameMap::default())?;
    candidate.check_window(&window)?;
    let about = About {
        model: "a network".to_owned(),
        reference: reference.clone(),
        candidate: port.clone(),
        provenance: Provenance::here(String::new(), trace.engine(), EngineInfo::default()),
    };
    let candidate = Candidate::Activations(Box::new(candidate));
    let report = compare(&mut trace, &candidate, &[window], &Meaning::Unknown, about)?;
    for stage in &report.stages {
        match &stage.free_running {
            Some(error) => println!("{:40} R {:9.2} {:?}", stage.name, error.r, stage.verdict),
            None => println!("{:40} not in the port's trace", stage.name),
        }
    }
    Ok(())
}
