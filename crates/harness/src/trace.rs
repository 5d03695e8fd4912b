//! What the reference computed on one window, from an `.npz` of `reference/capture.py`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read, Seek},
    path::{Path, PathBuf},
};

use ndarray::{Array, Array1, ArrayD, Dimension, IxDyn};
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};
use serde::Deserialize;

/// The version of the layout that is understood.
const SCHEMA: u32 = 1;

/// See [`ReferenceTrace::embedded`].
static EMBEDDED: &[u8] = include_bytes!("../../../reference/segmentation-3.0/sample_1s.npz");

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("{}: cannot be read: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no `.npz`.
    #[error("{origin}: is not an .npz: {source}")]
    NotNpz {
        /// Where it came from.
        origin: String,
        /// What the reader said.
        source: ReadNpzError,
    },
    /// An entry is missing, or is not what it should be.
    #[error("{origin}: entry `{entry}`: {source}; capture it again")]
    Entry {
        /// Where the trace came from.
        origin: String,
        /// The entry.
        entry: String,
        /// What the reader said.
        source: ReadNpzError,
    },
    /// The manifest is not the JSON of a trace.
    #[error("{origin}: the manifest is not that of a trace: {source}; capture it again")]
    Manifest {
        /// Where the trace came from.
        origin: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The trace has another layout.
    #[error("{origin}: has schema {found}, expected {SCHEMA}; capture it again")]
    Schema {
        /// Where the trace came from.
        origin: String,
        /// Its schema.
        found: u32,
    },
}

/// What was captured, and how. Keys that nobody here needs are left out.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// What was run.
    pub model: Model,
    /// On what.
    pub audio: Audio,
    /// Stages in order of execution.
    pub stages: Vec<Stage>,
}

/// The model that was captured.
#[derive(Debug, Clone, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// SHA-256 of the file that was captured.
    pub sha256: String,
    /// What that file was made from, where it is a bundle.
    pub source: Option<ModelSource>,
}

/// What a bundle was made from.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelSource {
    /// SHA-256 of the checkpoint or export.
    pub sha256: String,
}

impl Model {
    /// SHA-256 of the checkpoint or export that the weights are from.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source
            .as_ref()
            .map_or(&self.sha256, |source| &source.sha256)
    }
}

/// The window that was captured.
#[derive(Debug, Clone, Deserialize)]
pub struct Audio {
    /// File name.
    pub file: String,
    /// Seconds from the start of the file.
    pub start: f64,
    /// Seconds.
    pub duration: f64,
}

/// One stage of the reference.
#[derive(Debug, Clone, Deserialize)]
pub struct Stage {
    /// Canonical name.
    pub name: String,
    /// Shape of the output.
    pub shape: Vec<usize>,
    /// Axis along which channels (or features) lie.
    pub channel_axis: usize,
    /// Axis along which frames (or samples) lie; none for weights.
    pub frame_axis: Option<usize>,
    /// Stages that stand side by side in this one: the directions of an LSTM layer.
    pub parts: Vec<String>,
    /// Whether the input makes a norm scale up nothing but rounding.
    pub degenerate: bool,
}

/// How a network is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Each stage gets what the one before made: what the user gets.
    Free,
    /// Each stage gets the reference's own input: whose error it is.
    Forced,
}

/// Root mean square error of the f32 reference against the golden.
#[derive(Debug, Clone, PartialEq)]
pub struct Floors {
    /// Of the whole output.
    pub whole: f64,
    /// Of each channel.
    pub channel: Array1<f64>,
    /// Of each frame, where there are frames.
    pub frame: Option<Array1<f64>>,
}

/// The reference's activations on one window.
pub struct ReferenceTrace<R: Read + Seek> {
    origin: String,
    npz: NpzReader<R>,
    manifest: Manifest,
}

impl ReferenceTrace<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`TraceError`] where it is not a trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|source| TraceError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::new(file, &path.display().to_string())
    }
}

