//! No input makes the reader panic, and views come out as numpy would give them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "support/mutation.rs"]
mod mutation;
mod support;

use std::{path::Path, sync::OnceLock};

use mutation::{edits, mutated};
use proptest::prelude::*;
use soundalike_convert::{Clustering, Inspection, convert_bytes};
use support::{Checkpoint, line, tensor, zip_of};
use zip::CompressionMethod::Stored;

fn checkpoint() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| Checkpoint::small().zip())
}

fn bundle() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        convert_bytes(checkpoint().to_vec(), "x")
            .unwrap()
            .bundle
            .bytes()
            .to_vec()
    })
}

/// The export up to and a little beyond its graph's nodes, so that a case is quick.
fn export() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| std::fs::read(support::onnx_export()).unwrap())
}

/// Converts and inspects; any result will do.
fn survive(bytes: Vec<u8>) {
    if let Err(kind) = convert_bytes(bytes.clone(), "x") {
        let message = line(&kind);
        assert!(
            !message.is_empty() && !message.contains('\n'),
            "{message:?}"
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    if let Ok(inspection) = Inspection::of(Path::new(file.path())) {
        serde_json::to_string(&inspection).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn random_bytes_are_survived(
        magic in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"\x08\x08\x12", b"PK\x05\x06"]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        survive([magic, &bytes].concat());
    }

    #[test]
    fn random_opcodes_are_survived(
        opcodes in prop::collection::vec(prop::sample::select(OPCODES.to_vec()), 0..200),
    ) {
        let pickle = [b"\x80\x02", &opcodes.concat()[..], b"."].concat();
        survive(zip_of(&[("a/data.pkl".into(), pickle)], Stored));
    }

    #[test]
    fn mutated_pickles_are_survived(edits in edits()) {
        let checkpoint = Checkpoint::small();
        let mut entries = vec![("a/data.pkl".to_owned(), mutated(&checkpoint.pickle(), &edits))];
        for (key, bytes) in checkpoint.storages {
            entries.push((format!("a/data/{key}"), bytes));
        }
        survive(zip_of(&entries, Stored));
    }

    #[test]
    fn mutated_archives_are_survived(edits in edits()) {
        survive(mutated(checkpoint(), &edits));
        // The directory at the end says where everything is.
        let (weights, directory) = checkpoint().split_at(checkpoint().len() - 2500);
        survive([weights, &mutated(directory, &edits)].concat());
    }

    #[test]
    fn mutated_bundles_are_survived(edits in edits()) {
        let (header, weights) = bundle().split_at(3000);
        survive([&mutated(header, &edits), weights].concat());
        survive(mutated(bundle(), &edits));
    }

    #[test]
    fn mutated_arrays_are_survived(edits in edits()) {
        let array = support::npy("<f4", "(2, 3)", true, &[1; 24]);
        survive(zip_of(&[("x.npy".into(), mutated(&array, &edits))], Stored));
    }

    #[test]
    fn thresholds_are_read_back_to_the_last_bit(threshold in 0.0_f64..2.0, fa in 0.0_f64..1.0) {
        let clustering = Clustering::VBx { threshold, fa, fb: threshold * fa };
        let text = serde_json::to_string(&clustering).unwrap();
        prop_assert_eq!(serde_json::from_str::<Clustering>(&text).unwrap(), clustering);
    }

    #[test]
    fn views_of_any_order_and_offset_come_out_row_by_row(
        order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
        offset in 0_usize..10,
        gap in 1_usize..4,
    ) {
        // `sincnet.conv1d.2.weight` [60, 60, 5], its dimensions stored in another order.
        let shape = [60_usize, 60, 5];
        let mut strides = [0; 3];
        let mut stride = gap;
        for &dimension in order.iter().rev() {
            strides[dimension] = stride;
            stride *= shape[dimension];
        }
        let storage: Vec<f32> = (0..stride + offset).map(|i| i as f32 / 4096.0).collect();
        let mut expected = Vec::new();
        for i in 0..60 {
            for j in 0..60 {
                for k in 0..5 {
                    expected.push(storage[offset + i * strides[0] + j * strides[1] + k * strides[2]]);
                }
            }
        }

        let mut checkpoint = Checkpoint::small();
        let ints = |values: [usize; 3]| values.map(|value| value as i64);
        let (shape, strides) = (ints(shape), ints(strides));
        *checkpoint.entry("sincnet.conv1d.2.weight") =
            tensor("FloatStorage", "other", storage.len() as i64, offset as i64, &shape, &strides);
        let bytes = storage.into_iter().flat_map(f32::to_le_bytes).collect();
        checkpoint.storages.push(("other".into(), bytes));
        let bundle = convert_bytes(checkpoint.zip(), "x").unwrap().bundle;
        let found = bundle.tensor("sincnet.conv1d.2.weight").unwrap().to_f32().unwrap();
        prop_assert_eq!(found, expected);
    }
}

/// Opcodes with small arguments, so that random programs get somewhere.
const OPCODES: &[&[u8]] = &[
    b"(",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"\x89",
    b"K\x03",
    b"M\x01\x02",
    b"J\x01\0\0\0",
    b"G\x3f\xf0\0\0\0\0\0\0",
    b"\x8a\x01\xff",
    b"\x8a\x09\0\0\0\0\0\0\0\0\x01",
    b"I7\n",
    b"L5L\n",
    b"F1.5\n",
    b"X\x01\0\0\0a",
    b"\x8c\x0astate_dict",
    b"V\xc3\xa4\n",
    b"S'a'\n",
    b"U\x01\xff",
    b"C\x01a",
    b")",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"]",
    b"l",
    b"a",
    b"e",
    b"}",
    b"d",
    b"s",
    b"u",
    b"\x8f",
    b"\x90",
    b"\x91",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
    b"\x8c\x01a\x8c\x01b\x93",
    b"R",
    b"\x81",
    b"\x92",
    b"o",
    b"b",
    b"Q",
    b"q\x01",
    b"h\x01",
    b"r\x02\0\0\0",
    b"j\x02\0\0\0",
    b"p3\n",
    b"g3\n",
    b"\x94",
    b"P1\n",
    b"(K\x01icollections\nOrderedDict\n",
];

mod captures {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

        #[test]
        #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
        fn mutated_exports_are_survived(edits in edits()) {
            // Nodes come first, weights last.
            let (nodes, weights) = export().split_at(20_000);
            survive([&mutated(nodes, &edits), weights].concat());
        }
    }
}
