//! numpy's archives: read array by array, and no more memory taken than a file can mean.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

#[path = "support/mutation.rs"]
mod mutation;
mod support;

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};

use mutation::{edits, mutated};
use proptest::prelude::*;
use soundalike_convert::{Dtype, ErrorKind, Npz, NpzError};
use support::{line, npy, with_size, zip_of};
use zip::CompressionMethod::{Deflated, Stored};

type Memory = Npz<Cursor<Vec<u8>>>;

fn open(bytes: Vec<u8>) -> Result<Memory, soundalike_convert::Error> {
    Npz::new(Cursor::new(bytes), "x.npz")
}

/// An archive of these arrays.
fn archive(arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let entries = arrays
        .iter()
        .map(|(name, bytes)| (format!("{name}.npy"), bytes.clone()));
    zip_of(&entries.collect::<Vec<_>>(), method)
}

fn bytes_of<const N: usize, T: Copy>(values: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn some_arrays() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "floor/lstm.0",
            npy(
                "<f4",
                "(2, 3)",
                false,
                &bytes_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 0.1], f32::to_le_bytes),
            ),
        ),
        (
            "golden",
            npy(
                "<f8",
                "(2,)",
                false,
                &bytes_of(&[0.1, -7.0], f64::to_le_bytes),
            ),
        ),
        ("half", npy("<f2", "(1,)", false, &[0x00, 0x3e])),
        ("manifest", npy("|u1", "(2,)", false, b"{}")),
        ("clusters", npy("|i1", "(2, 1)", false, &[0xfe, 3])),
        ("chunks", npy("<i8", "(1,)", false, &(-9_i64).to_le_bytes())),
        ("scalar", npy("<f8", "()", false, &2.5_f64.to_le_bytes())),
        ("empty", npy("<f4", "(0, 5)", false, &[])),
        (
            "column",
            npy(
                "<f4",
                "(1, 2)",
                true,
                &bytes_of(&[8.0, 9.0], f32::to_le_bytes),
            ),
        ),
        (
            "fortran",
            npy(
                "<f4",
                "(2, 2)",
                true,
                &bytes_of(&[1.0; 4], f32::to_le_bytes),
            ),
        ),
        ("text", npy("<U2", "()", false, b"{\0\0\0}\0\0\0")),
    ]
}

