//! `soundalike convert`: converts a checkpoint to a bundle.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use soundalike_convert::{
    Bundle, CastReport, Conversion, Dtype, ModelRole, ParameterCounts, PipelineDirectory, Source,
    SourceFormat, TensorInfo,
};
use soundalike_network::{Architecture, Specifications};

use super::precision::Precision;
use crate::{
    output::{self, Inputs, Outputs},
    tensor_table,
    terminal::Terminal,
};

/// Convert a checkpoint to a bundle: one safetensors file with everything that the network needs
///
/// Reads PyTorch and Lightning checkpoints, ONNX exports of PyanNet, a directory with the PLDA of VBx (plda.npz and
/// xvec_transform.npz), and whole pyannote pipeline directories (config.yaml). No code in the checkpoint is run.
/// The same checkpoint always gives the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint file, or the directory of a PLDA or a pipeline
    checkpoint: PathBuf,
    /// Write this bundle file, or this directory for a pipeline [default: the name of CHECKPOINT with
    /// .safetensors (.bundle for a pipeline), in the current directory]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Store weights in this precision, rounded to nearest, ties to even [default: unchanged]
    #[arg(long, value_enum)]
    dtype: Option<Precision>,
    /// Format of the printed summary
    #[arg(long, value_enum, default_value_t)]
    format: super::Format,
}

/// A bundle that was written.
#[derive(Serialize)]
struct Converted {
    bundle: PathBuf,
    sha256: String,
    source: Source,
    architecture: Architecture,
    specifications: Option<Specifications>,
    counts: ParameterCounts,
    cast: Option<CastReport>,
    notes: Vec<String>,
    foreign_globals: Vec<String>,
    tensors: Vec<TensorInfo>,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let path = &args.checkpoint;
    let dtype = args.dtype.map(Dtype::from);
    let mut outputs = Outputs::new(Inputs::default().models([path], "checkpoint"));
    let converted = if soundalike_convert::is_pipeline(path) {
        let destination = destination(args, "bundle")?;
        for file in PipelineDirectory::FILES {
            outputs.open_in(&destination, file, "-o")?;
        }
        pipeline(path, &destination, dtype)?
    } else {
        let destination = destination(args, "safetensors")?;
        // A bundle is read back after writing.
        outputs.open_file(&destination, "-o")?;
        let mut conversion = soundalike_convert::convert(path)?;
        let mut cast = None;
        if let Some(dtype) = dtype {
            let (bundle, report) = conversion.bundle.cast(dtype)?;
            (conversion.bundle, cast) = (bundle, Some(report));
        }
        conversion.bundle.save(&destination)?;
        vec![Converted::new(&conversion, destination, cast)]
    };
    for converted in &converted {
        if !converted.foreign_globals.is_empty() {
            terminal.warn(&format!(
                "{} names {}; none of it was run",
                converted.source.file,
                converted.foreign_globals.join(", ")
            ));
        }
    }
    let text = match args.format {
        super::Format::Json => serde_json::to_string_pretty(&converted)? + "\n",
        super::Format::Table => {
            let texts: Vec<_> = converted.iter().map(Converted::render).collect();
            texts.join("\n")
        }
    };
    output::to_stdout(text.as_bytes())
}

/// The path of the result.
fn destination(args: &Args, extension: &str) -> anyhow::Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    // `.` and `..` have no name of their own.
    let checkpoint = &args.checkpoint;
    let path = checkpoint.canonicalize();
    let path = path.unwrap_or_else(|_| checkpoint.clone());
    let name = path.file_name();
    let name =
        name.with_context(|| format!("{}: has no name; give one with -o", path.display()))?;
    // A directory has no extension: a dot in its name precedes a version.
    let mut name = match path.file_stem() {
        Some(stem) if !path.is_dir() => stem.to_owned(),
        _ => name.to_owned(),
    };
    name.push(".");
    name.push(extension);
    Ok(name.into())
}

/// Converts a pipeline directory.
fn pipeline(
    path: &Path,
    destination: &Path,
    dtype: Option<Dtype>,
) -> anyhow::Result<Vec<Converted>> {
    let pipeline = PipelineDirectory::read(path)?;
    let (pipeline, casts) = match dtype {
        None => (pipeline, Vec::new()),
        Some(dtype) => pipeline.cast(dtype)?,
    };
    pipeline.save(destination)?;
    let converted = ModelRole::ALL.into_iter().filter_map(|part| {
        let conversion = pipeline.conversion(part)?;
        let cast = casts.iter().find(|(of, _)| *of == part);
        let cast = cast.map(|(_, cast)| cast.clone());
        let bundle = destination.join(part.file());
        Some(Converted::new(conversion, bundle, cast))
    });
    Ok(converted.collect())
}

impl Converted {
    fn new(conversion: &Conversion, bundle: PathBuf, cast: Option<CastReport>) -> Self {
        let of: &Bundle = &conversion.bundle;
        let tensors = conversion.tensors();
        Self {
            bundle,
            sha256: of.sha256().to_owned(),
            source: of.source().clone(),
            architecture: of.architecture().clone(),
            specifications: of.specifications().cloned(),
            counts: ParameterCounts::of(&tensors),
            cast,
            notes: of.notes().to_vec(),
            foreign_globals: conversion.foreign_globals.clone(),
            tensors,
        }
    }

    fn render(&self) -> String {
        let mut lines = vec![
            tensor_table::table(&self.tensors),
            String::new(),
            tensor_table::totals(&self.counts),
            tensor_table::network(&self.architecture, self.specifications.as_ref()),
        ];
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if let Some(cast) = &self.cast {
            lines.push(format!(
                "{}: {} of {} values rounded, {} of them to 0, {} subnormal, none overflowed; {} tensors kept as they were",
                cast.dtype.name(),
                cast.rounded,
                cast.values,
                cast.underflowed,
                cast.subnormal,
                cast.kept.len()
            ));
        }
        let Source { file, sha256, .. } = &self.source;
        if self.source.format != SourceFormat::Bundle {
            lines.push(format!("from  {file} (SHA-256 {sha256})"));
        }
        let (bundle, sha256) = (self.bundle.display(), &self.sha256);
        lines.push(format!("wrote {bundle} (SHA-256 {sha256})"));
        lines.join("\n") + "\n"
    }
}
