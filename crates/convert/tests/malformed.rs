//! Damaged, hostile and unsuitable files: each gives one clear line, and nothing in it is run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::{fs, path::Path};

use soundalike_convert::{
    Bundle, CheckpointError, ErrorKind, Inspection, METADATA_KEY, PickleError, PipelineDirectory,
    SourceFormat, WeightType, convert_bytes, load,
};
use support::{Checkpoint, Py, dict, line, npy, onnx_export, pickle, str, tensor, zip_of};
use zip::CompressionMethod::{Deflated, Stored};

/// The message of what is wrong with a file.
fn message(bytes: &[u8]) -> String {
    match convert_bytes(bytes.to_vec(), "x.bin") {
        Ok(_) => "no error".into(),
        Err(kind) => line(&kind),
    }
}

/// Checks all cases and reports all that fail.
fn check(cases: Vec<(&str, Vec<u8>, &[&str])>) {
    let mut failures = Vec::new();
    for (name, bytes, parts) in cases {
        let message = message(&bytes);
        let one_line = !message.contains('\n') && !message.ends_with('.');
        if !one_line || parts.iter().any(|part| !message.contains(part)) {
            failures.push(format!("{name}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn changed(change: impl FnOnce(&mut Checkpoint)) -> Vec<u8> {
    let mut checkpoint = Checkpoint::small();
    change(&mut checkpoint);
    checkpoint.zip()
}

/// The file with `from` replaced by `to`, of the same length, everywhere.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            count += 1;
        }
    }
    assert!(count > 0);
    bytes
}

#[test]
fn a_small_checkpoint_is_converted() {
    for compression in [Stored, Deflated] {
        let conversion = convert_bytes(changed(|c| c.compression = compression), "x.bin").unwrap();
        let bundle = &conversion.bundle;
        assert_eq!(bundle.architecture(), &support::small_architecture());
        assert_eq!(bundle.source().file, "x.bin");
        let names = support::small_architecture()
            .tensors()
            .into_iter()
            .map(|t| t.name);
        for (index, name) in names.enumerate() {
            let found = bundle.tensor(&name).unwrap();
            assert_eq!(
                found.to_f32().unwrap(),
                support::values(index, found.len()),
                "{name}"
            );
        }
        let specifications = bundle.specifications().unwrap();
        assert_eq!(specifications.warm_up, (0.0, 0.5));
        assert_eq!(specifications.num_outputs(), Some(7));
    }
}

#[test]
fn files_that_are_no_models_are_named_so() {
    let script = [
        ("m/data.pkl", &b"N."[..]),
        ("m/constants.pkl", b"N."),
        ("m/code/x.py", b""),
    ];
    let script = script.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let pickles = ["a/data.pkl", "b/data.pkl"].map(|name| (name.to_owned(), b"N.".to_vec()));
    check(vec![
        ("empty", vec![], &["is empty"]),
        (
            "text",
            b"hello, this is text".to_vec(),
            &["not a model", "hello, this"],
        ),
        (
            "html",
            b"<!DOCTYPE html><html>".to_vec(),
            &["is a web page", "not a model"],
        ),
        ("bare pickle", pickle(&dict([])), &["bare pickle"]),
        (
            "big-endian",
            changed(|c| c.byteorder = "big"),
            &["big-endian", "torch.save("],
        ),
        ("TorchScript", zip_of(&script, Stored), &["TorchScript"]),
        ("two pickles", zip_of(&pickles, Stored), &["2 data.pkl"]),
        (
            "no pickle",
            zip_of(&[("a.txt".into(), vec![1])], Stored),
            &["no data.pkl", "`a.txt`"],
        ),
        ("no entries", zip_of(&[], Stored), &["no data.pkl"]),
        (
            "a trace",
            zip_of(&[("a.npy".into(), vec![])], Stored),
            &["numpy archive, not a model"],
        ),
    ]);
}

#[test]
fn files_of_pytorch_before_1_6_are_read_and_their_damage_is_named() {
    let (zip, old) = (Checkpoint::small().zip(), Checkpoint::small().legacy());
    let bundle = |bytes: &[u8]| convert_bytes(bytes.to_vec(), "x").unwrap().bundle;
    let tensors = |bundle: &Bundle| -> Vec<_> {
        let tensors = bundle.tensors();
        tensors
            .map(|t| (t.name.to_owned(), t.bytes.to_vec()))
            .collect()
    };
    let found = bundle(&old);
    assert_eq!(tensors(&found), tensors(&bundle(&zip)));
    assert_eq!(found.architecture(), bundle(&zip).architecture());
    assert_eq!(found.source().format, SourceFormat::PytorchLegacy);

    let changed = |change: fn(&mut Checkpoint)| {
        let mut checkpoint = Checkpoint::small();
        change(&mut checkpoint);
        checkpoint.legacy()
    };
    let hostile = |checkpoint: &mut Checkpoint| {
        let call = Py::Call(Box::new(Py::Global("os", "system")), vec![str("true")]);
        checkpoint.extra.push(("x".into(), call));
    };
    let mut longer = old.clone();
    longer.push(0);
    assert_eq!(tensors(&bundle(&longer)), tensors(&found));
    check(vec![
        (
            "cut",
            old[..old.len() - 1].to_vec(),
            &["ends within the storage"],
        ),
        ("magic only", support::LEGACY_MAGIC.to_vec(), &["ends"]),
        (
            "version",
            patched(old, &pickle(&Py::Int(1001)), &pickle(&Py::Int(1002))),
            &["in version 1002, expected 1001"],
        ),
        (
            "big-endian",
            changed(|c| c.byteorder = "big"),
            &["big-endian"],
        ),
        ("hostile", changed(hostile), &["os.system"]),
        (
            "a storage of no tensor",
            changed(|c| c.storages.push(("99".into(), vec![0; 4]))),
            &["storage \"99\" of unknown element type"],
        ),
        (
            "a storage too few",
            changed(|c| drop(c.storages.pop())),
            &["storage ", "0 bytes"],
        ),
        (
            "a short storage",
            changed(|c| c.storages[3].1.truncate(4)),
            &["storage 3"],
        ),
    ]);
}

#[test]
fn paths_come_first_in_messages() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.bin");
    let error = load(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: opening failed", missing.display())),
        "{error}"
    );
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Directory), "{error}");
    let empty = folder.path().join("empty.bin");
    fs::write(&empty, "").unwrap();
    assert_eq!(
        load(&empty).unwrap_err().to_string(),
        format!("{}: is empty", empty.display())
    );
    assert!(std::error::Error::source(&load(&missing).unwrap_err()).is_some());
    // A device has no end.
    if cfg!(unix) {
        let error = load(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotAFile), "{error}");
    }
    // pyannote keeps each model in a directory of its own.
    fs::write(
        folder.path().join("pytorch_model.bin"),
        Checkpoint::small().zip(),
    )
    .unwrap();
    assert!(load(folder.path()).is_ok());
    assert_eq!(
        Inspection::of(folder.path()).unwrap().file,
        "pytorch_model.bin"
    );
}

