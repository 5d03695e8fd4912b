//! What is in a file: of any network, known or not.

use std::io::Cursor;
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use soundalike_network::{Architecture, Role, Specifications};

use crate::checkpoint::Checkpoint;
use crate::conversion::{MODEL_FILE, sniff};
use crate::error::{Error, ErrorKind};
use crate::pickle::{Id, Pickle, Value};
use crate::shape::len_of;
use crate::source::{Format, sha256};
use crate::{
    Bundle, Change, Conversion, Dtype, Npz, Origin, PipelineDirectory, Tensor, files, onnx,
    pipeline, plda,
};

/// What is in a file or directory.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Name without directories.
    pub file: String,
    /// What kind of file it is.
    pub format: Format,
    /// SHA-256 of the file; of `config.yaml` or `pipeline.json` for a pipeline.
    pub sha256: String,
    /// The network, where it is one that can be converted.
    pub architecture: Option<Architecture>,
    /// What the network was trained to answer, where the file says.
    pub specifications: Option<Specifications>,
    /// Why the file cannot be converted, where it cannot.
    pub problem: Option<String>,
    /// Everything that describes the file and is not a tensor: a checkpoint's hyperparameters and
    /// class, a bundle's source, a pipeline's parameters.
    pub details: Json,
    /// Classes and functions in a checkpoint's pickle that are not known to be harmless.
    pub foreign_globals: Vec<String>,
    /// What the converter inferred.
    pub notes: Vec<String>,
    /// The tensors, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// How many values the tensors have.
    pub counts: Counts,
    /// The models of a pipeline.
    pub models: Vec<Inspection>,
}

/// One tensor, as a row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its name in the bundle, or in the file where that cannot be converted.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
    /// Whether training changes it; `None` where the network is not known.
    pub role: Option<Role>,
    /// Where it came from.
    pub origin: Origin,
}

impl TensorInfo {
    /// A tensor of a network that is not known.
    fn new(name: &str, shape: &[usize], dtype: Dtype, origin: Origin) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            dtype,
            role: None,
            origin,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        len_of(&self.shape)
    }

    /// Whether one of its dimensions is 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// How many values the tensors have.
///
/// `parameters` are what training changes (PyTorch: `sum(p.numel() for p in model.parameters())`),
/// `buffers` what it does not: `window_` and `n_` of the sinc filters, running statistics of batch
/// norms, baked sinc filters. segmentation-3.0 with `low_hz_` and `band_hz_` has 1,473,265
/// parameters and 250 buffer values, 1,473,515 in all; exported with baked filters it has
/// 1,473,185 and 20,080.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Number of tensors.
    pub tensors: usize,
    /// Values of trained tensors, and of all tensors where the network is not known.
    pub parameters: usize,
    /// Values of buffers.
    pub buffers: usize,
    /// Both.
    pub total: usize,
}

impl Counts {
    /// Counts the values of some tensors.
    pub fn of(tensors: &[TensorInfo]) -> Self {
        let mut counts = Self {
            tensors: tensors.len(),
            ..Self::default()
        };
        for tensor in tensors {
            let values = tensor.len();
            match tensor.role {
                Some(Role::Buffer) => counts.buffers += values,
                Some(Role::Parameter) | None => counts.parameters += values,
            }
            counts.total += values;
        }
        counts
    }
}

impl Conversion {
    /// The tensors of the bundle as rows of a table, sorted by name.
    pub fn tensors(&self) -> Vec<TensorInfo> {
        let roles = self.bundle.roles();
        let row = |tensor: Tensor<'_>| {
            let origin = self.origins.get(tensor.name).cloned();
            let origin = origin.unwrap_or(Origin::Bundle { offset: 0 });
            TensorInfo {
                role: roles.get(tensor.name).copied(),
                ..TensorInfo::new(tensor.name, tensor.shape, tensor.dtype, origin)
            }
        };
        self.bundle.tensors().map(row).collect()
    }
}