impl ReferenceTrace<Cursor<&'static [u8]>> {
    /// The trace that is built in: one second of the project's sample through the embedded segmentation-3.0,
    /// by the official package.
    ///
    /// # Errors
    /// None, unless the build was tampered with.
    pub fn embedded() -> Result<Self, TraceError> {
        Self::new(
            Cursor::new(EMBEDDED),
            "the built-in trace of pyannote.audio",
        )
    }
}

impl<R: Read + Seek> ReferenceTrace<R> {
    /// Reads a trace; `origin` names it in errors.
    ///
    /// # Errors
    /// [`TraceError`] where it is not a trace.
    pub fn new(reader: R, origin: &str) -> Result<Self, TraceError> {
        let mut npz = NpzReader::new(reader).map_err(|source| TraceError::NotNpz {
            origin: origin.to_owned(),
            source,
        })?;
        let json: Array1<u8> = entry(&mut npz, origin, "manifest")?;
        let manifest: Manifest =
            serde_json::from_slice(&json.to_vec()).map_err(|source| TraceError::Manifest {
                origin: origin.to_owned(),
                source,
            })?;
        if manifest.schema != SCHEMA {
            return Err(TraceError::Schema {
                origin: origin.to_owned(),
                found: manifest.schema,
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            npz,
            manifest,
        })
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What was captured.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The input, `[1, 1, samples]`.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn waveform(&mut self) -> Result<ArrayD<f32>, TraceError> {
        entry(&mut self.npz, &self.origin, "waveform")
    }

    /// Golden output of the stage `name`: f64 from unrounded inputs.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn golden(&mut self, name: &str) -> Result<ArrayD<f64>, TraceError> {
        entry(&mut self.npz, &self.origin, name)
    }

    /// The reference's own f32 output.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn output(&mut self) -> Result<ArrayD<f32>, TraceError> {
        entry(&mut self.npz, &self.origin, "f32/activation")
    }

    /// The reference's own rounding at `stage`.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn floors(&mut self, stage: &Stage, running: Running) -> Result<Floors, TraceError> {
        let running = match running {
            Running::Free => "free",
            Running::Forced => "forced",
        };
        let mut floor = |slice: &str| -> Result<Array1<f64>, TraceError> {
            entry(
                &mut self.npz,
                &self.origin,
                &format!("floor.{running}{slice}/{}", stage.name),
            )
        };
        Ok(Floors {
            whole: floor("")?.sum(),
            channel: floor(".channel")?,
            frame: stage.frame_axis.map(|_| floor(".frame")).transpose()?,
        })
    }
}

/// The activations in the `.npz` of any engine: arrays of f32 or f64 under the names of stages. Other
/// entries are left out.
///
/// # Errors
/// [`TraceError`] where the file is not an `.npz`, or an array is in another type or in Fortran order.
pub fn activations(path: &Path) -> Result<BTreeMap<String, ArrayD<f64>>, TraceError> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(|source| TraceError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut npz = NpzReader::new(file).map_err(|source| TraceError::NotNpz {
        origin: origin.clone(),
        source,
    })?;
    let names = npz.names().map_err(|source| TraceError::NotNpz {
        origin: origin.clone(),
        source,
    })?;
    let stages = names
        .into_iter()
        .filter(|name| !name.contains('/') && name != "manifest" && name != "waveform");
    stages
        .map(|name| {
            // An array is in one of two types; what is wrong with the second try is what is wrong.
            let values: ArrayD<f64> = match entry::<_, f32, IxDyn>(&mut npz, &origin, &name) {
                Ok(values) => values.mapv(f64::from),
                Err(_) => entry(&mut npz, &origin, &name)?,
            };
            Ok((name, values))
        })
        .collect()
}

fn entry<R: Read + Seek, T: ReadableElement, D: Dimension>(
    npz: &mut NpzReader<R>,
    origin: &str,
    name: &str,
) -> Result<Array<T, D>, TraceError> {
    npz.by_name(name).map_err(|source| TraceError::Entry {
        origin: origin.to_owned(),
        entry: name.to_owned(),
        source,
    })
}
