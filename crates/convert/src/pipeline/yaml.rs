//! pyannote's `config.yaml`. pyannote `Pipeline.from_pretrained`.

use serde_json::{Map, Value};

use super::{Clustering, Linkage, Part, PipelineConfig, PipelineError, Reference};

/// Largest configuration that is read, in bytes. Real ones have 500.
const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Most aliases, and most anchors, in a configuration. Real ones have none.
const MAX_ALIASES: usize = 100;
/// Most nodes of a configuration with its aliases followed. Real ones have 50.
const MAX_NODES: usize = 10_000;

/// A configuration.
pub(super) struct Document {
    pub(super) config: PipelineConfig,
    pub(super) references: Vec<(Part, Reference)>,
    pub(super) ignored: Vec<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Document, PipelineError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(PipelineError::TooLarge {
            found: bytes.len(),
            limit: MAX_CONFIG_BYTES,
        });
    }
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_events: 4 * MAX_NODES,
        max_aliases: MAX_ALIASES,
        max_anchors: MAX_ALIASES,
    };
    // Without a drawing of the place, an error is one line.
    let options = serde_saphyr::options! { budget: budget, with_snippet: false };
    let root: Value = serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| {
        PipelineError::Yaml {
            reason: Box::new(error),
        }
    })?;
    let mut ignored = Vec::new();
    let root = Dictionary::root(&root)?;

    // `dependencies` (before pyannote.audio 4: `version`) say what wrote the file.
    root.only(
        &["dependencies", "version", "pipeline", "params", "freeze"],
        &["device", "preprocessors"],
        &mut ignored,
    )?;
    let pipeline = root
        .dictionary("pipeline")?
        .ok_or_else(|| root.missing("pipeline"))?;
    pipeline.only(&["name", "params"], &[], &mut ignored)?;
    let class = pipeline
        .text("name")?
        .ok_or_else(|| pipeline.missing("name"))?;
    if !CLASSES.contains(&class) {
        return Err(PipelineError::Pipeline {
            found: class.into(),
        });
    }
    let settings = pipeline
        .dictionary("params")?
        .ok_or_else(|| pipeline.missing("params"))?;
    settings.only(
        &[
            "segmentation",
            "segmentation_step",
            "segmentation_batch_size",
            "embedding",
            "embedding_batch_size",
            "embedding_exclude_overlap",
            "plda",
            "clustering",
        ],
        &[
            "legacy",
            "der_variant",
            "token",
            "use_auth_token",
            "cache_dir",
        ],
        &mut ignored,
    )?;
    let mut references = Vec::new();
    for part in Part::ALL {
        references.extend(settings.reference(part)?.map(|reference| (part, reference)));
    }

    // What is frozen has a value like what is not; both may be there.
    let layers = [root.dictionary("freeze")?, root.dictionary("params")?];
    let layers: Vec<Dictionary<'_>> = layers.into_iter().flatten().collect();
    for layer in &layers {
        layer.only(&["segmentation", "clustering"], &[], &mut ignored)?;
    }
    let segmentation = Layers::of(&layers, "segmentation")?;
    segmentation.only(&["threshold", "min_duration_off"])?;
    let clustering = Layers::of(&layers, "clustering")?;
    // The defaults of `SpeakerDiarization.__init__`.
    let method = settings.text("clustering")?.unwrap_or("VBxClustering");
    let config = PipelineConfig {
        class: CLASSES[0].into(),
        segmentation_step: settings.number("segmentation_step")?.unwrap_or(0.1),
        segmentation_batch_size: settings.count("segmentation_batch_size")?.unwrap_or(1),
        embedding_batch_size: settings.count("embedding_batch_size")?.unwrap_or(1),
        embedding_exclude_overlap: settings.flag("embedding_exclude_overlap")?.unwrap_or(false),
        segmentation_threshold: segmentation.number("threshold")?,
        min_duration_off: segmentation.required("min_duration_off")?,
        clustering: self::clustering(method, &clustering)?,
    };
    Ok(Document {
        config,
        references,
        ignored,
    })
}

/// The class under its two names.
const CLASSES: [&str; 2] = [
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
];

fn clustering(name: &str, parameters: &Layers<'_>) -> Result<Clustering, PipelineError> {
    match name {
        "VBxClustering" => {
            parameters.only(&["threshold", "Fa", "Fb"])?;
            Ok(Clustering::VBx {
                threshold: parameters.required("threshold")?,
                fa: parameters.required("Fa")?,
                fb: parameters.required("Fb")?,
            })
        }
        "AgglomerativeClustering" => {
            parameters.only(&["method", "min_cluster_size", "threshold"])?;
            let (dictionary, method) = parameters
                .get("method")
                .ok_or_else(|| parameters.missing("method", Linkage::NAMES))?;
            let method = serde_json::from_value(method.clone())
                .map_err(|_| dictionary.wrong("method", method, Linkage::NAMES))?;
            let (dictionary, _) = parameters
                .get("min_cluster_size")
                .ok_or_else(|| parameters.missing("min_cluster_size", "a whole number"))?;
            Ok(Clustering::Agglomerative {
                method,
                min_cluster_size: dictionary.count("min_cluster_size")?.unwrap_or(0),
                threshold: parameters.required("threshold")?,
            })
        }
        "KMeansClustering" => {
            parameters.only(&[])?;
            Ok(Clustering::KMeans {})
        }
        "OracleClustering" => {
            parameters.only(&[])?;
            Ok(Clustering::Oracle {})
        }
        found => Err(PipelineError::Value {
            key: "pipeline.params.clustering".into(),
            found: found.into(),
            expected:
                "VBxClustering, AgglomerativeClustering, KMeansClustering or OracleClustering"
                    .into(),
        }),
    }
}

