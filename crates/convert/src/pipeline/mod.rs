//! Pipeline directories: models with the parameters of a pipeline.
//!
//! There are two forms. pyannote's has `config.yaml`, `segmentation/`, `embedding/` and `plda/`. The converted form has
//! `pipeline.json`, `segmentation.safetensors`, `embedding.safetensors` and `plda.safetensors`, checked by SHA-256.

mod config;
mod error;
mod yaml;

use std::{
    collections::BTreeSet,
    fs,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};
use soundalike_network::{Architecture, Output};

pub use config::{Clustering, Linkage, PipelineConfig};
pub use error::PipelineError;

use crate::{
    Bundle, CastReport, Conversion, Source, WeightType, conversion,
    conversion::MODEL_FILE,
    error::{Error, ErrorKind},
    files,
    name::{is_path, quoted_name, stays_below},
    not_a_model::NotAModel,
    plda,
    source::{SourceFormat, sha256},
};

/// The configuration in pyannote's form.
pub(crate) const CONFIG_YAML: &str = "config.yaml";
/// The manifest of the converted form.
const PIPELINE_JSON: &str = "pipeline.json";
/// Version of the layout of `pipeline.json`. A file with another version is refused.
const PIPELINE_FORMAT: u32 = 1;

/// One of the models of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelRole {
    /// Speaker activity within a window: a PyanNet.
    Segmentation,
    /// Speaker embeddings: a WeSpeaker ResNet.
    Embedding,
    /// Comparison of embeddings.
    Plda,
}

impl ModelRole {
    /// All parts, in order of use.
    pub const ALL: [Self; 3] = [Self::Segmentation, Self::Embedding, Self::Plda];

    /// `segmentation`, `embedding` or `plda`: the key in pyannote's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::Embedding => "embedding",
            Self::Plda => "plda",
        }
    }

    /// Its file in a converted directory.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation.safetensors",
            Self::Embedding => "embedding.safetensors",
            Self::Plda => "plda.safetensors",
        }
    }

    /// Converts the file of the part. Compares the SHA-256 of the bundle with an expected one.
    ///
    /// # Errors
    /// If the configuration or a model that it names is missing, damaged or unsupported.
    fn read(self, file: &Path, sha256: Option<String>) -> Result<(Self, Conversion), Error> {
        let conversion = conversion::convert(file)?;
        let bundle = &conversion.bundle;
        let checked = match sha256 {
            Some(expected) if expected != bundle.sha256() => Err(PipelineError::Changed {
                found: bundle.sha256().to_owned(),
                expected,
            }),
            _ => self.check(bundle.architecture()),
        };
        checked.map_err(|error| ErrorKind::from(error).at(file))?;
        Ok((self, conversion))
    }

    /// Refuses a network with another kind of output.
    fn check(self, architecture: &Architecture) -> Result<(), PipelineError> {
        let fits = matches!(
            (self, architecture.output()),
            (Self::Segmentation, Output::Scores { .. })
                | (Self::Embedding, Output::Embedding { .. })
                | (Self::Plda, Output::Comparison { .. })
        );
        if fits {
            return Ok(());
        }
        Err(PipelineError::WrongModel(self, architecture.name()))
    }
}

impl std::fmt::Display for ModelRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A complete, checked pipeline: parameters and models.
#[derive(Debug, Clone)]
pub struct PipelineDirectory {
    config: PipelineConfig,
    source: Source,
    ignored: Vec<String>,
    models: Vec<(ModelRole, Conversion)>,
}

/// `pipeline.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    pipeline: PipelineConfig,
    models: Vec<ManifestModel>,
    source: Source,
    ignored: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestModel {
    part: ModelRole,
    sha256: String,
    source: Source,
}

/// Finds a model by its name on a hub, `OWNER/NAME`, and its revision, if the configuration has one. `None`: this is not
/// such a name.
pub type FindModel<'a> = &'a (
        dyn Fn(
    &str,
    Option<&str>,
) -> Option<Result<PathBuf, Box<dyn std::error::Error + Send + Sync>>>
            + Sync
    );

/// Whether a directory holds a pipeline of either form, or a file is a configuration by its name: `*.yaml`, `*.yml`.
#[must_use]
pub fn is_pipeline(path: &Path) -> bool {
    if path.is_file() {
        let extension = path.extension().unwrap_or_default();
        return extension == "yaml" || extension == "yml";
    }
    // A model on the hub has a `config.yaml` as well, of its training.
    let is_model = path.join(MODEL_FILE).is_file();
    path.join(PIPELINE_JSON).is_file() || path.join(CONFIG_YAML).is_file() && !is_model
}

