//! Models by name: from the installed ones, else from the hub's cache.

use std::path::{Path, PathBuf};

use crate::{
    cache::HubCache,
    error::Error,
    install::{CopyFrom, Installation},
    registry::{Model, Registry, is_hub_id},
    settings::Settings,
    store::{Installed, Store},
    transfer::Event,
};

/// The registry, the installed models and the hub's cache.
#[derive(Debug, Clone)]
pub struct Catalogue {
    settings: Settings,
    registry: Registry,
    store: Option<Store>,
    cache: Option<HubCache>,
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A pipeline's directory or configuration, or a network's directory or file.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
}

/// Where a model was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A path, as given.
    Path,
    /// Among the installed models.
    Installed,
    /// In the hub's cache, equal to the registry's.
    VerifiedCache,
    /// In the hub's cache. The registry does not have this version.
    Cache,
}

impl Catalogue {
    /// The built-in registry, that of the settings, and that of `file`.
    ///
    /// # Errors
    /// If a registry cannot be read.
    pub fn open(settings: Settings, file: Option<&Path>) -> Result<Self, Error> {
        let mut registry = Registry::built_in()?;
        for file in settings.registry.as_deref().into_iter().chain(file) {
            registry = registry.with_file(file)?;
        }
        Ok(Self {
            store: settings.models.clone().map(Store::new),
            cache: settings.hub_cache.clone().map(HubCache::new),
            registry,
            settings,
        })
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The installed models.
    ///
    /// # Errors
    /// Without a home directory.
    pub fn store(&self) -> Result<&Store, Error> {
        self.store.as_ref().ok_or(Error::NoHome)
    }

    /// The model of the registry with this name, or with this name on the hub.
    ///
    /// # Errors
    /// If the registry has none.
    pub fn model(&self, name: &str) -> Result<&Model, Error> {
        let found = self.registry.model(name);
        let found = found.or_else(|| self.registry.by_hub_id(name));
        found.ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            known: self.names(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.registry
            .models()
            .map(|model| model.name.clone())
            .collect()
    }

    /// Installs the model with this name, unless it is installed and intact: from `from`, else from the hub's cache, else
    /// from its mirrors. Makes requests.
    ///
    /// # Errors
    /// If the registry has none, no address has its files, or they cannot be written.
    pub fn get(
        &self,
        name: &str,
        from: Option<&CopyFrom>,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Installed, Error> {
        let installation = Installation {
            model: self.model(name)?,
            from,
            settings: &self.settings,
            store: self.store()?,
            cache: self.cache.as_ref(),
        };
        installation.run(report)
    }

    /// The model with this name, if it is installed.
    #[must_use]
    pub fn installed(&self, model: &Model) -> Option<Installed> {
        self.store.as_ref()?.find(model)
    }

    /// A model of the registry on this machine: installed, or in the hub's cache and equal to the registry's.
    #[must_use]
    pub fn find(&self, model: &Model) -> Option<Found> {
        if let Some(installed) = self.installed(model) {
            return Some(Found {
                path: installed.path(),
                origin: Origin::Installed,
            });
        }
        let path = self.cache.as_ref()?.verified(model)?;
        Some(Found {
            path,
            origin: Origin::VerifiedCache,
        })
    }

    /// What `--model` names: an existing path, a model's folder in the hub's cache, a name of the registry, or a name on
    /// the hub. Makes no request.
    ///
    /// # Errors
    /// If it is none of these, or not on this machine.
    pub fn locate(&self, wanted: &Path) -> Result<Found, Error> {
        if HubCache::is_folder(wanted) {
            return Self::of_folder(wanted, None);
        }
        // A dangling link is reported by whoever opens it.
        if wanted.symlink_metadata().is_ok() {
            let path = wanted.to_owned();
            return Ok(Found {
                path,
                origin: Origin::Path,
            });
        }
        self.named(&wanted.to_string_lossy())
            .map_err(|error| match error {
                Error::Unknown { name, known } => Error::NotFound { name, known },
                error => error,
            })
    }

    /// The model of this machine with a name of the registry or on the hub. Makes no request.
    ///
    /// # Errors
    /// If the registry has none, or it is not on this machine.
    pub fn named(&self, name: &str) -> Result<Found, Error> {
        if let Some(model) = self.registry.model(name) {
            return self.find(model).ok_or_else(|| not_installed(model));
        }
        let (id, revision) = hub_id(name);
        if is_hub_id(id) {
            return self.locate_on_hub(id, revision);
        }
        Err(Error::Unknown {
            name: name.to_owned(),
            known: self.names(),
        })
    }

    /// The model `OWNER/NAME` of the hub: installed, or in the hub's cache. Makes no request.
    ///
    /// # Errors
    /// If it is neither.
    pub fn locate_on_hub(&self, id: &str, revision: Option<&str>) -> Result<Found, Error> {
        let (id, in_id) = hub_id(id);
        let revision = revision.or(in_id);
        let model = self.registry.by_hub_id(id);
        // The registry pins one revision; another one must come from the cache.
        let model = model.filter(|model| revision.is_none_or(|wanted| wanted == model.revision));
        if let Some(found) = model.and_then(|model| self.find(model)) {
            return Ok(found);
        }
        if let Some(folder) = self.cache.as_ref().and_then(|cache| cache.folder(id)) {
            return Self::of_folder(&folder, revision);
        }
        Err(match model {
            Some(model) => not_installed(model),
            None => Error::NotCached {
                id: id.to_owned(),
                cache: self.settings.hub_cache.clone(),
            },
        })
    }

    /// As [`Self::locate_on_hub`], if `name` has the form of a name on the hub.
    #[must_use]
    pub fn on_hub(&self, name: &str, revision: Option<&str>) -> Option<Result<Found, Error>> {
        is_hub_id(hub_id(name).0).then(|| self.locate_on_hub(name, revision))
    }

    /// The folder of a model in the hub's cache, which [`Self::find`] refused: another version, incomplete or damaged.
    #[must_use]
    pub fn unverified(&self, model: &Model) -> Option<PathBuf> {
        let cache = self.cache.as_ref()?;
        model.hub.iter().find_map(|id| cache.folder(id))
    }

    /// A snapshot of a model's folder, whose large files are as the hub names them.
    fn of_folder(folder: &Path, revision: Option<&str>) -> Result<Found, Error> {
        let path = HubCache::snapshot(folder, revision)?;
        HubCache::verify_blobs(&path)?;
        Ok(Found {
            path,
            origin: Origin::Cache,
        })
    }
}

/// A name on the hub and its revision: `OWNER/NAME@REVISION`, as pyannote writes it.
fn hub_id(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (text, None),
    }
}

fn not_installed(model: &Model) -> Error {
    Error::NotInstalled {
        name: model.name.clone(),
        megabytes: model.size().div_ceil(1_000_000),
        licence: model.licence(),
    }
}
