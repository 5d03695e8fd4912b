//! A reader of Python pickles that calls no functions.
//!
//! A pickle is a program for a stack machine. Python's reader calls every function that the program names. This reader
//! calls none: a name stays a name ([`Value::Global`]), and a call becomes a record of the function and its arguments
//! ([`Object`]). Functions that only an attacker needs (`os.system`, `eval`, ...) are refused by name ([`globals`]).
//!
//! Values are stored in one arena and refer to each other by index. So a shared value is stored once, a value may contain
//! itself, and dropping deep nesting does not recurse. Opcodes: Python's `Lib/pickletools.py`, protocols 0 to 5.

mod error;
pub(crate) mod globals;
mod machine;

use std::collections::BTreeSet;

pub use error::PickleError;

use crate::name::shown;

/// Largest accepted pickle, in bytes. Weights are stored outside the pickle: the largest known one, of a Lightning
/// checkpoint with its optimizer, has 22 kB.
pub const MAX_PICKLE_BYTES: usize = 16 << 20;

/// Most values of a pickle. A value takes about 40 bytes in memory and as little as one byte in the file; this limit
/// keeps the memory below 50 MB. Real pickles have about 5,000.
pub const MAX_VALUES: usize = 1 << 20;

/// Index of a value in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(u32);

/// A Python value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: little-endian two's complement.
    Long(Box<[u8]>),
    Float(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    /// A class or function, by name.
    Global(Box<Global>),
    /// A call that was not made.
    Object(Box<Object>),
    /// A value outside the pickle: the storage of a tensor.
    Persistent(Id),
}

/// The name of a class or function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Global {
    pub(crate) module: String,
    pub(crate) name: String,
}

impl Global {
    pub(crate) fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }
}

impl std::fmt::Display for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// A call that was not made, and the contents of its result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// The class or function.
    pub(crate) class: Id,
    /// The arguments: a tuple.
    pub(crate) args: Id,
    /// Argument of `__setstate__`: the attributes, for most classes.
    pub(crate) state: Option<Id>,
    /// Entries set by `object[key] = value`, as in an `OrderedDict`.
    pub(crate) entries: Vec<(Id, Id)>,
    /// Appended items.
    pub(crate) items: Vec<Id>,
}

/// The contents of a pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    values: Vec<Value>,
    root: Id,
    globals: BTreeSet<Global>,
}

impl Pickle {
    /// Runs the stack machine to its end.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, PickleError> {
        if bytes.len() > MAX_PICKLE_BYTES {
            return Err(PickleError::TooLarge(bytes.len()));
        }
        Ok(machine::run(bytes)?.0)
    }

    /// Reads the pickle with which `bytes` begin, and takes it away from them.
    pub(crate) fn take(bytes: &mut &[u8]) -> Result<Self, PickleError> {
        let (pickle, len) = machine::run(&bytes[..bytes.len().min(MAX_PICKLE_BYTES)])?;
        *bytes = &bytes[len..];
        Ok(pickle)
    }

    pub(crate) fn root(&self) -> Id {
        self.root
    }

    pub(crate) fn value(&self, id: Id) -> &Value {
        // In range: an `Id` is made by pushing onto `values`, which never shrinks.
        &self.values[id.0 as usize]
    }

    /// Values outside the pickle.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Id> {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// All classes and functions named in the pickle.
    pub(crate) fn globals(&self) -> impl Iterator<Item = &Global> {
        self.globals.iter()
    }

    pub(crate) fn global(&self, id: Id) -> Option<&Global> {
        match self.value(id) {
            Value::Global(global) => Some(global),
            _ => None,
        }
    }

    pub(crate) fn str(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Str(text) => Some(text),
            // A `str` subclass (torch's `TorchVersion`): the text is its argument.
            Value::Object(object) if self.class(id)?.name == "TorchVersion" => {
                match self.value(*self.tuple(object.args)?.first()?) {
                    Value::Str(text) => Some(text),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub(crate) fn int(&self, id: Id) -> Option<i64> {
        match *self.value(id) {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// An integer that is a size.
    pub(crate) fn count(&self, id: Id) -> Option<usize> {
        usize::try_from(self.int(id)?).ok()
    }

    pub(crate) fn float(&self, id: Id) -> Option<f64> {
        match *self.value(id) {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, id: Id) -> Option<bool> {
        match *self.value(id) {
            Value::Bool(value) => Some(value),
            Value::Int(value @ 0..=1) => Some(value == 1),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(items) => Some(items),
            Value::List(items) => Some(items),
            Value::Object(object) if !object.items.is_empty() => Some(&object.items),
            _ => None,
        }
    }

    pub(crate) fn object(&self, id: Id) -> Option<&Object> {
        match self.value(id) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The class of an object.
    pub(crate) fn class(&self, id: Id) -> Option<&Global> {
        self.global(self.object(id)?.class)
    }

    /// The entries of a dictionary, or of an object like one (`OrderedDict`, `defaultdict`, omegaconf's `DictConfig`).
    pub(crate) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.value(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) if !object.entries.is_empty() => Some(&object.entries),
            Value::Object(_) => {
                let global = self.class(id)?;
                (global.module == "collections" || global.name == "dict").then_some(&[])
            }
            _ => None,
        }
    }

    /// The value of a key in a dictionary. The last one wins, as in Python.
    pub(crate) fn get(&self, dictionary: Id, key: &str) -> Option<Id> {
        let entries = self.entries(dictionary)?;
        entries
            .iter()
            .rev()
            .find(|&&(k, _)| self.is_str(k, key))
            .map(|&(_, value)| value)
    }

    /// An attribute of an object.
    pub(crate) fn attribute(&self, object: Id, name: &str) -> Option<Id> {
        let state = self.object(object)?.state?;
        // With `__slots__` the state is a pair (dictionary, slots).
        match self.tuple(state) {
            Some(parts) => parts.iter().find_map(|&part| self.get(part, name)),
            None => self.get(state, name),
        }
    }

    fn is_str(&self, id: Id, text: &str) -> bool {
        matches!(self.value(id), Value::Str(found) if **found == *text)
    }

    /// A short description of a value, for errors.
    pub(crate) fn describe(&self, id: Id) -> String {
        match self.value(id) {
            Value::None => "None".into(),
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            Value::Int(value) => value.to_string(),
            Value::Long(_) => "a very large integer".into(),
            Value::Float(value) => value.to_string(),
            Value::Str(text) => {
                let start: String = text.chars().take(40).collect();
                format!("{start:?}")
            }
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Dict(entries) => format!("a dictionary of {}", entries.len()),
            Value::Set(items) => format!("a set of {}", items.len()),
            Value::Global(global) => shown(&global.to_string()),
            Value::Object(_) => match self.class(id) {
                Some(global) => format!("a {}", shown(&global.to_string())),
                None => "an object".into(),
            },
            Value::Persistent(_) => "a storage".into(),
        }
    }
}