#[test]
fn hostile_pickles_are_refused_by_name_and_nothing_is_run() {
    let witness = std::env::temp_dir().join(format!("soundalike-hostile-{}", std::process::id()));
    let command = format!("touch {}", witness.display());
    let call = |module, name| {
        Py::Call(
            Box::new(Py::Global(module, name)),
            vec![str(command.as_str())],
        )
    };
    let cases: Vec<(&str, Py)> = vec![
        ("os.system", call("os", "system")),
        ("posix.system", call("posix", "system")),
        ("nt.system", call("nt", "system")),
        (
            "subprocess.Popen",
            Py::Instance(Box::new(Py::Global("subprocess", "Popen")), vec![]),
        ),
        ("builtins.eval", call("builtins", "eval")),
        ("__builtin__.exec", call("__builtin__", "exec")),
        ("builtins.__import__", call("builtins", "__import__")),
        ("runpy.run_path", call("runpy", "run_path")),
        ("torch.hub.load", call("torch.hub", "load")),
        // INST and OBJ of protocol 0 and 1, STACK_GLOBAL and NEWOBJ_EX of protocol 4.
        ("os.system", Py::Raw(b"(S'id'\nios\nsystem\n")),
        ("os.system", Py::Raw(b"(cos\nsystem\nS'id'\no")),
        ("os.system", Py::Raw(b"\x8c\x02os\x8c\x06system\x93)R")),
        ("os.system", Py::Raw(b"cos\nsystem\n)}\x92")),
        (
            "builtins.getattr",
            Py::Call(
                Box::new(Py::Global("builtins", "getattr")),
                vec![Py::Global("os", "path"), str("join")],
            ),
        ),
    ];
    for (global, value) in cases {
        let bytes = changed(|c| c.extra.push(("callbacks".into(), value.clone())));
        let bare = pickle(&value);
        for bytes in [bytes, bare] {
            let error = convert_bytes(bytes, "x").unwrap_err();
            let ErrorKind::Pickle(PickleError::Hostile { global: found, .. }) = &error else {
                panic!("{global}: {error}");
            };
            assert_eq!(found, global);
            assert!(error.to_string().contains("nothing was run"), "{error}");
        }
    }
    assert!(!witness.exists());
}

