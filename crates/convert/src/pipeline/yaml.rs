//! pyannote's `config.yaml`. pyannote `Pipeline.from_pretrained`.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value, json};

use super::{ModelRole, PipelineConfig, PipelineError, Reference};

/// Largest accepted configuration, in bytes. Real ones have 500.
pub(super) const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Most aliases and most anchors in a configuration. Real ones have none.
const MAX_ALIASES: usize = 100;
/// Most nodes of a configuration, with aliases expanded. Real ones have 50.
const MAX_NODES: usize = 10_000;

/// A configuration.
pub(super) struct Document {
    pub(super) config: PipelineConfig,
    pub(super) references: Vec<(ModelRole, Reference)>,
    pub(super) ignored: Vec<String>,
}

/// The whole file, without ignored keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a dictionary")]
struct Root {
    pipeline: Pipeline,
    params: Option<Layer>,
    /// Fixed parameters, which are parameters like any other. A file may have both.
    freeze: Option<Layer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a dictionary")]
struct Pipeline {
    name: String,
    params: Settings,
}

/// Arguments of `SpeakerDiarization.__init__`, with its defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a dictionary")]
struct Settings {
    segmentation: Option<Reference>,
    embedding: Option<Reference>,
    plda: Option<Reference>,
    segmentation_step: Option<f64>,
    segmentation_batch_size: Option<usize>,
    embedding_batch_size: Option<usize>,
    embedding_exclude_overlap: Option<bool>,
    clustering: Option<String>,
}

/// `freeze` or `params`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a dictionary")]
struct Layer {
    segmentation: Option<Map<String, Value>>,
    clustering: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Segmentation {
    threshold: Option<f64>,
    min_duration_off: f64,
}

/// The two names of the class.
const CLASSES: [&str; 2] = [
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
];

/// Keys that are ignored without notice: the writer of the file (`version` before pyannote.audio 4), and arguments for
/// downloads.
const IGNORED_SILENTLY: [(&str, &[&str]); 4] = [
    ("", &["dependencies", "version"]),
    ("/pipeline/params/segmentation", DOWNLOAD),
    ("/pipeline/params/embedding", DOWNLOAD),
    ("/pipeline/params/plda", DOWNLOAD),
];
/// Arguments of `Model.from_pretrained` that only downloads use.
const DOWNLOAD: &[&str] = &["token", "use_auth_token", "cache_dir"];
/// Keys that are ignored with notice: they do not change the result of the pipeline, or have no equivalent here.
const IGNORED: [(&str, &[&str]); 2] = [
    ("", &["device", "preprocessors"]),
    (
        "/pipeline/params",
        &[
            "cache_dir",
            "der_variant",
            "legacy",
            "token",
            "use_auth_token",
        ],
    ),
];

pub(super) fn read(bytes: &[u8]) -> Result<Document, PipelineError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(PipelineError::TooLarge(bytes.len()));
    }
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_events: 4 * MAX_NODES,
        max_aliases: MAX_ALIASES,
        max_anchors: MAX_ALIASES,
    };
    // Without a snippet of the file, an error is one line.
    let options = serde_saphyr::options! { budget: budget, with_snippet: false };
    let root = serde_saphyr::from_slice_with_options(bytes, options);
    let mut root: Value = root.map_err(|error| PipelineError::Yaml(Box::new(error)))?;
    removed(&mut root, &IGNORED_SILENTLY);
    let ignored = removed(&mut root, &IGNORED);
    refuse_lists(&root)?;
    let Root {
        pipeline: Pipeline { name, params },
        freeze,
        params: free,
    } = typed(&root, |keys| keys.join("."))?;
    if !CLASSES.contains(&&*name) {
        return Err(PipelineError::Pipeline(name));
    }
    let (frozen, free) = (freeze.unwrap_or_default(), free.unwrap_or_default());
    let segmentation = Section {
        name: "segmentation",
        frozen: frozen.segmentation.unwrap_or_default(),
        free: free.segmentation.unwrap_or_default(),
    };
    let parameters = Section {
        name: "clustering",
        frozen: frozen.clustering.unwrap_or_default(),
        free: free.clustering.unwrap_or_default(),
    };
    let Segmentation {
        threshold,
        min_duration_off,
    } = typed(&segmentation.merged(), |keys| segmentation.key(keys))?;
    let method = params.clustering.as_deref().unwrap_or("VBxClustering");
    let clustering = json!({ "name": method, "parameters": parameters.merged() });
    let clustering = typed(&clustering, |keys| match keys {
        [_, keys @ ..] if !keys.is_empty() => parameters.key(keys),
        _ => "pipeline.params.clustering".into(),
    })?;
    let references = [
        (ModelRole::Segmentation, params.segmentation),
        (ModelRole::Embedding, params.embedding),
        (ModelRole::Plda, params.plda),
    ];
    Ok(Document {
        config: PipelineConfig {
            class: CLASSES[0].into(),
            segmentation_step: params.segmentation_step.unwrap_or(0.1),
            segmentation_batch_size: params.segmentation_batch_size.unwrap_or(1),
            embedding_batch_size: params.embedding_batch_size.unwrap_or(1),
            embedding_exclude_overlap: params.embedding_exclude_overlap.unwrap_or(false),
            segmentation_threshold: threshold,
            min_duration_off,
            clustering,
        },
        references: references
            .into_iter()
            .filter_map(|(part, reference)| Some((part, reference?)))
            .collect(),
        ignored,
    })
}

