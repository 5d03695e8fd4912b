//! `soundalike convert`: converts a checkpoint to a bundle.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use globset::Glob;
use indicatif::HumanBytes;
use serde::Serialize;
use soundalike_convert::{
    Bundle, CastReport, Change, Conversion, Integers, ModelRole, ParameterCounts,
    PipelineDirectory, Source, SourceFormat, TensorInfo, WeightType,
};
use soundalike_network::{Architecture, Specifications};

use super::{named_model, precision};
use crate::{
    output::{self, Inputs, Outputs},
    tensor_table,
    terminal::Terminal,
};

/// Convert a checkpoint to a bundle: one safetensors file with everything that the network needs
///
/// Reads PyTorch and Lightning checkpoints, ONNX exports of PyanNet and of WeSpeaker's ResNets, the same weights in files
/// of other projects (state dicts, .npz, safetensors), a directory with the PLDA of VBx (plda.npz and xvec_transform.npz),
/// and whole pyannote pipeline directories (config.yaml). No code in the checkpoint is run. The same checkpoint always
/// gives the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint file, or the directory of a PLDA or a pipeline
    checkpoint: PathBuf,
    /// Write this bundle file, or this directory for a pipeline [default: the name of CHECKPOINT with
    /// .safetensors (.bundle for a pipeline), in the current directory]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Store weights in this type, rounded to nearest, ties to even [default: unchanged]
    #[arg(long, value_enum)]
    dtype: Option<Stored>,
    /// Leave the weights with these names as they are: `sincnet.*`, `*.bias` (repeatable)
    #[arg(long, value_name = "PATTERN", requires = "dtype")]
    keep: Vec<Glob>,
    /// Format of the printed summary
    #[arg(long, value_enum, default_value_t)]
    format: super::Format,
}

/// The type as which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stored {
    F32,
    F16,
    Bf16,
    /// 8 bits, one scale for each output
    Int8,
    /// 4 bits, one scale for 32 inputs of an output
    Int4,
}

impl From<Stored> for WeightType {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::F32 => Self::F32,
            Stored::F16 => Self::F16,
            Stored::Bf16 => Self::BF16,
            Stored::Int8 => Self::Integers(Integers::Int8),
            Stored::Int4 => Self::Integers(Integers::Int4),
        }
    }
}

/// What `--dtype` and `--keep` ask for.
#[derive(Clone, Copy)]
struct Cast<'a> {
    to: WeightType,
    keep: &'a [Glob],
}

impl Cast<'_> {
    /// Refuses a pattern that keeps nothing.
    fn check<'a>(self, bundles: impl IntoIterator<Item = &'a Bundle>) -> anyhow::Result<()> {
        let bundles: Vec<_> = bundles.into_iter().collect();
        for pattern in self.keep {
            let matcher = pattern.compile_matcher();
            let mut tensors = bundles.iter().flat_map(|bundle| bundle.tensors());
            ensure!(
                tensors.any(|tensor| matcher.is_match(tensor.name)),
                "--keep {pattern}: no tensor has such a name; `soundalike inspect` lists them"
            );
        }
        Ok(())
    }

    fn keeps(self, name: &str) -> bool {
        let mut patterns = self.keep.iter();
        patterns.any(|pattern| pattern.compile_matcher().is_match(name))
    }
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
    let cast = args.dtype.map(|to| Cast {
        to: to.into(),
        keep: &args.keep,
    });
    let mut outputs = Outputs::new(Inputs::default().models([path], "checkpoint"));
    let converted = if soundalike_convert::is_pipeline(path) {
        let destination = destination(args, "bundle")?;
        for file in PipelineDirectory::FILES {
            outputs.open_in(&destination, file, "-o")?;
        }
        pipeline(path, &destination, cast)?
    } else {
        let destination = destination(args, "safetensors")?;
        // A bundle is read back after writing.
        outputs.open_file(&destination, "-o")?;
        let mut conversion = soundalike_convert::convert(path)?;
        let mut report = None;
        if let Some(cast) = cast {
            cast.check([&conversion.bundle])?;
            let (bundle, of) = conversion.bundle.cast(cast.to, |name| cast.keeps(name))?;
            (conversion.bundle, report) = (bundle, Some(of));
        }
        conversion.bundle.save(&destination)?;
        vec![Converted::new(&conversion, destination, report)]
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
            let texts: anyhow::Result<Vec<_>> = converted.iter().map(Converted::render).collect();
            texts?.join("\n")
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
    cast: Option<Cast<'_>>,
) -> anyhow::Result<Vec<Converted>> {
    let pipeline = named_model::read(path, None)?;
    let (pipeline, casts) = match cast {
        None => (pipeline, Vec::new()),
        Some(cast) => {
            cast.check(
                ModelRole::ALL
                    .into_iter()
                    .filter_map(|part| pipeline.model(part)),
            )?;
            pipeline.cast(cast.to, |name| cast.keeps(name))?
        }
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

    fn render(&self) -> anyhow::Result<String> {
        let mut lines = vec![
            tensor_table::table(&self.tensors),
            String::new(),
            tensor_table::totals(&self.counts),
            tensor_table::network(&self.architecture, self.specifications.as_ref()),
        ];
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if let Some(cast) = &self.cast {
            lines.extend(lost(cast)?);
        }
        let Source { file, sha256, .. } = &self.source;
        if self.source.format != SourceFormat::Bundle {
            lines.push(format!("from  {file} (SHA-256 {sha256})"));
        }
        let (bundle, sha256) = (self.bundle.display(), &self.sha256);
        lines.push(format!("wrote {bundle} (SHA-256 {sha256})"));
        Ok(lines.join("\n") + "\n")
    }
}

/// Largest losses that are listed.
const LISTED: usize = 3;

/// What a conversion to another type changed.
fn lost(cast: &CastReport) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![format!(
        "{}: {} in place of {}; {} of {} values rounded, {} of them to 0, {} subnormal, none overflowed; {} tensors kept as they were",
        cast.dtype,
        HumanBytes(cast.bytes_after as u64),
        HumanBytes(cast.bytes_before as u64),
        cast.rounded,
        cast.values,
        cast.underflowed,
        cast.subnormal,
        cast.kept.len()
    )];
    let most: Vec<_> = cast.changes.iter().take(LISTED).map(change).collect();
    if cast.rounded > 0 {
        lines.push(format!(
            "changed most (error / value, RMS): {}",
            most.join(", ")
        ));
    }
    lines.extend(precision::stored_cost(cast.dtype)?);
    Ok(lines)
}

fn change(change: &Change) -> String {
    format!("{} {:.2} %", change.tensor, 100.0 * change.relative)
}
