//! Checkpoints written by hand, and where the real ones are.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

#[path = "../../../../tests/support/assets.rs"]
mod data;

use std::{io::Write, path::PathBuf};

use soundalike_network::{Architecture, ElementType};

pub(crate) use data::{assets, captures};

/// The official ONNX export of segmentation-3.0.
pub(crate) fn onnx_export() -> PathBuf {
    captures().join("segmentation-3.0.onnx")
}

/// The error and its causes, as the program prints them.
pub(crate) fn line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// `config.yaml` of a pipeline of one network.
pub(crate) const CONFIG: &str = "pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: OracleClustering
    segmentation: $model/segmentation
params:
  segmentation: {min_duration_off: 0.0}
";

/// A Python value to be pickled.
#[derive(Clone)]
pub(crate) enum Py {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Tuple(Vec<Py>),
    List(Vec<Py>),
    Dict(Vec<(Py, Py)>),
    Global(&'static str, &'static str),
    /// `function(*arguments)`.
    Call(Box<Py>, Vec<Py>),
    /// An instance with attributes.
    Instance(Box<Py>, Vec<(Py, Py)>),
    Persistent(Box<Py>),
    /// Opcodes as they are.
    Raw(&'static [u8]),
}

pub(crate) fn str(text: impl Into<String>) -> Py {
    Py::Str(text.into())
}

pub(crate) fn dict<const N: usize>(entries: [(&str, Py); N]) -> Py {
    Py::Dict(
        entries
            .into_iter()
            .map(|(key, value)| (str(key), value))
            .collect(),
    )
}

/// A pickle of protocol 2.
pub(crate) fn pickle(value: &Py) -> Vec<u8> {
    let mut out = vec![0x80, 2];
    write(value, &mut out);
    out.push(b'.');
    out
}

fn write(value: &Py, out: &mut Vec<u8>) {
    match value {
        Py::None => out.push(b'N'),
        Py::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Py::Int(value) => {
            out.extend([0x8a, 8]);
            out.extend(value.to_le_bytes());
        }
        Py::Float(value) => {
            out.push(b'G');
            out.extend(value.to_be_bytes());
        }
        Py::Str(text) => {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }
        Py::Tuple(items) => {
            out.push(b'(');
            items.iter().for_each(|item| write(item, out));
            out.push(b't');
        }
        Py::List(items) => {
            out.extend(b"](");
            items.iter().for_each(|item| write(item, out));
            out.push(b'e');
        }
        Py::Dict(entries) => {
            out.extend(b"}(");
            for (key, value) in entries {
                write(key, out);
                write(value, out);
            }
            out.push(b'u');
        }
        Py::Global(module, name) => out.extend(format!("c{module}\n{name}\n").as_bytes()),
        Py::Call(function, arguments) => {
            write(function, out);
            write(&Py::Tuple(arguments.clone()), out);
            out.push(b'R');
        }
        Py::Instance(class, attributes) => {
            write(class, out);
            out.extend(b")\x81");
            write(&Py::Dict(attributes.clone()), out);
            out.push(b'b');
        }
        Py::Persistent(id) => {
            write(id, out);
            out.push(b'Q');
        }
        Py::Raw(opcodes) => out.extend(*opcodes),
    }
}

/// `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`.
pub(crate) fn tensor(
    class: &'static str,
    key: &str,
    storage_len: i64,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Py {
    let storage = Py::Persistent(Box::new(Py::Tuple(vec![
        str("storage"),
        Py::Global("torch", class),
        str(key),
        str("cpu"),
        Py::Int(storage_len),
    ])));
    let ints = |values: &[i64]| Py::Tuple(values.iter().map(|&value| Py::Int(value)).collect());
    let hooks = Py::Call(Box::new(Py::Global("collections", "OrderedDict")), vec![]);
    Py::Call(
        Box::new(Py::Global("torch._utils", "_rebuild_tensor_v2")),
        vec![
            storage,
            Py::Int(offset),
            ints(shape),
            ints(strides),
            Py::Bool(false),
            hooks,
        ],
    )
}

/// The pickle with which the files of PyTorch before 1.6 begin.
pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// A checkpoint to be written: change a part of it, then call [`Checkpoint::zip`].
#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) module: String,
    pub(crate) class: String,
    pub(crate) hyperparameters: Py,
    pub(crate) specifications: Py,
    pub(crate) state_dict: Vec<(String, Py)>,
    /// More keys of the checkpoint.
    pub(crate) extra: Vec<(String, Py)>,
    /// Key and contents.
    pub(crate) storages: Vec<(String, Vec<u8>)>,
    pub(crate) byteorder: &'static str,
    pub(crate) compression: zip::CompressionMethod,
}

/// A PyanNet with one LSTM layer of 4 units in one direction.
pub(crate) const HIDDEN: i64 = 4;

/// `Specifications(...)` of a powerset of three speakers, at most two at once.
pub(crate) fn powerset() -> Py {
    let member = |class, value| {
        Py::Call(
            Box::new(Py::Global("pyannote.audio.core.task", class)),
            vec![Py::Int(value)],
        )
    };
    let Py::Dict(attributes) = dict([
        ("problem", member("Problem", 1)),
        ("resolution", member("Resolution", 1)),
        ("duration", Py::Float(10.0)),
        ("min_duration", Py::None),
        ("warm_up", Py::Tuple(vec![Py::Float(0.0), Py::Float(0.5)])),
        ("classes", Py::List(vec![str("a"), str("b"), str("c")])),
        ("powerset_max_classes", Py::Int(2)),
        ("permutation_invariant", Py::Bool(true)),
    ]) else {
        unreachable!()
    };
    let class = Py::Global("pyannote.audio.core.task", "Specifications");
    Py::Instance(Box::new(class), attributes)
}

/// Values of the tensor that comes `index`th: small, all different.
pub(crate) fn values(index: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (index as f32 + 1.0) / 64.0 + i as f32 / 65536.0)
        .collect()
}

