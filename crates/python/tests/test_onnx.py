"""ONNX files as candidates, run by ONNX Runtime, and as references."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from soundalike._errors import CandidateError, ReferenceError  # noqa: E402
from soundalike._inputs import Example  # noqa: E402
from soundalike._onnx import OnnxCandidate  # noqa: E402
from soundalike._onnx_reference import capture_onnx  # noqa: E402
from soundalike._trace_file import Trace  # noqa: E402

FLOAT, FLOAT16, INT64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL


def value(name, shape=("n",), element_type=FLOAT):
    return helper.make_tensor_value_info(name, element_type, shape)


def weight(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype), name)


def constant(name, values, dtype=np.float32):
    return helper.make_node("Constant", [], [name], value=weight("", values, dtype))


def model(nodes, inputs, outputs, weights=(), opset=17):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def candidate(*args, **kwargs):
    return OnnxCandidate(model(*args, **kwargs).SerializeToString())


def array(*values, dtype=np.float32):
    return np.array(values, dtype)


X = array(1, -2, 3)


def chain():
    """y = relu(x + 1) * 2: `a`, `b`, `y`."""
    nodes = [
        helper.make_node("Add", ["x", "one"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["y"]),
    ]
    return nodes, [value("x")], [value("y")], [weight("one", [1]), weight("two", [2])]


def values(pairs):
    return {name: array.tolist() for name, array in pairs}


def test_free_shows_each_tensor_in_order_of_execution():
    shown = list(candidate(*chain()).free(Example((X,))))
    assert [name for name, _ in shown] == ["a", "b", "y"]
    assert values(shown) == {"a": [2, -1, 4], "b": [2, 0, 4], "y": [4, 0, 8]}


def test_forced_consumers_read_the_taught_value_and_the_tensor_is_still_computed():
    subject = candidate(*chain())
    taught = {"a": array(-1, 5, 7, dtype=np.float64), "b": array(10, 20, 30)}
    assert values(subject.forced(Example((X,)), taught)) == {"a": [2, -1, 4], "b": [0, 5, 7], "y": [20, 40, 60]}
    assert values(subject.forced(Example((X,)), {})) == values(subject.free(Example((X,))))


def looping():
    """A graph whose `a` has several consumers, is an output itself, and is read in the body of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["carried", "a"], ["next"])],
        "body",
        [value("turn", [], INT64), value("go", [], BOOL), value("carried")],
        [value("on", [], BOOL), value("next")],
    )
    nodes = [
        helper.make_node("Add", ["x", "one"], ["a"]),
        helper.make_node("Neg", ["a"], ["a:taught"]),
        helper.make_node("Add", ["a", "a"], ["twice"]),
        helper.make_node("Loop", ["turns", "always", "x"], ["sum"], body=body),
    ]
    outputs = [value(name) for name in ("a", "a:taught", "twice", "sum")]
    weights = [weight("one", [1]), weight("turns", 3, np.int64), weight("always", True, bool)]
    return nodes, [value("x")], outputs, weights


def test_forced_reaches_every_consumer():
    # The name that the new input would have, `a:taught`, is taken.
    subject = candidate(*looping())
    forced = values(subject.forced(Example((X,)), {"a": array(1, 2, 3)}))
    assert forced == {"a": [2, -1, 4], "a:taught": [-1, -2, -3], "twice": [2, 4, 6], "sum": [4, 4, 12]}
    assert subject.notes == ["the body of `sum` (Loop) is not shown"]


def test_a_body_that_defines_the_name_itself_keeps_it():
    def body(inner):
        return helper.make_graph(
            [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["carried"], [inner])],
            "body",
            [value("turn", [], INT64), value("go", [], BOOL), value("carried")],
            [value("on", [], BOOL), value(inner)],
        )

    nodes = [
        helper.make_node("Loop", ["turns", "", "x"], ["first"], body=body("y")),
        helper.make_node("Neg", ["first"], ["y"]),
        helper.make_node("Loop", ["turns", "", "y"], ["z"], body=body("inner")),
    ]
    subject = candidate(nodes, [value("x")], [value("z")], [weight("turns", 1, np.int64)])
    forced = values(subject.forced(Example((X,)), {"y": array(5, 6, 7)}))
    assert forced == {"first": [-1, 2, -3], "y": [1, -2, 3], "z": [-5, -6, -7]}


