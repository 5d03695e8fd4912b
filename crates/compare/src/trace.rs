//! What the reference computed on one window, from an `.npz` of `reference/capture.py`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read, Seek},
    path::Path,
};

use ndarray::{Array, Array1, ArrayD, Dimension};
use soundalike_convert::{Dtype, Npz, NpzArray, NpzElement, NpzEntry};
use soundalike_network::{GraphError, Stage};

use crate::{
    EngineInfo, Floors, Input, Manifest, Masks, Names, NamesError, Window, manifest::SCHEMA,
};

/// See [`ReferenceTrace::embedded`].
static EMBEDDED: &[u8] = include_bytes!("../../../reference/segmentation-3.0/sample_1s.npz");

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It cannot be opened, or is no archive of numpy arrays.
    #[error(transparent)]
    Open(#[from] soundalike_convert::Error),
    /// An array is missing, or is not what it should be.
    #[error("{reason}; capture it again")]
    Entry {
        /// What the reader said, its causes included.
        reason: soundalike_convert::Error,
    },
    /// An array of somebody else's in column-major order.
    #[error(
        "{origin}: entry `{entry}` is in Fortran order; save numpy.ascontiguousarray of it, or its transpose and say so with --map"
    )]
    FortranOrder {
        /// Where the trace came from.
        origin: String,
        /// The entry.
        entry: String,
    },
    /// A map of names does not fit.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The manifest is not the JSON of a trace.
    #[error("{origin}: the manifest is not that of a trace; capture it again")]
    Manifest {
        /// Where the trace came from.
        origin: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The stages of the manifest are no graph.
    #[error("{origin}: the stages of the manifest do not fit together; capture it again")]
    Graph {
        /// Where the trace came from.
        origin: String,
        /// How they do not.
        source: GraphError,
    },
    /// The trace has another layout.
    #[error("{origin}: has schema {found}, expected {SCHEMA}; capture it again")]
    Schema {
        /// Where the trace came from.
        origin: String,
        /// Its schema.
        found: u32,
    },
    /// The trace is of another window than the one it is compared on.
    #[error("{origin}: is of {found}, and the reference is of {expected}; capture that window")]
    OtherWindow {
        /// Where the trace came from.
        origin: String,
        /// Its window.
        found: String,
        /// The window.
        expected: String,
    },
    /// Arrays of one stage do not fit together.
    #[error("{origin}: entry `{entry}` {what}; capture it again")]
    Inconsistent {
        /// Where the trace came from.
        origin: String,
        /// The stage.
        entry: String,
        /// What does not fit.
        what: String,
    },
}

/// How a network is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Each stage gets what the one before made: what the user gets.
    Free,
    /// Each stage gets the reference's own input: whose error it is.
    Forced,
}

/// The reference's activations on one window.
pub struct ReferenceTrace<R: Read + Seek> {
    origin: String,
    npz: Npz<R>,
    manifest: Manifest,
}

impl ReferenceTrace<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`TraceError`] where it is not a trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::read(Npz::open(path)?, &path.display().to_string())
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
        Self::read(Npz::new(reader, origin)?, origin)
    }

    fn read(mut npz: Npz<R>, origin: &str) -> Result<Self, TraceError> {
        let manifest = read_manifest(&mut npz, origin)?;
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

    /// The window: what both sides are fed. A trace of a network that takes no audio may have none.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn window(&mut self) -> Result<Window, TraceError> {
        let waveform = match self.npz.entry("waveform") {
            Some(_) => self.waveform()?,
            None => ArrayD::zeros(vec![0]),
        };
        let masks = self.manifest.masks.clone().map(|masks| {
            let values = entry(&mut self.npz, &self.origin, "masks")?;
            Ok::<_, TraceError>(Masks {
                name: masks.file,
                values,
            })
        });
        Ok(Window {
            masks: masks.transpose()?,
            waveform,
            ..self.manifest.window(&self.origin)
        })
    }

    /// Golden output of the stage `name`: f64 from unrounded inputs.
    ///
    /// # Errors
    /// [`TraceError`] where it cannot be read, or is not in f64.
    pub fn golden(&mut self, name: &str) -> Result<ArrayD<f64>, TraceError> {
        let dtype = self.npz.entry(name).and_then(NpzEntry::dtype);
        if let Some(dtype) = dtype.filter(|dtype| *dtype != Dtype::F64) {
            let what = format!("is in {dtype}, expected f64");
            return Err(inconsistent(&self.origin, name, what));
        }
        entry(&mut self.npz, &self.origin, name)
    }

    /// The reference's own f32 output: of the last stage.
    ///
    /// # Errors
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn output(&mut self) -> Result<ArrayD<f32>, TraceError> {
        let last = self.manifest.graph().output();
        let name = format!("f32/{}", last.map_or("", |stage| &stage.name));
        entry(&mut self.npz, &self.origin, &name)
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
            let name = format!("floor.{running}{slice}/{}", stage.name);
            entry(&mut self.npz, &self.origin, &name)
        };
        Ok(Floors {
            whole: floor("")?.sum(),
            channel: floor(".channel")?,
            frame: stage.axes.frame().map(|_| floor(".frame")).transpose()?,
        })
    }
}

