//! The registry: which models there are.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use serde::Deserialize;
use soundalike_convert::{is_file_name, quoted_name};

use crate::{
    address::{Address, AddressError},
    error::Error,
};

/// The registry of this crate.
const BUILT_IN: &str = include_str!("registry.toml");
/// Version of the layout. A file with another version is refused.
const FORMAT: u32 = 1;
/// Largest registry file, in bytes.
const MAX_REGISTRY_BYTES: u64 = 1 << 20;
/// Largest file of a model, in bytes: the disk fills no further.
const MAX_FILE_BYTES: u64 = 1 << 34;
/// Stands for the address of the hub, at the start of another one.
const HUB: &str = "{hub}/";

/// Models by name.
#[derive(Debug, Clone)]
pub struct Registry {
    default: Option<String>,
    models: BTreeMap<String, Model>,
}

/// One model of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name: `community-1`.
    pub name: String,
    /// A pipeline or a single network.
    pub kind: Kind,
    /// What it is, in a line.
    pub about: String,
    /// Its licences.
    pub licences: Vec<Licence>,
    /// Who made it, as the licence requires.
    pub attribution: String,
    /// What to cite, as BibTeX.
    pub citation: String,
    /// The pinned revision: a commit of its repository.
    pub revision: String,
    /// Its names on the hub: `pyannote/speaker-diarization-community-1`.
    pub hub: Vec<String>,
    /// Its files.
    pub files: Vec<ModelFile>,
}

/// A licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// SPDX identifier: `CC-BY-4.0`.
    pub name: String,
    /// Where its text is.
    pub url: String,
    /// The notice that copies must include, if any.
    pub text: String,
}

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory with `config.yaml` and the models that it names.
    Pipeline,
    /// A checkpoint.
    Network,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Its path in the model's directory, with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its contents, where the registry has them.
    pub text: Option<String>,
    /// Addresses, in order of preference. `{hub}/` stands for the hub.
    pub urls: Vec<String>,
}

/// Why a file is not a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Too large.
    #[error("has more than {MAX_REGISTRY_BYTES} bytes, the limit of a registry")]
    TooLarge,
    /// Not TOML, or with other keys.
    #[error("is not a registry: {0}")]
    Toml(Box<toml::de::Error>),
    /// Of another version.
    #[error("has format {0}, this program reads {FORMAT}")]
    Format(u32),
    /// A key with a value that does not fit.
    #[error("model {}: {key} is {found}, expected {expected}", quoted_name(.model))]
    Value {
        /// The model.
        model: String,
        /// The key.
        key: &'static str,
        /// The value.
        found: String,
        /// What fits.
        expected: &'static str,
    },
    /// An address that is none, or not https.
    #[error("model {}: {problem}", quoted_name(.model))]
    Address {
        /// The model.
        model: String,
        /// What is wrong.
        problem: AddressError,
    },
    /// A default that is not a model.
    #[error("default is {}, which is not one of its models", quoted_name(.0))]
    Default(String),
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    default: Option<String>,
    #[serde(default)]
    licences: BTreeMap<String, LicenceText>,
    #[serde(default)]
    citations: BTreeMap<String, String>,
    #[serde(default)]
    models: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LicenceText {
    url: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    about: String,
    licences: Vec<String>,
    attribution: String,
    #[serde(default)]
    cite: Vec<String>,
    revision: String,
    #[serde(default)]
    hub: Vec<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    files: Vec<FileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    path: String,
    size: Option<u64>,
    sha256: Option<String>,
    text: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
}

impl Registry {
    /// The registry of this crate.
    ///
    /// # Errors
    /// None; a test reads it.
    pub fn built_in() -> Result<Self, Error> {
        Self::parse(BUILT_IN).map_err(|problem| Error::Registry {
            file: "built-in registry".into(),
            problem: Box::new(problem),
        })
    }

    /// This registry with the models of a file. A model of the file replaces one with the same name.
    ///
    /// # Errors
    /// If the file cannot be read or is not a registry.
    pub fn with_file(mut self, file: &Path) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let opened = File::open(file).map_err(Error::io("reading", file))?;
        let read = opened.take(MAX_REGISTRY_BYTES + 1).read_to_end(&mut bytes);
        let parsed = match read.map_err(Error::io("reading", file))? as u64 {
            ..=MAX_REGISTRY_BYTES => Self::parse(&String::from_utf8_lossy(&bytes)),
            _ => Err(RegistryError::TooLarge),
        };
        let added = parsed.map_err(|problem| Error::Registry {
            file: file.display().to_string(),
            problem: Box::new(problem),
        })?;
        self.models.extend(added.models);
        self.default = added.default.or(self.default);
        Ok(self)
    }

    /// Reads a registry.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let document = toml::from_str(text);
        let document: Document = document.map_err(|error| RegistryError::Toml(Box::new(error)))?;
        if document.format != FORMAT {
            return Err(RegistryError::Format(document.format));
        }
        let Document {
            default,
            licences,
            citations,
            models,
            ..
        } = document;
        let checked = models.into_iter().map(|(name, entry)| {
            let model = entry.checked(&name, &licences, &citations)?;
            Ok((name, model))
        });
        let models: BTreeMap<_, _> = checked.collect::<Result<_, RegistryError>>()?;
        if let Some(default) = default.as_ref().filter(|name| !models.contains_key(*name)) {
            return Err(RegistryError::Default(default.clone()));
        }
        Ok(Self { default, models })
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The model with this name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// The model with this name on the hub.
    #[must_use]
    pub fn by_hub_id(&self, id: &str) -> Option<&Model> {
        let named = |model: &&Model| model.hub.iter().any(|known| known.eq_ignore_ascii_case(id));
        self.models().find(named)
    }

    /// The model that `diarize` uses where none is named.
    #[must_use]
    pub fn default_model(&self) -> Option<&Model> {
        self.model(self.default.as_ref()?)
    }
}