/// Removes keys from dictionaries. Returns the removed ones, with their dictionaries.
fn removed(root: &mut Value, keys: &[(&str, &[&str])]) -> Vec<String> {
    let mut removed = Vec::new();
    for (pointer, keys) in keys {
        let Some(map) = root.pointer_mut(pointer).and_then(Value::as_object_mut) else {
            continue;
        };
        let found = keys.iter().filter(|key| map.remove(**key).is_some());
        removed.extend(found.map(|key| dotted(&format!("{pointer}/{key}"))));
    }
    removed
}

/// Refuses a list in place of a dictionary: serde would read its elements as the fields, in order.
fn refuse_lists(root: &Value) -> Result<(), PipelineError> {
    for pointer in ["", "/pipeline", "/pipeline/params", "/params", "/freeze"] {
        if let Some(list @ Value::Array(_)) = root.pointer(pointer) {
            return Err(PipelineError::Value {
                key: dotted(pointer),
                found: describe(list),
                expected: "a dictionary".into(),
            });
        }
    }
    Ok(())
}

/// A JSON pointer as a key in messages: `params.clustering`.
fn dotted(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(keys) => keys.replace('/', "."),
        None => WHOLE.into(),
    }
}

/// The key of the whole file, in messages.
const WHOLE: &str = "the whole file";

/// One section of `freeze` and `params`. Values in `params` override those in `freeze`.
struct Section {
    name: &'static str,
    frozen: Map<String, Value>,
    free: Map<String, Value>,
}

impl Section {
    fn merged(&self) -> Value {
        let mut merged = self.frozen.clone();
        for (key, value) in &self.free {
            // `null` does not override a value.
            if !(value.is_null() && merged.contains_key(key)) {
                merged.insert(key.clone(), value.clone());
            }
        }
        Value::Object(merged)
    }

    /// A key of the section, with its dictionaries.
    fn key(&self, keys: &[String]) -> String {
        let given = |map: &Map<String, Value>| {
            let value = keys.first().and_then(|key| map.get(key));
            value.is_some_and(|value| !value.is_null())
        };
        let layer = if given(&self.frozen) && !given(&self.free) {
            "freeze"
        } else {
            "params"
        };
        format!("{layer}.{}.{}", self.name, keys.join("."))
    }
}

/// Converts a value to a type. `key` formats the keys of an invalid part of it, for the error.
fn typed<T: DeserializeOwned>(
    value: &Value,
    key: impl Fn(&[String]) -> String,
) -> Result<T, PipelineError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut keys: Vec<String> = error.path().iter().map(ToString::to_string).collect();
        let problem = error.inner().to_string();
        // serde's error has three kinds, which differ in their text only.
        if problem.starts_with("unknown field") {
            return PipelineError::UnknownKey(key(&keys));
        }
        if let Some(rest) = problem.strip_prefix("missing field `") {
            keys.extend(rest.split('`').next().map(str::to_owned));
        }
        let found = keys.iter().try_fold(value, |value, key| value.get(key));
        let expected = match problem.split_once(", expected ") {
            None => "a value",
            Some((_, "f64")) => "a number",
            Some((_, "usize")) => "a whole number",
            Some((_, "a boolean")) => "true or false",
            Some((_, "a string")) => "a name",
            Some((_, "a map")) => "a dictionary",
            Some((_, expected)) => expected,
        };
        PipelineError::Value {
            key: match keys[..] {
                [] => WHOLE.into(),
                _ => key(&keys),
            },
            found: describe(found.unwrap_or(&Value::Null)),
            expected: expected.into(),
        }
    })
}

impl<'de> Deserialize<'de> for Reference {
    /// `$model/folder`, a path, or a dictionary of `Model.from_pretrained`'s arguments.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Arguments {
            checkpoint: String,
            subfolder: Option<String>,
            revision: Option<String>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Reference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path")
            }

            fn visit_str<E>(self, path: &str) -> Result<Reference, E> {
                Ok(Reference::new(path))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reference, A::Error> {
                let arguments = Arguments::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Reference {
                    subfolder: arguments.subfolder,
                    revision: arguments.revision,
                    ..Reference::new(&arguments.checkpoint)
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Reference {
    /// Strips `$model/` from a path.
    fn new(path: &str) -> Self {
        let inside = path.strip_prefix("$model/");
        Self {
            checkpoint: inside.unwrap_or(path).into(),
            inside: inside.is_some(),
            subfolder: None,
            revision: None,
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
