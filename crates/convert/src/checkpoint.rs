//! PyTorch checkpoints: the files of `torch.save` and Lightning.
//!
//! A pickle of everything except the numbers, and storages: plain arrays. A tensor is a view of a storage: offset, shape,
//! strides. PyTorch `torch/serialization.py`, `torch/_utils.py`.

mod contents;
mod error;
mod hyperparameters;
mod legacy;
mod storage;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use contents::Contents;
pub use error::CheckpointError;
pub(crate) use legacy::is_legacy;
pub(crate) use storage::View;
use storage::view;

use soundalike_network::{Architecture, Specifications};

use crate::{
    Conversion, Origin, Source,
    bundle::Header,
    error::ErrorKind,
    loose::{self, Loose, Tensors},
    pickle::{Id, Pickle, PickleError, globals},
    source::sha256,
    told::Told,
};

/// First bytes of a zip archive with entries.
pub(crate) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Bytes of storages, by key.
type Storages<'a> = BTreeMap<String, Cow<'a, [u8]>>;

/// A checkpoint of any network, before its conversion.
pub(crate) struct Checkpoint<'a> {
    bytes: &'a [u8],
    contents: Contents<'a>,
    pub(crate) pickle: Pickle,
    state_dict: Vec<(String, View)>,
}

/// Refuses a pickle that is not in a zip archive.
pub(crate) fn refuse_bare_pickle(bytes: &[u8]) -> Result<(), ErrorKind> {
    let [0x80, protocol @ 0..=5, ..] = bytes else {
        return Ok(());
    };
    match Pickle::read(bytes) {
        Err(hostile @ PickleError::Hostile { .. }) => Err(hostile.into()),
        Err(_) if *protocol < 2 => Ok(()),
        _ => Err(CheckpointError::BarePickle.into()),
    }
}

impl<'a> Checkpoint<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, ErrorKind> {
        let (contents, pickle) = match is_legacy(bytes) {
            true => legacy::read(bytes)?,
            false => contents::read_zip(bytes)?,
        };
        let state_dict = state_dict(&pickle)?;
        Ok(Self {
            bytes,
            contents,
            pickle,
            state_dict,
        })
    }

    /// Classes and functions in the pickle that are not known to be harmless. They are reported and never called.
    pub(crate) fn foreign_globals(&self) -> Vec<String> {
        let globals = self.pickle.globals();
        let foreign = globals.filter(|global| !globals::is_known(global));
        foreign.map(ToString::to_string).collect()
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &View)> {
        self.state_dict.iter().map(|(name, view)| (&**name, view))
    }

    /// The origin of a tensor.
    pub(crate) fn origin(&self, view: &View) -> Origin {
        Origin::Storage {
            entry: self.contents.entry(&view.storage.key),
            offset: view.offset,
            contiguous: view.is_contiguous(),
        }
    }

    /// Class and module of the network, as recorded by pyannote.
    pub(crate) fn class(&self) -> (Option<String>, Option<String>) {
        let text = |key| {
            let pyannote = self.pickle.get(self.pickle.root(), "pyannote.audio")?;
            let architecture = self.pickle.get(pyannote, "architecture")?;
            let value = self.pickle.get(architecture, key)?;
            self.pickle.str(value).map(str::to_owned)
        };
        (text("class"), text("module"))
    }

    pub(crate) fn hyperparameters(&self) -> Option<Id> {
        self.pickle.get(self.pickle.root(), "hyper_parameters")
    }

    /// The architecture, and the task of the network.
    pub(crate) fn architecture(&self) -> Result<(Architecture, Option<Specifications>), ErrorKind> {
        let specifications = hyperparameters::specifications(&self.pickle)?;
        let (class, module) = self.class();
        if let (Some(class), Some(module)) = (&class, &module)
            && module.starts_with("pyannote.")
            && let Some(architecture) = hyperparameters::architecture(
                &self.pickle,
                self.hyperparameters(),
                class,
                specifications.as_ref(),
            )?
        {
            return Ok((architecture, specifications));
        }
        let names = self.tensors().map(|(name, _)| name);
        let prefixes: BTreeSet<&str> = names.filter_map(|name| name.split('.').next()).collect();
        Err(ErrorKind::UnknownArchitecture {
            class,
            module,
            prefixes: prefixes.into_iter().map(str::to_owned).collect(),
            tensors: self.state_dict.len(),
        })
    }

    pub(crate) fn convert(mut self, file: String) -> Result<Conversion, ErrorKind> {
        let (architecture, specifications) = match self.architecture() {
            Err(unknown @ ErrorKind::UnknownArchitecture { class: None, .. }) => {
                return self.recognised(file)?.ok_or(unknown);
            }
            architecture => architecture?,
        };
        let source = Source::new(file, self.contents.format(), sha256([self.bytes]));
        let header = Header::new(architecture, specifications, source, Vec::new())?;
        let found = self
            .tensors()
            .map(|(name, view)| (name, view.storage.dtype, &*view.shape));
        header.check_tensors(found)?;
        let storages = self.storages()?;

        Ok(Conversion {
            foreign_globals: self.foreign_globals(),
            ..loose::assemble(&header, self.loose(&storages))?
        })
    }

    /// The network of a state dict without a class. `None` if it is unknown.
    fn recognised(&mut self, file: String) -> Result<Option<Conversion>, ErrorKind> {
        let storages = self.storages()?;
        let source = Source::new(file, self.contents.format(), sha256([self.bytes]));
        let conversion = loose::convert(self.loose(&storages), &Told::default(), source)?;
        Ok(conversion.map(|conversion| Conversion {
            foreign_globals: self.foreign_globals(),
            ..conversion
        }))
    }

    /// The tensors of the state dict, in these storages.
    fn loose<'s>(&'s self, storages: &'s Storages<'a>) -> Tensors<'s> {
        let tensors = self.state_dict.iter().map(|(name, view)| {
            let storage: &[u8] = &storages[&view.storage.key];
            let tensor = Loose {
                dtype: view.storage.dtype,
                shape: view.shape.clone(),
                elements: Rc::new(move || view.elements(storage)),
                origin: self.origin(view),
            };
            (name.clone(), tensor)
        });
        tensors.collect()
    }

    /// Reads the storages of the state dict, each once.
    fn storages(&mut self) -> Result<Storages<'a>, ErrorKind> {
        let mut storages = BTreeMap::new();
        let (mut stored, mut wanted) = (0_usize, 0_usize);
        for (name, view) in &self.state_dict {
            wanted = wanted.saturating_add(view.len().saturating_mul(view.storage.dtype.size()));
            if storages.contains_key(&view.storage.key) {
                continue;
            }
            let (key, bytes) = (&view.storage.key, view.storage.bytes(name)?);
            let read = self.contents.read(key, bytes)?;
            stored = stored.saturating_add(bytes);
            storages.insert(key.clone(), read);
        }
        if wanted > stored.saturating_mul(MAX_SHARING) {
            return Err(CheckpointError::Shared { wanted, stored }.into());
        }
        Ok(storages)
    }
}

