"""Python functions as candidates."""

import numpy as np
import pytest
from soundalike._errors import CandidateError
from soundalike._function import FunctionCandidate
from soundalike._inputs import Example

X = np.array([1.0, -2.0], np.float32)


def network(x, scale):
    hidden = x * scale
    return {"hidden": hidden, "output": np.maximum(hidden, 0)}


def test_a_mapping_or_pairs_in_order_of_execution():
    example = Example((X,), {"scale": 3})
    expected = [("hidden", [3, -6]), ("output", [3, 0])]
    pairs = FunctionCandidate(lambda x, scale: list(network(x, scale).items()))
    stream = FunctionCandidate(lambda x, scale: (pair for pair in network(x, scale).items()))
    for candidate in (FunctionCandidate(network), pairs, stream):
        assert [(name, value.tolist()) for name, value in candidate.free(example)] == expected
    assert FunctionCandidate(network).name == "network"
    assert FunctionCandidate(network, "port").name == "port"
    assert FunctionCandidate(network).describe()["engine"] == "python"


def test_arguments_and_results_of_pytorch_are_arrays():
    torch = pytest.importorskip("torch")

    def function(x):
        assert isinstance(x, np.ndarray)
        return {"y": torch.from_numpy(x).bfloat16()}

    [(_, y)] = FunctionCandidate(function).free(Example((torch.from_numpy(X),)))
    assert y.tolist() == X.tolist()


def test_bfloat16_of_jax_is_widened():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    [(_, y)] = FunctionCandidate(lambda x: {"y": x.astype(ml_dtypes.bfloat16)}).free(Example((X,)))
    assert y.dtype == np.float32 and y.tolist() == X.tolist()


def test_values_that_are_not_finite_are_shown():
    [(_, y)] = FunctionCandidate(lambda x: {"y": x * np.nan}).free(Example((X,)))
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ({"ok": X, "bad": [object()]}, "`bad` is no array of numbers"),
        ({"ok": X, "bad": [[1, 2], [3]]}, "`bad` is no array of numbers"),
        ({"ok": X, "bad": None}, "`bad` is no array of numbers"),
        ({"ok": X, "bad": "text"}, "`bad` has elements of type <U4, expected real numbers"),
        ({"ok": X, "bad": X + 1j}, "`bad` has elements of type complex64, expected real numbers"),
        ({"ok": X, "bad": X[:0]}, r"`bad` is empty: shape \[0\]"),
        ([("twice", X), ("twice", X)], "returns `twice` twice"),
        ({}, "returns no tensors"),
        (X, "returns ndarray, expected a mapping"),
        (None, "returns NoneType, expected a mapping"),
        ([X, X], "returns list, expected a mapping"),
        ({3: X}, "returns dict, expected a mapping"),
    ],
)
def test_other_results_are_one_clear_line(returned, what):
    candidate = FunctionCandidate(lambda x: returned, "port")
    with pytest.raises(CandidateError, match=f"^port: {what}"):
        list(candidate.free(Example((X,))))


def test_a_function_that_fails_is_named():
    with pytest.raises(CandidateError, match="^network: fails: TypeError: .*scale") as error:
        list(FunctionCandidate(network).free(Example((X,))))
    assert isinstance(error.value.__cause__, TypeError)


class Port:
    """A network that computes stage by stage."""

    def __call__(self, x):
        double = self.stage("double", x)
        return {"double": double, "sum": self.stage("sum", double, x)}

    def stage(self, name, *inputs):
        if name == "double":
            return inputs[0] * 2
        if name == "sum":
            return inputs[0] + inputs[1]
        return None


def test_a_port_with_stages_is_forced_stage_by_stage():
    candidate = FunctionCandidate(Port())
    assert candidate.name == "Port"
    assert candidate.forced(Example((X,)), {}) is None
    asked = [("double", [X]), ("unknown", [X]), ("sum", [np.ones(2), X])]
    answered = [(name, value.tolist()) for name, value in candidate.forced_stages(asked)]
    assert answered == [("double", [2, -4]), ("sum", [2, -1])]
    with pytest.raises(CandidateError, match="^Port: stage `sum` fails: IndexError"):
        list(candidate.forced_stages([("sum", [X])]))


def test_a_function_without_stages_is_not_forced():
    assert FunctionCandidate(network).forced_stages([]) is None