#[test]
fn unknown_classes_are_reported_and_stay_inert() {
    let class = Py::Global("my_project.callbacks", "Custom");
    let bytes = changed(|c| {
        c.extra.push((
            "callbacks".into(),
            Py::Call(Box::new(class), vec![str("x")]),
        ));
    });
    let conversion = convert_bytes(bytes, "x").unwrap();
    assert_eq!(conversion.foreign_globals, ["my_project.callbacks.Custom"]);
}

#[test]
fn members_of_enumerations_may_be_written_by_getattr() {
    // As Python 3.11.0 to 3.11.3 pickles them.
    let member = |class, name: &str| {
        Py::Call(
            Box::new(Py::Global("builtins", "getattr")),
            vec![Py::Global("pyannote.audio.core.task", class), str(name)],
        )
    };
    let bytes = changed(|c| {
        let Py::Instance(_, attributes) = &mut c.specifications else {
            panic!()
        };
        attributes[0].1 = member("Problem", "MONO_LABEL_CLASSIFICATION");
        attributes[1].1 = member("Resolution", "FRAME");
    });
    assert!(convert_bytes(bytes, "x").is_ok());
    let dunder = changed(|c| {
        let Py::Instance(_, attributes) = &mut c.specifications else {
            panic!()
        };
        attributes[0].1 = member("Problem", "__init__");
    });
    assert!(message(&dunder).contains("builtins.getattr"));
}