def test_taught_values_are_cast_to_the_type_of_the_tensor():
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["a"], ["y"])]
    subject = candidate(nodes, [value("x", ["n"], FLOAT16)], [value("y", ["n"], FLOAT16)])
    [(_, a), (_, y)] = subject.forced(Example((X,)), {"a": array(-1.0001, 2, 70000, dtype=np.float64)})
    assert a.dtype == y.dtype == np.float16
    assert y.tolist() == [1, 2, np.inf]
    assert subject.notes == ["ONNX Runtime computes f16 nodes on the CPU in f32, and may not round between them"]


def test_taught_tensors_that_do_not_fit_are_named():
    subject = candidate(*chain())
    with pytest.raises(CandidateError, match="computes no float tensor `nope`, `x`"):
        subject.forced(Example((X,)), {"nope": X, "x": X})
    with pytest.raises(CandidateError, match=r"`b` has shape \[3\], the value to force it with \[4\]"):
        list(subject.forced(Example((X,)), {"b": array(1, 2, 3, 4)}))


def branching():
    """Nested branches; the bodies use the same names for tensors and nodes."""

    def add(number, output):
        return [
            constant("c", [number]),
            helper.make_node("Add", ["x", "c"], ["t"], name="add"),
            helper.make_node("Relu", ["t"], [output], name="relu"),
        ]

    def body(nodes, output):
        return helper.make_graph(nodes, "body", [], [value(output)])

    inner = helper.make_node(
        "If", ["deep"], ["r"], name="if", then_branch=body(add(10, "s"), "s"), else_branch=body(add(20, "s"), "s")
    )
    nodes = [
        helper.make_node("Greater", ["rate", "limit"], ["high"]),
        helper.make_node("Not", ["high"], ["low"]),
        helper.make_node(
            "If", ["high"], ["y"], name="if", then_branch=body([inner], "r"), else_branch=body(add(30, "r"), "r")
        ),
        helper.make_node("If", ["low"], ["z"], then_branch=body(add(1, "r"), "r"), else_branch=body(add(2, "r"), "r")),
        helper.make_node("Add", ["y", "z"], ["sum"]),
    ]
    inputs = [value("x"), value("rate", [], INT64), value("deep", [], BOOL)]
    return nodes, inputs, [value("sum")], [weight("limit", 100, np.int64)]


@pytest.mark.parametrize(
    ("rate", "deep", "first", "second"), [(200, True, 10, 2), (200, False, 20, 2), (5, True, 30, 1)]
)
def test_the_branch_that_the_example_takes_is_shown(rate, deep, first, second):
    subject = candidate(*branching())
    example = Example((X, rate), {"deep": np.array(deep)})
    shown = dict(subject.free(example))
    expected = [np.maximum(X + first, 0), np.maximum(X + second, 0)]
    np.testing.assert_array_equal(shown["y"], expected[0])
    np.testing.assert_array_equal(shown["z"], expected[1])
    np.testing.assert_array_equal(shown["sum"], sum(expected))
    # One Add of each body, under names that differ, and the last.
    [_, added, _] = [name for name, node in subject.nodes.items() if node.op == "Add"]
    forced = dict(subject.forced(example, {added: array(7, 8, 9)}))
    assert forced["z"].tolist() == [7, 8, 9] and forced["y"].tolist() == shown["y"].tolist()
    assert dict(subject.output(example))["sum"].tolist() == shown["sum"].tolist()


def test_conditions_may_be_inputs_or_constants():
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "body", [], [value("n")])
    other = helper.make_graph([helper.make_node("Abs", ["x"], ["n"])], "body", [], [value("n")])
    nodes = [
        helper.make_node("If", ["flag"], ["a"], then_branch=body, else_branch=other),
        helper.make_node("If", ["never"], ["b"], then_branch=body, else_branch=other),
    ]
    inputs = [value("x"), value("flag", [], BOOL)]
    graph = model(nodes, inputs, [value("a"), value("b")], [weight("never", False, bool)])
    shown = values(OnnxCandidate(graph).free(Example((X, np.array(True)))))
    assert shown["a"] == [-1, 2, -3] and shown["b"] == [1, 2, 3]


