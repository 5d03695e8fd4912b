//! A second reading of a checkpoint, by the official packages, against ours.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use soundalike_compare::{Audit, Reading, hyperparameters};
use soundalike_convert::{Bundle, SourceFormat, input_files, sha256};
use soundalike_network::{Op, Stage};
use soundalike_report::comparison::wrong_tensor;

use super::python::Python;

/// The program that reads the checkpoint.
const SCRIPT: &str = include_str!("official.py");
/// The files that it writes.
const TENSORS: &str = "tensors.safetensors";
const READING: &str = "reading.json";

/// `reading.json`.
#[derive(Deserialize)]
struct Found {
    /// Hyperparameters and specifications by their paths.
    values: BTreeMap<String, Value>,
    /// Settings of layers by their paths; none without pyannote.audio.
    layers: BTreeMap<String, Value>,
    versions: BTreeMap<String, String>,
}

/// The network of `ours` with the tensors that `torch.load` reads from its checkpoint in `model`, a file or a pipeline
/// directory.
///
/// # Errors
/// If a tensor or a value differs from ours: all are named.
pub(super) fn read(model: Option<&Path>, ours: &Bundle) -> anyhow::Result<(Bundle, Reading)> {
    let file = checkpoint(model, ours)?;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let arguments = [file.as_path(), directory.path()];
    let python = Python::from_environment();
    let run = python.run(SCRIPT, &arguments, directory.path());
    run.with_context(|| file.display().to_string())?;
    let written = |name: &str| {
        let bytes = fs::read(directory.path().join(name));
        bytes.with_context(|| {
            format!(
                "{}: Python ended without a reading of it; does SOUNDALIKE_PYTHON name a Python interpreter?",
                file.display()
            )
        })
    };
    let found = serde_json::from_slice(&written(READING)?)
        .with_context(|| format!("{}: Python's reading of it is unreadable", file.display()))?;
    let tensors = written(TENSORS)?;
    let theirs = ours.with_tensors(&tensors, &format!("{}, read by torch.load", file.display()))?;
    let reading = compare(ours, &theirs, found)
        .with_context(|| format!("{}: torch.load reads it otherwise", file.display()))?;
    Ok((theirs, reading))
}

/// The file that `ours` was converted from.
fn checkpoint(model: Option<&Path>, ours: &Bundle) -> anyhow::Result<PathBuf> {
    let advice =
        "give the checkpoint of a network, or a pipeline directory that has one, with --model";
    let Some(model) = model else {
        bail!("--reference official reads a PyTorch checkpoint; {advice}");
    };
    let source = ours.source();
    let same = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        sha256([bytes.as_slice()]) == source.sha256
    };
    let of_pytorch = matches!(
        source.format,
        SourceFormat::PytorchZip | SourceFormat::PytorchLegacy
    );
    let mut files = input_files(model).into_iter();
    let file = files.find(|file| of_pytorch && same(file));
    file.with_context(|| {
        format!(
            "{}: --reference official reads a PyTorch checkpoint, and this is none; {advice}",
            model.display()
        )
    })
}

/// Compares both readings of a checkpoint.
fn compare(ours: &Bundle, theirs: &Bundle, found: Found) -> anyhow::Result<Reading> {
    let mut expected = hyperparameters(ours);
    if !found.layers.is_empty() {
        expected.extend(layers(ours));
    }
    let mut values = found.values;
    values.extend(found.layers);
    let mut wrong = wrong_tensors(ours, theirs);
    for (name, theirs) in &values {
        let ours = expected.get(name).unwrap_or(&Value::Null);
        if !same(ours, theirs) {
            wrong.push(format!("{name} is {ours}, expected {theirs}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    let unchecked = expected.into_keys();
    Ok(Reading {
        versions: found.versions,
        tensors: theirs.tensors().count(),
        values: values.len(),
        unchecked: unchecked
            .filter(|name| !values.contains_key(name))
            .collect(),
    })
}

/// What is wrong with our tensors.
fn wrong_tensors(ours: &Bundle, theirs: &Bundle) -> Vec<String> {
    let dtypes = theirs.tensors().filter_map(|tensor| {
        let found = ours.tensor(tensor.name)?.dtype;
        let [found, expected] = [found, tensor.dtype].map(|dtype| dtype.name());
        (found != expected).then(|| format!("{} is {found}, expected {expected}", tensor.name))
    });
    let mut wrong: Vec<_> = dtypes.collect();
    if let Some(differences) = Audit::new(theirs, Some(ours)).candidate {
        wrong.extend(differences.differing.iter().map(wrong_tensor));
        wrong.extend(
            differences
                .missing
                .iter()
                .map(|name| format!("{name} is missing")),
        );
        let unexpected = differences.unexpected.iter();
        wrong.extend(unexpected.map(|name| format!("{name} is not in the checkpoint")));
    }
    wrong
}

/// Whether two values are equal; 10 is equal to 10.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

/// What the layers of a network compute with, besides its tensors, under PyTorch's names: `resnet.bn1.eps`.
fn layers(bundle: &Bundle) -> BTreeMap<String, Value> {
    let graph = bundle.architecture().graph(false);
    let stages = graph.iter().flat_map(|graph| graph.stages());
    let settings = |stage: &Stage| {
        let name = stage.name.clone();
        let named = settings(&stage.op).into_iter();
        named.map(move |(setting, value)| (format!("{name}.{setting}"), value))
    };
    stages.flat_map(settings).collect()
}

fn settings(op: &Op) -> Vec<(&'static str, Value)> {
    let window = |kernel: usize, stride: usize, padding: usize| {
        vec![
            ("kernel_size", json!(kernel)),
            ("stride", json!(stride)),
            ("padding", json!(padding)),
        ]
    };
    match *op {
        Op::InstanceNorm { eps, .. } | Op::BatchNorm { eps, .. } => vec![("eps", json!(eps))],
        Op::Conv1d { kernel, stride, .. } => window(kernel, stride, 0),
        Op::MaxPool { size } => window(size, size, 0),
        Op::Conv2d {
            kernel,
            stride,
            padding,
            ..
        } => window(kernel, stride, padding),
        _ => Vec::new(),
    }
}
