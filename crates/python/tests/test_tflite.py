"""TensorFlow Lite files as candidates, run by LiteRT."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
flatbuffers = pytest.importorskip("flatbuffers")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from soundalike._errors import CandidateError  # noqa: E402
from soundalike._inputs import Example  # noqa: E402
from soundalike._tflite import TfliteCandidate  # noqa: E402

FLOAT32, INT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
OPERATOR = schema.BuiltinOperator


def tensor(name, element_type=FLOAT32, shape=(1, 3), signature=None, scales=None, zeros=None):
    made = schema.TensorT()
    made.name, made.type, made.buffer = name, element_type, 0
    made.shape, made.shapeSignature = list(shape), signature
    if scales is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = scales, zeros
    return made


def write(path, tensors, operators, inputs, outputs):
    """A model; `operators` are (operator, inputs, outputs) with the tensors as numbers."""
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, inputs, outputs, []
    made = schema.ModelT()
    made.version, made.subgraphs, made.buffers, made.operatorCodes = 3, [graph], [schema.BufferT()], []
    for number, (code, read, computed) in enumerate(operators):
        made.operatorCodes.append(schema.OperatorCodeT())
        made.operatorCodes[-1].builtinCode, made.operatorCodes[-1].deprecatedBuiltinCode = code, min(code, 127)
        made.operatorCodes[-1].version = 1
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = number, read, computed
        graph.operators.append(operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


@pytest.fixture
def absolute(tmp_path):
    """y = |-x|, of any number of rows; the tensors between have no names of their own."""
    tensors = [tensor("x", signature=[-1, 3]), tensor("same"), tensor("same"), tensor("y")]
    operators = [(OPERATOR.NEG, [0], [1]), (OPERATOR.NEG, [1], [2]), (OPERATOR.ABS, [2], [3])]
    return write(tmp_path / "absolute.tflite", tensors, operators, [0], [3])


X = np.array([[1, -2, 3]], np.float32)


def test_each_float_tensor_in_order_of_execution_under_a_name_of_its_own(absolute):
    subject = TfliteCandidate(absolute)
    shown = list(subject.free(Example((X.astype(np.float64),))))
    assert [(name, value.tolist()) for name, value in shown] == [
        ("same", [[-1, 2, -3]]),
        ("same#1", [[1, -2, 3]]),
        ("y", [[1, 2, 3]]),
    ]
    assert subject.name == "absolute.tflite" and subject.describe()["engine"] == "litert"
    assert "XNNPACK" in subject.notes[0] and subject.forced(Example((X,)), {}) is None


def test_inputs_by_name_and_of_any_size_that_the_model_leaves_open(absolute):
    subject = TfliteCandidate(absolute)
    for rows in (4, 1):
        x = np.arange(3 * rows).reshape(rows, 3) - 4.0
        shown = dict(subject.free(Example(kwargs={"x": x})))
        np.testing.assert_array_equal(shown["y"], abs(x))


def test_inputs_that_do_not_fit_are_one_clear_line(absolute):
    subject = TfliteCandidate(absolute)
    for example, what in [
        (Example(), "no value for the input `x`"),
        (Example((X, X)), "2 inputs by position, expected 1"),
        (Example((X,), {"z": X}), "has no input `z`"),
        (Example((X[0],)), r"the input `x` has shape \[3\]"),
        (Example((X[:, :2],)), r"the input `x` has shape \[1, 2\]"),
        (Example((X.astype(np.int64),)), "the input `x` is int64"),
    ]:
        with pytest.raises(CandidateError, match=rf"absolute.tflite: {what}; it has the inputs `x` float32 \[\?, 3\]$"):
            list(subject.free(example))


def test_quantised_tensors_are_the_numbers_that_they_stand_for(tmp_path):
    tensors = [tensor("x"), tensor("q", INT8, scales=[0.5], zeros=[3]), tensor("y")]
    operators = [(OPERATOR.QUANTIZE, [0], [1]), (OPERATOR.DEQUANTIZE, [1], [2])]
    subject = TfliteCandidate(write(tmp_path / "model.tflite", tensors, operators, [0], [2]))
    shown = dict(subject.free(Example((np.array([[1.1, -2, 1000]]),))))
    assert shown["q"].dtype == np.float32 and shown["q"].tolist() == [[1, -2, 62]] == shown["y"].tolist()


def test_quantised_inputs_take_floats(tmp_path):
    tensors = [tensor("q", INT8, scales=[0.5], zeros=[3]), tensor("y")]
    path = write(tmp_path / "model.tflite", tensors, [(OPERATOR.DEQUANTIZE, [0], [1])], [0], [1])
    subject = TfliteCandidate(path)
    assert dict(subject.free(Example((np.array([[1.1, -2, 1000]]),))))["y"].tolist() == [[1, -2, 62]]
    assert dict(subject.free(Example((np.array([[5, 3, 1]]),))))["y"].tolist() == [[1, 0, -1]]
    with pytest.raises(CandidateError, match="the input `q` is int64"):
        list(subject.free(Example((np.array([[5, 3, 300]]),))))


def test_files_that_are_no_models_are_one_clear_line(absolute, tmp_path):
    for content in (b"", b"nothing" * 20, absolute.read_bytes()[:-40]):
        path = tmp_path / "broken.tflite"
        path.write_bytes(content)
        with pytest.raises(CandidateError, match="broken.tflite: LiteRT does not load it") as error:
            TfliteCandidate(path)
        assert "\n" not in str(error.value)
    with pytest.raises(CandidateError, match="cannot be read: No such file"):
        TfliteCandidate(tmp_path / "missing.tflite")


def test_basic_pitch_shows_its_tensors():
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None:
        pytest.skip("basic_pitch is not installed")
    path = Path(spec.submodule_search_locations[0], "saved_models", "icassp_2022", "nmp.tflite")
    x = np.random.default_rng(0).normal(0, 0.1, (1, 43844, 1))
    subject = TfliteCandidate(path)
    shown = list(subject.free(Example(kwargs={"input_2": x})))
    assert "DELEGATE" not in [operator["op_name"] for operator in subject._interpreter._get_ops_details()]
    assert len(shown) == len(dict(shown)) == 209
    assert all(np.isfinite(value).all() for _, value in shown)