impl Inspection {
    /// Looks into a file or directory. A checkpoint or export of an unknown network is described
    /// as far as it can be, with the reason in [`Inspection::problem`].
    pub fn of(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            if pipeline::is_pipeline(path) {
                return Self::of_pipeline(path);
            }
            if plda::is_plda(path) {
                let (file, conversion) = (files::name(path), plda::convert(path)?);
                let sha256 = conversion.bundle.source().sha256.clone();
                return Ok(Self::new(file, Format::PldaNpz, sha256).converted(&conversion));
            }
            if path.join(MODEL_FILE).is_file() {
                return Self::of(&path.join(MODEL_FILE));
            }
            return Err(ErrorKind::Directory.at(path));
        }
        let bytes = files::read(path)?;
        Self::of_bytes(bytes, files::name(path)).map_err(|kind| kind.at(path))
    }

    fn of_bytes(bytes: Vec<u8>, file: String) -> Result<Self, ErrorKind> {
        let format = sniff(&bytes)?;
        let nothing = Self::new(file, format, sha256([&*bytes]));
        match format {
            Format::PytorchZip => nothing.checkpoint(&bytes),
            Format::Onnx => nothing.export(&bytes),
            Format::Bundle => {
                let bundle = Bundle::parse(bytes.into())?;
                Ok(nothing.converted(&Conversion::of_bundle(bundle)))
            }
            Format::Npz | Format::PldaNpz | Format::PipelineDirectory => nothing.npz(&bytes),
        }
    }

    /// A file in which nothing was found.
    fn new(file: String, format: Format, sha256: String) -> Self {
        Self {
            file,
            format,
            sha256,
            architecture: None,
            specifications: None,
            problem: None,
            details: Json::Null,
            foreign_globals: Vec::new(),
            notes: Vec::new(),
            tensors: Vec::new(),
            counts: Counts::default(),
            models: Vec::new(),
        }
    }

    /// With the tensors of an unknown network, and the reason why it is one.
    fn with_tensors(self, mut tensors: Vec<TensorInfo>) -> Self {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            counts: Counts::of(&tensors),
            tensors,
            ..self
        }
    }

    /// With all that a bundle says.
    fn converted(self, conversion: &Conversion) -> Self {
        let bundle = &conversion.bundle;
        Self {
            architecture: Some(bundle.architecture().clone()),
            specifications: bundle.specifications().cloned(),
            details: serde_json::json!({ "source": bundle.source() }),
            notes: bundle.notes().to_vec(),
            ..self.with_tensors(conversion.tensors())
        }
    }

    /// With what the conversion made of the file. `tensors` are those of a file that cannot be converted.
    fn described(
        self,
        conversion: Result<Conversion, ErrorKind>,
        tensors: Vec<TensorInfo>,
        details: Json,
    ) -> Self {
        let inspection = match conversion {
            Ok(conversion) => self.converted(&conversion),
            Err(kind) => Self {
                problem: Some(kind.to_string()),
                ..self.with_tensors(tensors)
            },
        };
        Self {
            details,
            ..inspection
        }
    }

    fn checkpoint(self, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let checkpoint = Checkpoint::read(bytes)?;
        let tensors = checkpoint.tensors().map(|(name, view)| {
            TensorInfo::new(
                name,
                &view.shape,
                view.storage.dtype,
                checkpoint.origin(view),
            )
        });
        let tensors = tensors.collect();
        let (class, module) = checkpoint.class();
        let mut budget = MAX_DETAILS;
        let hyperparameters = checkpoint.hyperparameters().map_or(Json::Null, |id| {
            to_json(&checkpoint.pickle, id, MAX_DETAIL_DEPTH, &mut budget)
        });
        let details = serde_json::json!({
            "class": class,
            "module": module,
            "hyperparameters": hyperparameters,
        });
        let foreign_globals = checkpoint.foreign_globals();
        let conversion = checkpoint.convert(self.file.clone());
        Ok(Self {
            foreign_globals,
            ..self.described(conversion, tensors, details)
        })
    }

    fn export(self, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let export = onnx::Export::read(bytes)?;
        let stored = export.graph.initializers();
        let complete = stored.filter(|tensor| tensor.elements().is_ok());
        let tensors = complete.map(|tensor| {
            let origin = Origin::Initializer {
                name: tensor.name.into(),
                change: Change::None,
            };
            TensorInfo::new(tensor.name, &tensor.shape, tensor.dtype, origin)
        });
        let tensors = tensors.collect();
        let details = serde_json::json!({ "producer": export.graph.producer() });
        let conversion = export.convert(self.file.clone());
        Ok(self.described(conversion, tensors, details))
    }

    fn npz(self, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let mut tensors = Vec::new();
        // Text (a trace's manifest) and whatever else is not numbers: numpy's name of the type.
        let mut other = serde_json::Map::new();
        for array in Npz::parse(Cursor::new(bytes), 0)?.entries() {
            let name = array.name();
            match array.dtype() {
                Some(dtype) => {
                    let origin = Origin::array(&self.file, name);
                    tensors.push(TensorInfo::new(name, array.shape(), dtype, origin));
                }
                None => drop(other.insert(name.into(), array.descr().into())),
            }
        }
        Ok(Self {
            details: serde_json::json!({ "other": other }),
            ..self.with_tensors(tensors)
        })
    }

    fn of_pipeline(path: &Path) -> Result<Self, Error> {
        let pipeline = PipelineDirectory::read(path)?;
        let models = pipeline::Part::ALL.into_iter().filter_map(|part| {
            let conversion = pipeline.conversion(part)?;
            let source = conversion.bundle.source();
            let file = Self::new(part.name().into(), source.format, source.sha256.clone());
            Some(file.converted(conversion))
        });
        let source = pipeline.source();
        let (file, sha256) = (files::name(path), source.sha256.clone());
        Ok(Self {
            details: serde_json::json!({
                "pipeline": pipeline.config(),
                "source": source,
                "ignored": pipeline.ignored(),
            }),
            models: models.collect(),
            ..Self::new(file, Format::PipelineDirectory, sha256)
        })
    }
}

