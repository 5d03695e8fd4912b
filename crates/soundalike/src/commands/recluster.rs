//! `soundalike recluster`: new turns from a saved run, without running the networks.

use std::{path::PathBuf, time::Instant};

use anyhow::Context;
use soundalike_diarize::{Inference, SpeakerClustering};

use super::{
    clustering_args::{ClusteringArgs, option_error},
    diarize, named_model,
    turns_output::{OutputArgs, Sink},
};
use crate::{
    output::{Inputs, Outputs},
    terminal::Terminal,
};

/// Cluster the speakers of a saved run again, without running the networks
///
/// RUN is a file of `diarize --save-run`: the segmentation and the speaker embeddings of each window. Try other
/// numbers of speakers or other parameters on it in seconds. Without options, the turns are those of `diarize`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File of `diarize --save-run`
    run: PathBuf,
    #[command(flatten)]
    clustering: ClusteringArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let started = Instant::now();
    let options = args.clustering.options()?;
    let mut outputs = Outputs::new(Inputs::default().files([&args.run], "run"));
    let name = || args.run.display().to_string();
    let run = Inference::read(&args.run).with_context(name)?;
    let mut sink = Sink::open(&args.output, &mut outputs, &[run.uri()])?;
    let overrides = args.clustering.overrides();
    let parameters = run.parameters().clone().with(&overrides);
    let run = run
        .with_parameters(parameters.map_err(option_error)?)
        .with_context(name)?;
    let diarization = run.diarize(&options).with_context(name)?;
    diarize::warn(&diarization, &name(), terminal);
    terminal.detail(&format!(
        "{}: {:.1} s of audio, {} speaker(s), after {:.2?}",
        name(),
        diarization.duration,
        diarization.speakers.len(),
        started.elapsed()
    ));
    if let SpeakerClustering::BuiltIn { .. } = diarization.parameters.clustering {
        terminal.note(&named_model::note_on_built_in());
    }
    sink.add(&diarization)?;
    sink.finish(1)
}