#[test]
fn damaged_pickles_are_refused() {
    let with = |opcodes: &[u8]| {
        zip_of(
            &[("a/data.pkl".into(), [b"\x80\x02", opcodes].concat())],
            Stored,
        )
    };
    let mut deep = vec![b'('; 100_000];
    deep.extend(vec![b't'; 100_000]);
    deep.push(b'.');
    check(vec![
        ("nothing", with(b""), &["ends in the middle"]),
        (
            "cut off",
            with(b"X\xff\xff\xff\xff"),
            &["ends in the middle"],
        ),
        (
            "huge length",
            with(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff"),
            &["ends in the middle"],
        ),
        ("empty stack", with(b"."), &["damaged", "0x2e"]),
        ("no mark", with(b"t."), &["needs a mark"]),
        ("odd entries", with(b"}(Nu."), &["keys with values"]),
        ("no list", with(b"NNa."), &["needs a list"]),
        ("memo", with(b"h\x05."), &["fetches value 5"]),
        ("extension", with(b"\x82\x01."), &["0x82"]),
        ("protocol", with(b"\x80\x09."), &["protocol 9"]),
        (
            "a number",
            with(b"K\x01."),
            &["is 1, expected a dictionary"],
        ),
        (
            "call of a number",
            with(b"K\x01)R."),
            &["something to call"],
        ),
        ("deep", with(&deep), &["expected a dictionary"]),
    ]);
    let long = zip_of(&[("a/data.pkl".into(), vec![b'N'; (16 << 20) + 1])], Stored);
    assert!(message(&long).contains("16777216"), "{}", message(&long));
    let many = with(&[b']'; (1 << 20) + 1]);
    assert!(
        message(&many).contains("1048576 values"),
        "{}",
        message(&many)
    );
}

/// A list of a list of a list, each with the one before thirty times: 30^60 values if they were
/// written out, and too many already where the depth shown ends.
#[test]
fn values_that_are_shared_are_not_multiplied() {
    let mut opcodes = b"]q\x00".to_vec();
    for i in 0..60 {
        opcodes.push(b'(');
        opcodes.extend([b'h', i].repeat(30));
        opcodes.extend([b'l', b'q', i + 1]);
    }
    let opcodes: &'static [u8] = opcodes.leak();
    let bytes = changed(|c| {
        c.class = "Other".into();
        c.hyperparameters = dict([("laughs", Py::Raw(opcodes))]);
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ckpt");
    fs::write(&path, bytes).unwrap();
    let inspection = Inspection::of(&path).unwrap();
    assert!(serde_json::to_string(&inspection).unwrap().len() < 1_000_000);
    assert!(inspection.problem.unwrap().contains("Other"));
    assert_eq!(
        inspection.tensors.len(),
        support::small_architecture().tensors().len()
    );
}

#[test]
fn damaged_tensors_are_refused() {
    let with = |value: Py| changed(|c| *c.entry("lstm.bias_ih_l0") = value);
    let index = {
        let names = support::small_architecture().tensors();
        names
            .iter()
            .position(|t| t.name == "lstm.bias_ih_l0")
            .unwrap()
    };
    let f32 = |len, offset, shape: &[i64], strides: &[i64]| {
        tensor(
            "FloatStorage",
            &index.to_string(),
            len,
            offset,
            shape,
            strides,
        )
    };
    let sparse = Py::Call(
        Box::new(Py::Global("torch._utils", "_rebuild_sparse_tensor")),
        vec![Py::None, Py::None],
    );
    let name = "`lstm.bias_ih_l0`";
    check(vec![
        (
            "beyond",
            with(f32(16, 1, &[16], &[1])),
            &[name, "element 17", "with 16"],
        ),
        (
            "stride",
            with(f32(16, 0, &[16], &[2])),
            &[name, "element 31"],
        ),
        (
            "huge",
            with(f32(16, i64::MAX, &[16], &[i64::MAX])),
            &[name, "reaches element"],
        ),
        (
            "expanded",
            with(f32(1, 0, &[16], &[0])),
            &["16 elements in", ".contiguous()"],
        ),
        (
            "negative",
            with(f32(16, 0, &[16], &[-1])),
            &[name, "strides"],
        ),
        ("offset", with(f32(16, -4, &[16], &[1])), &[name, "offset"]),
        (
            "dimensions",
            with(f32(16, 0, &[16], &[])),
            &[name, "strides"],
        ),
        (
            "length",
            with(f32(17, 0, &[16], &[1])),
            &["has 64 bytes, expected 68"],
        ),
        (
            "huge storage",
            with(f32(i64::MAX, 0, &[16], &[1])),
            &[name, "elements long"],
        ),
        (
            "complex",
            with(tensor("ComplexFloatStorage", "0", 16, 0, &[16], &[1])),
            &[name, "storage"],
        ),
        (
            "no storage",
            with(tensor("FloatStorage", "999", 16, 0, &[16], &[1])),
            &["data/999"],
        ),
        ("sparse", with(sparse), &[name, "_rebuild_sparse_tensor"]),
        (
            "not a tensor",
            with(str("x")),
            &[name, "\"x\"", "expected a tensor"],
        ),
        (
            "zero beside huge",
            with(f32(16, 0, &[0, i64::MAX, i64::MAX], &[1, 1, 1])),
            &[name],
        ),
    ]);
    let nan = changed(|c| {
        c.storage("lstm.bias_ih_l0")[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(
        message(&nan).contains("not finite: `lstm.bias_ih_l0` (1 value)"),
        "{}",
        message(&nan)
    );
}

#[test]
fn damaged_archives_are_refused() {
    let good = Checkpoint::small().zip();
    let weights: Vec<u8> = support::values(0, 1)
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    // Flag bit 0 of every entry, in the central directory (offset 8) and before the data (6).
    let mut encrypted = good.clone();
    for at in 0..encrypted.len() - 10 {
        match &encrypted[at..at + 4] {
            b"PK\x01\x02" => encrypted[at + 8] |= 1,
            b"PK\x03\x04" => encrypted[at + 6] |= 1,
            _ => {}
        }
    }
    let bomb = changed(|c| {
        c.compression = Deflated;
        *c.entry("lstm.bias_ih_l0") = tensor("FloatStorage", "bomb", 5 << 20, 0, &[16], &[1]);
        c.storages.push(("bomb".into(), vec![0; 20 << 20]));
    });
    let duplicate = changed(|c| c.storages.push(("X".into(), weights)));
    check(vec![
        (
            "cut off",
            good[..good.len() / 2].to_vec(),
            &["zip archive is damaged or cut off"],
        ),
        (
            "only the start",
            good[..40].to_vec(),
            &["zip archive is damaged or cut off"],
        ),
        ("encrypted", encrypted, &["encrypted"]),
        (
            "bomb",
            bomb,
            &["`archive/data/bomb`", "declares 20971520 bytes"],
        ),
        (
            "duplicate",
            patched(duplicate, b"archive/data/X", b"archive/data/0"),
            &["two entries"],
        ),
        (
            "missing",
            patched(good.clone(), b"archive/data/3", b"archive/data/z"),
            &["data/3"],
        ),
    ]);
    // One bit of a weight.
    let mut flipped = good.clone();
    let value = 1.0_f32 / 64.0 * 5.0;
    let at = flipped
        .windows(4)
        .position(|window| window == value.to_le_bytes())
        .unwrap();
    flipped[at] ^= 1;
    assert!(
        message(&flipped).contains("checksum"),
        "{}",
        message(&flipped)
    );
    // The same archive without checksums, as torch writes it on request, is accepted.
    let mut without = good;
    for at in 0..without.len() - 20 {
        match &without[at..at + 4] {
            b"PK\x01\x02" => without[at + 16..at + 20].fill(0),
            b"PK\x03\x04" => without[at + 14..at + 18].fill(0),
            _ => {}
        }
    }
    assert_eq!(message(&without), "no error");
}

#[test]
fn tensors_that_do_not_fit_are_all_listed() {
    let bytes = changed(|c| {
        c.state_dict
            .retain(|(name, _)| name != "lstm.bias_hh_l0" && name != "classifier.bias");
        let extra = tensor("FloatStorage", "0", 1, 0, &[1], &[1]);
        c.state_dict.push(("loss_func.W".into(), extra));
        *c.entry("classifier.weight") = tensor("FloatStorage", "0", 1, 0, &[1, 1], &[1, 1]);
    });
    assert_eq!(
        message(&bytes),
        "tensors do not fit PyanNet: missing `classifier.bias` [7], `lstm.bias_hh_l0` [16]; \
         unexpected `loss_func.W` [1]; `classifier.weight` has shape [1, 1], expected [7, 4]"
    );
}

#[test]
fn unsuitable_networks_are_refused() {
    let lstm = |key: &'static str, value: Py| {
        changed(move |c| c.hyperparameters = dict([("lstm", dict([(key, value)]))]))
    };
    let specification = |at: usize, value: Py| {
        changed(move |c| {
            let Py::Instance(_, attributes) = &mut c.specifications else {
                panic!()
            };
            attributes[at].1 = value;
        })
    };
    let two =
        changed(|c| c.specifications = Py::Tuple(vec![support::powerset(), support::powerset()]));
    let huge: Vec<Py> = (0..5000).map(|i| str(i.to_string())).collect();
    let uncountable = changed(|c| {
        let Py::Instance(_, attributes) = &mut c.specifications else {
            panic!()
        };
        attributes[5].1 = Py::List(huge.clone());
        attributes[6].1 = Py::Int(2500);
    });
    check(vec![
        (
            "unknown",
            changed(|c| c.class = "XVectorSincNet".into()),
            &[
                "holds XVectorSincNet (pyannote.audio.models",
                "22 tensors",
                "`classifier`, `lstm`, `sincnet`",
            ],
        ),
        (
            "other module",
            changed(|c| c.module = "elsewhere".into()),
            &["PyanNet (elsewhere)"],
        ),
        (
            "layers",
            lstm("num_layers", Py::Int(1_000_000_000)),
            &["`lstm.num_layers` is 1000000000"],
        ),
        (
            "units",
            lstm("hidden_size", Py::Int(-1)),
            &["`lstm.hidden_size` is -1"],
        ),
        (
            "text",
            lstm("hidden_size", str("128")),
            &["`lstm.hidden_size` is \"128\""],
        ),
        (
            "projection",
            lstm("proj_size", Py::Int(3)),
            &["`lstm.proj_size` is 3", "expected only"],
        ),
        (
            "bias",
            lstm("bias", Py::Bool(false)),
            &["`lstm.bias` is False, expected True"],
        ),
        (
            "rate",
            changed(|c| c.hyperparameters = dict([("sample_rate", Py::Int(8000))])),
            &["`sample_rate` is 8000"],
        ),
        ("two tasks", two, &["2 tasks at once"]),
        (
            "problem",
            specification(0, Py::Int(1)),
            &["specification `problem` is 1"],
        ),
        (
            "duration",
            specification(2, Py::Float(f64::NAN)),
            &["`duration` is NaN"],
        ),
        (
            "warm-up",
            specification(4, Py::Tuple(vec![])),
            &["`warm_up`"],
        ),
        (
            "classes",
            specification(5, Py::List(vec![str("a")])),
            &["`classifier.bias` has shape [7], expected [2]"],
        ),
        (
            "many classes",
            specification(5, Py::List(huge)),
            &["num_outputs"],
        ),
        (
            "too many subsets",
            uncountable,
            &["`classes` is 5000 classes, expected a countable powerset"],
        ),
        (
            "most",
            specification(6, Py::Int(-2)),
            &["`powerset_max_classes` is -2"],
        ),
    ]);
}

fn bundle_file(header: serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn bundles_from_strangers_are_checked() {
    let good = convert_bytes(Checkpoint::small().zip(), "x")
        .unwrap()
        .bundle
        .bytes()
        .to_vec();
    assert!(convert_bytes(good.clone(), "x").is_ok());
    let header_len = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&good[8..8 + header_len]).unwrap();
    let data = &good[8 + header_len..];
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header = header.clone();
        change(&mut header);
        bundle_file(header, data)
    };
    let metadata = |from: &str, to: &str| {
        with(&|header| {
            let json = header["__metadata__"][METADATA_KEY].as_str().unwrap();
            assert!(json.contains(from), "{json}");
            header["__metadata__"][METADATA_KEY] = json.replacen(from, to, 1).into();
        })
    };
    let mut infinite = good.clone();
    let len = infinite.len();
    infinite[len - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    check(vec![
        (
            "no key, and no network of known names",
            with(&|h| {
                h["__metadata__"] = serde_json::json!({});
                let tensor = h
                    .as_object_mut()
                    .unwrap()
                    .remove("sincnet.wav_norm1d.weight");
                h["x"] = tensor.unwrap();
            }),
            &["without the metadata key"],
        ),
        (
            "no metadata",
            bundle_file(serde_json::json!({}), &[]),
            &["without the metadata key"],
        ),
        (
            "overlap",
            with(&|h| h["classifier.bias"]["data_offsets"] = [4, 32].into()),
            &["offset"],
        ),
        (
            "beyond",
            with(&|h| h["classifier.bias"]["data_offsets"] = [0, u64::MAX].into()),
            &["not a valid safetensors"],
        ),
        (
            "shape",
            with(&|h| h["classifier.bias"]["shape"] = [1, 7].into()),
            &["expected [7]"],
        ),
        (
            "type",
            with(&|h| h["classifier.bias"]["dtype"] = "I32".into()),
            &["i32, expected float"],
        ),
        (
            "strange type",
            with(&|h| h["classifier.bias"]["dtype"] = "U32".into()),
            &["`classifier.bias`", "U32"],
        ),
        ("header", huge, &["not a valid safetensors"]),
        (
            "cut off",
            good[..len - 1].to_vec(),
            &["not a valid safetensors"],
        ),
        (
            "infinite",
            infinite,
            &["not finite", "sincnet.wav_norm1d.weight"],
        ),
        (
            "format",
            metadata("\"format\":1", "\"format\":9"),
            &["format 9", "reads 1"],
        ),
        (
            "architecture",
            metadata("PyanNet", "PyanOot"),
            &["metadata", "PyanOot"],
        ),
        (
            "layers",
            metadata("\"num_layers\":1", "\"num_layers\":999999999"),
            &["lstm.num_layers"],
        ),
        (
            "stride",
            metadata("\"stride\":10", "\"stride\":0"),
            &["sincnet.stride"],
        ),
        ("not JSON", metadata("{", "["), &["metadata"]),
    ]);
    assert_eq!(Bundle::from_bytes(good, "x").unwrap().sha256().len(), 64);
}

fn doubles(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    values.into_iter().flat_map(f64::to_le_bytes).collect()
}

/// A PLDA of 3 values in, 2 out.
fn write_plda(folder: &Path, change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) {
    // `lda` is written first dimension fastest: numpy keeps transposed arrays so.
    let arrays = [
        (
            "plda.npz",
            "mu",
            npy("<f8", "(2,)", false, &doubles([0.5, 1.5])),
        ),
        (
            "plda.npz",
            "tr",
            npy("<f8", "(2, 2)", false, &doubles([1.0, 2.0, 3.0, 4.0])),
        ),
        (
            "plda.npz",
            "psi",
            npy("<f8", "(2,)", false, &doubles([2.0, 1.0])),
        ),
        (
            "xvec_transform.npz",
            "mean1",
            npy("<f8", "(3,)", false, &doubles([0.1, 0.2, 0.3])),
        ),
        (
            "xvec_transform.npz",
            "mean2",
            npy("<f4", "(2,)", false, &[0; 8]),
        ),
        (
            "xvec_transform.npz",
            "lda",
            npy("<f8", "(3, 2)", true, &doubles((0..6).map(f64::from))),
        ),
    ];
    for file in ["plda.npz", "xvec_transform.npz"] {
        let entries: Vec<(String, Vec<u8>)> = arrays
            .iter()
            .filter(|(found, ..)| *found == file)
            .filter_map(|(_, name, bytes)| {
                Some((format!("{name}.npy"), change(name, bytes.clone())?))
            })
            .collect();
        fs::write(folder.join(file), zip_of(&entries, Deflated)).unwrap();
    }
}

#[test]
fn the_plda_is_read_and_its_damage_named() {
    let folder = tempfile::tempdir().unwrap();
    write_plda(folder.path(), |_, bytes| Some(bytes));
    let bundle = load(folder.path()).unwrap();
    let lda = bundle.tensor("lda").unwrap();
    assert_eq!(lda.shape, [3, 2]);
    assert_eq!(lda.to_f64().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(bundle.source().file, "plda.npz + xvec_transform.npz");

    let replaced = |name: &'static str, with: Option<Vec<u8>>| {
        write_plda(folder.path(), |found, bytes| {
            if found == name {
                with.clone()
            } else {
                Some(bytes)
            }
        });
        line(&load(folder.path()).unwrap_err())
    };
    for (name, with, part) in [
        ("psi", None, "missing `psi` [2]"),
        ("lda", None, "has no array `lda`"),
        (
            "psi",
            Some(npy("|O", "(2,)", false, b"cos\nsystem\n")),
            "elements of type |O",
        ),
        (
            "psi",
            Some(npy("<f8", "(3,)", false, &[0; 16])),
            "16 bytes of data, 24 expected",
        ),
        (
            "psi",
            Some(npy("<f8", "(99999999999999999999,)", false, &[])),
            "shape",
        ),
        (
            "psi",
            Some(npy("<f8", "(4294967296, 4294967296)", false, &[])),
            "0 bytes of data",
        ),
        (
            "psi",
            Some(b"nonsense".to_vec()),
            "`psi` is not a numpy array",
        ),
        (
            "psi",
            Some(npy("<i8", "(2,)", false, &[0; 16])),
            "i64, expected float",
        ),
        (
            "lda",
            Some(npy("<f8", "(6,)", false, &[0; 48])),
            "expected a matrix",
        ),
    ] {
        let error = replaced(name, with);
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Shapes that fit, and 17 MB of zeros in 17 kB.
#[test]
fn a_plda_that_unpacks_to_much_more_than_weights_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |shape: &str, values: usize| npy("<f8", shape, false, &vec![0; 8 * values]);
    write_plda(folder.path(), |name, _| {
        Some(match name {
            "mean1" => zeros("(4096,)", 4096),
            "lda" => zeros("(4096, 512)", 4096 * 512),
            "tr" => zeros("(512, 512)", 512 * 512),
            _ => zeros("(512,)", 512),
        })
    });
    let error = line(&load(folder.path()).unwrap_err());
    assert!(error.contains("bytes of arrays, the limit is"), "{error}");
}

#[test]
fn pipeline_directories_that_lack_something_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("plda")).unwrap();
    write_plda(&path.join("plda"), |_, bytes| Some(bytes));
    fs::create_dir(path.join("segmentation")).unwrap();
    fs::write(
        path.join("segmentation/pytorch_model.bin"),
        Checkpoint::small().zip(),
    )
    .unwrap();
    let yaml = "version: 3.1.0\ndevice: cuda\npipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n  params:\n    clustering: OracleClustering\n    segmentation: $model/segmentation\nparams:\n  segmentation:\n    min_duration_off: 0.25\n";
    let read = |yaml: &str| {
        fs::write(path.join("config.yaml"), yaml).unwrap();
        PipelineDirectory::read(path)
    };
    let good = read(yaml).unwrap();
    assert_eq!(good.config().min_duration_off, 0.25);
    assert_eq!(good.ignored(), ["device"]);
    // A dictionary instead of a path, the file instead of its directory.
    let model = "$model/segmentation";
    assert!(read(&yaml.replace(model, "segmentation/pytorch_model.bin")).is_ok());
    assert!(read(&yaml.replace(model, "{checkpoint: ., subfolder: segmentation}")).is_ok());
    assert!(read(&yaml.replace("params:\n  seg", "freeze:\n  seg")).is_ok());

    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let cases = [
        (
            yaml.replace(model, "pyannote/segmentation-3.0"),
            "`pyannote/segmentation-3.0`, which is neither",
        ),
        (
            yaml.replace(model, "$model/other"),
            "`other`, which does not exist",
        ),
        (
            yaml.replace(model, "$model/plda"),
            "`plda/pytorch_model.bin`, which does not exist",
        ),
        (yaml.replace(model, "3"), "expected a path"),
        (
            yaml.replace("Oracle", "VBx"),
            "`params.clustering.threshold`",
        ),
        (yaml.replace("Oracle", "KMeans"), "embedding is missing"),
        (yaml.replace("Oracle", "FINCH"), "FINCHClustering"),
        (
            yaml.replace("min_duration_off: 0.25", "min_duration_off: soon"),
            "\"soon\"",
        ),
        (
            yaml.replace("min_duration_off: 0.25", "min_duration_off: -1"),
            "expected 0 or more",
        ),
        (
            yaml.replace("min_duration_off: 0.25", "min_duration_off: .inf"),
            "non-finite",
        ),
        (
            yaml.replace("min_duration_off", "min_duration_on"),
            "`params.segmentation.min_duration_on`",
        ),
        (
            yaml.replace("SpeakerDiarization", "VoiceActivityDetection"),
            "VoiceActivityDetection",
        ),
        (
            yaml.replace("device", "devices"),
            "the unknown key `devices`",
        ),
        (
            yaml.replace("  params:", "  params:\n    segmentation_step: 0"),
            "0 for `segmentation_step`, expected a number above 0",
        ),
        ("- a\n- b\n".into(), "a list of 2"),
        (
            "3\n".into(),
            "3 for `the whole file`, expected a dictionary",
        ),
        ("a: [".into(), "not valid YAML"),
        ("!!python/object/apply:os.system [id]\n".into(), ""),
        (bomb.into(), "not valid YAML"),
        ("x".repeat(2 << 20), "the limit is 1048576"),
    ];
    for (yaml, part) in cases {
        let error = line(&read(&yaml).unwrap_err());
        assert!(
            error.contains(part) && !error.contains('\n'),
            "{part}: {error}"
        );
        assert!(error.contains("config.yaml"), "{error}");
    }
    let error = load(path).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::PipelineForModel),
        "{error}"
    );
}

#[test]
fn traces_are_listed_with_their_text_and_however_small_they_were_packed() {
    let silence = npy("<f4", "(1, 589, 128)", false, &vec![0; 589 * 128 * 4]);
    let manifest = npy("<U2", "()", false, b"{\0\0\0}\0\0\0");
    let entries = [("linear.0.npy", silence), ("manifest.npy", manifest)];
    let entries = entries.map(|(name, bytes)| (name.to_owned(), bytes));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.npz");
    fs::write(&path, zip_of(&entries, Deflated)).unwrap();
    let inspection = Inspection::of(&path).unwrap();
    assert_eq!(inspection.tensors.len(), 1);
    assert_eq!(inspection.tensors[0].shape, [1, 589, 128]);
    assert_eq!(inspection.details["other"]["manifest"], "<U2");
}

#[test]
fn errors_can_be_matched_on() {
    let error = convert_bytes(changed(|c| c.byteorder = "big"), "x").unwrap_err();
    assert!(matches!(
        error,
        ErrorKind::Checkpoint(CheckpointError::BigEndian)
    ));
}

#[test]
fn weights_that_fewer_bits_cannot_hold_are_named() {
    let large = changed(|c| {
        c.storage("lstm.bias_ih_l0")[..4].copy_from_slice(&70000_f32.to_le_bytes());
        c.storage("classifier.bias")[..8].fill(0x7f);
    });
    // 0x7f7f7f7f is 3.4e38.
    let bundle = convert_bytes(large, "x.bin").unwrap().bundle;
    let error = bundle
        .cast(WeightType::F16, |_| false)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "x.bin: f16 cannot hold 2 tensors: `classifier.bias` (2 values), `lstm.bias_ih_l0` (1 value); use bf16 or f32"
    );
    let (cast, report) = bundle.cast(WeightType::BF16, |_| false).unwrap();
    assert_eq!(
        cast.tensor("lstm.bias_ih_l0").unwrap().to_f32().unwrap()[0],
        70144.0
    );
    assert!(report.rounded > 0 && cast.notes().len() == 1);
}

mod captures {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_CAPTURES: scripts/capture_suite.sh"]
    fn other_networks_in_onnx_are_refused() {
        let path = onnx_export();
        let good = fs::read(path).unwrap();
        let alpha = [&[0x15][..], &0.01_f32.to_le_bytes()].concat();
        let other = [&[0x15][..], &0.02_f32.to_le_bytes()].concat();
        let epsilon = [&[0x15][..], &1e-5_f32.to_le_bytes()].concat();
        let large = [&[0x15][..], &1e-3_f32.to_le_bytes()].concat();
        check(vec![
            (
                "slope",
                patched(good.clone(), &alpha, &other),
                &["`alpha`", "0.02, expected 0.01"],
            ),
            (
                "epsilon",
                patched(good.clone(), &epsilon, &large),
                &["`epsilon`", "0.001"],
            ),
            (
                "ReLU",
                patched(good.clone(), b"\x22\x09LeakyRelu", b"\x22\x09ThresRelu"),
                &["ThresRelu"],
            ),
            (
                "a weight",
                patched(good.clone(), b"onnx::LSTM_784", b"onnx::LSTM_999"),
                &["no error"],
            ),
            (
                "a computed weight",
                patched(
                    good.clone(),
                    b"\x42\x0eonnx::LSTM_784",
                    b"\x42\x0eonnx::LSTM_999",
                ),
                &["input 1 of `/lstm/LSTM`", "constant folding"],
            ),
            (
                "direction",
                patched(good.clone(), b"bidirectional", b"bidirectionel"),
                &["`direction`"],
            ),
            (
                "cut off",
                good[..good.len() / 2].to_vec(),
                &["damaged or cut off"],
            ),
            (
                "cut off early",
                good[..100].to_vec(),
                &["damaged or cut off"],
            ),
        ]);
    }
}