/// The directory and the configuration of a pipeline in pyannote's form.
fn original(path: &Path) -> (&Path, PathBuf) {
    match path.is_file() {
        true => (path.parent().unwrap_or(Path::new("")), path.to_owned()),
        false => (path, path.join(CONFIG_YAML)),
    }
}

/// The files of the pipeline in a directory or of a configuration, and those named in the configuration if it is readable.
pub(crate) fn input_files(path: &Path) -> Vec<PathBuf> {
    let (directory, config) = original(path);
    let bytes = files::read(&config).unwrap_or_default();
    let named = yaml::read(&bytes).map_or(Vec::new(), |document| document.references);
    let located = |(part, reference)| locate(directory, part, &reference, None).ok();
    let mut found: Vec<_> = named
        .into_iter()
        .filter_map(located)
        .flat_map(|path| match path.is_dir() {
            true => plda::FILES.map(|file| path.join(file)).to_vec(),
            false => vec![path],
        })
        .collect();
    found.push(config);
    found.extend(PipelineDirectory::FILES.map(|file| directory.join(file)));
    found
}

/// Reads a pyannote pipeline directory and writes the converted form to `destination`, creating it if necessary. The
/// manifest is written last: a directory with a manifest is complete.
///
/// # Errors
/// As [`PipelineDirectory::read`] and [`PipelineDirectory::save`].
pub fn convert_pipeline(source: &Path, destination: &Path) -> Result<PipelineDirectory, Error> {
    let pipeline = PipelineDirectory::read(source)?;
    pipeline.save(destination)?;
    Ok(pipeline)
}

impl PipelineDirectory {
    /// Names of the files of the converted form.
    pub const FILES: [&str; 4] = [
        PIPELINE_JSON,
        ModelRole::Segmentation.file(),
        ModelRole::Embedding.file(),
        ModelRole::Plda.file(),
    ];