/// Most values of a checkpoint's hyperparameters that are shown. A pickle may mention one value so
/// often that all of it written out would fill the memory.
const MAX_DETAILS: usize = 10_000;
/// Deepest nesting of a checkpoint's hyperparameters that is shown.
const MAX_DETAIL_DEPTH: usize = 16;

/// A pickled value as JSON, as far as `depth` and `budget` go.
fn to_json(pickle: &Pickle, id: Id, depth: usize, budget: &mut usize) -> Json {
    if depth == 0 || *budget == 0 {
        return Json::String("...".into());
    }
    *budget -= 1;
    match pickle.value(id) {
        Value::None => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Str(text) => Json::from(&**text),
        Value::Tuple(_) | Value::List(_) => {
            let mut list = Vec::new();
            for &item in pickle.sequence(id).unwrap_or_default() {
                if *budget == 0 {
                    list.push(Json::String("...".into()));
                    break;
                }
                list.push(to_json(pickle, item, depth - 1, budget));
            }
            Json::Array(list)
        }
        _ => match pickle.entries(id) {
            Some(entries) => {
                let mut map = serde_json::Map::new();
                for &(key, value) in entries {
                    if *budget == 0 {
                        break;
                    }
                    let key = match pickle.str(key) {
                        Some(text) => text.to_owned(),
                        None => pickle.describe(key),
                    };
                    map.insert(key, to_json(pickle, value, depth - 1, budget));
                }
                Json::Object(map)
            }
            None => Json::String(pickle.describe(id)),
        },
    }
}
