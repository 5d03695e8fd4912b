//! The manifest of a trace: what was captured, and how. `reference/README.md` describes it.

use std::{collections::BTreeMap, path::Path};

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use soundalike_network::{Axes, Axis, Graph, GraphError, Op, Operand, Stage};

use crate::{EngineInfo, TraceError, Window};

/// The version of the layout.
pub(crate) const SCHEMA: u32 = 1;

/// The names of a network's inputs, among those of its stages.
const WAVEFORM: &str = "waveform";
const MASKS: &str = "masks";

/// What was captured, and how.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// The engine that was captured.
    #[serde(default)]
    pub engine: String,
    /// Versions of its parts, by name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Name of the processor, and the kernels that PyTorch chose on it.
    #[serde(default)]
    pub cpu: Option<String>,
    /// The device.
    #[serde(default)]
    pub device: String,
    /// Number of threads.
    #[serde(default)]
    pub threads: Option<usize>,
    /// The model; optional for networks that are not ours.
    #[serde(default)]
    pub model: Option<Model>,
    /// The window; optional for networks that take no audio.
    #[serde(default)]
    pub audio: Option<Audio>,
    /// The masks that embeddings were pooled by.
    #[serde(default)]
    pub masks: Option<MaskFile>,
    stages: Vec<StageEntry>,
    #[serde(skip)]
    graph: Graph,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Model {
    pub name: String,
    /// SHA-256 of the file that was captured.
    pub sha256: String,
    /// The checkpoint or export of a bundle.
    pub source: Option<ModelSource>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ModelSource {
    pub sha256: String,
}

impl Model {
    /// SHA-256 of the checkpoint or export that the weights come from.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source
            .as_ref()
            .map_or(&self.sha256, |source| &source.sha256)
    }
}

/// A window; times in seconds.
#[derive(Debug, Clone, Deserialize)]
pub struct Audio {
    /// File name.
    pub file: String,
    pub start: f64,
    pub duration: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct MaskFile {
    /// File name.
    pub file: String,
}

/// A stage in the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StageEntry {
    name: String,
    shape: Vec<usize>,
    #[serde(default)]
    axes: Vec<String>,
    channel_axis: Option<usize>,
    frame_axis: Option<usize>,
    /// Stages, or inputs of the network. Default: the stage before.
    #[serde(default)]
    inputs: Option<Vec<String>>,
    #[serde(default)]
    parts: Vec<String>,
    #[serde(default)]
    degenerate: bool,
    /// The name of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    op: Option<String>,
}

impl Manifest {
    /// Parses a manifest; `origin` names its trace in errors.
    pub(crate) fn parse(json: &[u8], origin: &str) -> Result<Self, TraceError> {
        let mut manifest: Self =
            serde_json::from_slice(json).map_err(|source| TraceError::Manifest {
                origin: origin.to_owned(),
                source,
            })?;
        if manifest.schema != SCHEMA {
            return Err(TraceError::Schema {
                origin: origin.to_owned(),
                found: manifest.schema,
            });
        }
        manifest.graph = graph(&manifest.stages).map_err(|source| TraceError::Graph {
            origin: origin.to_owned(),
            source,
        })?;
        Ok(manifest)
    }

    /// That of a trace without one: `stages` with their shapes, in order of execution.
    pub(crate) fn plain(
        stages: impl Iterator<Item = (String, Vec<usize>)>,
        origin: &str,
    ) -> Result<Self, TraceError> {
        let stages: Vec<_> = stages
            .map(|(name, shape)| serde_json::json!({"name": name, "shape": shape}))
            .collect();
        let manifest = serde_json::json!({"schema": SCHEMA, "stages": stages});
        Self::parse(manifest.to_string().as_bytes(), origin)
    }

    /// Its stages.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The shape of the output of the stage at `index`.
    #[must_use]
    pub fn shape(&self, index: usize) -> &[usize] {
        self.stages.get(index).map_or(&[], |stage| &stage.shape)
    }

    /// Whether a norm only amplifies rounding, at the stage at `index` or before.
    #[must_use]
    pub fn is_degenerate(&self, index: usize) -> bool {
        self.stages.get(index).is_some_and(|stage| stage.degenerate)
    }

    /// The engine that was captured, without its dtype and model.
    pub(crate) fn engine_info(&self) -> EngineInfo {
        EngineInfo {
            engine: self.engine.clone(),
            versions: self.versions.clone(),
            device: self.device.clone(),
            cpu: self.cpu.clone(),
            threads: self.threads,
            ..EngineInfo::default()
        }
    }

    /// The window without its samples. Its default name is that of the trace.
    pub(crate) fn window(&self, origin: &str) -> Window {
        let stem = || Path::new(origin).file_stem().unwrap_or_default();
        let audio = self.audio.clone().unwrap_or_else(|| Audio {
            file: stem().to_string_lossy().into_owned(),
            start: 0.0,
            duration: 0.0,
        });
        Window {
            uri: audio.file,
            start: audio.start,
            duration: audio.duration,
            waveform: ArrayD::zeros(vec![0]),
            masks: None,
        }
    }
}

