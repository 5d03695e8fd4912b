//! `soundalike recluster`: who spoke when, once more, without listening again.

use std::{path::PathBuf, time::Instant};

use anyhow::Context;
use soundalike_diarize::{Run, SpeakerClustering};

use super::{
    clustering_args::{ClusteringArgs, of_option},
    diarize,
    turns_output::{OutputArgs, Sink},
};
use crate::{
    output::{Inputs, Outputs},
    terminal::Terminal,
};

/// Find the speakers of a saved run anew, without listening again
///
/// RUN is what `diarize --save-run` wrote: who speaks in each window and what they sound like. Other numbers of
/// speakers and other parameters are tried on it in no time. Without any, the turns are those of `diarize`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Saved run
    run: PathBuf,
    #[command(flatten)]
    clustering: ClusteringArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let started = Instant::now();
    let options = args.clustering.options()?;
    let mut outputs = Outputs::new(Inputs::default().files([&args.run], "the run itself"));
    let name = || args.run.display().to_string();
    let run = Run::read(&args.run).with_context(name)?;
    let mut sink = Sink::open(&args.output, &mut outputs, &[run.uri()])?;
    let overrides = args.clustering.overrides();
    let parameters = run.parameters().clone().with(&overrides);
    let run = run
        .with_parameters(parameters.map_err(of_option)?)
        .with_context(name)?;
    let diarization = run.diarize(&options).with_context(name)?;
    diarize::tell(&diarization, &name(), terminal);
    terminal.detail(&format!(
        "{}: {:.1} s of audio, {} speaker(s), after {:.2?}",
        name(),
        diarization.duration,
        diarization.speakers.len(),
        started.elapsed()
    ));
    if let SpeakerClustering::BuiltIn { .. } = diarization.parameters.clustering {
        terminal.note(diarize::BUILT_IN);
    }
    sink.add(&diarization)?;
    sink.finish(1)
}