impl Model {
    /// Size of all files, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Names of its licences: `MIT, CC-BY-4.0`.
    #[must_use]
    pub fn licence(&self) -> String {
        let names: Vec<_> = self.licences.iter().map(|licence| &*licence.name).collect();
        names.join(", ")
    }
}

impl ModelFile {
    /// Its addresses, where the hub is at `endpoint`.
    ///
    /// # Errors
    /// If an address is malformed or not https, as that of the hub may be.
    pub fn addresses(&self, endpoint: &str) -> Result<Vec<Address>, AddressError> {
        let urls = self.urls.iter();
        urls.map(|url| match url.strip_prefix(HUB) {
            Some(path) => Address::parse(&format!("{endpoint}/{path}")),
            None => Address::parse(url),
        })
        .collect()
    }
}

impl Entry {
    fn checked(
        self,
        name: &str,
        licences: &BTreeMap<String, LicenceText>,
        citations: &BTreeMap<String, String>,
    ) -> Result<Model, RegistryError> {
        let wrong = |key, found: &str, expected| RegistryError::Value {
            model: name.into(),
            key,
            found: quoted_name(found),
            expected,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_plain =
            |text: &str| is_file_name(text) && !text.starts_with('.') && text.chars().all(plain);
        let expected = "letters, digits, `.`, `_` and `-`";
        if !is_plain(name) {
            return Err(wrong("name", name, expected));
        }
        if !is_plain(&self.revision) {
            return Err(wrong("revision", &self.revision, expected));
        }
        if let Some(id) = self.hub.iter().find(|id| !is_hub_id(id)) {
            return Err(wrong("hub", id, "OWNER/NAME"));
        }
        let licences = self.licences.iter().map(|key| {
            let LicenceText { url, text } = licences
                .get(key)
                .ok_or_else(|| wrong("licences", key, "one of [licences]"))?;
            Ok(Licence {
                name: key.clone(),
                url: url.clone(),
                text: text.clone(),
            })
        });
        let licences = licences.collect::<Result<_, _>>()?;
        let cited = self.cite.iter().map(|key| {
            let found = citations.get(key).map(String::as_str);
            found.ok_or_else(|| wrong("cite", key, "one of [citations]"))
        });
        let citation = cited.collect::<Result<Vec<_>, _>>()?.concat();
        if self.files.is_empty() {
            return Err(wrong("files", "", "at least one"));
        }
        let mut files: Vec<ModelFile> = Vec::new();
        for entry in self.files {
            let file = entry
                .checked(&self.mirrors)
                .map_err(|problem| match problem {
                    FileProblem::Value(key, found, expected) => wrong(key, &found, expected),
                    FileProblem::Address(problem) => RegistryError::Address {
                        model: name.into(),
                        problem,
                    },
                })?;
            if files.iter().any(|other| other.path == file.path) {
                return Err(wrong("path", &file.path, "each file once"));
            }
            files.push(file);
        }
        Ok(Model {
            name: name.into(),
            kind: self.kind,
            about: self.about,
            licences,
            attribution: self.attribution,
            citation,
            revision: self.revision,
            hub: self.hub,
            files,
        })
    }
}

enum FileProblem {
    Value(&'static str, String, &'static str),
    Address(AddressError),
}

impl FileEntry {
    fn checked(self, mirrors: &[String]) -> Result<ModelFile, FileProblem> {
        let wrong =
            |key, found: &str, expected| Err(FileProblem::Value(key, found.into(), expected));
        let names = self.path.split('/');
        if !{ names }.all(is_file_name) {
            return wrong("path", &self.path, "a path below the model's directory");
        }
        let of_text = self.text.as_ref().map(|text| {
            let sha256 = soundalike_convert::sha256([text.as_bytes()]);
            (text.len() as u64, sha256)
        });
        let (size, sha256) = match (of_text, self.size, self.sha256) {
            (Some((size, sha256)), given_size, given_sha256) => {
                if given_size.is_some_and(|given| given != size)
                    || given_sha256.is_some_and(|given| given != sha256)
                {
                    return wrong("text", &self.path, "the text of this size and sha256");
                }
                (size, sha256)
            }
            (None, Some(size), Some(sha256)) => (size, sha256),
            _ => return wrong("size", &self.path, "size and sha256, or else text"),
        };
        if !(1..=MAX_FILE_BYTES).contains(&size) {
            return wrong("size", &size.to_string(), "1 to 16 GiB");
        }
        if !is_sha256(&sha256) {
            return wrong("sha256", &sha256, "64 hexadecimal digits in lower case");
        }
        let mirrored = || {
            mirrors
                .iter()
                .map(|mirror| format!("{mirror}/{}", self.path))
        };
        let urls = match self.urls.is_empty() {
            true if self.text.is_some() => Vec::new(),
            true => mirrored().collect(),
            false => self.urls,
        };
        let file = ModelFile {
            path: self.path,
            size,
            sha256,
            text: self.text,
            urls,
        };
        // The real address of the hub is checked when it is used.
        file.addresses("https://hub.invalid")
            .map_err(FileProblem::Address)?;
        Ok(file)
    }
}

/// Whether `text` is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.bytes().all(digit)
}

/// Whether `text` has the form of a name on the hub: `OWNER/NAME`.
pub(crate) fn is_hub_id(text: &str) -> bool {
    let plain = |name: &str| {
        let mut chars = name.chars();
        is_file_name(name)
            && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && { chars }.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            // The hub's cache separates owner and name by them.
            && !name.contains("--")
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| plain(owner) && plain(name))
}