#[test]
fn any_order_of_bytes_and_axes_is_read() {
    let four = [1.0, 2.0, 3.0, 4.0];
    let arrays = [
        (
            "big",
            npy(">f4", "(2, 2)", false, &bytes_of(&four, f32::to_be_bytes)),
        ),
        (
            "columns",
            npy("<f4", "(2, 2)", true, &bytes_of(&four, f32::to_le_bytes)),
        ),
        (
            "both",
            npy(
                ">f8",
                "(2, 2)",
                true,
                &bytes_of(&four.map(f64::from), f64::to_be_bytes),
            ),
        ),
        // ml_dtypes.bfloat16: 1.5 and -2.
        (
            "bfloat16",
            npy("|V2", "(2,)", false, &[0xc0, 0x3f, 0x00, 0xc0]),
        ),
    ];
    let mut npz = open(archive(&arrays, Deflated)).unwrap();
    let mut read = |name: &str| npz.read::<f64>(name).unwrap().values;
    assert_eq!(read("big"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read("columns"), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(read("both"), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(read("bfloat16"), [1.5, -2.0]);
}

#[test]
fn arrays_are_listed_and_read_one_by_one() {
    for method in [Stored, Deflated] {
        let mut npz = open(archive(&some_arrays(), method)).unwrap();
        let names: Vec<_> = npz.entries().iter().map(|entry| entry.name()).collect();
        let expected: Vec<_> = some_arrays().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected);
        let entry = npz.entry("floor/lstm.0").unwrap();
        assert_eq!(
            (entry.dtype(), entry.descr(), entry.shape(), entry.bytes()),
            (Some(Dtype::F32), "<f4", &[2, 3][..], 24)
        );
        assert!(!entry.is_fortran_order() && npz.entry("lstm.0").is_none());
        let text = npz.entry("text").unwrap();
        assert_eq!((text.dtype(), text.descr(), text.bytes()), (None, "<U2", 8));
        assert!(npz.entry("fortran").unwrap().is_fortran_order());

        let array = npz.read::<f32>("floor/lstm.0").unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.values, [1.0, 2.0, 3.0, 4.0, 5.0, 0.1]);
        // Widened exactly.
        let array = npz.read::<f64>("floor/lstm.0").unwrap();
        assert_eq!(array.values[5], f64::from(0.1_f32));
        assert_eq!(npz.read::<f32>("half").unwrap().values, [1.5]);
        assert_eq!(npz.read::<f64>("golden").unwrap().values, [0.1, -7.0]);
        assert_eq!(npz.read::<u8>("manifest").unwrap().values, b"{}");
        assert_eq!(npz.read::<i8>("clusters").unwrap().values, [-2, 3]);
        assert_eq!(npz.read::<i64>("clusters").unwrap().values, [-2, 3]);
        assert_eq!(npz.read::<i64>("chunks").unwrap().values, [-9]);
        let scalar = npz.read::<f64>("scalar").unwrap();
        assert_eq!((scalar.shape, scalar.values), (vec![], vec![2.5]));
        let empty = npz.read::<f32>("empty").unwrap();
        assert_eq!((empty.shape, empty.values), (vec![0, 5], vec![]));
        // In one dimension there is one order.
        assert_eq!(npz.read::<f32>("column").unwrap().values, [8.0, 9.0]);
    }
}

/// Larger than what is read at a time, of which no multiple is a whole number of rows.
#[test]
fn large_arrays_are_read_whole() {
    let values: Vec<f64> = (0..77_777).map(f64::from).collect();
    let array = npy(
        "<f8",
        "(7, 11111)",
        false,
        &bytes_of(&values, f64::to_le_bytes),
    );
    for method in [Stored, Deflated] {
        let mut npz = open(archive(&[("x", array.clone())], method)).unwrap();
        assert_eq!(npz.read::<f64>("x").unwrap().values, values);
    }
}

#[test]
fn the_committed_trace_is_read() {
    let path = "../../crates/selftest/captured/segmentation-3.0_1s.npz";
    let mut npz = Npz::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    assert_eq!(npz.entries().len(), 232);
    let manifest = npz.read::<u8>("manifest").unwrap().values;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["schema"], 1);
    assert_eq!(npz.read::<f32>("waveform").unwrap().shape, [1, 1, 16_000]);
    let entries = npz.entries().to_vec();
    for entry in entries.iter().filter(|entry| entry.name() != "manifest") {
        let array = npz.read::<f64>(entry.name()).unwrap();
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
    }
}

/// The message of what is wrong with an archive, or with the array `x` in it as f32.
fn problem(bytes: Vec<u8>) -> String {
    match open(bytes).and_then(|mut npz| npz.read::<f32>("x")) {
        Ok(array) => format!("no error: {array:?}"),
        Err(error) => line(&error),
    }
}

