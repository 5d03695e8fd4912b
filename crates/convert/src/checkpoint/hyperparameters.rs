//! Hyperparameters and specifications in pyannote's checkpoints.

use soundalike_network::{
    Activation, Architecture, BlockKind, HyperparameterError, LinearOptions, LstmOptions, Problem,
    PyanNet, Resolution, SincFilters, SincNet, Specifications, WeSpeakerResNet,
};

use super::CheckpointError;
use crate::{
    error::ErrorKind,
    pickle::{Id, Pickle, Value},
};

/// A dictionary of hyperparameters. Missing ones have pyannote's defaults.
struct Dictionary<'p> {
    pickle: &'p Pickle,
    id: Option<Id>,
    /// Prefix of names in errors: `lstm.`.
    prefix: &'static str,
}

impl<'p> Dictionary<'p> {
    fn get(&self, key: &str) -> Option<Id> {
        let value = self.pickle.get(self.id?, key)?;
        Some(plain(self.pickle, value))
    }

    /// The dictionary under a key. If it is missing or `None`, all its values are defaults.
    fn dictionary(
        &self,
        key: &str,
        prefix: &'static str,
    ) -> Result<Dictionary<'p>, HyperparameterError> {
        let id = self
            .get(key)
            .filter(|&id| *self.pickle.value(id) != Value::None);
        if let Some(id) = id
            && self.pickle.entries(id).is_none()
        {
            return Err(self.wrong(key, id, "a dictionary"));
        }
        Ok(Dictionary {
            pickle: self.pickle,
            id,
            prefix,
        })
    }

    fn wrong(&self, key: &str, found: Id, expected: &str) -> HyperparameterError {
        HyperparameterError {
            name: format!("{}{key}", self.prefix),
            found: self.pickle.describe(found),
            expected: expected.into(),
        }
    }

    fn read<T>(
        &self,
        key: &str,
        default: T,
        expected: &str,
        read: impl FnOnce(Id) -> Option<T>,
    ) -> Result<T, HyperparameterError> {
        match self.get(key) {
            None => Ok(default),
            Some(id) => read(id).ok_or_else(|| self.wrong(key, id, expected)),
        }
    }

    fn count(&self, key: &str, default: usize) -> Result<usize, HyperparameterError> {
        self.read(key, default, "a whole number", |id| self.pickle.count(id))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, HyperparameterError> {
        self.read(key, default, "True or False", |id| self.pickle.bool(id))
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, HyperparameterError> {
        self.read(key, default, "a number", |id| self.pickle.float(id))
    }

    /// Refuses unknown keys, which may change the network.
    fn only(&self, known: &[&str]) -> Result<(), HyperparameterError> {
        let entries = self.id.and_then(|id| self.pickle.entries(id));
        for &(key, value) in entries.unwrap_or_default() {
            let name = self.pickle.str(key).unwrap_or("?");
            if !known.contains(&name) {
                let expected = format!("only {}", known.join(", "));
                return Err(self.wrong(name, plain(self.pickle, value), &expected));
            }
        }
        Ok(())
    }

    /// Refuses a value that is not supported.
    fn fixed(&self, key: &str, expected: bool) -> Result<(), HyperparameterError> {
        match self.get(key) {
            Some(id) if self.pickle.bool(id) != Some(expected) => {
                Err(self.wrong(key, id, if expected { "True" } else { "False" }))
            }
            _ => Ok(()),
        }
    }
}

/// Most wrappers of omegaconf around a value: it uses two, a node in a container.
const MAX_WRAPPING: usize = 4;

/// The value without omegaconf's wrappers.
fn plain(pickle: &Pickle, mut id: Id) -> Id {
    for _ in 0..MAX_WRAPPING {
        let class = pickle.class(id);
        if !class.is_some_and(|class| class.module.starts_with("omegaconf.")) {
            break;
        }
        let content = || pickle.attribute(id, "_content");
        let Some(inner) = pickle.attribute(id, "_val").or_else(content) else {
            break;
        };
        id = inner;
    }
    id
}

/// The network of this class. `None` for an unknown class.
pub(super) fn architecture(
    pickle: &Pickle,
    hyperparameters: Option<Id>,
    class: &str,
    specifications: Option<&Specifications>,
) -> Result<Option<Architecture>, ErrorKind> {
    let id = hyperparameters.map(|id| plain(pickle, id));
    let dictionary = Dictionary {
        pickle,
        id,
        prefix: "",
    };
    // pyannote `wespeaker/__init__.py` has these four.
    let depth = match class {
        "PyanNet" => {
            let pyannet = pyannet(&dictionary, specifications)?;
            return Ok(Some(Architecture::PyanNet(pyannet)));
        }
        "WeSpeakerResNet34" => 34,
        "WeSpeakerResNet152" => 152,
        "WeSpeakerResNet221" => 221,
        "WeSpeakerResNet293" => 293,
        _ => return Ok(None),
    };
    let resnet = wespeaker(&dictionary, depth)?;
    Ok(Some(Architecture::WeSpeakerResNet(resnet)))
}

/// Known arguments of the LSTM. `dropout` does not change inference.
const LSTM_KEYS: [&str; 7] = [
    "hidden_size",
    "num_layers",
    "bidirectional",
    "monolithic",
    "dropout",
    "batch_first",
    "bias",
];

/// pyannote `PyanNet.__init__`; defaults from its `*_DEFAULTS`.
fn pyannet(
    dictionary: &Dictionary<'_>,
    specifications: Option<&Specifications>,
) -> Result<PyanNet, ErrorKind> {
    let sincnet = dictionary.dictionary("sincnet", "sincnet.")?;
    sincnet.only(&["stride", "sample_rate"])?;
    let lstm = dictionary.dictionary("lstm", "lstm.")?;
    lstm.only(&LSTM_KEYS)?;
    lstm.fixed("batch_first", true)?;
    lstm.fixed("bias", true)?;
    let linear = dictionary.dictionary("linear", "linear.")?;
    linear.only(&["hidden_size", "num_layers"])?;

    let specifications = specifications.ok_or_else(|| ErrorKind::Specification {
        field: "specifications",
        found: "missing".into(),
        expected: "the task of the network".into(),
    })?;
    let activation = match specifications.problem {
        Problem::MonoLabelClassification => Activation::LogSoftmax,
        Problem::BinaryClassification | Problem::MultiLabelClassification => Activation::Sigmoid,
        problem @ (Problem::Representation | Problem::Regression) => {
            return Err(ErrorKind::Specification {
                field: "problem",
                found: format!("{problem:?}"),
                expected: "a kind of classification".into(),
            });
        }
    };
    let sample_rate = dictionary.count("sample_rate", 16000)?;
    Ok(PyanNet {
        sample_rate: u32::try_from(sample_rate).unwrap_or(u32::MAX),
        num_channels: dictionary.count("num_channels", 1)?,
        sincnet: SincNet {
            stride: sincnet.count("stride", 10)?,
            filters: SincFilters::Parametrised,
        },
        lstm: LstmOptions {
            hidden_size: lstm.count("hidden_size", 128)?,
            num_layers: lstm.count("num_layers", 2)?,
            bidirectional: lstm.flag("bidirectional", true)?,
            monolithic: lstm.flag("monolithic", true)?,
        },
        linear: LinearOptions {
            hidden_size: linear.count("hidden_size", 128)?,
            num_layers: linear.count("num_layers", 2)?,
        },
        // Specifications without a number of outputs are refused by `Header::check`.
        num_outputs: specifications.num_outputs().unwrap_or(0),
        activation,
    })
}

/// pyannote `BaseWeSpeakerResNet.__init__` and its subclasses.
fn wespeaker(
    dictionary: &Dictionary<'_>,
    depth: u32,
) -> Result<WeSpeakerResNet, HyperparameterError> {
    // The table has all depths of the caller. The check of the architecture refuses any other.
    let (block, num_blocks) = WeSpeakerResNet::blocks(depth).unwrap_or((BlockKind::Basic, [0; 4]));
    let pickle = dictionary.pickle;
    let window_type = dictionary.read("window_type", "hamming".to_owned(), "a name", |id| {
        pickle.str(id).map(str::to_owned)
    })?;
    let span = dictionary.read(
        "fbank_centering_span",
        None,
        "seconds or None",
        |id| match *pickle.value(id) {
            Value::None => Some(None),
            _ => pickle.float(id).map(Some),
        },
    )?;
    let sample_rate = dictionary.count("sample_rate", 16000)?;
    Ok(WeSpeakerResNet {
        depth,
        block,
        num_blocks,
        sample_rate: u32::try_from(sample_rate).unwrap_or(u32::MAX),
        num_channels: dictionary.count("num_channels", 1)?,
        num_mel_bins: dictionary.count("num_mel_bins", 80)?,
        frame_length: dictionary.number("frame_length", 25.0)?,
        frame_shift: dictionary.number("frame_shift", 10.0)?,
        round_to_power_of_two: dictionary.flag("round_to_power_of_two", true)?,
        snip_edges: dictionary.flag("snip_edges", true)?,
        dither: dictionary.number("dither", 0.0)?,
        window_type,
        use_energy: dictionary.flag("use_energy", false)?,
        fbank_centering_span: span,
        ..WeSpeakerResNet::default()
    })
}

/// `checkpoint["pyannote.audio"]["specifications"]`: one, or a sequence of one.
pub(super) fn specifications(pickle: &Pickle) -> Result<Option<Specifications>, ErrorKind> {
    let id = pickle
        .get(pickle.root(), "pyannote.audio")
        .and_then(|pyannote| pickle.get(pyannote, "specifications"));
    let Some(id) = id.filter(|&id| *pickle.value(id) != Value::None) else {
        return Ok(None);
    };
    let id = match pickle.sequence(id) {
        Some(&[one]) => one,
        Some(several) => return Err(CheckpointError::Tasks(several.len()).into()),
        None => id,
    };
    let fields = Fields { pickle, id };
    let class = pickle.class(id);
    if !class.is_some_and(|class| class.is("pyannote.audio.core.task", "Specifications")) {
        return Err(fields.wrong("specifications", id, "a pyannote Specifications"));
    }

    let seconds = |id| pickle.float(id);
    let optional_seconds = |id| seconds(id).map(Some);
    let count = |id| pickle.count(id).map(Some);
    let flag = |id| pickle.bool(id);
    let name = |id| pickle.str(plain(pickle, id)).map(str::to_owned);
    let problem = |id| member(pickle, id, Problem::from_value, Problem::from_name);
    let resolution = |id| member(pickle, id, Resolution::from_value, Resolution::from_name);
    Ok(Some(Specifications {
        problem: fields.read("problem", "a member of pyannote's Problem", None, problem)?,
        resolution: fields.read(
            "resolution",
            "a member of pyannote's Resolution",
            None,
            resolution,
        )?,
        duration: fields.read("duration", "seconds", None, seconds)?,
        min_duration: fields.read("min_duration", "seconds", Some(None), optional_seconds)?,
        warm_up: match fields.get("warm_up") {
            None => (0.0, 0.0),
            Some(id) => {
                let time = |id| fields.typed("warm_up", id, "seconds", seconds);
                match pickle.sequence(id) {
                    Some(&[left, right]) => (time(left)?, time(right)?),
                    Some(_) => return Err(fields.wrong("warm_up", id, "two times")),
                    None => (time(id)?, time(id)?),
                }
            }
        },
        classes: match fields.get("classes").map(|id| plain(pickle, id)) {
            None => Vec::new(),
            Some(id) => {
                let expected = "a list of names";
                let items = fields.typed("classes", id, expected, |id| pickle.sequence(id))?;
                let name = |&item: &Id| fields.typed("classes", item, "a name", name);
                items.iter().map(name).collect::<Result<_, _>>()?
            }
        },
        powerset_max_classes: fields.read(
            "powerset_max_classes",
            "a whole number",
            Some(None),
            count,
        )?,
        permutation_invariant: fields.read(
            "permutation_invariant",
            "True or False",
            Some(false),
            flag,
        )?,
    }))
}

/// The fields of a `Specifications`. Missing ones and `None` have the defaults of pyannote's dataclass.
struct Fields<'p> {
    pickle: &'p Pickle,
    id: Id,
}

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<Id> {
        let value = self.pickle.attribute(self.id, field)?;
        (*self.pickle.value(value) != Value::None).then_some(value)
    }

    fn wrong(&self, field: &'static str, id: Id, expected: &'static str) -> ErrorKind {
        ErrorKind::Specification {
            field,
            found: self.pickle.describe(id),
            expected: expected.into(),
        }
    }

    fn typed<T>(
        &self,
        field: &'static str,
        id: Id,
        expected: &'static str,
        read: impl FnOnce(Id) -> Option<T>,
    ) -> Result<T, ErrorKind> {
        read(id).ok_or_else(|| self.wrong(field, id, expected))
    }

    /// The value of a field. Without a default it must be there.
    fn read<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        default: Option<T>,
        read: impl FnOnce(Id) -> Option<T>,
    ) -> Result<T, ErrorKind> {
        match self.get(field) {
            Some(id) => self.typed(field, id, expected, read),
            None => default.ok_or_else(|| ErrorKind::Specification {
                field,
                found: "missing".into(),
                expected: expected.into(),
            }),
        }
    }
}

/// A member of an enumeration: `Problem(1)`, or `getattr(Problem, "NAME")` by Python 3.11.0.
fn member<T>(
    pickle: &Pickle,
    id: Id,
    from_value: impl FnOnce(i64) -> Option<T>,
    from_name: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    match *pickle.tuple(pickle.object(id)?.args)? {
        [value] => from_value(pickle.int(value)?),
        [_class, name] => from_name(pickle.str(name)?),
        _ => None,
    }
}
