//! A small ONNX export written by hand, from the weights of the small checkpoint. Field numbers: `onnx/onnx.proto3`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;

use soundalike_convert::{Bundle, Inspection, convert_bytes};
use support::{Checkpoint, line};

/// Units of the LSTM.
const HIDDEN: usize = support::HIDDEN as usize;

// The wire format.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes: text, or a message.
fn field(number: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [
        varint(number << 3 | 2),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

fn int_field(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

fn packed(values: &[i64]) -> Vec<u8> {
    let values = values.iter().map(|&value| varint(value as u64));
    values.collect::<Vec<_>>().concat()
}

// Messages.

/// `TensorProto`; `data` is one of its fields of elements. A tensor in a node has no name.
fn tensor(name: &str, data_type: i64, dims: &[i64], data: Vec<u8>) -> Vec<u8> {
    let name = match name {
        "" => Vec::new(),
        _ => field(8, name),
    };
    [field(1, packed(dims)), int_field(2, data_type), data, name].concat()
}

/// `TensorProto` of `FLOAT`, with `raw_data`.
fn floats(name: &str, dims: &[usize], values: &[f32]) -> Vec<u8> {
    let dims: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, 1, &dims, field(9, raw))
}

/// `AttributeProto`; `value` is one of its fields of values.
fn attribute(name: &str, value: Vec<u8>) -> Vec<u8> {
    field(5, [field(1, name), value].concat())
}

fn int(name: &str, value: i64) -> Vec<u8> {
    attribute(name, int_field(3, value))
}

fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    attribute(name, field(8, packed(values)))
}

/// `NodeProto`. Its name is that of its output.
fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().map(|name| field(1, name));
    let inputs = inputs.collect::<Vec<_>>().concat();
    let names = [field(2, output), field(3, output), field(4, op)].concat();
    [inputs, names, attributes.concat()].concat()
}

/// `ValueInfoProto` of `[1, 1, samples]`.
fn waveform(name: &str, samples: i64) -> Vec<u8> {
    let dims = [1, 1, samples].map(|size| field(1, int_field(1, size)));
    let shape = field(2, field(1, field(2, dims.concat())));
    [field(1, name), shape].concat()
}

/// `GraphProto` of nodes, input and output.
fn graph(nodes: &[Vec<u8>], input: Vec<u8>, output: &str) -> Vec<u8> {
    let nodes = nodes.iter().map(|node| field(1, node));
    let nodes = nodes.collect::<Vec<_>>().concat();
    [nodes, field(11, input), field(12, field(1, output))].concat()
}

/// The `If` around a convolution, with which torch exports one. Each branch is a graph of `nodes` with this output.
fn branches(output: &str, branches: [(&[Vec<u8>], &str); 2]) -> Vec<u8> {
    let names = ["then_branch", "else_branch"].into_iter();
    let attributes = names.zip(branches).map(|(name, (nodes, output))| {
        // Another length than that of the audio.
        let branch = graph(nodes, waveform("of the branch", 16), output);
        attribute(name, field(6, branch))
    });
    node(
        "If",
        &["condition"],
        output,
        &attributes.collect::<Vec<_>>(),
    )
}