#[test]
fn each_kind_of_damage_has_its_own_message() {
    let good = npy("<f4", "(2,)", false, &[0; 8]);
    let x = |array: Vec<u8>| archive(&[("x", array)], Stored);
    let header = |header: &str| {
        let length = (header.len() as u16).to_le_bytes();
        x([b"\x93NUMPY\x01\0", &length[..], header.as_bytes()].concat())
    };
    let whole = x(good.clone());
    let mut bit = whole.clone();
    let data = bit.windows(8).position(|bytes| bytes == [0; 8]).unwrap();
    bit[data] = 1;
    let pressed = archive(&[("x", npy("<f4", "(512,)", false, &[7; 2048]))], Deflated);
    let mut garbled = pressed.clone();
    garbled[60..70].fill(0xff);
    let mut failures = Vec::new();
    for (name, bytes, expected) in [
        ("nothing", vec![], "is empty"),
        (
            "text",
            b"These are no arrays.".to_vec(),
            "is not a numpy archive (.npz): starts with \"These are no arr\"",
        ),
        (
            "cut off",
            whole[..whole.len() / 2].to_vec(),
            "zip archive is damaged or cut off",
        ),
        (
            "another array",
            archive(&[("y", good.clone())], Stored),
            "has no array `x`",
        ),
        (
            "no array",
            zip_of(&[("x".into(), good.clone())], Stored),
            "has no array `x`",
        ),
        (
            "nonsense",
            x(b"nonsense".to_vec()),
            "`x` is not a numpy array",
        ),
        (
            "a short header",
            x(good[..40].to_vec()),
            "`x` is not a numpy array",
        ),
        (
            "a long header",
            x(b"\x93NUMPY\x02\0\xff\xff\xff\xff".to_vec()),
            "`x` has a header without a readable length: 4294967295 bytes",
        ),
        (
            "an empty header",
            header("{}"),
            "without a readable descr: {}",
        ),
        (
            "no order",
            header("{'descr': '<f4', 'shape': (2,), }"),
            "without a readable fortran_order",
        ),
        (
            "no shape",
            header("{'descr': '<f4', 'fortran_order': False, }"),
            "without a readable shape",
        ),
        (
            "65 dimensions",
            x(npy(
                "<f4",
                &format!("({})", "1,".repeat(65)),
                false,
                &[0; 4],
            )),
            "without a readable shape",
        ),
        (
            "negative",
            x(npy("<f4", "(-1,)", false, &[0; 4])),
            "without a readable shape",
        ),
        (
            "too few bytes",
            x(npy("<f4", "(3,)", false, &[0; 8])),
            "`x` has 8 bytes of data, 12 expected",
        ),
        (
            "too many bytes",
            x(npy("<f4", "(1,)", false, &[0; 8])),
            "`x` has 8 bytes of data, 4 expected",
        ),
        (
            "an overflow",
            x(npy("<f4", "(4294967296, 4294967296)", false, &[])),
            "`x` has 0 bytes of data",
        ),
        (
            "objects",
            x(npy("|O", "(1,)", false, b"cos\nsystem\n")),
            "`x` has elements of type |O, expected numbers; nothing was run",
        ),
        (
            "complex",
            x(npy("<c8", "(1,)", false, &[0; 8])),
            "`x` has elements of type <c8",
        ),
        (
            "f64 as f32",
            x(npy("<f8", "(1,)", false, &[0; 8])),
            "`x` has elements of type f64, expected f32, f16 or bf16",
        ),
        (
            "a bit flipped",
            bit,
            "entry `x.npy` of the zip archive cannot be read: i/o error: Invalid checksum",
        ),
        (
            "garbled",
            garbled,
            "entry `x.npy` of the zip archive cannot be read",
        ),
        (
            "a made up length, stored",
            with_size(whole, "x.npy", 1 << 30),
            "zip archive",
        ),
        (
            "a made up length, deflated",
            with_size(pressed.clone(), "x.npy", u32::MAX - 15),
            "entry `x.npy` of the zip archive declares 4294967280 bytes, the limit is",
        ),
        (
            "a made up length and shape, deflated",
            with_size(
                archive(&[("x", npy("<f4", "(4096,)", false, &[7; 2048]))], Deflated),
                "x.npy",
                128 + (1 << 14),
            ),
            "entry `x.npy` of the zip archive",
        ),
    ] {
        let message = problem(bytes);
        let right = message.starts_with("x.npz: ") && message.contains(expected);
        if !right || message.contains('\n') {
            failures.push(format!("{name}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.npz");
    let error = Npz::open(&missing).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    let error = Npz::open(folder.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is a folder without .npy files"),
        "{error}"
    );
    fs::write(&missing, archive(&some_arrays(), Deflated)).unwrap();
    let mut npz = Npz::open(&missing).unwrap();
    let error = npz.read::<f32>("golden").unwrap_err();
    assert_eq!(error.path(), missing);
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::Npz(NpzError::OtherType {
                found: Dtype::F64,
                ..
            })
        ),
        "{kind:?}"
    );
}

/// Peak of the memory of this process so far, MiB.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap();
    kib >> 10
}