/// The architecture of [`Checkpoint::small`].
pub(crate) fn small_architecture() -> Architecture {
    serde_json::from_value(serde_json::json!({
        "architecture": "PyanNet",
        "hyperparameters": {
            "sample_rate": 16000,
            "num_channels": 1,
            "sincnet": { "stride": 10, "filters": "parametrised" },
            "lstm": {
                "hidden_size": HIDDEN, "num_layers": 1, "bidirectional": false, "monolithic": true,
            },
            "linear": { "hidden_size": 128, "num_layers": 0 },
            "num_outputs": 7,
            "activation": "log-softmax",
        },
    }))
    .unwrap()
}

impl Checkpoint {
    /// A small PyanNet as pyannote writes it.
    pub(crate) fn small() -> Self {
        let mut state_dict = Vec::new();
        let mut storages = Vec::new();
        for (index, expected) in small_architecture().tensors().into_iter().enumerate() {
            assert_eq!(expected.kind, ElementType::Float);
            let len: usize = expected.shape.iter().product();
            let shape: Vec<i64> = expected.shape.iter().map(|&size| size as i64).collect();
            let mut strides = vec![1; shape.len()];
            for i in (1..shape.len()).rev() {
                strides[i - 1] = strides[i] * shape[i];
            }
            let key = index.to_string();
            let value = tensor("FloatStorage", &key, len as i64, 0, &shape, &strides);
            state_dict.push((expected.name, value));
            let bytes = values(index, len)
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect();
            storages.push((key, bytes));
        }
        Self {
            module: "pyannote.audio.models.segmentation.PyanNet".into(),
            class: "PyanNet".into(),
            hyperparameters: dict([
                ("sample_rate", Py::Int(16000)),
                ("num_channels", Py::Int(1)),
                (
                    "sincnet",
                    dict([("stride", Py::Int(10)), ("sample_rate", Py::Int(16000))]),
                ),
                (
                    "lstm",
                    dict([
                        ("hidden_size", Py::Int(HIDDEN)),
                        ("num_layers", Py::Int(1)),
                        ("bidirectional", Py::Bool(false)),
                        ("monolithic", Py::Bool(true)),
                        ("dropout", Py::Float(0.0)),
                        ("batch_first", Py::Bool(true)),
                    ]),
                ),
                (
                    "linear",
                    dict([("hidden_size", Py::Int(128)), ("num_layers", Py::Int(0))]),
                ),
            ]),
            specifications: powerset(),
            state_dict,
            extra: Vec::new(),
            storages,
            byteorder: "little",
            compression: zip::CompressionMethod::Stored,
        }
    }

