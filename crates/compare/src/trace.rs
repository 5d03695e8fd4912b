//! Traces in `.npz` files: of a reference by `reference/capture.py`, and activations of any engine.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek},
    path::Path,
    sync::{Mutex, PoisonError},
};

use ndarray::{Array, Array1, ArrayD, Dimension, Ix1};
use soundalike_convert::{Dtype, Npz, NpzArray, NpzElement, NpzEntry};
use soundalike_network::{GraphError, Stage};

use crate::{
    Activations, EngineInfo, Floors, Input, Manifest, Masks, Match, NameMap, NamesError, Window,
    manifest::SCHEMA, name_map::is_reserved,
};

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It cannot be opened, or is no archive of numpy arrays.
    #[error(transparent)]
    Open(#[from] soundalike_convert::Error),
    /// An array is missing or cannot be read.
    #[error("{0}; capture it again")]
    Entry(soundalike_convert::Error),
    /// A map of names does not fit.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The manifest is not the JSON of a trace.
    #[error("{origin}: the manifest is not that of a trace; capture it again")]
    Manifest {
        /// The trace.
        origin: String,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The trace has no stage.
    #[error("{origin}: has no array of f16, bf16, f32 or f64 that could be a stage")]
    Nothing {
        /// The trace.
        origin: String,
    },
    /// The stages of the manifest are no graph.
    #[error("{origin}: the stages of the manifest do not fit together; capture it again")]
    Graph {
        /// The trace.
        origin: String,
        /// The conflict.
        source: GraphError,
    },
    /// The trace has another layout.
    #[error("{origin}: has schema {found}, expected {SCHEMA}; capture it again")]
    Schema {
        /// The trace.
        origin: String,
        /// Its schema.
        found: u32,
    },
    /// A trace of an engine of this project, which is a candidate and no reference.
    #[error(
        "{origin}: is a trace of {engine}, a candidate; capture a reference (`soundalike trace --engine torch`, or reference/capture.py)"
    )]
    Candidate {
        /// The trace.
        origin: String,
        /// The engine.
        engine: String,
    },
    /// The trace is of another window than the reference.
    #[error("{origin}: is of {found}, and the reference is of {expected}; capture that window")]
    OtherWindow {
        /// The trace.
        origin: String,
        /// Its window.
        found: String,
        /// The window of the reference.
        expected: String,
    },
    /// The arrays of a stage do not fit together.
    #[error("{origin}: entry `{entry}` {problem}; capture it again")]
    Inconsistent {
        /// The trace.
        origin: String,
        /// The stage.
        entry: String,
        /// The predicate of the sentence: `has floors of another shape`.
        problem: String,
    },
}

/// What the name of a stage fed by the reference starts with.
pub(crate) const FORCED: &str = "forced/";

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Free-running: each stage gets the candidate's own operands. The result is what a user gets.
    Free,
    /// Teacher-forced: each stage gets the reference's operands, so its error is its own.
    Forced,
}

/// The reference's activations on one window.
pub struct ReferenceTrace<R: Read + Seek> {
    origin: String,
    npz: Npz<R>,
    manifest: Manifest,
    /// Whether it has no floors, and its outputs may have any dtype.
    is_plain: bool,
    /// Floors that the trace does not have.
    floors: Option<Npz<File>>,
}

impl ReferenceTrace<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::read(Npz::open(path)?, &path.display().to_string())
    }
}

impl<R: Read + Seek> ReferenceTrace<R> {
    /// Reads a trace; `origin` names it in errors.
    ///
    /// # Errors
    /// [`TraceError`] if it is not a reference trace.
    pub fn new(reader: R, origin: &str) -> Result<Self, TraceError> {
        Self::read(Npz::new(reader, origin)?, origin)
    }

