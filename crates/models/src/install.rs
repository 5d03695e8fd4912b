//! Installation: files from a mirror, a local copy or the hub's cache, verified, converted to bundles and put in place.
//!
//! The files are gathered in `NAME/.REVISION.download`, where an interrupted download is found again; each grows under
//! `FILE.part`. The bundles are written to `NAME/.REVISION.new`, which is renamed once it is complete.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use soundalike_convert::{AtomicFile, convert_pipeline};

use crate::{
    address::{Address, AddressError},
    cache::{HubCache, holds},
    client::{Client, Problem},
    error::Error,
    file_hash::size_and_sha256,
    lock::Lock,
    registry::{Kind, Model, ModelFile},
    settings::Settings,
    store::{Installed, InstalledFile, RECORD, RECORD_FORMAT, Record, Store, network_file},
    transfer::{Event, Transfer},
};

/// Where a model is taken from in place of its mirrors. Its files must be the registry's all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// The files lie below this address.
    Address(String),
    /// The files lie in this directory, a snapshot of the hub's cache, or a model's folder in it.
    Directory(PathBuf),
}

impl CopyFrom {
    /// An address if it has a scheme, else a directory.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.contains("://") {
            true => Self::Address(text.trim_end_matches('/').to_owned()),
            false => Self::Directory(text.into()),
        }
    }

    fn address(base: &str, file: &ModelFile) -> Result<Address, Error> {
        Address::parse(&format!("{base}/{}", file.path)).map_err(|problem| Error::Address {
            origin: "--from",
            problem,
        })
    }
}

/// An installation of one model.
pub(crate) struct Installation<'a> {
    pub(crate) model: &'a Model,
    pub(crate) from: Option<&'a CopyFrom>,
    pub(crate) settings: &'a Settings,
    pub(crate) store: &'a Store,
    pub(crate) cache: Option<&'a HubCache>,
}

