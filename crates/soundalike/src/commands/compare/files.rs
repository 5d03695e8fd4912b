//! What a comparison reads, and where its report goes.

use super::{Args, github};
use crate::output::{Inputs, Output, Outputs};

/// Opens the output. All files that the arguments name are inputs.
pub(super) fn open(args: &Args) -> anyhow::Result<Output> {
    let sides = args.reference.iter().chain([&args.candidate]);
    let traces = sides.filter_map(|side| side.strip_prefix("trace:"));
    let inputs = Inputs::default()
        .files(traces, "one of the traces that are compared")
        .files(&args.recordings.audio, "one of the recordings")
        .files(&args.map, "the map of names itself")
        .files(&args.gate, "the gate itself")
        .models(&args.model, "model")
        .models(&args.candidate_model, "candidate's model");
    let mut outputs = Outputs::new(inputs);
    if args.github
        && let Some(path) = github::summary()
    {
        outputs.appended(&path, github::SUMMARY)?;
    }
    outputs.open(args.output.as_deref(), "-o")
}