    fn read(mut npz: Npz<R>, origin: &str) -> Result<Self, TraceError> {
        // What any tool writes has stages, and a manifest or nothing else.
        let has_floors = npz
            .entries()
            .iter()
            .any(|entry| entry.name().starts_with("floor."));
        let manifest = match npz.entry("manifest") {
            None => {
                let stages = npz.entries().iter().filter(|entry| may_be_stage(entry));
                let named = stages.map(|entry| (entry.name().to_owned(), entry.shape().to_vec()));
                Manifest::plain(named.collect::<Vec<_>>().into_iter(), origin)?
            }
            Some(_) => read_manifest(&mut npz, origin)?,
        };
        if !has_floors && manifest.versions.keys().eq(["soundalike"]) {
            return Err(TraceError::Candidate {
                origin: origin.to_owned(),
                engine: manifest.engine,
            });
        }
        if manifest.graph().stages().is_empty() {
            return Err(TraceError::Nothing {
                origin: origin.to_owned(),
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            npz,
            is_plain: !has_floors,
            manifest,
            floors: None,
        })
    }

    /// Takes floors from the file `path`: `floor.forced/STAGE` of a run in which only some stages were fed, in place of those of
    /// the trace, and `floor.low.free/STAGE` and `floor.low.forced/STAGE` of a reference that rounds to fewer bits than f32.
    ///
    /// # Errors
    /// [`TraceError`] if it is not a trace.
    pub fn with_floors(mut self, path: &Path) -> Result<Self, TraceError> {
        self.floors = Some(Npz::open(path)?);
        Ok(self)
    }

    /// Whether the forced floors cover all stages since the one that was fed last.
    pub(crate) fn has_floors_of_fusion(&self) -> bool {
        let entries = self.floors.iter().flat_map(|floors| floors.entries());
        let mut names = entries.map(NpzEntry::name);
        names.any(|name| name.starts_with("floor.forced/"))
    }

    /// Its name in errors.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What was captured, and how.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The input, `[1, 1, samples]`.
    ///
    /// # Errors
    /// [`TraceError`] if the trace has no waveform.
    pub fn waveform(&mut self) -> Result<ArrayD<f32>, TraceError> {
        read(&mut self.npz, &self.origin, "waveform")
    }

    /// The window, the input of both sides. The waveform may be missing for a network that takes no audio.
    ///
    /// # Errors
    /// [`TraceError`] if an entry cannot be read.
    pub fn window(&mut self) -> Result<Window, TraceError> {
        let waveform = optional(&mut self.npz, &self.origin, "waveform")?;
        let masks = self.manifest.masks.clone().map(|masks| {
            let values = read(&mut self.npz, &self.origin, "masks")?;
            Ok::<_, TraceError>(Masks {
                name: masks.file,
                values,
            })
        });
        Ok(Window {
            masks: masks.transpose()?,
            waveform: waveform.unwrap_or_else(|| ArrayD::zeros(vec![0])),
            ..self.manifest.window(&self.origin)
        })
    }

    /// The golden output of the stage `name`: f64, from unrounded inputs.
    ///
    /// # Errors
    /// [`TraceError`] if the trace has no such entry, or not in f64.
    pub fn golden(&mut self, name: &str) -> Result<ArrayD<f64>, TraceError> {
        let dtype = self.npz.entry(name).and_then(NpzEntry::dtype);
        if let Some(dtype) = dtype.filter(|dtype| *dtype != Dtype::F64 && !self.is_plain) {
            let what = format!("is in {dtype}, expected f64");
            return Err(inconsistent(&self.origin, name, what));
        }
        read(&mut self.npz, &self.origin, name)
    }

    /// The reference's own f32 output of the last stage.
    ///
    /// # Errors
    /// [`TraceError`] if the trace has no such entry.
    pub fn output(&mut self) -> Result<ArrayD<f32>, TraceError> {
        let last = self.manifest.graph().output();
        let last = last.map_or("", |stage| &stage.name).to_owned();
        if self.is_plain {
            return Ok(self.golden(&last)?.mapv(|x| x as f32));
        }
        let name = format!("f32/{last}");
        read(&mut self.npz, &self.origin, &name)
    }

    /// The rounding error of the reference's own f32 at `stage`.
    ///
    /// # Errors
    /// [`TraceError`] if an entry is missing or has another shape.
    pub fn floors(&mut self, stage: &Stage, running: Running) -> Result<Floors, TraceError> {
        if self.is_plain {
            let shape = self.npz.entry(&stage.name).map_or(&[][..], NpzEntry::shape);
            return Ok(Floors::unknown(shape, &stage.axes));
        }
        let running = match running {
            Running::Free => "free",
            Running::Forced => "forced",
        };
        let low = match &mut self.floors {
            Some(floors) => {
                let name = format!("floor.low.{running}/{}", stage.name);
                optional::<_, f64, Ix1>(floors, &self.origin, &name)?.map(|low| low.sum())
            }
            None => None,
        };
        let other = self.floors.as_mut().filter(|_| running == "forced");
        let mut other = other.filter(|npz| {
            let name = format!("floor.{running}/{}", stage.name);
            npz.entry(&name).is_some()
        });
        let mut floor = |slice: &str| -> Result<Array1<f64>, TraceError> {
            let name = format!("floor.{running}{slice}/{}", stage.name);
            match &mut other {
                Some(other) => read(other, &self.origin, &name),
                None => read(&mut self.npz, &self.origin, &name),
            }
        };
        Ok(Floors {
            whole: floor("")?.sum(),
            channel: floor(".channel")?,
            frame: stage.axes.frame().map(|_| floor(".frame")).transpose()?,
            low,
        })
    }
}

/// The activations of any engine, in a file. Arrays are read when they are asked for.
///
/// An entry is a stage of the free run; `forced/ENTRY` is the same fed by the reference.
#[derive(Debug)]
pub struct ActivationTrace {
    /// Its name in errors.
    pub origin: String,
    /// The manifest, where the file has one.
    pub manifest: Option<Manifest>,
    /// The input, where the file has it.
    pub waveform: Option<ArrayD<f32>>,
    /// How the stages were found, unless all have the reference's names.
    pub matched: Vec<Match>,
    /// Arrays that are no stage of the reference, where stages were looked for.
    pub unused: Vec<String>,
    pub(crate) npz: Mutex<Npz<File>>,
    /// The entry of each stage.
    pub(crate) stages: BTreeMap<String, Place>,
    names: NameMap,
}

/// Where a stage is in a trace.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) entry: String,
    /// How it was found, and the shape of the stage; none where the map of names has its layout.
    pub(crate) matched: Option<(Match, Vec<usize>)>,
}

