//! Writes traces in the layout that `reference/README.md` describes.

use std::io::{Seek, Write};

use ndarray::Array1;
use ndarray_npy::{NpzWriter, WriteNpzError};
use serde_json::{Value, json};
use soundalike_convert::Bundle;

use crate::{
    CompareError, Engine, EngineError, EngineInfo, Floors, Reference, Window,
    manifest::{SCHEMA, Shapes, StageEntry, entries},
};

/// Why a trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceWriteError {
    /// The file cannot be written.
    #[error("the trace cannot be written")]
    Write(#[from] WriteNpzError),
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[source] EngineError),
    /// The reference failed.
    #[error(transparent)]
    Reference(#[from] CompareError),
}

/// The model and input of a trace.
#[derive(Debug, Clone, Copy)]
pub struct TraceSubject<'a> {
    /// The weights.
    pub bundle: &'a Bundle,
    /// The input.
    pub window: &'a Window,
    /// SHA-256 of the audio file of the window.
    pub audio_sha256: &'a str,
}

/// Writes the outputs of `engine`, free-running, as f32, each stage as soon as it is computed. `info` describes the engine. The
/// trace can be a candidate.
///
/// # Errors
/// [`TraceWriteError`] if the engine or the writer fails.
pub fn write_activations<W: Write + Seek>(
    writer: W,
    engine: &dyn Engine,
    subject: TraceSubject<'_>,
    info: &EngineInfo,
) -> Result<W, TraceWriteError> {
    let window = subject.window;
    let mut npz = begin(writer, window)?;
    let (mut shapes, mut failure) = (Shapes::new(), None);
    let run = engine.run(window, &mut |name, value| {
        if let Err(error) = npz.add_array(name, &value.mapv(|x| x as f32)) {
            failure = Some(error);
            return Err(UNWRITABLE.into());
        }
        shapes.insert(name.to_owned(), (value.shape().to_vec(), false));
        Ok(None)
    });
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    run.map_err(TraceWriteError::Engine)?;
    let stages = entries(&engine.graph(window.masks.is_some()), &shapes);
    end(npz, subject, info, json!(info.dtype), &stages)
}

/// Writes the golden stages of `reference` with their floors, each as soon as it is computed. The trace can be a reference, or
/// an exact candidate.
///
/// # Errors
/// [`TraceWriteError`] if the reference or the writer fails.
pub fn write_reference<W: Write + Seek>(
    writer: W,
    reference: &mut dyn Reference,
    subject: TraceSubject<'_>,
) -> Result<W, TraceWriteError> {
    let mut npz = begin(writer, subject.window)?;
    let graph = reference.graph(subject.window)?;
    let (mut shapes, mut failure) = (Shapes::new(), None);
    let mut rounded = None;
    let run = reference.run(subject.window, &mut |shown| {
        let name = &shown.stage.name;
        let mut write = || {
            npz.add_array(name.as_str(), shown.golden.as_ref())?;
            add_floors(&mut npz, "free", name, &shown.free)?;
            add_floors(&mut npz, "forced", name, &shown.forced)
        };
        if let Err(error) = write() {
            failure = Some(error);
            return Err(CompareError::Reference(UNWRITABLE.into()));
        }
        let shape = shown.golden.shape().to_vec();
        shapes.insert(name.clone(), (shape, shown.degenerate));
        rounded.clone_from(&shown.rounded);
        Ok(true)
    });
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    run?;
    if let (Some(last), Some(rounded)) = (graph.output(), rounded) {
        npz.add_array(format!("f32/{}", last.name), &rounded.mapv(|x| x as f32))?;
    }
    let dtype = json!({ "golden": "f64", "reference": "f32" });
    let stages = entries(&graph, &shapes);
    end(npz, subject, &reference.engine(), dtype, &stages)
}

/// Ends a run whose stage could not be written.
const UNWRITABLE: &str = "the file cannot be written";

/// An archive with the input.
fn begin<W: Write + Seek>(writer: W, window: &Window) -> Result<NpzWriter<W>, WriteNpzError> {
    let mut npz = NpzWriter::new(writer);
    npz.add_array("waveform", &window.waveform)?;
    if let Some(masks) = &window.masks {
        npz.add_array("masks", &masks.values)?;
    }
    Ok(npz)
}

fn add_floors<W: Write + Seek>(
    npz: &mut NpzWriter<W>,
    running: &str,
    name: &str,
    floors: &Floors,
) -> Result<(), WriteNpzError> {
    npz.add_array(
        format!("floor.{running}/{name}"),
        &Array1::from_elem(1, floors.whole),
    )?;
    npz.add_array(format!("floor.{running}.channel/{name}"), &floors.channel)?;
    if let Some(frame) = &floors.frame {
        npz.add_array(format!("floor.{running}.frame/{name}"), frame)?;
    }
    Ok(())
}

/// Writes the manifest, which is the last entry because it lists the stages.
fn end<W: Write + Seek>(
    mut npz: NpzWriter<W>,
    subject: TraceSubject<'_>,
    engine: &EngineInfo,
    dtype: Value,
    stages: &[StageEntry],
) -> Result<W, TraceWriteError> {
    let TraceSubject { bundle, window, .. } = subject;
    let source = bundle.source();
    let manifest = json!({
        "schema": SCHEMA,
        "engine": engine.engine,
        "device": engine.device,
        "dtype": dtype,
        "model": { "name": source.file, "sha256": source.sha256, "source": null },
        "audio": {
            "file": window.uri,
            "start": window.start,
            "duration": window.duration,
            "sha256": subject.audio_sha256,
        },
        "masks": window.masks.as_ref().map(|masks| json!({ "file": masks.name })),
        "network": bundle.architecture(),
        "specifications": bundle.specifications(),
        "versions": engine.versions,
        "cpu": engine.cpu,
        "threads": engine.threads,
        "stages": stages,
    });
    npz.add_array("manifest", &Array1::from(manifest.to_string().into_bytes()))?;
    Ok(npz.finish()?)
}
