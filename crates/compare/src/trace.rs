//! What the reference computed on one window, from an `.npz` of `reference/capture.py`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read, Seek},
    path::{Path, PathBuf},
};

use ndarray::{Array, Array1, ArrayD, Dimension, IxDyn};
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};
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
    /// The file cannot be opened.
    #[error("{}: cannot be read", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no `.npz`.
    #[error("{origin}: is not an .npz")]
    NotNpz {
        /// Where it came from.
        origin: String,
        /// What the reader said, its causes included.
        r#source: ReadNpzError,
    },
    /// An entry is missing, or is not what it should be.
    #[error("{origin}: entry `{entry}` cannot be read; capture it again")]
    Entry {
        /// Where the trace came from.
        origin: String,
        /// The entry.
        entry: String,
        /// What the reader said, its causes included.
        r#source: ReadNpzError,
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
        let names = self.npz.names().map_err(|source| TraceError::NotNpz {
            origin: self.origin.clone(),
            source,
        })?;
        let waveform = match names.iter().any(|name| name == "waveform") {
            true => self.waveform()?,
            false => ArrayD::zeros(vec![0]),
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
    /// [`TraceError::Entry`] where it cannot be read.
    pub fn golden(&mut self, name: &str) -> Result<ArrayD<f64>, TraceError> {
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
            entry(
                &mut self.npz,
                &self.origin,
                &format!("floor.{running}{slice}/{}", stage.name),
            )
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
    /// Reads the arrays of f32 or f64 that are stages by `maps`; others are left out.
    ///
    /// # Errors
    /// [`TraceError`] where the file is not an `.npz`, or an array is in another type or in Fortran order.
    pub fn open(path: &Path, maps: &Names) -> Result<Self, TraceError> {
        let origin = path.display().to_string();
        let file = File::open(path).map_err(|source| TraceError::Open {
            path: path.to_owned(),
            source,
        })?;
        let not_npz = |source| TraceError::NotNpz {
            origin: origin.clone(),
            source,
        };
        let mut npz = NpzReader::new(file).map_err(not_npz)?;
        let names = npz.names().map_err(not_npz)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        let manifest = if has("manifest") {
            Some(read_manifest(&mut npz, &origin)?)
        } else {
            None
        };
        let waveform = if has("waveform") {
            Some(entry(&mut npz, &origin, "waveform")?)
        } else {
            None
        };
        let stages = maps.stages(&names, &origin)?.into_iter();
        let stages = stages
            .map(|(theirs, ours)| {
                // An array is in one of two types; what is wrong with the second try is what is wrong.
                let values: ArrayD<f64> = match entry::<_, f32, IxDyn>(&mut npz, &origin, &theirs) {
                    Ok(values) => values.mapv(f64::from),
                    Err(_) => entry(&mut npz, &origin, &theirs)?,
                };
                if !values.is_standard_layout() {
                    return Err(TraceError::FortranOrder {
                        origin: origin.clone(),
                        entry: theirs,
                    });
                }
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
fn read_manifest<R: Read + Seek>(
    npz: &mut NpzReader<R>,
    origin: &str,
) -> Result<Manifest, TraceError> {
    let json: Array1<u8> = entry(npz, origin, "manifest")?;
    Manifest::parse(&json.to_vec(), origin)
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