impl Place {
    /// The entry of a run.
    fn recorded(&self, running: Running) -> String {
        match running {
            Running::Free => self.entry.clone(),
            Running::Forced => format!("{FORCED}{}", self.entry),
        }
    }
}

impl ActivationTrace {
    /// Opens a trace whose entries are stages by `names`.
    ///
    /// # Errors
    /// [`TraceError`] where the file is not an `.npz`.
    pub fn open(path: &Path, names: &NameMap) -> Result<Self, TraceError> {
        let origin = path.display().to_string();
        let mut npz = names.open(path)?;
        let entries = npz.entries().iter().map(|entry| entry.name().to_owned());
        let entries: Vec<_> = entries.collect();
        let has_manifest = npz.entry("manifest").is_some();
        let manifest = has_manifest.then(|| read_manifest(&mut npz, &origin));
        let manifest = manifest.transpose()?;
        let waveform = optional(&mut npz, &origin, "waveform")?;
        let mut stages = BTreeMap::new();
        for (entry, stage) in names.stages(&entries, &origin)? {
            let matched = None;
            stages.insert(stage, Place { entry, matched });
        }
        Ok(Self {
            origin,
            manifest,
            waveform,
            matched: Vec::new(),
            unused: Vec::new(),
            npz: Mutex::new(npz),
            stages,
            names: names.clone(),
        })
    }

