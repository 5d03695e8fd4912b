//! The contents of a file, also of an unsupported network.

use std::{io::Cursor, path::Path};

use serde::Serialize;
use serde_json::Value as Json;
use soundalike_network::{Architecture, Role, Specifications};

use crate::{
    Bundle, Conversion, Dtype, Integers, Npz, Origin, PipelineDirectory, Tensor, WeightChange,
    beside::Beside,
    checkpoint::Checkpoint,
    conversion::{MODEL_FILE, SAFETENSORS_FILE, no_model, sniff},
    error::{Error, ErrorKind},
    files, loose, onnx,
    pickle::{Id, Pickle, Value},
    pipeline, plda,
    shape::len_of,
    source::{SourceFormat, sha256},
};

/// The contents of a file or directory.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// File name without directories.
    pub file: String,
    /// Kind of file.
    pub format: SourceFormat,
    /// SHA-256 of the file. For a pipeline, of `config.yaml` or `pipeline.json`.
    pub sha256: String,
    /// The network. `None` if it is not supported.
    pub architecture: Option<Architecture>,
    /// The task of the network. `None` if the file lacks this information.
    pub specifications: Option<Specifications>,
    /// Why the file cannot be converted. `None` if it can.
    pub problem: Option<String>,
    /// Further information: the class and hyperparameters of a checkpoint, the source of a bundle, the parameters of a
    /// pipeline.
    pub details: Json,
    /// Classes and functions in a checkpoint's pickle that are not known to be harmless.
    pub foreign_globals: Vec<String>,
    /// Notes on inferred and changed values.
    pub notes: Vec<String>,
    /// The tensors, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// Sizes of all tensors.
    pub counts: ParameterCounts,
    /// The models of a pipeline.
    pub models: Vec<Inspection>,
}

/// One tensor: a row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its name in the bundle, or in the file if it cannot be converted.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
    /// The integers as which the file holds its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integers: Option<Integers>,
    /// Whether training changes it. `None` for an unknown network.
    pub role: Option<Role>,
    /// Its origin.
    pub origin: Origin,
}

impl TensorInfo {
    /// A tensor of an unknown network.
    fn new(name: &str, shape: &[usize], dtype: Dtype, origin: Origin) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            dtype,
            integers: None,
            role: None,
            origin,
        }
    }

    /// The name of the type as which the file holds its values.
    #[must_use]
    pub fn stored(&self) -> &'static str {
        self.integers.map_or(self.dtype.name(), Integers::name)
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        len_of(&self.shape)
    }

    /// Whether one of its dimensions is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// Number of values in the tensors.
///
/// Training changes the parameters (PyTorch: `sum(p.numel() for p in model.parameters())`). It does not change the
/// buffers: `window_` and `n_` of the sinc filters, running statistics of batch norms, baked sinc filters.
/// segmentation-3.0 with `low_hz_` and `band_hz_` has 1,473,265 parameters and 250 buffer values, 1,473,515 in all. Its
/// export with baked filters has 1,473,185 and 20,080.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ParameterCounts {
    /// Number of tensors.
    pub tensors: usize,
    /// Values of trained tensors; of all tensors for an unknown network.
    pub parameters: usize,
    /// Values of buffers.
    pub buffers: usize,
    /// Values of all tensors.
    pub total: usize,
}

impl ParameterCounts {
    /// Counts the values of tensors.
    #[must_use]
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
    /// The tensors of the bundle, sorted by name.
    pub fn tensors(&self) -> Vec<TensorInfo> {
        let roles = self.bundle.roles();
        let row = |tensor: Tensor<'_>| {
            let origin = self.origins.get(tensor.name).cloned();
            let origin = origin.unwrap_or(Origin::Bundle { offset: 0 });
            TensorInfo {
                role: roles.get(tensor.name).copied(),
                integers: self.bundle.integers(tensor.name),
                ..TensorInfo::new(tensor.name, tensor.shape, tensor.dtype, origin)
            }
        };
        self.bundle.tensors().map(row).collect()
    }
}