impl Installation<'_> {
    /// Installs the model, unless it is installed and intact.
    pub(crate) fn run(&self, report: &mut dyn FnMut(Event<'_>)) -> Result<Installed, Error> {
        let intact = || self.store.find(self.model).filter(Installed::is_intact);
        if let Some(installed) = intact() {
            return Ok(installed);
        }
        let (root, name) = (self.store.root(), &self.model.name);
        let _lock = Lock::acquire(root, name, || report(Event::Locked))?;
        // By another process, meanwhile.
        if let Some(installed) = intact() {
            return Ok(installed);
        }
        let download = self.directory("download");
        self.gather(&download, report)?;
        report(Event::Converting);
        let new = self.directory("new");
        remove_directory(&new)?;
        create_directory(&new)?;
        self.convert(&download, &new)?;
        let place = self.store.directory(self.model);
        remove_directory(&place)?;
        fs::rename(&new, &place).map_err(Error::io("renaming", &new))?;
        remove_directory(&download)?;
        let installed = Installed::read(&place);
        installed.ok_or_else(|| Error::NothingInstalled(name.clone()))
    }

    /// `NAME/.REVISION.PURPOSE`.
    fn directory(&self, purpose: &str) -> PathBuf {
        let Model { name, revision, .. } = self.model;
        self.store
            .root()
            .join(name)
            .join(format!(".{revision}.{purpose}"))
    }

    /// Makes all files of the model in a directory.
    fn gather(&self, download: &Path, report: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let total = self.model.size();
        let mut before = 0;
        for file in &self.model.files {
            let path = download.join(&file.path);
            let directory = path.parent().unwrap_or(download);
            fs::create_dir_all(directory).map_err(Error::not_writable(self.store.root()))?;
            if !holds(&path, file) {
                let part = part_of(&path);
                self.fetch(file, &part, (before, total), report)?;
                fs::rename(&part, &path).map_err(Error::io("renaming", &part))?;
            }
            before += file.size;
            report(Event::Progress {
                file: &file.path,
                done: before,
                total,
            });
        }
        Ok(())
    }

    /// Makes one verified file.
    fn fetch(
        &self,
        file: &ModelFile,
        part: &Path,
        (before, total): (u64, u64),
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Error> {
        if let Some(text) = &file.text {
            return fs::write(part, text).map_err(Error::io("writing", part));
        }
        if let Some(CopyFrom::Directory(directory)) = self.from {
            let path = match HubCache::is_folder(directory) {
                true => HubCache::snapshot(directory, None)?.join(&file.path),
                false => directory.join(&file.path),
            };
            report(Event::Source {
                file: &file.path,
                from: &path.display().to_string(),
            });
            return self.copy(&path, file, part);
        }
        if self.from.is_none()
            && let Some(cached) = self.cache.and_then(|cache| cache.file(self.model, file))
            && holds(&cached, file)
        {
            report(Event::Source {
                file: &file.path,
                from: &cached.display().to_string(),
            });
            return self.copy(&cached, file, part);
        }
        if self.settings.offline {
            return Err(Error::Offline(self.model.name.clone()));
        }
        let hub = |problem: AddressError| Error::Address {
            origin: "HF_ENDPOINT",
            problem,
        };
        let endpoint = &self.settings.endpoint;
        let addresses = match self.from {
            Some(CopyFrom::Address(base)) => vec![CopyFrom::address(base, file)?],
            _ => file.addresses(endpoint).map_err(hub)?,
        };
        let client = Client::new(self.settings, Address::parse(endpoint).map_err(hub)?);
        let transfer = Transfer {
            client: &client,
            file,
            part,
            stall: self.settings.stall_timeout,
            before,
            total,
        };
        transfer
            .run(addresses, report)?
            .map_err(|failures| Error::Download {
                model: self.model.name.clone(),
                file: file.path.clone(),
                failures,
            })
    }

    /// Copies a file of this machine, and verifies the copy: the original may change meanwhile.
    fn copy(&self, path: &Path, file: &ModelFile, part: &Path) -> Result<(), Error> {
        let model = || self.model.name.clone();
        let other = |problem| Error::OtherFile {
            path: path.to_owned(),
            model: model(),
            problem: Box::new(problem),
        };
        let found = path.metadata().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::MissingFile {
                path: path.to_owned(),
                model: model(),
            },
            _ => Error::io("reading", path)(error),
        })?;
        if found.len() != file.size {
            return Err(other(Problem::Size {
                found: found.len(),
                more: false,
                expected: file.size,
            }));
        }
        let mut original = File::open(path).map_err(Error::io("reading", path))?;
        let mut copy = File::create(part).map_err(Error::io("writing", part))?;
        io::copy(&mut original, &mut copy).map_err(Error::io("copying", part))?;
        let hashed = size_and_sha256(part);
        let (_, found) = hashed.map_err(Error::io("reading", part))?;
        if found == file.sha256 {
            return Ok(());
        }
        fs::remove_file(part).map_err(Error::io("removing", part))?;
        let expected = file.sha256.clone();
        Err(other(Problem::Hash { found, expected }))
    }

    /// Writes bundles, licence, citation and the record to a directory.
    fn convert(&self, download: &Path, new: &Path) -> Result<(), Error> {
        match self.model.kind {
            Kind::Pipeline => {
                convert_pipeline(download, new)?;
            }
            Kind::Network => {
                let checkpoint = match &self.model.files[..] {
                    [only] => download.join(&only.path),
                    _ => download.to_owned(),
                };
                let bundle = soundalike_convert::load(&checkpoint)?;
                bundle.save(&new.join(network_file(&self.model.name)))?;
            }
        }
        write(&new.join("LICENCE.txt"), &self.notice())?;
        if !self.model.citation.is_empty() {
            write(&new.join("citation.bib"), &self.model.citation)?;
        }
        let mut files = Vec::new();
        let entries = fs::read_dir(new).map_err(Error::io("reading", new))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let (size, sha256) = size_and_sha256(&path).map_err(Error::io("reading", &path))?;
            let path = entry.file_name().to_string_lossy().into_owned();
            files.push(InstalledFile { path, size, sha256 });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let sources = self.model.files.iter().map(|file| InstalledFile {
            path: file.path.clone(),
            size: file.size,
            sha256: file.sha256.clone(),
        });
        let record = Record {
            format: RECORD_FORMAT,
            name: self.model.name.clone(),
            revision: self.model.revision.clone(),
            kind: self.model.kind,
            licence: self.model.licence(),
            files,
            sources: sources.collect(),
        };
        // Cannot fail: strings and numbers.
        let text = serde_json::to_string_pretty(&record).unwrap_or_default();
        write(&new.join(RECORD), &(text + "\n"))
    }

    /// What the licences ask to keep beside the model.
    fn notice(&self) -> String {
        let Model {
            name,
            revision,
            attribution,
            licences,
            ..
        } = self.model;
        let mut text = format!(
            "{name}, revision {revision}\n{attribution}\nConverted to safetensors by soundalike; values are unchanged.\n"
        );
        for licence in licences {
            text += &format!("\n{}: {}\n{}", licence.name, licence.url, licence.text);
        }
        text
    }
}

/// `FILE.part`.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write;
    let mut file = AtomicFile::create(path).map_err(Error::io("writing", path))?;
    file.write_all(text.as_bytes())
        .map_err(Error::io("writing", path))?;
    file.persist().map_err(Error::io("writing", path))
}

fn create_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("making the directory", path))
}

/// Removes a directory, if there is one.
fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}