/// An export to be written: change a part of it, then call [`Export::bytes`].
struct Export {
    /// From the audio to the output, each with the name of its output.
    nodes: Vec<(&'static str, Vec<u8>)>,
    initializers: Vec<Vec<u8>>,
    samples: i64,
    metadata: Vec<(&'static str, &'static str)>,
}

impl Export {
    /// A small PyanNet as torch exports it.
    fn small() -> Self {
        let checkpoint = checkpoint();
        let values = |name: &str| checkpoint.tensor(name).unwrap().to_f32().unwrap();
        let mut initializers: Vec<Vec<u8>> = checkpoint
            .tensors()
            .filter(|tensor| !tensor.name.starts_with("lstm") && tensor.name != "classifier.weight")
            .map(|tensor| floats(tensor.name, tensor.shape, &values(tensor.name)))
            .collect();
        initializers.push(floats("filters", &[80, 1, 251], &filters()));
        initializers.push(floats("matrix", &[HIDDEN, 7], &transposed()));
        for (name, parts) in [
            ("W", &["weight_ih"][..]),
            ("R", &["weight_hh"]),
            ("B", &["bias_ih", "bias_hh"]),
        ] {
            let stacked: Vec<f32> = parts
                .iter()
                .flat_map(|part| onnx_gates(&values(&format!("lstm.{part}_l0"))))
                .collect();
            let dims = match name {
                "B" => vec![1, 8 * HIDDEN],
                _ => vec![1, 4 * HIDDEN, stacked.len() / (4 * HIDDEN)],
            };
            initializers.push(floats(name, &dims, &stacked));
        }

        let mut nodes: Vec<(&'static str, Vec<u8>)> = Vec::new();
        let mut last = "audio";
        let mut add = |output: &'static str, op: &str, weights: &[&str], attributes: &[Vec<u8>]| {
            let inputs = [&[last], weights].concat();
            nodes.push((output, node(op, &inputs, output, attributes)));
            last = output;
        };
        let norm = ["sincnet.wav_norm1d.weight", "sincnet.wav_norm1d.bias"];
        add("normed", "InstanceNormalization", &norm, &[]);
        add("filtered", "Conv", &["filters"], &[ints("strides", &[10])]);
        add("positive", "Abs", &[], &[]);
        let pool = [ints("kernel_shape", &[3]), ints("strides", &[3])];
        for (i, names) in [
            ["", "pooled 0", "normed 0", "active 0"],
            ["convolved 1", "pooled 1", "normed 1", "active 1"],
            ["convolved 2", "pooled 2", "normed 2", "active 2"],
        ]
        .into_iter()
        .enumerate()
        {
            let affine = |module: &str| {
                ["weight", "bias"].map(|part| format!("sincnet.{module}.{i}.{part}"))
            };
            if i > 0 {
                add(
                    names[0],
                    "Conv",
                    &affine("conv1d").each_ref().map(|x| &**x),
                    &[],
                );
            }
            add(names[1], "MaxPool", &[], &pool);
            let norm = affine("norm1d");
            add(
                names[2],
                "InstanceNormalization",
                &norm.each_ref().map(|x| &**x),
                &[],
            );
            add(names[3], "LeakyRelu", &[], &[]);
        }
        add("frames", "Transpose", &[], &[]);
        add(
            "states",
            "LSTM",
            &["W", "R", "B"],
            &[int("hidden_size", HIDDEN as i64)],
        );
        add("squeezed", "Squeeze", &[], &[]);
        add("product", "MatMul", &["matrix"], &[]);
        add("sum", "Add", &["classifier.bias"], &[]);
        add("scores", "LogSoftmax", &[], &[]);
        Self {
            nodes,
            initializers,
            samples: 80_000,
            metadata: Vec::new(),
        }
    }

    /// Replaces the node that computes `output` by others, the last of which computes it.
    fn replace(&mut self, output: &'static str, nodes: &[Vec<u8>]) {
        let at = self.nodes.iter().position(|(found, _)| *found == output);
        let new = nodes.iter().map(|node| (output, node.clone()));
        let at = at.unwrap();
        self.nodes.splice(at..=at, new);
    }