    /// Reads a directory of either form, or a configuration by any name, and converts its models in memory. Models are
    /// found beside the configuration, else from the working directory, as pyannote does.
    ///
    /// # Errors
    /// If the configuration or a model that it names is missing, damaged or unsupported.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::open(path, None)
    }

    /// As [`Self::read`], with models that the configuration names on a hub.
    ///
    /// # Errors
    /// As [`Self::read`], and those of `hub`.
    pub fn read_with(path: &Path, hub: FindModel<'_>) -> Result<Self, Error> {
        Self::open(path, Some(hub))
    }

    fn open(path: &Path, hub: Option<FindModel<'_>>) -> Result<Self, Error> {
        if path.join(PIPELINE_JSON).is_file() {
            return Self::read_converted(path);
        }
        let (directory, config) = original(path);
        if !config.is_file() {
            return Err(conversion::no_model(path));
        }
        Self::read_original(directory, &config, hub)
    }

    fn read_original(
        path: &Path,
        config_path: &Path,
        hub: Option<FindModel<'_>>,
    ) -> Result<Self, Error> {
        let bytes = files::read(config_path)?;
        let here = |error: PipelineError| ErrorKind::from(error).at(config_path);
        let document = yaml::read(&bytes).map_err(here)?;
        for (part, reference) in &document.references {
            reference.refuse_foreign(path, *part).map_err(here)?;
        }
        let models = in_parallel(document.references, |(part, reference)| {
            let file = locate(path, part, &reference, hub).map_err(here)?;
            part.read(&file, None)
        })?;
        let pipeline = Self {
            config: document.config,
            source: Source::new(
                files::name(config_path),
                SourceFormat::PipelineDirectory,
                sha256([&*bytes]),
            ),
            ignored: document.ignored,
            models,
        };
        pipeline.check().map_err(here)?;
        Ok(pipeline)
    }

    fn read_converted(path: &Path) -> Result<Self, Error> {
        let manifest_path = path.join(PIPELINE_JSON);
        let bytes = files::read(&manifest_path)?;
        let here = |error: PipelineError| ErrorKind::from(error).at(&manifest_path);
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| here(PipelineError::Json(error)))?;
        if manifest.format != PIPELINE_FORMAT {
            return Err(here(PipelineError::Format(manifest.format)));
        }
        let mut parts = BTreeSet::new();
        for model in &manifest.models {
            if !parts.insert(model.part) {
                return Err(here(PipelineError::Twice(model.part)));
            }
        }
        let models = in_parallel(manifest.models, |model| {
            let file = path.join(model.part.file());
            model.part.read(&file, Some(model.sha256))
        })?;
        let pipeline = Self {
            config: manifest.pipeline,
            source: manifest.source,
            ignored: manifest.ignored,
            models,
        };
        pipeline.check().map_err(here)?;
        Ok(pipeline)
    }

    /// Checks the parameters, the presence of the required models, and the dimensions.
    fn check(&self) -> Result<(), PipelineError> {
        self.config.check()?;
        for part in self.config.needs() {
            if self.model(part).is_none() {
                return Err(PipelineError::MissingModel(part));
            }
        }
        let output = |part| Some(self.model(part)?.architecture().output());
        if let Some(Output::Embedding { dimension }) = output(ModelRole::Embedding)
            && let Some(Output::Comparison { dimension: plda }) = output(ModelRole::Plda)
            && dimension != plda
        {
            return Err(PipelineError::Dimensions {
                embedding: dimension,
                plda,
            });
        }
        Ok(())
    }

    /// The parameters.
    #[must_use]
    pub fn config(&self) -> &PipelineConfig {
        &self.config
    }

    /// The file of the parameters.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Ignored keys of pyannote's configuration (`device`, `preprocessors`, ...).
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// One of the models. `None` if the configuration does not name it; models required by the clustering are always
    /// present.
    #[must_use]
    pub fn model(&self, part: ModelRole) -> Option<&Bundle> {
        self.conversion(part).map(|conversion| &conversion.bundle)
    }

    /// One of the models, with the origin of its tensors.
    #[must_use]
    pub fn conversion(&self, part: ModelRole) -> Option<&Conversion> {
        let mut models = self.models.iter();
        let (_, conversion) = models.find(|(found, _)| *found == part)?;
        Some(conversion)
    }

    /// The same pipeline with the weights in another type, see [`Bundle::cast`].
    ///
    /// # Errors
    /// As [`Bundle::cast`].
    pub fn cast(
        &self,
        to: WeightType,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(Self, Vec<(ModelRole, CastReport)>), Error> {
        let mut cast = self.clone();
        let mut reports = Vec::new();
        for (part, conversion) in &mut cast.models {
            let (bundle, report) = conversion.bundle.cast(to, &keep)?;
            conversion.bundle = bundle;
            reports.push((*part, report));
        }
        Ok((cast, reports))
    }

    /// Writes the converted form, with the manifest last.
    ///
    /// # Errors
    /// If a file cannot be written there.
    pub fn save(&self, directory: &Path) -> Result<(), Error> {
        let io = |action, path| move |source| ErrorKind::Io { action, source }.at(path);
        fs::create_dir_all(directory).map_err(io("making the directory", directory))?;
        let manifest_path = &*directory.join(PIPELINE_JSON);
        if manifest_path.exists() {
            fs::remove_file(manifest_path).map_err(io("replacing", manifest_path))?;
        }
        for (part, conversion) in &self.models {
            conversion.bundle.save(&directory.join(part.file()))?;
        }
        files::write(manifest_path, self.manifest().as_bytes())
    }

    /// The text of `pipeline.json`. The same pipeline gives the same bytes.
    #[must_use]
    pub fn manifest(&self) -> String {
        let model = |(part, conversion): &(ModelRole, Conversion)| ManifestModel {
            part: *part,
            sha256: conversion.bundle.sha256().to_owned(),
            source: conversion.bundle.source().clone(),
        };
        let manifest = Manifest {
            format: PIPELINE_FORMAT,
            pipeline: self.config.clone(),
            models: self.models.iter().map(model).collect(),
            source: self.source.clone(),
            ignored: self.ignored.clone(),
        };
        // Cannot fail: strings, finite numbers and enums.
        let mut text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Calls `read` for each model on a thread of its own. Returns the results in order, or the first error.
fn in_parallel<T: Send, R: Send>(
    models: impl IntoIterator<Item = T>,
    read: impl Fn(T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let read = &read;
    thread::scope(|scope| {
        let start = |model| scope.spawn(move || read(model));
        let threads: Vec<_> = models.into_iter().map(start).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// The location of a model in a configuration.
struct Reference {
    /// A path, or the name of a model on a hub.
    checkpoint: String,
    /// Whether the path began with `$model/`: it is relative to the pipeline's directory.
    inside: bool,
    subfolder: Option<String>,
    /// Branch, tag or commit on the hub.
    revision: Option<String>,
}

/// First parts of the names of embeddings that pyannote runs by other libraries. `PretrainedSpeakerEmbedding`.
const FOREIGN: [&str; 2] = ["speechbrain/", "nvidia/"];

impl Reference {
    /// Refuses the name of another library's model, before another model is looked for in vain.
    fn refuse_foreign(&self, directory: &Path, part: ModelRole) -> Result<(), PipelineError> {
        let name = &self.checkpoint;
        let foreign = FOREIGN.iter().any(|prefix| name.starts_with(prefix));
        match foreign && !directory.join(name).exists() {
            true => Err(PipelineError::Foreign(part, name.clone())),
            false => Ok(()),
        }
    }

    /// Refuses an invalid path, and a path that leaves its directory: the configuration is untrusted.
    fn check(&self, part: ModelRole) -> Result<(), PipelineError> {
        let refuse = |found: &str, expected: &str| {
            Err(PipelineError::Value {
                key: part.name().into(),
                found: quoted_name(found),
                expected: expected.into(),
            })
        };
        let (checkpoint, subfolder) = (&*self.checkpoint, self.subfolder.as_deref());
        let mut paths = [checkpoint].into_iter().chain(subfolder);
        if let Some(path) = paths.find(|path| !is_path(path)) {
            let expected = "a path without control characters, of names of at most 255 bytes";
            return refuse(path, expected);
        }
        if self.inside && !stays_below(checkpoint) {
            let expected = "a path that stays within the pipeline's directory";
            return refuse(&format!("$model/{checkpoint}"), expected);
        }
        match subfolder.filter(|path| !stays_below(path)) {
            Some(path) => refuse(path, "a path that stays within the checkpoint's directory"),
            None => Ok(()),
        }
    }
}

/// Finds the file of a model, or the directory of a PLDA: beside the configuration, from the working directory, or on a
/// hub.
fn locate(
    directory: &Path,
    part: ModelRole,
    reference: &Reference,
    hub: Option<FindModel<'_>>,
) -> Result<PathBuf, PipelineError> {
    reference.check(part)?;
    let name = &reference.checkpoint;
    let beside = directory.join(name);
    let here = Path::new(name);
    if reference.inside || beside.exists() {
        return in_checkpoint(beside, part, reference);
    }
    if here.exists() {
        return in_checkpoint(here.to_owned(), part, reference);
    }
    if let Some(problem) = NotAModel::dangling(&beside) {
        return Err(PipelineError::Leftover(part, beside, problem));
    }
    let on_hub = hub.and_then(|find| find(name, reference.revision.as_deref()));
    match on_hub {
        None => Err(PipelineError::NotLocal(part, name.clone())),
        Some(Ok(found)) => in_checkpoint(found, part, reference),
        Some(Err(problem)) => Err(PipelineError::NotOnHub {
            part,
            name: name.clone(),
            problem,
        }),
    }
}

/// The file of a model, or the directory of a PLDA, where a checkpoint lies.
fn in_checkpoint(
    mut path: PathBuf,
    part: ModelRole,
    reference: &Reference,
) -> Result<PathBuf, PipelineError> {
    if let Some(subfolder) = &reference.subfolder {
        path.push(subfolder);
    }
    if path.is_file() {
        return Ok(path);
    }
    let name = &reference.checkpoint;
    if !path.is_dir() {
        return Err(match NotAModel::dangling(&path) {
            Some(problem) => PipelineError::Leftover(part, path, problem),
            None => PipelineError::NoFile(part, name.clone()),
        });
    }
    let file = match part {
        ModelRole::Plda if plda::is_plda(&path) => return Ok(path),
        ModelRole::Plda => plda::PLDA_FILE,
        ModelRole::Segmentation | ModelRole::Embedding => MODEL_FILE,
    };
    let model = path.join(file);
    match NotAModel::dangling(&model) {
        Some(problem) => Err(PipelineError::Leftover(part, model, problem)),
        None if model.is_file() && part != ModelRole::Plda => Ok(model),
        None => Err(PipelineError::NoFile(part, format!("{name}/{file}"))),
    }
}
