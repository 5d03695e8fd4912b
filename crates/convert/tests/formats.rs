//! The same networks in the formats of other projects, made by `reference/make_exports.py`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

mod captures {
    use std::{collections::BTreeMap, path::PathBuf};

    use soundalike_convert::{Bundle, load};

    use super::support::captures;

    fn exported(file: &str) -> Bundle {
        let path = captures().join("exports").join(file);
        load(&path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn original(network: &str) -> Bundle {
        let path: PathBuf = captures().join("pipelines/vbx").join(network);
        load(&path.join("pytorch_model.bin")).unwrap()
    }

    /// The values of all tensors that evaluation uses.
    fn values(bundle: &Bundle) -> BTreeMap<String, Vec<f64>> {
        let tensors = bundle.tensors();
        let floats = tensors.filter_map(|tensor| Some((tensor.name.to_owned(), tensor.to_f64()?)));
        floats.collect()
    }

    /// Names of tensors that are not the original's.
    fn differing(bundle: &Bundle, original: &Bundle) -> Vec<String> {
        let (found, expected) = (values(bundle), values(original));
        let names = found.keys().chain(expected.keys());
        let mut names: Vec<_> = names
            .filter(|&name| found.get(name) != expected.get(name))
            .collect();
        names.sort();
        names.dedup();
        names.into_iter().cloned().collect()
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn what_is_only_stored_otherwise_is_the_original_bit_by_bit() {
        for (network, files) in [
            (
                "segmentation",
                &[
                    "diarizers",
                    "weights.npz",
                    "speakrs-segmentation.safetensors",
                    "legacy.bin",
                    "segmentation-11.onnx",
                    "segmentation-17.onnx",
                    "segmentation-20.onnx",
                    "segmentation-32.onnx",
                ][..],
            ),
            (
                "embedding",
                &[
                    "avg_model.pt",
                    "front.pt",
                    "wespeaker-mlx.npz",
                    "wespeaker-norms.onnx",
                ],
            ),
        ] {
            let original = original(network);
            for file in files {
                let found = exported(file);
                assert_eq!(found.architecture(), original.architecture(), "{file}");
                assert_eq!(differing(&found, &original), [""; 0], "{file}");
            }
        }
        let notes = exported("avg_model.pt").notes().to_vec();
        assert!(
            notes[0].starts_with("recognised by names and shapes"),
            "{notes:?}"
        );
        let told = exported("diarizers");
        let (told, known) = (told.specifications().unwrap(), original("segmentation"));
        let known = known.specifications().unwrap();
        assert_eq!(
            (told.duration, told.classes.len(), told.powerset_max_classes),
            (
                known.duration,
                known.classes.len(),
                known.powerset_max_classes
            )
        );
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn the_biases_of_mlx_are_the_sums_and_all_else_is_the_original() {
        let (found, original) = (
            exported("swift-segmentation.safetensors"),
            original("segmentation"),
        );
        for name in differing(&found, &original) {
            let known = name.starts_with("sincnet.conv1d.0.") || name.starts_with("lstm.bias_");
            assert!(known, "{name}");
        }
        let (found, original) = (values(&found), values(&original));
        let [ours, sum, other] = [
            &found["lstm.bias_ih_l1_reverse"],
            &original["lstm.bias_ih_l1_reverse"],
            &original["lstm.bias_hh_l1_reverse"],
        ];
        for ((ours, a), b) in ours.iter().zip(sum).zip(other) {
            assert_eq!(*ours as f32, *a as f32 + *b as f32);
        }
        assert!(
            found["lstm.bias_hh_l1_reverse"]
                .iter()
                .all(|bias| *bias == 0.0)
        );
    }

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn folded_norms_leave_convolutions_with_biases() {
        let original = original("embedding");
        for file in [
            "speakrs-embedding.safetensors",
            "swift-embedding.safetensors",
            "wespeaker.onnx",
        ] {
            let found = exported(file);
            let tensors = values(&found);
            // 36 convolutions with their biases, and the last layer.
            assert_eq!(tensors.len(), 74, "{file}");
            let known = values(&original);
            assert_eq!(tensors["resnet.seg_1.weight"], known["resnet.seg_1.weight"]);
            let norm = |leaf: &str| &known[&format!("resnet.layer2.0.shortcut.1.{leaf}")];
            let (weight, variance) = (norm("weight")[5], norm("running_var")[5]);
            let scale = weight / (variance + 1e-5).sqrt();
            let name = "resnet.layer2.0.shortcut.0.weight";
            let inputs = found.tensor(name).unwrap().shape[1];
            for (ours, theirs) in tensors[name]
                .iter()
                .zip(&known[name])
                .skip(5 * inputs)
                .take(inputs)
            {
                assert!(
                    (ours - theirs * scale).abs() <= 1e-6 * ours.abs(),
                    "{file}: {ours}"
                );
            }
            let bias = norm("bias")[5] - norm("running_mean")[5] * scale;
            let ours = tensors["resnet.layer2.0.shortcut.0.bias"][5];
            assert!((ours - bias).abs() <= 1e-6, "{file}: {ours} {bias}");
        }
    }
}