/// One mapping and where it is.
#[derive(Clone)]
struct Dictionary<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> Dictionary<'v> {
    fn root(value: &'v Value) -> Result<Self, PipelineError> {
        let map = value.as_object().ok_or_else(|| PipelineError::Value {
            key: "the whole file".into(),
            found: describe(value),
            expected: "a dictionary".into(),
        })?;
        Ok(Self {
            path: String::new(),
            map,
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> PipelineError {
        let (key, found) = (self.key(key), describe(found));
        PipelineError::Value {
            key,
            found,
            expected: expected.into(),
        }
    }

    fn missing(&self, key: &str) -> PipelineError {
        PipelineError::Value {
            key: self.key(key),
            found: "nothing".into(),
            expected: "a value".into(),
        }
    }

    /// Refuses unknown keys and lists those that mean nothing here.
    fn only(
        &self,
        known: &[&str],
        meaningless: &[&str],
        ignored: &mut Vec<String>,
    ) -> Result<(), PipelineError> {
        for key in self.map.keys() {
            if meaningless.contains(&&**key) {
                ignored.push(self.key(key));
            } else if !known.contains(&&**key) {
                return Err(PipelineError::UnknownKey { key: self.key(key) });
            }
        }
        Ok(())
    }

    /// The value of a key; `null` counts as none.
    fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn dictionary(&self, key: &str) -> Result<Option<Self>, PipelineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let map = value
            .as_object()
            .ok_or_else(|| self.wrong(key, value, "a dictionary"))?;
        Ok(Some(Self {
            path: format!("{}.", self.key(key)),
            map,
        }))
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, PipelineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, expected))
    }

    fn text(&self, key: &str) -> Result<Option<&'v str>, PipelineError> {
        self.read(key, "a name", Value::as_str)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, PipelineError> {
        self.read(key, "a number", Value::as_f64)
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, PipelineError> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn count(&self, key: &str) -> Result<Option<usize>, PipelineError> {
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        self.read(key, "a whole number", count)
    }

    /// `$model/folder`, a path, or a dictionary of `Model.from_pretrained`'s arguments.
    fn reference(&self, part: Part) -> Result<Option<Reference>, PipelineError> {
        let key = part.name();
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        if let Some(arguments) = self.dictionary(key).ok().flatten() {
            arguments.only(
                &["checkpoint", "subfolder"],
                &["revision", "token", "use_auth_token", "cache_dir"],
                &mut Vec::new(),
            )?;
            let checkpoint = arguments.text("checkpoint")?;
            let checkpoint = checkpoint.ok_or_else(|| arguments.missing("checkpoint"))?;
            let (inside, checkpoint) = inside(checkpoint);
            let subfolder = arguments.text("subfolder")?.map(str::to_owned);
            return Ok(Some(Reference {
                checkpoint,
                inside,
                subfolder,
            }));
        }
        let text = value
            .as_str()
            .ok_or_else(|| self.wrong(key, value, "a path"))?;
        let (inside, checkpoint) = inside(text);
        Ok(Some(Reference {
            checkpoint,
            inside,
            subfolder: None,
        }))
    }
}

/// Takes `$model/` off a path.
fn inside(path: &str) -> (bool, String) {
    match path.strip_prefix("$model/") {
        Some(rest) => (true, rest.into()),
        None => (false, path.into()),
    }
}

/// One section of `freeze` and of `params`; the latter wins.
struct Layers<'v> {
    name: &'static str,
    layers: Vec<Dictionary<'v>>,
}

impl<'v> Layers<'v> {
    fn of(outer: &[Dictionary<'v>], name: &'static str) -> Result<Self, PipelineError> {
        let mut layers = Vec::new();
        for dictionary in outer {
            layers.extend(dictionary.dictionary(name)?);
        }
        Ok(Self { name, layers })
    }

    fn only(&self, known: &[&str]) -> Result<(), PipelineError> {
        self.layers
            .iter()
            .try_for_each(|layer| layer.only(known, &[], &mut Vec::new()))
    }

    fn get(&self, key: &str) -> Option<(&Dictionary<'v>, &'v Value)> {
        self.layers
            .iter()
            .rev()
            .find_map(|layer| Some((layer, layer.get(key)?)))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, PipelineError> {
        match self.get(key) {
            Some((layer, _)) => layer.number(key),
            None => Ok(None),
        }
    }

    fn required(&self, key: &str) -> Result<f64, PipelineError> {
        self.number(key)?
            .ok_or_else(|| self.missing(key, "a number"))
    }

    fn missing(&self, key: &str, expected: &str) -> PipelineError {
        PipelineError::Value {
            key: format!("params.{}.{key}", self.name),
            found: "nothing".into(),
            expected: expected.into(),
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => format!("a dictionary of {}", map.len()),
    }
}