/// The stages of a manifest as a graph.
fn graph(entries: &[StageEntry]) -> Result<Graph, GraphError> {
    let position = |name: &str| entries.iter().position(|entry| entry.name == *name);
    let wrong = |entry: &StageEntry| GraphError::Order {
        name: entry.name.clone(),
    };
    let mut stages: Vec<Stage> = Vec::with_capacity(entries.len());
    for entry in entries {
        let before = stages.iter().rposition(|stage| !stage.is_part());
        let operands = match &entry.inputs {
            None => vec![before.map_or(Operand::Input, Operand::Stage)],
            Some(inputs) => {
                let operand = |input: &String| match (&**input, position(input)) {
                    (_, Some(index)) => Operand::Stage(index),
                    (MASKS, None) => Operand::Masks,
                    // An input may have any name.
                    (_, None) => Operand::Input,
                };
                inputs.iter().map(operand).collect()
            }
        };
        let rank = entry.shape.len();
        let mut axes: Vec<Axis> = entry.axes.iter().map(|name| Axis::from(&**name)).collect();
        axes.resize(rank, Axis::Other(String::new()));
        let known = Axes::new(&axes);
        let channel = entry.channel_axis.unwrap_or_else(|| known.channel());
        // A value without axes has one channel.
        let exists = |axis: usize| axis < rank.max(1);
        if !exists(channel) || !entry.frame_axis.is_none_or(exists) {
            return Err(wrong(entry));
        }
        stages.push(Stage {
            name: entry.name.clone(),
            layer: entry.name.clone(),
            op: Op::Other(entry.op.clone().unwrap_or_default()),
            parameters: Vec::new(),
            operands,
            axes: Axes::with(axes, channel, entry.frame_axis),
            part_of: None,
        });
    }
    for (whole, entry) in entries.iter().enumerate() {
        for part in &entry.parts {
            let part = position(part).ok_or_else(|| wrong(entry))?;
            stages[part].part_of = Some(whole);
        }
    }
    Graph::new(stages)
}

/// The shape of each stage that was shown, and whether it is degenerate, by name.
pub(crate) type Shapes = BTreeMap<String, (Vec<usize>, bool)>;

/// The stages of `graph` that have a shape, as entries of a manifest.
pub(crate) fn entries(graph: &Graph, shapes: &Shapes) -> Vec<StageEntry> {
    let stages = graph.stages();
    let entry = |(index, stage): (usize, &Stage)| {
        let (shape, degenerate) = shapes.get(&stage.name)?.clone();
        let inputs = stage.operands.iter().map(|operand| match operand {
            Operand::Input => WAVEFORM.to_owned(),
            Operand::Masks => MASKS.to_owned(),
            Operand::Stage(index) => stages[*index].name.clone(),
        });
        let parts = graph.parts(index).map(|part| part.name.clone());
        Some(StageEntry {
            name: stage.name.clone(),
            axes: stage.axes.all().iter().map(ToString::to_string).collect(),
            channel_axis: Some(stage.axes.channel()),
            frame_axis: stage.axes.frame(),
            inputs: Some(inputs.collect()),
            parts: parts.filter(|part| shapes.contains_key(part)).collect(),
            op: None,
            shape,
            degenerate,
        })
    };
    stages.iter().enumerate().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use soundalike_network::Architecture;

    use super::*;
    use crate::ReferenceTrace;

    fn parse(stages: &str) -> Result<Manifest, TraceError> {
        Manifest::parse(
            format!(r#"{{"schema": 1, "stages": {stages}}}"#).as_bytes(),
            "x.npz",
        )
    }

    #[test]
    fn a_network_that_is_not_ours_is_a_graph() {
        let manifest = parse(
            r#"[{"name": "embed", "shape": [1, 9, 4], "inputs": ["input_ids"]},
                {"name": "attention", "shape": [1, 9, 4], "axes": ["batch", "token", "feature"]},
                {"name": "sum", "shape": [1, 9, 4], "inputs": ["attention", "embed"], "frame_axis": 1, "op": "add"}]"#,
        )
        .unwrap();
        let [embed, attention, sum] = manifest.graph().stages() else {
            panic!("{manifest:?}");
        };
        assert_eq!(embed.operands, [Operand::Input]);
        assert_eq!(attention.operands, [Operand::Stage(0)]);
        assert_eq!(sum.operands, [Operand::Stage(1), Operand::Stage(0)]);
        assert_eq!(sum.op, Op::Other("add".to_owned()));
        assert_eq!((sum.axes.channel(), sum.axes.frame()), (2, Some(1)));
        assert_eq!(manifest.window("run/whisper.npz").uri, "whisper");
    }

    #[test]
    fn stages_that_do_not_fit_together_are_rejected() {
        for stages in [
            r#"[{"name": "a", "shape": [1]}, {"name": "a", "shape": [1]}]"#,
            r#"[{"name": "a", "shape": [1], "inputs": ["b"]}, {"name": "b", "shape": [1]}]"#,
            r#"[{"name": "a", "shape": [1], "parts": ["b"]}]"#,
            r#"[{"name": "a", "shape": [1], "parts": ["a"]}]"#,
            r#"[{"name": "a", "shape": [1], "channel_axis": 1}]"#,
            r#"[{"name": "a", "shape": [1], "frame_axis": 7}]"#,
        ] {
            assert!(
                matches!(parse(stages), Err(TraceError::Graph { .. })),
                "{stages}"
            );
        }
    }

    /// A capture describes the network as the graph does, but for the operations.
    #[test]
    fn the_graph_is_that_of_the_embedded_capture() {
        let captured = "../selftest/captured/segmentation-3.0_1s.npz";
        let trace = ReferenceTrace::open(captured.as_ref()).unwrap();
        let captured = trace.manifest().graph().clone();
        let bundle = soundalike_weights::segmentation().unwrap();
        let graph = Architecture::graph(bundle.architecture(), false).unwrap();
        let plain = |graph: &Graph| -> Vec<_> {
            let stages = graph.stages().iter().cloned();
            stages
                .map(|stage| (stage.name, stage.operands, stage.axes, stage.part_of))
                .collect()
        };
        assert_eq!(plain(&captured), plain(&graph));
    }
}