    /// The file.
    fn bytes(&self) -> Vec<u8> {
        let nodes: Vec<Vec<u8>> = self.nodes.iter().map(|(_, node)| node.clone()).collect();
        let initializers = self.initializers.iter().map(|tensor| field(5, tensor));
        let graph = [
            graph(&nodes, waveform("audio", self.samples), "scores"),
            initializers.collect::<Vec<_>>().concat(),
        ];
        let metadata = self.metadata.iter().map(|(key, value)| {
            let entry = [field(1, key), field(2, value)].concat();
            field(14, entry)
        });
        let metadata = metadata.collect::<Vec<_>>().concat();
        [int_field(1, 8), field(7, graph.concat()), metadata].concat()
    }
}

/// The small checkpoint as a bundle.
fn checkpoint() -> Bundle {
    convert_bytes(Checkpoint::small().zip(), "x")
        .unwrap()
        .bundle
}

fn filters() -> Vec<f32> {
    support::values(0, 80 * 251)
}

/// The weight of the classifier, `[inputs, outputs]`.
fn transposed() -> Vec<f32> {
    let weight = checkpoint();
    let weight = weight
        .tensor("classifier.weight")
        .unwrap()
        .to_f32()
        .unwrap();
    let row = |input| (0..7).map(move |output| output * HIDDEN + input);
    (0..HIDDEN)
        .flat_map(row)
        .map(|place| weight[place])
        .collect()
}

/// Rows of PyTorch's gates, input, forget, cell and output, in the order of ONNX: input, output, forget, cell.
fn onnx_gates(rows: &[f32]) -> Vec<f32> {
    let gate = rows.len() / 4;
    let gates = [0, 3, 1, 2].map(|gate_of_torch| &rows[gate_of_torch * gate..][..gate]);
    gates.concat()
}

fn exported(change: impl FnOnce(&mut Export)) -> Vec<u8> {
    let mut export = Export::small();
    change(&mut export);
    export.bytes()
}

/// Checks that an export has the weights of the checkpoint.
fn check(name: &str, change: impl FnOnce(&mut Export)) -> Bundle {
    let bundle = match convert_bytes(exported(change), "x.onnx") {
        Ok(conversion) => conversion.bundle,
        Err(error) => panic!("{name}: {}", line(&error)),
    };
    let found = bundle.tensor("sincnet.conv1d.0.filters").unwrap();
    assert_eq!(found.to_f32().unwrap(), filters(), "{name}");
    let checkpoint = checkpoint();
    let shared = |bundle: &Bundle| -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let tensors = bundle.tensors().filter(|t| !t.name.contains(".conv1d.0."));
        tensors
            .map(|t| (t.name.to_owned(), t.shape.to_vec(), t.bytes.to_vec()))
            .collect()
    };
    assert!(shared(&bundle) == shared(&checkpoint), "{name}");
    bundle
}

#[test]
fn an_export_has_the_weights_of_its_checkpoint_however_it_is_written() {
    let bundle = check("as torch writes it", |_| ());
    let specifications = bundle.specifications().unwrap();
    assert_eq!(specifications.duration, 5.0);
    assert!(
        bundle
            .notes()
            .iter()
            .any(|note| note.contains("3 speakers"))
    );

    for (name, matrix, attributes) in [
        ("Gemm", "matrix", &[][..]),
        ("Gemm of [inputs, outputs]", "matrix", &[int("transB", 0)]),
        ("Gemm of [outputs, inputs]", "weight", &[int("transB", 1)]),
    ] {
        check(name, |export| {
            let weight = checkpoint();
            let weight = weight.tensor("classifier.weight").unwrap();
            let values = weight.to_f32().unwrap();
            export
                .initializers
                .push(floats("weight", weight.shape, &values));
            let inputs = ["squeezed", matrix, "classifier.bias"];
            export.replace("product", &[]);
            export.replace("sum", &[node("Gemm", &inputs, "sum", attributes)]);
        });
    }
    check("no bias, by an empty name", |export| {
        let strides = [ints("strides", &[10])];
        let conv = node("Conv", &["normed", "filters", ""], "filtered", &strides);
        export.replace("filtered", &[conv]);
    });
    check("a weight in a node", |export| {
        let weight = checkpoint();
        let weight = weight.tensor("sincnet.norm1d.0.bias").unwrap();
        let value = floats("", weight.shape, &weight.to_f32().unwrap());
        let constant = node(
            "Constant",
            &[],
            "constant",
            &[attribute("value", field(5, value))],
        );
        let inputs = ["pooled 0", "sincnet.norm1d.0.weight", "constant"];
        let norm = node("InstanceNormalization", &inputs, "normed 0", &[]);
        export.replace("normed 0", &[constant, norm]);
    });
    let bundle = check("a convolution in two branches", |export| {
        let weights = ["sincnet.conv1d.1.weight", "sincnet.conv1d.1.bias"];
        let conv = |output| node("Conv", &[&["active 0"], &weights[..]].concat(), output, &[]);
        let then = [conv("a"), node("Squeeze", &["a"], "b", &[])];
        let either = branches("convolved 1", [(&then, "b"), (&[conv("c")], "c")]);
        export.replace("convolved 1", &[either]);
    });
    assert_eq!(bundle.specifications().unwrap().duration, 5.0);
}

/// Names of the parameters of the sinc filters.
fn bank(leaf: &str) -> String {
    format!("sincnet.conv1d.0.filterbank.{leaf}")
}