    /// The tensor of this name in the state dict.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Py {
        &mut self
            .state_dict
            .iter_mut()
            .find(|(found, _)| found == name)
            .unwrap()
            .1
    }

    /// The storage of this tensor.
    pub(crate) fn storage(&mut self, name: &str) -> &mut Vec<u8> {
        let index = self
            .state_dict
            .iter()
            .position(|(found, _)| found == name)
            .unwrap();
        &mut self.storages[index].1
    }

    pub(crate) fn pickle(&self) -> Vec<u8> {
        let state_dict = self
            .state_dict
            .iter()
            .map(|(name, value)| (str(name.as_str()), value.clone()));
        let Py::Dict(mut entries) = dict([
            ("epoch", Py::Int(0)),
            ("state_dict", Py::Dict(state_dict.collect())),
            ("hyper_parameters", self.hyperparameters.clone()),
            (
                "pyannote.audio",
                dict([
                    (
                        "architecture",
                        dict([
                            ("module", str(self.module.as_str())),
                            ("class", str(self.class.as_str())),
                        ]),
                    ),
                    ("specifications", self.specifications.clone()),
                ]),
            ),
        ]) else {
            unreachable!()
        };
        entries.extend(
            self.extra
                .iter()
                .map(|(key, value)| (str(key.as_str()), value.clone())),
        );
        pickle(&Py::Dict(entries))
    }

    /// The file of PyTorch before 1.6.
    pub(crate) fn legacy(&self) -> Vec<u8> {
        let keys = self.storages.iter().map(|(key, _)| str(key.as_str()));
        let machine = [("little_endian", Py::Bool(self.byteorder == "little"))];
        let mut file = [
            LEGACY_MAGIC.to_vec(),
            pickle(&Py::Int(1001)),
            pickle(&dict(machine)),
            self.pickle(),
            pickle(&Py::List(keys.collect())),
        ]
        .concat();
        for (_, bytes) in &self.storages {
            file.extend((bytes.len() as i64 / 4).to_le_bytes());
            file.extend(bytes);
        }
        file
    }

    /// The file.
    pub(crate) fn zip(&self) -> Vec<u8> {
        let mut entries = vec![("archive/data.pkl".to_owned(), self.pickle())];
        entries.push(("archive/byteorder".into(), self.byteorder.into()));
        for (key, bytes) in &self.storages {
            entries.push((format!("archive/data/{key}"), bytes.clone()));
        }
        zip_of(&entries, self.compression)
    }
}

/// A zip archive of these entries.
pub(crate) fn zip_of(
    entries: &[(String, Vec<u8>)],
    compression: zip::CompressionMethod,
) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(compression);
    for (name, bytes) in entries {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The entry `name` of a zip archive with a made up size, in its local header and in the directory.
pub(crate) fn with_size(mut zip: Vec<u8>, name: &str, size: u32) -> Vec<u8> {
    let mut found = 0;
    for at in 0..zip.len() - 46 {
        let (size_at, name_at) = match &zip[at..at + 4] {
            b"PK\x03\x04" => (at + 22, at + 30),
            b"PK\x01\x02" => (at + 24, at + 46),
            _ => continue,
        };
        if zip[name_at..].starts_with(name.as_bytes()) {
            zip[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
            found += 1;
        }
    }
    assert_eq!(found, 2);
    zip
}

/// A numpy array: `descr` is numpy's name of the type.
pub(crate) fn npy(descr: &str, shape: &str, fortran_order: bool, data: &[u8]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}