/// 1.5 GB of zeros in 1.5 MB: each array is what it says, all of them together are too much.
#[test]
#[cfg(target_os = "linux")]
fn arrays_that_are_too_much_together_are_listed_and_not_read() {
    let array = npy("<f4", "(4194304,)", false, &vec![0; 1 << 24]);
    let one = zip_of(&[("x.npy".into(), array)], Deflated);
    let mut zip = zip::ZipArchive::new(Cursor::new(one.clone())).unwrap();
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for copy in 0..96 {
        let file = zip.by_index_raw(0).unwrap();
        writer
            .raw_copy_file_rename(file, format!("{copy}.npy"))
            .unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    assert!(bytes.len() < 2_000_000);
    let before = peak();
    let mut npz = open(bytes).unwrap();
    assert_eq!(npz.entries().len(), 96);
    let error = npz.read::<f64>("7").unwrap_err().to_string();
    assert!(
        error.contains("declares 1610625024 bytes of arrays, the limit is 1073741824"),
        "{error}"
    );
    assert!(peak() - before < 64, "{} MiB", peak() - before);
    // Silence shrinks as much, and is read.
    assert_eq!(
        open(one).unwrap().read::<f32>("x").unwrap().values.len(),
        1 << 22
    );
}

#[test]
fn tens_of_thousands_of_arrays_are_found_by_name() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for index in 0..30_000_u32 {
        writer
            .start_file(format!("stage.{index}.npy"), options)
            .unwrap();
        let value = (index as f32).to_le_bytes();
        writer
            .write_all(&npy("<f4", "(1,)", false, &value))
            .unwrap();
    }
    let start = std::time::Instant::now();
    let mut npz = open(writer.finish().unwrap().into_inner()).unwrap();
    assert_eq!(npz.entries().len(), 30_000);
    for index in (0..30_000).step_by(100) {
        let array = npz.read::<f32>(&format!("stage.{index}")).unwrap();
        assert_eq!(array.values, [index as f32]);
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 20.0, "{seconds} s");
}

/// Opens and reads; any result will do that is one line, or takes no more memory than the bytes can mean.
fn survive(bytes: Vec<u8>) {
    let (mut message, most) = (String::new(), 1032 * bytes.len() as u64);
    match open(bytes) {
        Err(error) => message = line(&error),
        Ok(mut npz) => {
            for entry in npz.entries().to_vec() {
                assert!(entry.bytes() <= most);
                match npz.read::<f64>(entry.name()) {
                    Ok(array) => {
                        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
                        assert!(array.values.capacity() as u64 <= most);
                    }
                    Err(error) => message = line(&error),
                }
                let _ = npz.read::<u8>(entry.name());
            }
        }
    }
    assert!(!message.contains('\n'), "{message:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn mutated_archives_are_survived(edits in edits(), deflated in any::<bool>()) {
        let method = if deflated { Deflated } else { Stored };
        let bytes = archive(&some_arrays(), method);
        survive(mutated(&bytes, &edits));
        // The directory at the end says where everything is.
        let (arrays, directory) = bytes.split_at(bytes.len() - 700);
        survive([arrays, &mutated(directory, &edits)].concat());
    }

    #[test]
    fn mutated_headers_are_survived(edits in edits()) {
        let array = npy("<f4", "(2, 3)", false, &[1; 24]);
        survive(archive(&[("x", mutated(&array, &edits))], Deflated));
    }

    #[test]
    fn random_bytes_are_survived(
        magic in prop::sample::select(vec![&b""[..], b"PK", b"PK\x03\x04", b"PK\x05\x06"]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        survive([magic, &bytes].concat());
    }

    #[test]
    fn what_was_written_is_read(values in prop::collection::vec(any::<f32>(), 0..300)) {
        let shape = format!("({},)", values.len());
        let array = npy("<f4", &shape, false, &bytes_of(&values, f32::to_le_bytes));
        let read = open(archive(&[("x", array)], Deflated)).unwrap().read::<f32>("x").unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.values), bits(&values));
    }
}