#[test]
fn filters_that_a_graph_computes_are_those_of_its_parameters() {
    let built = |export: &mut Export| {
        let [low, band, window, n] = ["low_hz_", "band_hz_", "window_", "n_"].map(bank);
        let strides = [ints("strides", &[10])];
        let nodes = [
            node("MatMul", &[&low, &n], "angles", &[]),
            node("Sin", &["angles"], "sines", &[]),
            node("Mul", &["sines", &window], "windowed", &[]),
            node("Div", &["windowed", &band], "built", &[]),
            node("Conv", &["normed", "built"], "filtered", &strides),
        ];
        export.replace("filtered", &nodes);
    };
    let found = convert_bytes(exported(built), "x.onnx").unwrap().bundle;
    let checkpoint = checkpoint();
    let tensors = |bundle: &Bundle| -> Vec<_> {
        let tensors = bundle.tensors();
        tensors
            .map(|t| (t.name.to_owned(), t.bytes.to_vec()))
            .collect()
    };
    assert_eq!(tensors(&found), tensors(&checkpoint));
    // Other names say nothing.
    let unknown = exported(|export| {
        built(export);
        let strides = [ints("strides", &[10])];
        export.replace(
            "filtered",
            &[
                node("Sin", &["filters"], "unknown", &[]),
                node("Conv", &["normed", "unknown"], "filtered", &strides),
            ],
        );
    });
    let error = line(&convert_bytes(unknown, "x.onnx").unwrap_err());
    assert!(error.contains("computes input 1 of `filtered`"), "{error}");
}

/// `TensorProto` of `INT64`.
fn numbers(name: &str, values: &[i64]) -> Vec<u8> {
    tensor(name, 7, &[values.len() as i64], field(7, packed(values)))
}

/// As PyTorch's dynamo exporter reorders the gates of an LSTM.
fn with_moved_gates(export: &mut Export) {
    let weight = checkpoint();
    let weight = weight.tensor("lstm.weight_hh_l0").unwrap();
    let values = weight.to_f32().unwrap();
    export
        .initializers
        .push(floats("hh", weight.shape, &values));
    let h = HIDDEN as i64;
    for (name, value) in [
        ("0", 0),
        ("1", h),
        ("2", 2 * h),
        ("3", 3 * h),
        ("4", i64::MAX),
    ] {
        export.initializers.push(numbers(name, &[value]));
    }
    let gate = |from, to, output| node("Slice", &["hh", from, to, "0"], output, &[]);
    let axis = [int("axis", 0)];
    let nodes = [
        gate("0", "1", "i"),
        gate("1", "2", "f"),
        gate("2", "3", "c"),
        gate("3", "4", "o"),
        node("Concat", &["i", "o", "f", "c"], "gates", &axis),
        node("Unsqueeze", &["gates", "0"], "stacked", &[]),
        node("LSTM", &["frames", "W", "stacked", "B"], "states", &[]),
    ];
    export.replace("states", &nodes);
}

#[test]
fn weights_that_are_moved_in_the_graph_are_read() {
    check("slices, concatenated", with_moved_gates);
}

/// Each slice is small, and reads a third of the file.
#[test]
fn a_graph_that_moves_weights_without_end_is_not_followed() {
    let with_slices = |count: usize| {
        exported(|export| {
            for (name, value) in [("0", 0), ("1", 1), ("end", i64::MAX)] {
                export.initializers.push(numbers(name, &[value]));
            }
            let slice = |to, output| node("Slice", &["filters", "0", to, "0"], output, &[]);
            let strides = [ints("strides", &[10])];
            let mut nodes = vec![slice("1", "part"); count];
            nodes.push(slice("end", "whole"));
            nodes.push(node("Conv", &["normed", "whole"], "filtered", &strides));
            export.replace("filtered", &nodes);
        })
    };
    assert!(convert_bytes(with_slices(10), "x.onnx").is_ok());
    let error = line(&convert_bytes(with_slices(100), "x.onnx").unwrap_err());
    assert!(error.contains("computes input 1 of `filtered`"), "{error}");
}