impl Inspection {
    /// Reads a file or directory. A checkpoint or export of an unsupported network is described as far as possible, with
    /// the reason in [`Inspection::problem`].
    ///
    /// # Errors
    /// If the file cannot be read, or is of no known format.
    pub fn of(path: &Path) -> Result<Self, Error> {
        if pipeline::is_pipeline(path) {
            return Self::of_pipeline(path);
        }
        if path.is_dir() {
            if plda::is_plda(path) {
                let (file, conversion) = (files::name(path), plda::convert(path)?);
                let sha256 = conversion.bundle.source().sha256.clone();
                return Ok(Self::new(file, SourceFormat::PldaNpz, sha256).converted(&conversion));
            }
            for file in [MODEL_FILE, SAFETENSORS_FILE] {
                if path.join(file).is_file() {
                    return Self::of(&path.join(file));
                }
            }
            return Err(no_model(path));
        }
        let bytes = files::read(path)?;
        let beside = Beside::of(path, &bytes)?;
        Self::of_bytes(bytes, files::name(path), &beside).map_err(|kind| kind.at(path))
    }

    fn of_bytes(bytes: Vec<u8>, file: String, beside: &Beside) -> Result<Self, ErrorKind> {
        let format = sniff(&bytes)?;
        let nothing = Self::new(file, format, sha256([&*bytes]));
        match format {
            SourceFormat::PytorchZip | SourceFormat::PytorchLegacy => nothing.checkpoint(&bytes),
            SourceFormat::Onnx => nothing.export(&bytes, &beside.weights),
            SourceFormat::Safetensors => {
                let conversion = loose::of_safetensors(&bytes, &beside.told, nothing.file.clone())?;
                Ok(nothing.converted(&conversion))
            }
            SourceFormat::Bundle => {
                let bundle = Bundle::parse(bytes.into())?;
                Ok(nothing.converted(&Conversion::of_bundle(bundle)))
            }
            SourceFormat::Npz | SourceFormat::PldaNpz | SourceFormat::PipelineDirectory => {
                nothing.npz(&bytes)
            }
        }
    }

    /// A file without contents.
    fn new(file: String, format: SourceFormat, sha256: String) -> Self {
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
            counts: ParameterCounts::default(),
            models: Vec::new(),
        }
    }

    /// Adds tensors.
    fn with_tensors(self, mut tensors: Vec<TensorInfo>) -> Self {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            counts: ParameterCounts::of(&tensors),
            tensors,
            ..self
        }
    }

    /// Adds the contents of a bundle.
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

    /// Adds the result of the conversion. `tensors` is used if the file cannot be converted.
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

    fn export(self, bytes: &[u8], outside: &onnx::Outside) -> Result<Self, ErrorKind> {
        let export = onnx::Export::read(bytes, outside)?;
        let stored = export.graph.initializers();
        let complete = stored.filter(|tensor| tensor.elements().is_ok());
        let tensors = complete.map(|tensor| {
            let origin = Origin::Initializer {
                name: tensor.name.into(),
                change: WeightChange::None,
            };
            TensorInfo::new(tensor.name, &tensor.shape, tensor.dtype, origin)
        });
        let tensors = tensors.collect();
        let details = serde_json::json!({ "producer": export.graph.exporter() });
        let conversion = export.convert(self.file.clone());
        Ok(self.described(conversion, tensors, details))
    }

    fn npz(self, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let mut tensors = Vec::new();
        // Types of arrays that are not numbers, such as the manifest of a trace, by name.
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
        let models = pipeline::ModelRole::ALL.into_iter().filter_map(|part| {
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
            ..Self::new(file, SourceFormat::PipelineDirectory, sha256)
        })
    }
}

/// Most values of the hyperparameters shown. A pickle may refer to one value so often that the complete text would fill
/// the memory.
const MAX_DETAILS: usize = 10_000;
/// Deepest nesting of the hyperparameters shown.
const MAX_DETAIL_DEPTH: usize = 16;

/// A pickled value as JSON, limited to `depth` levels and `budget` values.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_role() {
        let tensor = |shape: &[usize], role| TensorInfo {
            role,
            ..TensorInfo::new("x", shape, Dtype::F32, Origin::Bundle { offset: 0 })
        };
        let tensors = [
            tensor(&[2, 3], Some(Role::Parameter)),
            tensor(&[5, 1, 7], Some(Role::Buffer)),
            tensor(&[], None),
            tensor(&[4, 0], None),
        ];
        assert_eq!(tensors.each_ref().map(TensorInfo::len), [6, 35, 1, 0]);
        assert_eq!(
            ParameterCounts::of(&tensors),
            ParameterCounts {
                tensors: 4,
                parameters: 7,
                buffers: 35,
                total: 42,
            }
        );
    }
}