def test_tensors_that_are_no_floats_and_weights_are_not_shown():
    nodes = [
        constant("c", [1]),
        helper.make_node("Identity", ["w"], ["same weight"]),
        helper.make_node("Transpose", ["c"], ["turned constant"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Add", ["x", "same weight"], ["a"]),
        helper.make_node("Greater", ["a", "turned constant"], ["mask"]),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    subject = candidate(nodes, [value("x")], [value("y"), value("mask", ["n"], BOOL)], [weight("w", [2])])
    assert [name for name, _ in subject.free(Example((X,)))] == ["a", "y"]
    assert [name for name, _ in subject.output(Example((X,)))] == ["y"]


def test_ancestors_are_what_values_are_computed_from():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Expand", ["one", "shape"], ["ones"]),
        helper.make_node("Transpose", ["a"], ["turned"]),
        helper.make_node("Add", ["turned", "ones"], ["sum"]),
        helper.make_node("Mul", ["sum", "x"], ["y"]),
    ]
    subject = candidate(nodes, [value("x")], [value("y")], [weight("one", [1])])
    found = subject.ancestors("y", {"a"})
    assert found.names == ["a", "x"] and found.ops == ["Transpose", "Add", "Mul"]
    assert subject.ancestors("sum", {"ones", "a"}).names == ["a", "ones"]
    assert subject.ancestors("ones", {"a"}).names == []
    assert subject.ancestors("a", set()).names == ["x"]


def test_optimised_runs_show_only_outputs_and_cannot_be_forced():
    subject = OnnxCandidate(model(*chain()), optimise=True)
    assert values(subject.free(Example((X,)))) == {"y": [4, 0, 8]}
    assert subject.forced(Example((X,)), {"a": X}) is None


def test_inputs_are_bound_by_name_then_by_position_in_the_types_of_the_graph():
    nodes = [
        helper.make_node("Cast", ["k"], ["f"], to=FLOAT),
        helper.make_node("Sub", ["x", "f"], ["d"]),
        helper.make_node("Cast", ["h"], ["g"], to=FLOAT),
        helper.make_node("Mul", ["d", "g"], ["y"]),
    ]
    inputs = [value("x", [2, "n"]), value("k", [], TensorProto.INT32), value("h", [1], FLOAT16)]
    subject = candidate(nodes, inputs, [value("y", [2, "n"])])
    x = np.ones((2, 3))
    expected = [[-2, -2, -2]] * 2
    assert values(subject.output(Example((x, 2, array(2))))) == {"y": expected}
    assert values(subject.output(Example((x, array(2)), {"k": np.int64(2)}))) == {"y": expected}
    listed = r"it has the inputs `x` float32 \[2, n\], `k` int32 \[\], `h` float16 \[1\]$"
    for example, what in [
        (Example((x, 2)), "no value for the input `h`"),
        (Example((x, 2, array(2), 4)), "4 inputs by position, expected 3"),
        (Example((x, 2, array(2)), {"z": 1}), "has no input `z`"),
        (Example((x[0], 2, array(2))), r"the input `x` has shape \[3\]"),
        (Example((x[:1], 2, array(2))), r"the input `x` has shape \[1, 3\]"),
        (Example((x, 2.5, array(2))), "the input `k` is float64"),
        (Example((x, 2**40, array(2))), "the input `k` is int64"),
    ]:
        with pytest.raises(CandidateError, match=f"{what}; {listed}"):
            subject.output(example)


def test_inputs_that_are_no_tensors_cannot_be_given():
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, ["n"])
    at = helper.make_node("SequenceAt", ["s", "first"], ["y"])
    subject = candidate([at], [sequence], [value("y")], [weight("first", 0, np.int64)])
    with pytest.raises(CandidateError, match=r"the input `s` is float32; it has the inputs `s` \(no tensor\)$"):
        subject.free(Example((X,)))


def test_files_that_are_no_models_are_one_clear_line(tmp_path):
    whole = model(*chain()).SerializeToString()
    unknown = model([helper.make_node("Nonsense", ["x"], ["y"])], [value("x")], [value("y")]).SerializeToString()
    for content, what in [
        (b"", "is no ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is no ONNX model"),
        (whole[:-9], "is no ONNX model, or is truncated"),
        (unknown, "ONNX Runtime does not load it.*Nonsense"),
    ]:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(CandidateError, match=what) as error:
            OnnxCandidate(path)
        assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    with pytest.raises(CandidateError, match="cannot be read: No such file"):
        OnnxCandidate(tmp_path / "missing.onnx")


def test_nodes_that_fail_are_one_clear_line():
    subject = candidate([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], [weight("w", [1, 2])])
    with pytest.raises(CandidateError, match="ONNX Runtime fails: .*Add") as error:
        list(subject.free(Example((X,))))
    assert "\n" not in str(error.value)


def test_external_data_beside_the_model(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    nodes, inputs, outputs, _ = chain()
    large = model(nodes, inputs, outputs, [weight("one", np.ones(300)), weight("two", np.full(300, 2))])
    onnx.save(large, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    x = np.arange(300)
    monkeypatch.chdir("/")
    subject = OnnxCandidate(path)
    assert values(subject.forced(Example((x.astype(np.float32),)), {}))["y"] == ((x + 1) * 2).tolist()
    capture_onnx(path, x.astype(np.float32), tmp_path / "out.npz")
    assert Trace(tmp_path / "out.npz")["y"].tolist() == ((x + 1) * 2).tolist()
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(CandidateError, match="weights.bin"):
        OnnxCandidate(path)
    with pytest.raises(ReferenceError, match="weights.bin"):
        capture_onnx(path, x.astype(np.float32), tmp_path / "out.npz")


def test_external_data_outside_the_folder_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(np.ones(1, np.float32).tobytes())
    (tmp_path / "model").mkdir()
    graph = model(*chain())
    onnx.external_data_helper.set_external_data(graph.graph.initializer[0], "../secret", length=4)
    graph.graph.initializer[0].ClearField("raw_data")
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(CandidateError, match="ONNX Runtime does not load it"):
        OnnxCandidate(path)
    with pytest.raises(ReferenceError, match="secret"):
        capture_onnx(path, X, tmp_path / "out.npz")


def test_files_beyond_the_limit_of_protobuf_are_one_clear_line(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    onnx.save(model(*chain()), path)
    monkeypatch.setattr("soundalike._onnx_reference.PROTOBUF_LIMIT", 7)
    with pytest.raises(ReferenceError, match="has more than 2 GiB of weights"):
        capture_onnx(path, X, tmp_path / "out.npz")
    monkeypatch.setattr("soundalike._onnx_graph.PROTOBUF_LIMIT", 7)
    with pytest.raises(CandidateError, match="model.onnx: is larger than 2 GiB"):
        OnnxCandidate(path)


def test_local_functions_become_part_of_the_graph():
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = model([helper.make_node("Twice", ["x"], ["y"], domain="local")], [value("x")], [value("y")])
    graph.opset_import.append(helper.make_opsetid("local", 1))
    graph.functions.append(function)
    subject = OnnxCandidate(graph.SerializeToString())
    assert values(subject.free(Example((X,))))["y"] == [2, -4, 6]
    assert "Add" in [node.op for node in subject.nodes.values()]


def networks():
    """Small networks of PyTorch with an input each."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Convolution(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv1d(2, 8, 5, padding=2)
            self.norm = torch.nn.BatchNorm1d(8)
            self.norm.running_mean.normal_()
            self.head = torch.nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.norm(self.conv(x)).relu().transpose(1, 2)).softmax(-1)

    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True)
            self.head = torch.nn.Linear(12, 3)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    class Transformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(20, 16)
            layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
            self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, ids):
            return self.encoder(self.embed(ids))

    return {
        "convolution": (Convolution().eval(), torch.randn(1, 2, 40)),
        "recurrent": (Recurrent().eval(), torch.randn(2, 9, 5)),
        "transformer": (Transformer().eval(), torch.randint(0, 20, (2, 11))),
    }


@pytest.fixture(scope="module", params=["convolution", "recurrent", "transformer"])
def network(request):
    return networks()[request.param]


@pytest.fixture(scope="module", params=["dynamo", "torchscript"])
def exported(request, network, tmp_path_factory):
    """A network, its input, and its export."""
    torch = pytest.importorskip("torch")
    module, x = network
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    options = {"dynamo": False, "opset_version": 17}
    if request.param == "dynamo":
        pytest.importorskip("onnxscript")
        options = {"dynamo": True, "verbose": False}
    torch.onnx.export(module, (x,), path, **options)
    return module, x, path


def stages_of(trace):
    return json.loads(trace["manifest"].tobytes())["stages"]


def rms(values):
    return np.sqrt(np.mean(np.square(values, dtype=np.float64)))


@pytest.mark.filterwarnings("ignore")
def test_exports_run_and_are_references(exported, tmp_path):
    module, x, path = exported
    subject = OnnxCandidate(path)
    assert subject.describe()["producer"].startswith("pytorch 2")
    free = dict(subject.free(Example((x,))))
    [(last, output)] = subject.output(Example((x,)), optimise=False)
    np.testing.assert_array_equal(free[last], output)
    np.testing.assert_allclose(output, module(x).detach(), atol=1e-6)
    assert {"head", "norm", "encoder.layers.1.linear2", "lstm"} & {node.scope for node in subject.nodes.values()}

    trace = Trace(capture_onnx(path, x, tmp_path / "golden.npz"))
    double = module.double()
    expected = double(x.double() if x.is_floating_point() else x).detach().numpy()
    module.float()
    # The exporter rounds what it folds to f32.
    np.testing.assert_allclose(trace[last], expected, atol=5e-8)
    assert trace[last].dtype == np.float64
    stages = stages_of(trace)
    names = [stage["name"] for stage in stages]
    entries = list(trace)
    assert entries[:2] == ["manifest", "input/input"] and entries[-1] == f"f32/{names[-1]}"
    assert [entry for entry in entries if entry in names] == names
    np.testing.assert_array_equal(trace[f"f32/{names[-1]}"], free[names[-1]])
    assert not {stage["op"] for stage in stages} & {"Reshape", "Transpose", "Squeeze", "Cast"}
    if not x.is_floating_point():
        assert (stages[0]["op"], stages[0]["inputs"]) == ("Gather", ["input"])

    axes = {stage["op"]: stage["axes"] for stage in stages}
    if "Conv" in axes:
        assert axes["Conv"] == axes["Relu"] == ["batch", "channel", "time"]
        assert axes["Softmax"] == ["batch", "frame", "feature"]
    if "LSTM" in axes:
        assert next(stage["axes"] for stage in stages) == ["frame", "_", "batch", "feature"]

    # All stages together, forced by the graph itself, give the floors that were found node by node.
    forced = dict(subject.forced(Example((x,)), {name: trace[name].astype(np.float32) for name in names}))
    for stage in stages:
        name = stage["name"]
        assert set(stage["inputs"]) <= {"input", *names[: names.index(name)]}
        for running, found in (("free", free), ("forced", forced)):
            floor = trace[f"floor.{running}/{name}"][0]
            error = rms(found[name] - trace[name])
            redrawn = running == "forced" and stage["op"] == "LSTM"
            assert error <= floor < 4 * error if redrawn else floor == error
            assert floor < 1e-6 * rms(trace[name])
            for part in ("channel", "frame"):
                axis = stage[f"{part}_axis"]
                slices = [] if axis is None else np.moveaxis(found[name] - trace[name], axis, 0)
                stored = trace.get(f"floor.{running}.{part}/{name}", [])
                errors = [rms(one) for one in slices]
                if redrawn:
                    assert np.all(errors <= np.asarray(stored))
                else:
                    np.testing.assert_allclose(stored, errors)


def test_references_compute_constants_and_casts_in_f64(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["tenth"], value_float=0.1),
        helper.make_node("Sqrt", ["tenth"], ["scale"]),
        helper.make_node("Cast", ["k"], ["f"], to=FLOAT),
        helper.make_node("Div", ["f", "third"], ["a"]),
        helper.make_node("Cast", ["a"], ["half"], to=FLOAT16),
        helper.make_node("Cast", ["half"], ["b"], to=FLOAT),
        helper.make_node("Mul", ["b", "tenth"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(model(nodes, [value("k", ["n"], INT64)], [value("y")], [weight("third", [3])]), path)
    trace = Trace(capture_onnx(path, {"k": np.arange(1, 4)}, tmp_path / "golden.npz"))
    # A constant is the f32 one.
    np.testing.assert_array_equal(trace["y"], np.arange(1, 4) / 3 * np.float64(np.float32(0.1)))
    stages = stages_of(trace)
    assert [(stage["name"], stage["inputs"]) for stage in stages] == [("a", ["input:k"]), ("y", ["a"])]
    assert "input/input:k" in trace


def test_references_run_loops_as_one_node(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model(*looping()), path)
    trace = Trace(capture_onnx(path, X, tmp_path / "golden.npz"))
    assert trace["sum"].tolist() == (X + 3 * (X + 1)).tolist()
    inputs = {stage["name"]: stage["inputs"] for stage in stages_of(trace)}
    assert inputs == {"a": ["input"], "a:taught": ["a"], "twice": ["a"], "sum": ["a", "input"]}
    assert json.loads(trace["manifest"].tobytes())["notes"] == ["the body of `sum` (Loop) is not shown"]


def test_channels_stay_where_a_convolution_puts_them(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("ReduceMean", ["relu"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Mul", ["relu", "mean"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["pooled"], axes=[1], keepdims=0),
        helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Sigmoid", ["turned"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    outputs = [value("y", [1, 4, 5, 2]), value("pooled", [1, 4, 5])]
    onnx.save(model(nodes, [value("x", [1, 3, 4, 5])], outputs, [weight("w", np.ones((2, 3, 1, 1)))]), path)
    trace = Trace(capture_onnx(path, np.ones((1, 3, 4, 5)), tmp_path / "golden.npz"))
    found = {stage["name"]: (stage["channel_axis"], stage["frame_axis"]) for stage in stages_of(trace)}
    first, last = (1, 3), (3, 2)
    assert found == {"conv": first, "relu": first, "mean": first, "scaled": first, "pooled": (2, 1), "y": last}


def test_references_take_branches_and_write_several_examples(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model(*branching()), path)
    examples = [(X, 200, np.array(True)), (X, 5, np.array(True))]
    folder = capture_onnx(path, examples, tmp_path / "traces")
    sums = [Trace(folder / f"{number}.npz")["sum"] for number in range(2)]
    assert [found.tolist() for found in sums] == [[14, 8, 18], [33, 28, 37]]


def test_references_leave_out_values_that_are_not_finite(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(model(nodes, [value("x", [3])], [value("y", [3])], [weight("mask", [0, -np.inf, 0])]), path)
    trace = Trace(capture_onnx(path, X, tmp_path / "golden.npz"))
    manifest = json.loads(trace["manifest"].tobytes())
    assert [(stage["name"], stage["inputs"]) for stage in manifest["stages"]] == [("y", ["input"])]
    assert manifest["notes"] == ["`masked` has values that are not finite in f32: no stage"]


def test_references_name_the_node_that_is_not_computed(tmp_path):
    gelu = [helper.make_node("Gelu", ["x"], ["y"], name="activation", domain="com.microsoft")]
    graph = model(gelu, [value("x")], [value("y")])
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    with pytest.raises(ReferenceError, match=r"node `activation` \(com.microsoft.Gelu\): onnx.reference"):
        capture_onnx(path, X, tmp_path / "golden.npz")
    assert not (tmp_path / "golden.npz").exists()
    path.write_bytes(b"nothing")
    with pytest.raises(ReferenceError, match="is no ONNX model"):
        capture_onnx(path, X, tmp_path / "golden.npz")


def test_references_that_the_engines_do_not_agree_on_are_refused(tmp_path):
    # onnx.reference ignores the activations of an LSTM.
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=4, activations=["Sigmoid", "Relu", "Relu"]
        )
    ]
    weights = [weight("w", rng.normal(size=(1, 16, 3))), weight("r", rng.normal(size=(1, 16, 4)))]
    path = tmp_path / "model.onnx"
    onnx.save(model(nodes, [value("x", [5, 1, 3])], [value("y", [5, 1, 1, 4])], weights), path)
    with pytest.raises(ReferenceError, match=r"node `lstm` \(LSTM\): .* do not compute the same"):
        capture_onnx(path, rng.normal(size=(5, 1, 3)), tmp_path / "golden.npz")


def test_references_need_names_of_their_own(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model([helper.make_node("Neg", ["x"], ["manifest"])], [value("x")], [value("manifest")]), path)
    with pytest.raises(ReferenceError, match="`manifest` has the name of another entry"):
        capture_onnx(path, X, tmp_path / "golden.npz")


def installed(package, *parts):
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0], *parts)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_silero_vad_keeps_its_tensors_in_branches(rate, tmp_path):
    path = installed("silero_vad", "data", "silero_vad.onnx")
    x = np.random.default_rng(0).normal(0, 0.1, (1, 576 * rate // 16000))
    example = Example((x, np.zeros((2, 1, 128)), rate))
    subject = OnnxCandidate(path)
    free = dict(subject.free(example))
    assert len(free) > 40 and not subject.notes
    forced = dict(subject.forced(example, free))
    assert all(np.array_equal(forced[name], free[name]) for name in free)
    trace = Trace(capture_onnx(path, example, tmp_path / "golden.npz"))
    assert len(stages_of(trace)) >= 15
    assert {"Conv", "LSTM"} <= {stage["op"] for stage in stages_of(trace)}


def test_basic_pitch_is_its_own_reference(tmp_path):
    path = installed("basic_pitch", "saved_models", "icassp_2022", "nmp.onnx")
    x = np.random.default_rng(0).normal(0, 0.1, (1, 43844, 1))
    trace = Trace(capture_onnx(path, x, tmp_path / "golden.npz"))
    stages = stages_of(trace)
    assert len(stages) == 63
    for stage in stages:
        assert trace[f"floor.forced/{stage['name']}"][0] < 1e-6 * rms(trace[stage["name"]])