    /// The stages with their entries, and how they were found.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str, Option<&Match>)> {
        let places = self.stages.iter();
        places.map(|(stage, place)| {
            let matched = place.matched.as_ref().map(|(matched, _)| matched);
            (stage.as_str(), place.entry.as_str(), matched)
        })
    }

    /// The engine, as far as the manifest has it.
    #[must_use]
    pub fn engine(&self) -> EngineInfo {
        let Some(manifest) = &self.manifest else {
            return EngineInfo::default();
        };
        EngineInfo {
            model_sha256: manifest.model.as_ref().map(|model| model.sha256.clone()),
            ..manifest.engine_info()
        }
    }

    /// Checks that the trace is of `window`, as far as it has a waveform or an audio in its manifest.
    ///
    /// # Errors
    /// [`TraceError`] for another waveform or recording.
    pub fn check_window(&self, window: &Window) -> Result<(), TraceError> {
        let audio = self.manifest.as_ref().and_then(|m| m.audio.as_ref());
        let found = match (&self.waveform, audio) {
            (Some(waveform), _) if !window.waveform.is_empty() && *waveform != window.waveform => {
                "another waveform".to_owned()
            }
            (None, Some(audio))
                if (audio.start, audio.duration) != (window.start, window.duration) =>
            {
                let end = audio.start + audio.duration;
                format!("{} {}-{end} s", audio.file, audio.start)
            }
            _ => return Ok(()),
        };
        Err(TraceError::OtherWindow {
            origin: self.origin.clone(),
            found,
            expected: Input::new(window).to_string(),
        })
    }
}

impl Activations for ActivationTrace {
    fn stages(&self) -> Vec<String> {
        self.stages.keys().cloned().collect()
    }

    fn shape(&self, stage: &str, running: Running) -> Option<Vec<usize>> {
        let name = self.stages.get(stage)?.recorded(running);
        let npz = self.npz.lock().unwrap_or_else(PoisonError::into_inner);
        Some(npz.entry(&name)?.shape().to_vec())
    }

    fn output(&self, stage: &str, running: Running) -> Result<Option<ArrayD<f64>>, TraceError> {
        let Some(place) = self.stages.get(stage) else {
            return Ok(None);
        };
        let (Place { entry, matched }, name) = (place, place.recorded(running));
        // A reader that panicked has left nothing half-done.
        let mut npz = self.npz.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(values) = optional(&mut npz, &self.origin, &name)? else {
            return Ok(None);
        };
        Ok(Some(match matched {
            Some((matched, shape)) => matched.arranged(values, shape),
            None => self.names.transposed(entry, values)?,
        }))
    }
}

/// Whether an entry of a trace may be the output of a stage.
pub(crate) fn may_be_stage(entry: &NpzEntry) -> bool {
    let dtype = entry.dtype();
    let is_float = matches!(
        dtype,
        Some(Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
    );
    is_float && !is_reserved(entry.name())
}

fn read_manifest<R: Read + Seek>(npz: &mut Npz<R>, origin: &str) -> Result<Manifest, TraceError> {
    let json: Array1<u8> = read(npz, origin, "manifest")?;
    Manifest::parse(&json.to_vec(), origin)
}

/// The entry `name`, where the archive has it.
fn optional<R: Read + Seek, T: NpzElement, D: Dimension>(
    npz: &mut Npz<R>,
    origin: &str,
    name: &str,
) -> Result<Option<Array<T, D>>, TraceError> {
    let exists = npz.entry(name).is_some();
    exists.then(|| read(npz, origin, name)).transpose()
}

/// The array `name` of an archive.
pub(crate) fn read<R: Read + Seek, T: NpzElement, D: Dimension>(
    npz: &mut Npz<R>,
    origin: &str,
    name: &str,
) -> Result<Array<T, D>, TraceError> {
    let array = npz.read(name);
    let NpzArray { shape, values } = array.map_err(TraceError::Entry)?;
    let array = ArrayD::from_shape_vec(&*shape, values).and_then(ArrayD::into_dimensionality);
    array.map_err(|_| inconsistent(origin, name, format!("has the shape {shape:?}")))
}

/// The error of an entry with this `problem`, the predicate of a sentence.
pub(crate) fn inconsistent(origin: &str, entry: &str, problem: String) -> TraceError {
    TraceError::Inconsistent {
        origin: origin.to_owned(),
        entry: entry.to_owned(),
        problem,
    }
}
