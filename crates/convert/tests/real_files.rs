//! The real files: every tensor as `torch.load` and `numpy.load` give it.
//!
//! `golden/real.json` was made by `reference/check_bundles.py --golden` with torch 2.13.0.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::{collections::BTreeMap, path::Path};

use sha2::Digest;
use soundalike_convert::{
    Bundle, Clustering, Dtype, Inspection, ModelRole, PipelineDirectory, WeightType, convert,
    convert_pipeline, load,
};
use soundalike_network::{Activation, Architecture, Problem, Resolution, SincFilters};
use support::{assets, onnx_export};

/// file: name: (shape, dtype, SHA-256 of the elements).
type Golden = BTreeMap<String, BTreeMap<String, (Vec<usize>, String, String)>>;

fn golden(file: &str) -> BTreeMap<String, (Vec<usize>, String, String)> {
    let all: Golden = serde_json::from_str(include_str!("golden/real.json")).unwrap();
    all[file].clone()
}

fn rows(bundle: &Bundle) -> BTreeMap<String, (Vec<usize>, String, String)> {
    let torch_name = |dtype| match dtype {
        Dtype::F32 => "float32",
        Dtype::F64 => "float64",
        Dtype::I64 => "int64",
        other => panic!("{other}"),
    };
    let sha256 = |bytes: &[u8]| -> String {
        sha2::Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    bundle
        .tensors()
        .map(|tensor| {
            let row = (
                tensor.shape.to_vec(),
                torch_name(tensor.dtype).into(),
                sha256(tensor.bytes),
            );
            (tensor.name.to_owned(), row)
        })
        .collect()
}

const FILES: [(&str, &str); 4] = [
    (
        "segmentation/pytorch_model.bin",
        "pipelines/community-1-synthetic/segmentation/pytorch_model.bin",
    ),
    (
        "segmentation-2022.07/pytorch_model.bin",
        "models/segmentation-2022.07/pytorch_model.bin",
    ),
    (
        "embedding/pytorch_model.bin",
        "pipelines/community-1-synthetic/embedding/pytorch_model.bin",
    ),
    (
        "community-1-synthetic/plda",
        "pipelines/community-1-synthetic/plda",
    ),
];

mod assets {
    use super::*;

    /// asteroid-filterbanks `ParamSincFB.filters`, in f64: an independent look at the baked filters.
    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn the_baked_filters_are_those_of_the_frequencies() {
        let (assets, export) = (assets(), onnx_export());
        let checkpoint = load(&assets.join(FILES[0].1)).unwrap();
        let read = |name: &str| {
            checkpoint
                .tensor(&format!("sincnet.conv1d.0.filterbank.{name}"))
                .unwrap()
                .to_f64()
                .unwrap()
        };
        let (low, band) = (read("low_hz_"), read("band_hz_"));
        let (window, n) = (read("window_"), read("n_"));
        let filters = load(&export).unwrap();
        let filters = filters
            .tensor("sincnet.conv1d.0.filters")
            .unwrap()
            .to_f64()
            .unwrap();
        for filter in 0..40 {
            let low = 50.0 + low[filter].abs();
            let high = (low + 50.0 + band[filter].abs()).clamp(50.0, 8000.0);
            for i in 0..125 {
                let cosine = ((high * n[i]).sin() - (low * n[i]).sin()) / (n[i] / 2.0) * window[i];
                let expected = cosine / (2.0 * (high - low));
                let difference = (filters[filter * 251 + i] - expected).abs();
                // The checkpoint's frequencies were fitted to the filters to 1.2e-6.
                assert!(
                    difference < 1e-5,
                    "filter {filter}, sample {i}: {difference}"
                );
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn every_tensor_is_bit_equal_to_what_python_reads() {
        let assets = assets();
        for (key, file) in FILES {
            let bundle = load(&assets.join(file)).unwrap();
            assert_eq!(rows(&bundle), golden(key), "{file}");
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn converting_twice_gives_the_same_bytes_and_reading_back_gives_the_same_bundle() {
        let assets = assets();
        let folder = tempfile::tempdir().unwrap();
        for (_, file) in FILES {
            let (first, second) = (
                load(&assets.join(file)).unwrap(),
                load(&assets.join(file)).unwrap(),
            );
            assert!(first.bytes() == second.bytes(), "{file}");
            let path = folder.path().join("x.safetensors");
            first.save(&path).unwrap();
            let opened = Bundle::open(&path).unwrap();
            assert!(opened.bytes() == first.bytes(), "{file}");
            assert_eq!(opened.architecture(), first.architecture());
            assert_eq!(opened.specifications(), first.specifications());
            assert_eq!(opened.source(), first.source());
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "temporary files are gone");
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn segmentation_3_has_its_hyperparameters_and_1473515_values() {
        let assets = assets();
        let inspection = Inspection::of(&assets.join(FILES[0].1)).unwrap();
        let Some(Architecture::PyanNet(pyannet)) = &inspection.architecture else {
            panic!()
        };
        assert_eq!(pyannet.sincnet.stride, 10);
        assert_eq!(pyannet.sincnet.filters, SincFilters::Parametrised);
        assert_eq!(
            (pyannet.lstm.hidden_size, pyannet.lstm.num_layers),
            (128, 4)
        );
        assert!(pyannet.lstm.bidirectional && pyannet.lstm.monolithic);
        assert_eq!(
            (pyannet.linear.hidden_size, pyannet.linear.num_layers),
            (128, 2)
        );
        assert_eq!(
            (pyannet.num_outputs, pyannet.activation),
            (7, Activation::LogSoftmax)
        );
        let specifications = inspection.specifications.unwrap();
        assert_eq!(specifications.problem, Problem::MonoLabelClassification);
        assert_eq!(specifications.resolution, Resolution::Frame);
        assert_eq!(specifications.duration, 10.0);
        assert_eq!(
            specifications.classes,
            ["speaker#1", "speaker#2", "speaker#3"]
        );
        assert_eq!(specifications.powerset_max_classes, Some(2));
        assert!(specifications.permutation_invariant);

        let counts = inspection.counts;
        assert_eq!(
            (counts.parameters, counts.buffers, counts.total),
            (1_473_265, 250, 1_473_515)
        );
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn the_older_segmentation_is_multilabel_and_five_seconds() {
        let assets = assets();
        let conversion = convert(&assets.join(FILES[1].1)).unwrap();
        let Architecture::PyanNet(pyannet) = conversion.bundle.architecture() else {
            panic!()
        };
        assert_eq!(
            (pyannet.num_outputs, pyannet.activation),
            (3, Activation::Sigmoid)
        );
        let specifications = conversion.bundle.specifications().unwrap();
        assert_eq!(specifications.problem, Problem::MultiLabelClassification);
        assert_eq!(
            (specifications.duration, specifications.powerset_max_classes),
            (5.0, None)
        );
        // Everything in its pickle is known to be data.
        assert_eq!(conversion.foreign_globals, Vec::<String>::new());
        let shown = conversion.origins["lstm.bias_hh_l3"].to_string();
        assert_eq!(shown, "archive/data/16 from 1378816");
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn a_pipeline_directory_becomes_a_directory_of_bundles() {
        let assets = assets();
        let folder = tempfile::tempdir().unwrap();
        for (name, clustering) in [
            (
                "community-1-synthetic",
                Clustering::VBx {
                    threshold: 0.6,
                    fa: 0.07,
                    fb: 0.8,
                },
            ),
            (
                "3.1-synthetic",
                Clustering::Agglomerative {
                    method: soundalike_convert::Linkage::Centroid,
                    min_cluster_size: 12,
                    threshold: 0.7045654963945799,
                },
            ),
        ] {
            let destination = folder.path().join(name);
            let written =
                convert_pipeline(&assets.join("pipelines").join(name), &destination).unwrap();
            let read = PipelineDirectory::read(&destination).unwrap();
            for pipeline in [&written, &read] {
                let config = pipeline.config();
                assert_eq!(config.clustering, clustering);
                assert_eq!(
                    (config.segmentation_step, config.min_duration_off),
                    (0.1, 0.0)
                );
                assert_eq!(
                    (config.segmentation_batch_size, config.embedding_batch_size),
                    (32, 32)
                );
                assert!(config.embedding_exclude_overlap);
            }
            assert_eq!(read.manifest(), written.manifest());
            for part in ModelRole::ALL {
                let (read, written) = (read.model(part).unwrap(), written.model(part).unwrap());
                assert!(read.bytes() == written.bytes(), "{name} {part}");
            }
            let inspection = Inspection::of(&destination).unwrap();
            assert_eq!(inspection.models.len(), 3);

            // A bundle that is not the manifest's is noticed.
            let other = if name.starts_with('3') {
                "x"
            } else {
                "3.1-synthetic"
            };
            if other == "x" {
                let file = destination.join(ModelRole::Plda.file());
                let mut bytes = std::fs::read(&file).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&file, bytes).unwrap();
                let error = PipelineDirectory::read(&destination)
                    .unwrap_err()
                    .to_string();
                assert!(error.contains("from the manifest"), "{error}");
            }
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn fewer_bits_round_every_real_weight_to_the_nearest() {
        let assets = assets();
        let bundle = load(&assets.join(FILES[0].1)).unwrap();
        for to in [WeightType::F16, WeightType::BF16] {
            let (cast, report) = bundle.cast(to, |_| false).unwrap();
            assert_eq!(
                report.kept,
                [
                    "sincnet.conv1d.0.filterbank.n_",
                    "sincnet.conv1d.0.filterbank.window_",
                ]
            );
            assert_eq!((report.converted, report.values), (52, 1_473_265));
            for (before, after) in bundle.tensors().zip(cast.tensors()) {
                assert_eq!(before.name, after.name);
                let digits = match after.dtype {
                    Dtype::F16 => 11,
                    Dtype::BF16 => 8,
                    _ => continue,
                };
                // Half a unit in the last digit; in f16 also half of the smallest subnormal, 2^-24.
                let relative = f64::from(1_u32 << digits).recip();
                let least = if to == WeightType::F16 {
                    2_f64.powi(-25)
                } else {
                    0.0
                };
                for (before, after) in before.to_f64().unwrap().iter().zip(after.to_f64().unwrap())
                {
                    let bound = (before.abs() * relative).max(least);
                    assert!((before - after).abs() <= bound, "{before} became {after}");
                }
            }
            // Opened again, the file is valid.
            Bundle::from_bytes(cast.bytes().to_vec(), "cast").unwrap();
        }
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn real_files_are_inspected_whatever_they_are() {
        let assets = assets();
        for (file, tensors) in [
            (FILES[0].1, 54),
            (FILES[1].1, 54),
            (FILES[2].1, 218),
            (FILES[3].1, 6),
            ("pyannote-captures/02_pyannote_sample/segmentations.npz", 1),
        ] {
            let inspection = Inspection::of(&assets.join(file)).unwrap();
            assert!(
                inspection.tensors.len() >= tensors,
                "{file}: {}",
                inspection.tensors.len()
            );
            assert_eq!(inspection.problem, None);
            serde_json::to_string(&inspection).unwrap();
        }
        assert!(Inspection::of(Path::new("/nonexistent")).is_err());
    }
}

mod captures {
    use super::*;

    /// The checkpoint among the assets was made from the export by other people's code, so this
    /// compares two ways from the same weights.
    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_onnx_export_has_the_weights_of_the_checkpoint() {
        let path = onnx_export();
        let export = load(&path).unwrap();
        let checkpoint = golden(FILES[0].0);
        let mut found = rows(&export);
        let filters = found.remove("sincnet.conv1d.0.filters").unwrap();
        assert_eq!(filters.0, [80, 1, 251]);
        let filterbank = "sincnet.conv1d.0.filterbank.";
        let expected: BTreeMap<_, _> = checkpoint
            .into_iter()
            .filter(|(name, _)| !name.starts_with(filterbank))
            .collect();
        assert_eq!(found, expected);

        let Architecture::PyanNet(pyannet) = export.architecture() else {
            panic!()
        };
        assert_eq!(pyannet.sincnet.filters, SincFilters::Baked);
        let specifications = export.specifications().unwrap();
        assert_eq!(
            (specifications.duration, specifications.num_outputs()),
            (10.0, Some(7))
        );
        assert!(export.notes().iter().any(|note| note.contains("inferred")));
        let counts = soundalike_convert::ParameterCounts::of(&convert(&path).unwrap().tensors());
        assert_eq!((counts.parameters, counts.buffers), (1_473_185, 20_080));
    }
}
