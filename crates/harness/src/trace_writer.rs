//! Traces of our own making, in the layout that `reference/README.md` describes.

use std::io::{Seek, Write};

use ndarray::{Array1, ArrayD};
use ndarray_npy::{NpzWriter, WriteNpzError};
use serde_json::{Value, json};
use soundalike_convert::Bundle;
use soundalike_model::{DType, Probe, Tensor, TensorError};

use crate::{
    CompareError, EngineInfo, Floors, Network, Reference, Stage, Window, layout, trace::SCHEMA,
};

/// Why a trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceWriteError {
    /// The file cannot be written.
    #[error("the trace cannot be written")]
    Write(#[from] WriteNpzError),
    /// The engine failed.
    #[error("the engine failed: {message}")]
    Engine {
        /// The first line of what candle said; the rest is its stack.
        message: String,
    },
    /// The reference failed.
    #[error(transparent)]
    Reference(#[from] CompareError),
}

impl From<TensorError> for TraceWriteError {
    fn from(error: TensorError) -> Self {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().to_owned();
        Self::Engine { message }
    }
}

/// What a trace is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The weights.
    pub bundle: &'a Bundle,
    /// What the network hears.
    pub window: &'a Window,
    /// SHA-256 of the file that the window is from.
    pub audio_sha256: &'a str,
}

/// Writes what `network`, run by `engine`, computes when it feeds itself: every stage as soon as it is known, as
/// f32. Read back, it is a candidate.
///
/// # Errors
/// [`TraceWriteError`] where the network fails or the file cannot be written.
pub fn write_activations<W: Write + Seek>(
    writer: W,
    network: &Network,
    subject: Subject<'_>,
    engine: &EngineInfo,
) -> Result<W, TraceWriteError> {
    let mut recorder = StageWriter {
        npz: begin(writer, subject.window)?,
        shapes: Vec::new(),
        failure: None,
    };
    let run = network.forward(subject.window, &mut recorder);
    if let Some(failure) = recorder.failure {
        return Err(failure.into());
    }
    run?;
    let names: Vec<_> = recorder
        .shapes
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let shapes = recorder.shapes.iter();
    let stages: Vec<_> = shapes
        .map(|(name, shape)| layout::stage(name, shape, &names))
        .collect();
    let manifest = manifest(subject, engine, json!(engine.dtype), &stages);
    end(recorder.npz, &manifest)
}

/// Writes what `reference` computes: every golden stage with its six floors, as soon as it is known. Read back, it
/// is a reference, and as a candidate it is exact.
///
/// # Errors
/// [`TraceWriteError`] where the reference fails or the file cannot be written.
pub fn write_reference<W: Write + Seek>(
    writer: W,
    reference: &mut dyn Reference,
    subject: Subject<'_>,
) -> Result<W, TraceWriteError> {
    let mut npz = begin(writer, subject.window)?;
    let (mut stages, mut rounded, mut failure) = (Vec::new(), None, None);
    let run = reference.run(subject.window, &mut |shown| {
        let name = &shown.stage.name;
        let mut write = || {
            npz.add_array(name.as_str(), shown.golden.as_ref())?;
            add_floors(&mut npz, "free", name, &shown.free)?;
            add_floors(&mut npz, "forced", name, &shown.forced)
        };
        if let Err(error) = write() {
            let message = CompareError::from(TensorError::msg(&error));
            failure = Some(error);
            return Err(message);
        }
        stages.push(shown.stage.clone());
        rounded.clone_from(&shown.rounded);
        Ok(true)
    });
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    run?;
    if let (Some(last), Some(rounded)) = (stages.last(), rounded) {
        npz.add_array(format!("f32/{}", last.name), &rounded.mapv(|x| x as f32))?;
    }
    let dtype = json!({ "golden": "f64", "reference": "f32" });
    let manifest = manifest(subject, &reference.engine(), dtype, &stages);
    end(npz, &manifest)
}

/// An archive with what the network hears.
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

/// The manifest is the last entry: only now is it known which stages there are.
fn end<W: Write + Seek>(mut npz: NpzWriter<W>, manifest: &Value) -> Result<W, TraceWriteError> {
    npz.add_array("manifest", &Array1::from(manifest.to_string().into_bytes()))?;
    Ok(npz.finish()?)
}

fn manifest(subject: Subject<'_>, engine: &EngineInfo, dtype: Value, stages: &[Stage]) -> Value {
    let Subject { bundle, window, .. } = subject;
    let source = bundle.source();
    json!({
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
    })
}

/// Writes every stage and keeps none.
struct StageWriter<W: Write + Seek> {
    npz: NpzWriter<W>,
    shapes: Vec<(String, Vec<usize>)>,
    /// What is wrong with the file, where something is: a probe can only fail as tensors do.
    failure: Option<WriteNpzError>,
}

impl<W: Write + Seek> Probe for StageWriter<W> {
    fn see(&mut self, name: &str, value: Tensor) -> soundalike_model::Result<Tensor> {
        let values = value
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let array = ArrayD::from_shape_vec(value.dims(), values).map_err(TensorError::wrap)?;
        if let Err(error) = self.npz.add_array(name, &array) {
            let message = TensorError::msg(&error);
            self.failure = Some(error);
            return Err(message);
        }
        self.shapes.push((name.to_owned(), value.dims().to_vec()));
        Ok(value)
    }
}