/// The activations of any engine that fed itself, from an `.npz`.
#[derive(Debug, Clone)]
pub struct ActivationTrace {
    /// Where it came from.
    pub origin: String,
    /// What was captured, where the file says so.
    pub manifest: Option<Manifest>,
    /// The input, where the file has it.
    pub waveform: Option<ArrayD<f32>>,
    /// The outputs of the stages, widened.
    pub stages: BTreeMap<String, ArrayD<f64>>,
}

impl ActivationTrace {
    /// Reads the arrays of f64, f32 or f16 that are stages by `maps`; others are left out.
    ///
    /// # Errors
    /// [`TraceError`] where the file is not an `.npz`, or an array is in another type or in Fortran order.
    pub fn open(path: &Path, maps: &Names) -> Result<Self, TraceError> {
        let origin = path.display().to_string();
        let mut npz = Npz::open(path)?;
        let names = npz.entries().iter().map(|entry| entry.name().to_owned());
        let names: Vec<_> = names.collect();
        let manifest = match npz.entry("manifest") {
            Some(_) => Some(read_manifest(&mut npz, &origin)?),
            None => None,
        };
        let waveform = match npz.entry("waveform") {
            Some(_) => Some(entry(&mut npz, &origin, "waveform")?),
            None => None,
        };
        let stages = maps.stages(&names, &origin)?.into_iter();
        let stages = stages
            .map(|(theirs, ours)| {
                if npz.entry(&theirs).is_some_and(NpzEntry::is_fortran_order) {
                    return Err(TraceError::FortranOrder {
                        origin: origin.clone(),
                        entry: theirs,
                    });
                }
                let values: ArrayD<f64> = entry(&mut npz, &origin, &theirs)?;
                Ok((ours, maps.turned(&theirs, values)?))
            })
            .collect::<Result<_, TraceError>>()?;
        Ok(Self {
            origin,
            manifest,
            waveform,
            stages,
        })
    }
}

impl ActivationTrace {
    /// Who made it, as far as it says.
    #[must_use]
    pub fn engine(&self) -> EngineInfo {
        let manifest = self.manifest.clone();
        manifest.map_or_else(EngineInfo::default, |manifest| EngineInfo {
            engine: manifest.engine,
            versions: manifest.versions,
            device: manifest.device,
            cpu: manifest.cpu,
            threads: manifest.threads,
            model_sha256: manifest.model.map(|model| model.sha256),
            ..EngineInfo::default()
        })
    }

    /// Whether the trace is of `window`, as far as it says.
    ///
    /// # Errors
    /// [`TraceError::OtherWindow`] where it is of another.
    pub fn check_window(&self, window: &Window) -> Result<(), TraceError> {
        let other = |found: String| {
            Err(TraceError::OtherWindow {
                origin: self.origin.clone(),
                found,
                expected: Input::new(window).to_string(),
            })
        };
        match (&self.waveform, &self.manifest) {
            (Some(waveform), _) if !window.waveform.is_empty() && *waveform != window.waveform => {
                other("another waveform".to_owned())
            }
            (
                None,
                Some(Manifest {
                    audio: Some(audio), ..
                }),
            ) if (audio.start, audio.duration) != (window.start, window.duration) => {
                let (start, end) = (audio.start, audio.start + audio.duration);
                other(format!("{} {start}-{end} s", audio.file))
            }
            _ => Ok(()),
        }
    }
}

/// The manifest of an archive.
fn read_manifest<R: Read + Seek>(npz: &mut Npz<R>, origin: &str) -> Result<Manifest, TraceError> {
    let json: Array1<u8> = entry(npz, origin, "manifest")?;
    Manifest::parse(&json.to_vec(), origin)
}

fn entry<R: Read + Seek, T: NpzElement, D: Dimension>(
    npz: &mut Npz<R>,
    origin: &str,
    name: &str,
) -> Result<Array<T, D>, TraceError> {
    let array = npz.read(name);
    let NpzArray { shape, values } = array.map_err(|reason| TraceError::Entry { reason })?;
    let array = ArrayD::from_shape_vec(&*shape, values).and_then(ArrayD::into_dimensionality);
    array.map_err(|_| inconsistent(origin, name, format!("has the shape {shape:?}")))
}

fn inconsistent(origin: &str, entry: &str, what: String) -> TraceError {
    TraceError::Inconsistent {
        origin: origin.to_owned(),
        entry: entry.to_owned(),
        what,
    }
}