/// Largest ratio of the size of all tensors to the size of all storages. Tensors of the supported networks may share a
/// storage, but no elements.
const MAX_SHARING: usize = 2;

/// The tensors of `checkpoint["state_dict"]`, or of the checkpoint itself if it is a state dict.
fn state_dict(pickle: &Pickle) -> Result<Vec<(String, View)>, ErrorKind> {
    let root = pickle.root();
    if pickle.entries(root).is_none() {
        return Err(CheckpointError::Root(pickle.describe(root)).into());
    }
    let (id, nested) = match pickle.get(root, "state_dict") {
        Some(id) => (id, true),
        None => (root, false),
    };
    let entries = pickle
        .entries(id)
        .ok_or_else(|| CheckpointError::StateDict(pickle.describe(id)))?;
    let mut names = BTreeSet::new();
    let mut tensors = Vec::new();
    for &(key, value) in entries {
        let Some(name) = pickle.str(key) else {
            return Err(CheckpointError::Key(pickle.describe(key)).into());
        };
        match view(pickle, value, name)? {
            Some(view) => {
                if !names.insert(name) {
                    return Err(CheckpointError::DuplicateTensor(name.into()).into());
                }
                tensors.push((name.to_owned(), view));
            }
            None if nested => {
                let (tensor, found) = (name.into(), pickle.describe(value));
                return Err(CheckpointError::NotATensor { tensor, found }.into());
            }
            None => {}
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// A state dict of tensors that are all the same four bytes.
    fn sharing(names: &[&str]) -> Vec<u8> {
        // {name: _rebuild_tensor_v2(("storage", FloatStorage, "0", "cpu", 1), 0, (1,), (1,)), ...}
        let storage = "(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI1\ntQ";
        let tensor = format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n(I1\nt(I1\nttR");
        let entries = names.iter().map(|name| format!("V{name}\n{tensor}"));
        let pickle = format!("(d({}u.", entries.collect::<String>());
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in [("a/data.pkl", pickle.as_bytes()), ("a/data/0", &[0; 4])] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_storage_may_be_that_of_two_tensors_and_not_of_three() {
        let bytes = sharing(&["x", "y"]);
        let storages = Checkpoint::read(&bytes).unwrap().storages().unwrap();
        assert_eq!(storages["0"].len(), 4);
        let bytes = sharing(&["x", "y", "z"]);
        let error = Checkpoint::read(&bytes).unwrap().storages().unwrap_err();
        assert!(
            matches!(
                error,
                ErrorKind::Checkpoint(CheckpointError::Shared {
                    wanted: 12,
                    stored: 4
                })
            ),
            "{error}"
        );
    }
}
