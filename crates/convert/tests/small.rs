//! Small files written by hand: converted, saved, cast and inspected.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use serde_json::json;
use soundalike_convert::{
    Bundle, Clustering, Inspection, ModelRole, PipelineDirectory, WeightType, convert_bytes,
    convert_pipeline,
};
use support::{Checkpoint, Py, dict, line, tensor};

fn bundle(checkpoint: &Checkpoint) -> Bundle {
    convert_bytes(checkpoint.zip(), "x.bin").unwrap().bundle
}

/// The inspection of a file with these bytes.
fn inspect(bytes: &[u8]) -> Inspection {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    fs::write(&path, bytes).unwrap();
    Inspection::of(&path).unwrap()
}

#[test]
fn a_saved_bundle_is_read_back_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let saved = bundle(&Checkpoint::small());
    saved.save(&path).unwrap();
    assert_eq!(Bundle::open(&path).unwrap().bytes(), saved.bytes());
    let inspection = Inspection::of(&path).unwrap();
    assert_eq!(inspection.details, json!({ "source": saved.source() }));
}

#[test]
fn a_cast_counts_the_tensors_that_it_converts_and_keeps() {
    let bundle = bundle(&Checkpoint::small());
    let (_, report) = bundle.cast(WeightType::BF16, |_| false).unwrap();
    // `n_` and `window_` are buffers.
    assert_eq!((report.converted, report.kept.len()), (20, 2));
}

#[test]
fn the_hyperparameters_of_a_checkpoint_are_shown_as_they_are() {
    let inspection = inspect(&Checkpoint::small().zip());
    assert_eq!(
        inspection.details["hyperparameters"],
        json!({
            "sample_rate": 16000,
            "num_channels": 1,
            "sincnet": { "stride": 10, "sample_rate": 16000 },
            "lstm": {
                "hidden_size": 4, "num_layers": 1, "bidirectional": false, "monolithic": true,
                "dropout": 0.0, "batch_first": true,
            },
            "linear": { "hidden_size": 128, "num_layers": 0 },
        })
    );
}

#[test]
fn values_that_are_nested_deeply_are_not_shown() {
    let mut checkpoint = Checkpoint::small();
    let nested = |depth| (0..depth).fold(Py::Int(1), |inner, _| Py::List(vec![inner]));
    checkpoint.hyperparameters = dict([("shown", nested(14)), ("hidden", nested(15))]);
    let inspection = inspect(&checkpoint.zip());
    let expected = |inner, depth| (0..depth).fold(inner, |inner, _| json!([inner]));
    // The dictionary is the first of 16 levels, the number the last.
    assert_eq!(
        inspection.details["hyperparameters"],
        json!({ "shown": expected(json!(1), 14), "hidden": expected(json!("..."), 15) })
    );
}

/// `torch._utils._rebuild_tensor_v3`: the length of an untyped storage is in bytes.
#[test]
fn an_untyped_storage_has_whole_elements() {
    let name = "lstm.bias_ih_l0";
    let mut checkpoint = Checkpoint::small();
    let expected = bundle(&checkpoint);
    let names = support::small_architecture().tensors().into_iter();
    let key = names.map(|t| t.name).position(|n| n == name).unwrap();
    let untyped = |bytes| {
        let storage = tensor("UntypedStorage", &key.to_string(), bytes, 0, &[16], &[1]);
        let Py::Call(_, mut arguments) = storage else {
            panic!()
        };
        arguments.push(Py::Global("torch", "float32"));
        let function = Py::Global("torch._utils", "_rebuild_tensor_v3");
        Py::Call(Box::new(function), arguments)
    };
    *checkpoint.entry(name) = untyped(64);
    assert_eq!(bundle(&checkpoint).tensor(name), expected.tensor(name));
    *checkpoint.entry(name) = untyped(66);
    let error = line(&convert_bytes(checkpoint.zip(), "x.bin").unwrap_err());
    assert!(error.contains("storage"), "{error}");
}

/// Writes a pipeline of a segmentation alone.
fn write_pipeline(path: &Path, parameters: &str) {
    let yaml = "
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: OracleClustering
    segmentation: pytorch_model.bin
";
    fs::write(path.join("pytorch_model.bin"), Checkpoint::small().zip()).unwrap();
    fs::write(path.join("config.yaml"), format!("{yaml}{parameters}")).unwrap();
}

/// pyannote.audio `Pipeline.from_pretrained` calls `freeze`, then `instantiate` with `params`.
#[test]
fn free_parameters_override_frozen_ones_unless_they_are_null() {
    let folder = tempfile::tempdir().unwrap();
    let read = |free: &str| {
        let layer =
            |name, value| format!("{name}: {{segmentation: {{min_duration_off: {value}}}}}");
        let parameters = [layer("freeze", "0.25"), layer("params", free)].join("\n");
        write_pipeline(folder.path(), &parameters);
        let pipeline = PipelineDirectory::read(folder.path()).unwrap();
        pipeline.config().min_duration_off
    };
    assert_eq!(read("0.5"), 0.5);
    assert_eq!(read("null"), 0.25);
}

#[test]
fn a_converted_pipeline_is_read_back_and_a_model_of_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_pipeline(
        folder.path(),
        "params: {segmentation: {min_duration_off: 0.25}}",
    );
    let destination = folder.path().join("converted");
    let written = convert_pipeline(folder.path(), &destination).unwrap();
    let read = PipelineDirectory::read(&destination).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    assert_eq!(read.config().clustering, Clustering::Oracle {});
    let model = &Inspection::of(&destination).unwrap().models[0];
    assert_eq!(
        model.details,
        json!({ "source": read.model(ModelRole::Segmentation).unwrap().source() })
    );

    let mut other = Checkpoint::small();
    other.storage("classifier.bias")[0] ^= 1;
    let file = destination.join(ModelRole::Segmentation.file());
    bundle(&other).save(&file).unwrap();
    let error = line(&PipelineDirectory::read(&destination).unwrap_err());
    assert!(error.contains("from the manifest"), "{error}");
}