/// An instance norm as the steps of which it is made.
fn expanded(export: &mut Export, eps: f32, axes: &[i64]) {
    let norm = ["weight", "bias"].map(|leaf| format!("sincnet.norm1d.1.{leaf}"));
    for (name, value) in [("eps", eps), ("two", 2.0)] {
        export.initializers.push(floats(name, &[], &[value]));
    }
    export.initializers.push(numbers("channels", &[1, -1, 1]));
    let over = [ints("axes", axes)];
    let nodes = [
        node("ReduceMean", &["pooled 1"], "mean", &over),
        node("Sub", &["pooled 1", "mean"], "centred", &[]),
        node("Pow", &["centred", "two"], "square", &[]),
        node("ReduceMean", &["square"], "variance", &over),
        node("Add", &["variance", "eps"], "above 0", &[]),
        node("Sqrt", &["above 0"], "deviation", &[]),
        node("Div", &["centred", "deviation"], "normal", &[]),
        node("Reshape", &[&norm[0], "channels"], "scale", &[]),
        node("Mul", &["normal", "scale"], "scaled", &[]),
        node("Reshape", &[&norm[1], "channels"], "shift", &[]),
        node("Add", &["scaled", "shift"], "normed 1", &[]),
    ];
    export.replace("normed 1", &nodes);
}

