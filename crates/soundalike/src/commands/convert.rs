//! `soundalike convert`: a checkpoint becomes a bundle.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;
use soundalike_convert::{
    Bundle, CastReport, Conversion, Counts, Dtype, Format, Part, PipelineDirectory, Source,
    TensorInfo,
};
use soundalike_network::{Architecture, Specifications};

use crate::{
    output::{self, Inputs, Outputs},
    tensor_table,
    terminal::Terminal,
};

/// Convert a checkpoint to a bundle: one safetensors file with everything the network needs
///
/// Reads PyTorch and Lightning checkpoints, ONNX exports of PyanNet, a directory with the PLDA's
/// plda.npz and xvec_transform.npz, and whole pyannote pipeline directories (config.yaml). Nothing in
/// the file is run. The same file always gives the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint file, or directory of a PLDA or a pipeline
    checkpoint: PathBuf,
    /// Bundle file, or directory for a pipeline [default: the name of CHECKPOINT with .safetensors
    /// (.bundle for a pipeline), in the current directory]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Store weights in another precision, rounded to nearest even [default: as they are]
    #[arg(long, value_enum)]
    dtype: Option<WeightDtype>,
    /// How to print what was converted
    #[arg(long, value_enum, default_value_t)]
    format: super::Format,
}

/// Precision of stored weights.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WeightDtype {
    F32,
    F16,
    Bf16,
}

impl From<WeightDtype> for Dtype {
    fn from(dtype: WeightDtype) -> Self {
        match dtype {
            WeightDtype::F32 => Self::F32,
            WeightDtype::F16 => Self::F16,
            WeightDtype::Bf16 => Self::BF16,
        }
    }
}

/// One bundle that was written.
#[derive(Serialize)]
struct Converted {
    bundle: PathBuf,
    sha256: String,
    source: Source,
    architecture: Architecture,
    specifications: Option<Specifications>,
    counts: Counts,
    cast: Option<CastReport>,
    notes: Vec<String>,
    foreign_globals: Vec<String>,
    tensors: Vec<TensorInfo>,
}

/// Runs the command.
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
        let conversion = soundalike_convert::convert(path)?;
        let (conversion, cast) = match dtype {
            None => (conversion, None),
            Some(dtype) => {
                let (bundle, cast) = conversion.bundle.cast(dtype)?;
                (
                    Conversion {
                        bundle,
                        ..conversion
                    },
                    Some(cast),
                )
            }
        };
        conversion.bundle.save(&destination)?;
        vec![Converted::new(&conversion, destination, cast)]
    };
    for converted in &converted {
        if !converted.foreign_globals.is_empty() {
            terminal.warn(&format!(
                "{} mentions {}; nothing of it was run",
                converted.source.file,
                converted.foreign_globals.join(", ")
            ));
        }
    }
    let text = match args.format {
        super::Format::Json => serde_json::to_string_pretty(&converted)? + "\n",
        super::Format::Table => converted
            .iter()
            .map(Converted::render)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    output::to_stdout(text.as_bytes())
}

/// Where the result goes.
fn destination(args: &Args, extension: &str) -> anyhow::Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    // `.` and `..` have no name of their own.
    let path = args
        .checkpoint
        .canonicalize()
        .unwrap_or_else(|_| args.checkpoint.clone());
    let name = path
        .file_name()
        .with_context(|| format!("{}: has no name, give -o", path.display()))?;
    // A directory has no extension: what follows a dot in its name is a version.
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
    let cast = |part| {
        casts
            .iter()
            .find(|(of, _)| *of == part)
            .map(|(_, cast)| cast.clone())
    };
    Ok(Part::ALL
        .into_iter()
        .filter_map(|part| Some((part, pipeline.conversion(part)?)))
        .map(|(part, conversion)| {
            Converted::new(conversion, destination.join(part.file()), cast(part))
        })
        .collect())
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
            counts: Counts::of(&tensors),
            cast,
            notes: of.notes().to_vec(),
            foreign_globals: conversion.foreign_globals.clone(),
            tensors,
        }
    }

    fn render(&self) -> String {
        let mut text = tensor_table::table(&self.tensors);
        let _ = writeln!(text, "\n\n{}", tensor_table::totals(&self.counts));
        let _ = writeln!(
            text,
            "{}",
            tensor_table::network(&self.architecture, self.specifications.as_ref())
        );
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        if let Some(cast) = &self.cast {
            let _ = writeln!(
                text,
                "{}: {} of {} values rounded, {} of them to 0, {} subnormal, none overflowed; {} tensors kept as they were",
                cast.dtype.name(),
                cast.rounded,
                cast.values,
                cast.underflowed,
                cast.subnormal,
                cast.kept.len()
            );
        }
        if self.source.format != Format::Bundle {
            let _ = writeln!(
                text,
                "from  {} (SHA-256 {})",
                self.source.file, self.source.sha256
            );
        }
        let _ = writeln!(
            text,
            "wrote {} (SHA-256 {})",
            self.bundle.display(),
            self.sha256
        );
        text
    }
}
