//! What `--model` names: a path, a name of the registry, or a name on the model hub.

use std::path::{Path, PathBuf};

use soundalike_convert::{Bundle, PipelineDirectory, is_pipeline};
use soundalike_models::{Catalogue, Error, Model, Origin, Settings};

use super::models::install;
use crate::terminal::Terminal;

/// The catalogue of the environment's registry.
fn catalogue() -> Result<Catalogue, Error> {
    Catalogue::open(Settings::from_environment(), None)
}

/// The path of a model on this machine.
pub(super) fn locate(model: &Path) -> anyhow::Result<PathBuf> {
    Ok(catalogue()?.locate(model)?.path)
}

/// The network at a path or with a name.
pub(super) fn network(model: &Path) -> anyhow::Result<Bundle> {
    Ok(soundalike_convert::load(&locate(model)?)?)
}

/// The pipeline at a path or with a name; `None` if it is a single network.
pub(super) fn pipeline(model: &Path) -> anyhow::Result<Option<PipelineDirectory>> {
    let path = locate(model)?;
    match is_pipeline(&path) {
        true => read(&path, None).map(Some),
        false => Ok(None),
    }
}

/// The pipeline at a path. With a terminal, models of the registry that its configuration names are downloaded.
pub(super) fn read(path: &Path, download: Option<&Terminal>) -> anyhow::Result<PipelineDirectory> {
    // A registry that cannot be read is reported where a configuration needs it.
    let catalogue = catalogue();
    let find = |name: &str, revision: Option<&str>| {
        let catalogue = match &catalogue {
            Ok(catalogue) => catalogue,
            Err(error) => return Some(Err(error.to_string().into())),
        };
        let found = match (catalogue.on_hub(name, revision)?, download) {
            (Err(Error::NotInstalled { name, .. }), Some(terminal)) => {
                install(catalogue, &name, None, terminal).map(|installed| installed.path())
            }
            (found, _) => found.map(|found| found.path),
        };
        Some(found.map_err(Into::into))
    };
    Ok(PipelineDirectory::read_with(path, &find)?)
}

/// The model of a diarization.
pub(super) enum Choice {
    /// A model on this machine, with its name in messages.
    Here(String, PathBuf),
    /// A model of the registry that must be downloaded first.
    Missing(String),
    /// The embedded network, and what its turns lack.
    Embedded(String),
}

impl Choice {
    /// The model that `--model` names, else the registry's default if it is on this machine, else the embedded one. Makes
    /// no request.
    pub(super) fn of(
        given: Option<&Path>,
        download: bool,
        terminal: &Terminal,
    ) -> anyhow::Result<Self> {
        let catalogue = catalogue()?;
        if let Some(given) = given {
            return match catalogue.locate(given) {
                Ok(found) => Ok(Self::Here(given.display().to_string(), found.path)),
                Err(Error::NotInstalled { name, .. }) if download => Ok(Self::Missing(name)),
                Err(error) => Err(error.into()),
            };
        }
        let Some(model) = catalogue.registry().default_model() else {
            return Ok(Self::Embedded(BUILT_IN.to_owned()));
        };
        if let Some(found) = catalogue.find(model) {
            let name = match found.origin {
                Origin::VerifiedCache => format!("{} of the hub's cache", model.name),
                _ => model.name.clone(),
            };
            return Ok(Self::Here(name, found.path));
        }
        if download {
            return Ok(Self::Missing(model.name.clone()));
        }
        if let Some(folder) = catalogue.unverified(model) {
            terminal.warn(&format!(
                "{}: is not used: it is not {} as the registry has it; give it with --model, or run `soundalike models get {}`",
                folder.display(),
                model.name,
                model.name
            ));
        }
        Ok(Self::Embedded(advice(model)))
    }

    /// Where the model lies, if it is a path.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Here(_, path) => Some(path),
            Self::Missing(_) | Self::Embedded(_) => None,
        }
    }

    /// The model, downloaded if it is missing.
    pub(super) fn obtained(self, terminal: &Terminal) -> anyhow::Result<Chosen> {
        let (name, path) = match self {
            Self::Here(name, path) => (name, path),
            Self::Missing(name) => {
                let installed = install(&catalogue()?, &name, None, terminal)?;
                (name, installed.path())
            }
            Self::Embedded(advice) => return Ok(Chosen::embedded(advice)),
        };
        Ok(Chosen::at(name, path))
    }
}

/// The model of a diarization, on this machine.
pub(crate) struct Chosen {
    /// Its name in messages.
    pub(super) name: String,
    /// Where it lies; `None` for the embedded one.
    pub(super) path: Option<PathBuf>,
    /// The note on its turns, if it has no speaker embedding network.
    pub(super) advice: String,
}

impl Chosen {
    /// The model that `--model` names, or the embedded one.
    pub(super) fn given(model: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match model {
            Some(model) => Self::at(model.display().to_string(), locate(model)?),
            None => Self::embedded(BUILT_IN.to_owned()),
        })
    }

    fn at(name: String, path: PathBuf) -> Self {
        Self {
            name,
            path: Some(path),
            advice: format!("{BUILT_IN} (see --model)"),
        }
    }

    fn embedded(advice: String) -> Self {
        Self {
            name: "the embedded segmentation-3.0".to_owned(),
            path: None,
            advice,
        }
    }
}

/// Note on turns of a saved run without a speaker embedding network: that of `diarize` without a model.
pub(super) fn note_on_built_in() -> String {
    let catalogue = catalogue().ok();
    let default = catalogue
        .as_ref()
        .and_then(|catalogue| catalogue.registry().default_model());
    default.map_or(BUILT_IN.to_owned(), advice)
}

/// Note on turns without a speaker embedding network.
const BUILT_IN: &str = "note: no speaker embedding network: clustering uses built-in embeddings, which are less accurate";

/// [`BUILT_IN`], with the command that installs a pipeline.
fn advice(model: &Model) -> String {
    format!(
        "{BUILT_IN}; `soundalike models get {}` installs a whole pipeline ({} MB, {})",
        model.name,
        model.size().div_ceil(1_000_000),
        model.licence()
    )
}