#[test]
fn norms_that_are_expanded_are_read_if_they_are_the_norms() {
    check("over the last axis", |export| expanded(export, 1e-5, &[-1]));
    check("over the third axis", |export| expanded(export, 1e-5, &[2]));
    for (eps, axes, expected) in [
        (
            1e-3,
            -1,
            "found `normal` (Div), expected a division by sqrt(variance + 0.00001)",
        ),
        (
            1e-5,
            1,
            "found `centred` (Sub), expected a difference from the mean of each channel",
        ),
    ] {
        let bytes = exported(|export| expanded(export, eps, &[axes]));
        let error = line(&convert_bytes(bytes, "x.onnx").unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn quantised_exports_are_refused_by_name() {
    let bytes = exported(|export| {
        let dequantised = node("DequantizeLinear", &["matrix", "scale"], "wide", &[]);
        let product = node("MatMul", &["squeezed", "wide"], "product", &[]);
        export.replace("product", &[dequantised, product]);
    });
    let error = line(&convert_bytes(bytes, "x.onnx").unwrap_err());
    let expected = "is quantised (DequantizeLinear `wide`): these are not the original's weights";
    assert!(error.contains(expected), "{error}");
}

/// The matrix of the classifier in another file.
fn outside(location: &str, offset: usize, length: usize) -> Vec<u8> {
    let text = [offset, length].map(|number| number.to_string());
    let entries = [
        ("location", location),
        ("offset", &text[0]),
        ("length", &text[1]),
    ];
    let entries = entries.map(|(key, value)| field(13, [field(1, key), field(2, value)].concat()));
    let place = [entries.concat(), int_field(14, 1)].concat();
    tensor("outside", 1, &[HIDDEN as i64, 7], place)
}

#[test]
fn weights_beside_an_export_are_read_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sub/x.onnx");
    fs::create_dir(folder.path().join("sub")).unwrap();
    let values: Vec<u8> = transposed().iter().flat_map(|x| x.to_le_bytes()).collect();
    let data = [&[7; 12], &*values, &[9; 3]].concat();
    for beside in ["sub/x.data", "x.data"] {
        fs::write(folder.path().join(beside), &data).unwrap();
    }
    let convert = |location: &str, offset: usize, length: usize| {
        let bytes = exported(|export| {
            export.initializers.push(outside(location, offset, length));
            let product = node("MatMul", &["squeezed", "outside"], "product", &[]);
            export.replace("product", &[product]);
        });
        fs::write(&file, bytes).unwrap();
        soundalike_convert::load(&file)
    };
    let found = convert("x.data", 12, values.len()).unwrap();
    let checkpoint = checkpoint();
    let [ours, theirs] = [&found, &checkpoint]
        .map(|bundle| bundle.tensor("classifier.weight").unwrap().bytes.to_vec());
    assert_eq!(ours, theirs);
    let inputs = soundalike_convert::input_files(&file);
    assert_eq!(inputs, [file.clone(), file.with_file_name("x.data")]);
    for (location, offset, length) in [
        ("missing.data", 12, values.len()),
        ("../x.data", 12, values.len()),
        ("x.data", 12, data.len()),
        ("x.data", usize::MAX, 1),
    ] {
        let error = line(&convert(location, offset, length).unwrap_err());
        let expected = format!("keeps `outside` in the file `{location}`, which is not whole");
        assert!(error.contains(&expected), "{error}");
    }
}

/// The keys are those of sherpa-onnx.
#[test]
fn the_task_is_that_of_the_metadata() {
    let bundle = check("metadata", |export| {
        export.metadata = vec![
            ("model_type", "pyannote-segmentation-3.0"),
            ("num_speakers", "6"),
            ("powerset_max_classes", "1"),
            ("window_size", "32000"),
        ];
    });
    let specifications = bundle.specifications().unwrap();
    assert_eq!(specifications.duration, 2.0);
    assert_eq!(specifications.classes.len(), 6);
    assert_eq!(specifications.powerset_max_classes, Some(1));
}

#[test]
fn integers_are_read_from_their_own_fields() {
    // The bits of 1.0 to 7.0 in f16, which `int32_data` holds, and two numbers of `int64_data`.
    let halves = [0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700];
    let bytes = exported(|export| {
        let bias = tensor("halves", 10, &[7], field(5, packed(&halves)));
        let sizes = tensor("sizes", 7, &[2], field(7, packed(&[-1, 300])));
        export.initializers.extend([bias, sizes]);
        export.replace("sum", &[node("Add", &["product", "halves"], "sum", &[])]);
    });
    let bundle = convert_bytes(bytes, "x.onnx").unwrap().bundle;
    let bias = bundle.tensor("classifier.bias").unwrap();
    assert_eq!(bias.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}

/// An `If` in an `If`, `depth` times.
fn nested(depth: usize) -> Vec<u8> {
    let innermost = node("Identity", &["audio"], "nested", &[]);
    (0..depth).fold(innermost, |inner, _| {
        let branch = graph(&[inner], waveform("audio", 16), "nested");
        node(
            "If",
            &["condition"],
            "nested",
            &[attribute("then_branch", field(6, branch))],
        )
    })
}

#[test]
fn limits_are_the_most_that_is_accepted() {
    let dimensions = |count| tensor("one", 1, &vec![1; count], field(9, [0; 4]));
    check("branches", |export| {
        export.nodes.insert(0, ("nested", nested(8)))
    });
    check("dimensions", |export| {
        export.initializers.push(dimensions(16))
    });
    for (bytes, expected) in [
        (
            exported(|export| export.nodes.insert(0, ("nested", nested(9)))),
            "more than 8 nested branches",
        ),
        (
            exported(|export| export.initializers.push(dimensions(17))),
            "more than 16 dimensions",
        ),
    ] {
        let error = line(&convert_bytes(bytes, "x.onnx").unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn other_networks_are_refused_and_inspected() {
    let weights = ["sincnet.conv1d.1.weight", "sincnet.conv1d.1.bias"];
    let conv = |output, weights: [&str; 2]| {
        node("Conv", &[&["active 0"], &weights[..]].concat(), output, &[])
    };
    let cases = [
        (
            "positive",
            node("Relu", &["filtered"], "positive", &[]),
            "found `positive` (Relu), expected Abs",
        ),
        (
            "filtered",
            node(
                "Conv",
                &["normed", "filters", "classifier.bias"],
                "filtered",
                &[],
            ),
            "expected sinc filters without a bias",
        ),
        (
            "states",
            node(
                "LSTM",
                &["frames", "W", "R", "B"],
                "states",
                &[int("clip", 1)],
            ),
            "`clip` of `states` is set",
        ),
        (
            "convolved 1",
            branches(
                "convolved 1",
                [
                    (&[conv("a", weights)], "a"),
                    (&[conv("b", [weights[0], "sincnet.conv1d.2.bias"])], "b"),
                ],
            ),
            "different convolutions in the branches of `convolved 1`",
        ),
    ];
    for (output, node, expected) in cases {
        let bytes = exported(|export| export.replace(output, &[node]));
        let error = line(&convert_bytes(bytes.clone(), "x.onnx").unwrap_err());
        assert!(error.contains(expected), "{output}: {error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.onnx");
        fs::write(&path, bytes).unwrap();
        let inspection = Inspection::of(&path).unwrap();
        assert_eq!(inspection.problem, Some(error));
        assert!(
            inspection
                .tensors
                .iter()
                .any(|tensor| tensor.name == "filters")
        );
    }
}
