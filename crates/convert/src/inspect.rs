//! What is in a file: of any network, known or not.

use std::io::Cursor;
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use soundalike_network::{Architecture, Role, Specifications};

use crate::checkpoint::{Checkpoint, View};
use crate::conversion::{MODEL_FILE, sniff};
use crate::error::{Error, ErrorKind};
use crate::pickle::{Id, Pickle, Value};
use crate::source::{Format, sha256};
use crate::{
    Bundle, Change, Conversion, Dtype, Npz, Origin, PipelineDirectory, files, onnx, pipeline, plda,
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
    /// Number of elements.
    pub fn len(&self) -> usize {
        // Sizes were compared with the file; a dimension of 0 may stand beside any other.
        if self.shape.contains(&0) {
            0
        } else {
            self.shape.iter().product()
        }
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
        let row = |tensor: crate::Tensor<'_>| TensorInfo {
            name: tensor.name.into(),
            shape: tensor.shape.to_vec(),
            dtype: tensor.dtype,
            role: roles.get(tensor.name).copied(),
            origin: self
                .origins
                .get(tensor.name)
                .cloned()
                .unwrap_or(Origin::Bundle { offset: 0 }),
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
                let conversion = plda::convert(path)?;
                let sha256 = conversion.bundle.source().sha256.clone();
                let (file, format) = (files::name(path), Format::PldaNpz);
                return Ok(Self::of_conversion(&conversion, file, format, sha256));
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
        let sha256 = sha256([&*bytes]);
        match sniff(&bytes)? {
            Format::PytorchZip => Self::of_checkpoint(&bytes, file, sha256),
            Format::Onnx => Self::of_export(&bytes, file, sha256),
            Format::Bundle => {
                let bundle = Bundle::parse(bytes.into())?;
                let origins = bundle.offsets().collect();
                let conversion = Conversion {
                    bundle,
                    origins,
                    foreign_globals: Vec::new(),
                };
                Ok(Self::of_conversion(
                    &conversion,
                    file,
                    Format::Bundle,
                    sha256,
                ))
            }
            Format::Npz | Format::PldaNpz | Format::PipelineDirectory => {
                Self::of_npz(&bytes, file, sha256)
            }
        }
    }

    fn new(file: String, format: Format, sha256: String, mut tensors: Vec<TensorInfo>) -> Self {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
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
            counts: Counts::of(&tensors),
            tensors,
            models: Vec::new(),
        }
    }

    fn of_conversion(
        conversion: &Conversion,
        file: String,
        format: Format,
        sha256: String,
    ) -> Self {
        let bundle = &conversion.bundle;
        Self {
            architecture: Some(bundle.architecture().clone()),
            specifications: bundle.specifications().cloned(),
            details: serde_json::json!({ "source": bundle.source() }),
            notes: bundle.notes().to_vec(),
            ..Self::new(file, format, sha256, conversion.tensors())
        }
    }

    fn of_checkpoint(bytes: &[u8], file: String, sha256: String) -> Result<Self, ErrorKind> {
        let checkpoint = Checkpoint::read(bytes)?;
        let row = |(name, view): (&str, &View)| TensorInfo {
            name: name.into(),
            shape: view.shape.clone(),
            dtype: view.storage.dtype,
            role: None,
            origin: checkpoint.origin(view),
        };
        let tensors: Vec<TensorInfo> = checkpoint.tensors().map(row).collect();
        let (class, module) = checkpoint.class();
        let pickle = checkpoint.pickle();
        let mut budget = MAX_DETAILS;
        let hyperparameters = checkpoint.hyperparameters().map_or(Json::Null, |id| {
            to_json(pickle, id, MAX_DETAIL_DEPTH, &mut budget)
        });
        let details = serde_json::json!({
            "class": class,
            "module": module,
            "hyperparameters": hyperparameters,
        });
        let foreign_globals = checkpoint.foreign_globals();

        let mut inspection = match checkpoint.convert(file.clone()) {
            Ok(conversion) => Self::of_conversion(&conversion, file, Format::PytorchZip, sha256),
            Err(kind) => Self {
                problem: Some(kind.to_string()),
                ..Self::new(file, Format::PytorchZip, sha256, tensors)
            },
        };
        inspection.details = details;
        inspection.foreign_globals = foreign_globals;
        Ok(inspection)
    }

    fn of_export(bytes: &[u8], file: String, sha256: String) -> Result<Self, ErrorKind> {
        let export = onnx::Export::read(bytes)?;
        let row = |tensor: &onnx::Initializer<'_>| TensorInfo {
            name: tensor.name.into(),
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
            role: None,
            origin: Origin::Initializer {
                name: tensor.name.into(),
                change: Change::None,
            },
        };
        let complete = export
            .graph()
            .initializers()
            .filter(|tensor| tensor.elements().is_ok());
        let tensors: Vec<TensorInfo> = complete.map(row).collect();
        let details = serde_json::json!({ "producer": export.graph().producer() });
        let mut inspection = match export.convert(file.clone()) {
            Ok(conversion) => Self::of_conversion(&conversion, file, Format::Onnx, sha256),
            Err(kind) => Self {
                problem: Some(kind.to_string()),
                ..Self::new(file, Format::Onnx, sha256, tensors)
            },
        };
        inspection.details = details;
        Ok(inspection)
    }

    fn of_npz(bytes: &[u8], file: String, sha256: String) -> Result<Self, ErrorKind> {
        let mut tensors = Vec::new();
        // Text (a trace's manifest) and whatever else is not numbers: numpy's name of the type.
        let mut other = serde_json::Map::new();
        for array in Npz::parse(Cursor::new(bytes), 0)?.entries() {
            let Some(dtype) = array.dtype() else {
                other.insert(array.name().into(), Json::String(array.descr().into()));
                continue;
            };
            let entry = format!("{}.npy", array.name());
            let origin = Origin::Array {
                file: file.clone(),
                entry,
            };
            tensors.push(TensorInfo {
                name: array.name().into(),
                shape: array.shape().to_vec(),
                dtype,
                role: None,
                origin,
            });
        }
        Ok(Self {
            details: serde_json::json!({ "other": other }),
            ..Self::new(file, Format::Npz, sha256, tensors)
        })
    }

    fn of_pipeline(path: &Path) -> Result<Self, Error> {
        let pipeline = PipelineDirectory::read(path)?;
        let models = pipeline::Part::ALL.into_iter().filter_map(|part| {
            let conversion = pipeline.conversion(part)?;
            let source = conversion.bundle.source();
            let (file, sha256) = (part.name().to_owned(), source.sha256.clone());
            Some(Self::of_conversion(conversion, file, source.format, sha256))
        });
        let models = models.collect();
        let source = pipeline.source();
        let format = Format::PipelineDirectory;
        let mut inspection =
            Self::new(files::name(path), format, source.sha256.clone(), Vec::new());
        inspection.details = serde_json::json!({
            "pipeline": pipeline.config(),
            "source": source,
            "ignored": pipeline.ignored(),
        });
        inspection.models = models;
        Ok(inspection)
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
            let items = pickle.sequence(id).unwrap_or_default();
            let mut list = Vec::new();
            for &item in items {
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
                    let key = pickle
                        .str(key)
                        .map_or_else(|| pickle.describe(key), str::to_owned);
                    map.insert(key, to_json(pickle, value, depth - 1, budget));
                }
                Json::Object(map)
            }
            None => Json::String(pickle.describe(id)),
        },
    }
}
