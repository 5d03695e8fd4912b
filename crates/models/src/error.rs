//! Errors, as data.

use std::{
    io,
    path::{Path, PathBuf},
};

use soundalike_convert::quoted_name;

use crate::{
    address::AddressError, cache::CacheError, client::Problem, registry::RegistryError,
    transfer::Failure,
};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("{}: {action} failed", path.display())]
    Io {
        /// The operation: `reading`, `writing`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full, or a quota is reached.
    #[error(
        "{}: the disk is full; make room and run the command again, which continues the download",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory of models cannot be written.
    #[error("{}: cannot be written; set SOUNDALIKE_MODELS to a directory that can", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no directory for models.
    #[error("there is no home directory; set SOUNDALIKE_MODELS to a directory for models")]
    NoHome,
    /// A file that is not a registry.
    #[error("{file}: {problem}")]
    Registry {
        /// The file.
        file: String,
        /// What is wrong.
        problem: Box<RegistryError>,
    },
    /// A model that is not in the registry.
    #[error("{} is not a model of the registry, which has {}", quoted_name(.name), known.join(", "))]
    Unknown {
        /// The name or the hub's name.
        name: String,
        /// Names of the registry's models.
        known: Vec<String>,
    },
    /// Neither a path, nor a name, nor in the hub's cache.
    #[error(
        "{}: is not a file, a directory, or the name of a model ({}); is the path right?",
        .name,
        known.join(", ")
    )]
    NotFound {
        /// What was given.
        name: String,
        /// Names of the registry's models.
        known: Vec<String>,
    },
    /// A model that has not been downloaded.
    #[error(
        "{name} is not on this machine; `soundalike models get {name}` installs it ({megabytes} MB, {licence})"
    )]
    NotInstalled {
        /// Its name.
        name: String,
        /// Size of the download.
        megabytes: u64,
        /// Its licences.
        licence: String,
    },
    /// A model of the hub that is neither in the registry nor in the hub's cache.
    #[error(
        "{id}: is not a file, and no model of this name is installed or in the hub's cache{}; is the path right? `hf download {id}` downloads a model of the hub",
        cache.as_ref().map_or(String::new(), |cache| format!(" ({})", cache.display()))
    )]
    NotCached {
        /// Its name on the hub.
        id: String,
        /// The hub's cache.
        cache: Option<PathBuf>,
    },
    /// A model that is not installed in the registry's version.
    #[error("{0} is not installed; `soundalike models list` shows what is")]
    NothingInstalled(String),
    /// An unusable entry of the hub's cache.
    #[error("{}: {problem}", path.display())]
    Cache {
        /// The model's folder, or a file in it.
        path: PathBuf,
        /// What is wrong.
        problem: CacheError,
    },
    /// Requests are forbidden.
    #[error(
        "HF_HUB_OFFLINE is set, so {0} cannot be downloaded; unset it, or give a local copy with --from DIR"
    )]
    Offline(String),
    /// The address of the hub, or the one given for a download, is not usable.
    #[error("{origin}: {problem}")]
    Address {
        /// Where it comes from: `HF_ENDPOINT`, `--from`.
        origin: &'static str,
        /// What is wrong.
        problem: AddressError,
    },
    /// Every address of a file failed.
    #[error("{file} of {model} could not be downloaded: {}", listed(failures))]
    Download {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// One for each address.
        failures: Vec<Failure>,
    },
    /// A local copy of a file that is not the registry's.
    #[error("{}: {problem}; this is not the file of {model}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// Its size or its hash.
        problem: Box<Problem>,
    },
    /// A local copy without a file.
    #[error("{}: does not exist, and {model} needs it", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
    },
    /// A file that could not be converted.
    #[error(transparent)]
    Convert(#[from] soundalike_convert::Error),
}

impl Error {
    /// For `map_err` on the result of a system call on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, source },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// As [`Self::io`], for the directory of models.
    pub(crate) fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::NotWritable { path, source }
    }
}

fn listed(failures: &[Failure]) -> String {
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    match failures.is_empty() {
        true => "the registry has no address of it".to_owned(),
        false => failures.join("; "),
    }
}
