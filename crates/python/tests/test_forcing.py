"""Stages whose values do not tell which tensor they are: found by feeding the candidate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundalike
from soundalike import Example
from soundalike._alignment import Match
from soundalike._floors import floors
from soundalike._forcing import Teacher
from soundalike._trace_file import Trace, TraceWriter

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: E402

Array = np.ndarray


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight += 1
                part.running_var.uniform_(0.5, 2, generator=generator)
                part.running_mean.normal_(0, 0.3, generator=generator)
    return module.eval()


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Perceptron:
    """A port of `nn.Sequential(Linear, ReLU, Linear)` with other names, which shows products before their biases."""

    name = "perceptron"

    def __init__(self, network: nn.Sequential, *biases: float) -> None:
        """`biases`: the factor of each bias."""
        self._layers = [
            (layer.weight.detach().numpy().T, factor * layer.bias.detach().numpy())
            for layer, factor in zip((network[0], network[2]), biases)
        ]

    def describe(self) -> dict[str, Any]:
        return {"engine": "numpy"}

    def free(self, example: Example) -> Iterator[tuple[str, Array]]:
        return self.forced(example, {})

    def forced(self, example: Example, taught: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        x = example.args[0].numpy()
        for number, (weight, bias) in enumerate(self._layers):
            for step, compute in (
                ("product", lambda x: x @ weight),
                ("sum", lambda x: x + bias),
                ("output", lambda x: np.maximum(x, 0)),
            ):
                if (number, step) != (1, "output"):
                    x = compute(x)
                    name = f"{step}-{number}"
                    yield name, x
                    x = np.asarray(taught.get(name, x), np.float32)


def perceptron() -> nn.Sequential:
    return filled(nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12)))  # type: ignore[return-value]


def test_the_tensor_that_leaves_the_fewest_stages_wrong_is_the_stage() -> None:
    network = perceptron()
    # Neither the product nor the sum has the values of the stage.
    report = soundalike.compare(network, Perceptron(network, 2, 1), random(40, 12), progress=False)
    assert report.sources == ["0"]
    assert report.diagnosis is not None and report.diagnosis["cause"] == "bias-twice"


def test_a_right_port_passes() -> None:
    network = perceptron()
    assert soundalike.compare(network, Perceptron(network, 1, 1), random(40, 12), progress=False).passed


def test_later_copies_of_a_stage_are_taught_and_earlier_ones_are_not(tmp_path: Path) -> None:
    value = np.arange(6, dtype=np.float32)
    for path, tensors in (
        ("golden", {"stage": value[None] + 0.5}),
        ("free", {"before": value, "found": value[None], "after": value[:, None], "zeros": np.zeros(6, np.float32)}),
    ):
        with TraceWriter(tmp_path / path) as trace:
            for name, array in tensors.items():
                trace.add(name, array)
    teacher = Teacher(Trace(tmp_path / "golden"), Trace(tmp_path / "free"))
    taught = teacher.values([Match("stage", "found", "value", [0], 0.0, [])])
    assert {name: array.shape for name, array in taught.items()} == {"found": (1, 6), "after": (6, 1)}
    assert np.array_equal(taught["after"].ravel(), value + 0.5)


def folded(tmp_path: Path, wrong: nn.Module, right: nn.Module, x: Tensor) -> soundalike.Report:
    path = tmp_path / "port.onnx"
    torch.onnx.export(wrong, (x,), path, dynamo=False, verbose=False)
    return soundalike.compare(right, path, x, progress=False)


def test_a_mistake_in_a_stage_that_is_folded_into_another_is_named(tmp_path: Path) -> None:
    def network() -> nn.Module:
        return filled(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3)))

    right, wrong = network(), network()
    with torch.no_grad():
        wrong[0].weight.copy_(wrong[0].weight.transpose(0, 1).clone())
    report = folded(tmp_path, wrong, right, random(1, 6, 10, 10))
    assert report.sources == ["1"]
    assert report.diagnosis is not None and report.diagnosis["cause"] == "weight-transposed"
    assert "`0`" in report.diagnosis["text"]


def test_other_weights_are_told_from_a_mistake() -> None:
    def network(seed: int) -> nn.Module:
        return filled(nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(16, 16), nn.Tanh()))), seed)

    report = soundalike.compare(network(0), network(1), random(20, 16), progress=False)
    assert report.diagnosis is not None and report.diagnosis["cause"] == "other-weights"


def test_sixteen_bits_are_measured_by_their_own_rounding() -> None:
    network = perceptron()
    report = soundalike.compare(network, perceptron().half(), random(40, 12), progress=False)
    assert report.passed and {stage["verdict"] for stage in report.stages} == {"precision"}
    wrong = perceptron()
    with torch.no_grad():
        wrong[2].bias += 0.1
    report = soundalike.compare(network, wrong.half(), random(40, 12), progress=False)
    assert not report.passed and report.sources == ["2"]


def test_the_error_of_few_values_may_be_small_by_chance() -> None:
    one = floors(np.zeros((1, 1)), np.full((1, 1), 3.0), 1, None)
    assert one[""] == pytest.approx(3 * 2.0**-23)
    many = floors(np.zeros((1, 16)), np.full((1, 16), 3.0), 1, None)
    assert many[""] == 0


@pytest.mark.parametrize(
    ("op", "other", "cause"),
    [("Relu", "LeakyRelu", "leaky-relu"), ("Sub", "Add", "added"), ("Gemm", None, "bias-missing")],
)
def test_a_mistake_against_an_onnx_reference_is_named(tmp_path: Path, op: str, other: str | None, cause: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.linear(x)) - x

    right, wrong = tmp_path / "right.onnx", tmp_path / "wrong.onnx"
    x = random(30, 8)
    torch.onnx.export(filled(Network()), (x,), right, dynamo=False, verbose=False)
    model = onnx.load(right)
    node = next(node for node in model.graph.node if node.op_type == op)
    node.op_type = other or op
    if other is None:
        del node.input[2]
    onnx.save(model, wrong)
    report = soundalike.compare(right, wrong, x, progress=False)
    assert report.sources == [node.output[0]]
    assert report.diagnosis is not None and report.diagnosis["cause"] == cause


def convolutions(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_norm_that_a_module_has_folded_leaves_its_convolution_not_observed(norm: bool, error: float) -> None:
    conv, bn, head = (filled(part) for part in (nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)))
    network = convolutions(conv=conv, bn=bn, relu=nn.ReLU(), head=head).eval()
    both = fuse_conv_bn_eval(conv, bn)
    with torch.no_grad():
        both.bias[2] += error
    port = convolutions(conv=both, **({"bn": nn.Identity()} if norm else {}), relu=nn.ReLU(), head=head).eval()
    report = soundalike.compare(network, port, random(1, 6, 12, 12), progress=False)
    verdicts = {stage["name"]: stage["verdict"] for stage in report.stages}
    if not error:
        assert report.passed
        assert verdicts == {"conv": "not_observed", "bn": "exact", "relu": "exact", "head": "exact"}
    else:
        assert report.sources[0] in ("conv", "bn") and verdicts["head"] == "exact"


@pytest.mark.parametrize("dynamo", [True, False])
def test_an_onnx_file_is_itself(tmp_path: Path, dynamo: bool) -> None:
    # A group norm is exported as steps that are no stages.
    if dynamo:
        pytest.importorskip("onnxscript")
    network = filled(nn.Sequential(nn.Conv1d(4, 6, 3), nn.GroupNorm(2, 6), nn.ReLU()))
    x, path = random(1, 4, 20), tmp_path / "one.onnx"
    torch.onnx.export(network, (x,), path, dynamo=dynamo, verbose=False)
    report = soundalike.compare(path, str(path), x, progress=False)
    assert report.passed and report.sources == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_batch_in_sixteen_bits_may_differ_by_their_rounding(dtype: torch.dtype) -> None:
    report = soundalike.compare(perceptron(), perceptron().to(dtype), random(1, 12), progress=False)
    (batch,) = report.data["production"]
    assert batch["path"] == "batch" and report.passed
    assert 1e-4 < batch["allowed"] < 0.1


def test_an_error_behind_which_every_stage_has_another_size_ends() -> None:
    layers = [part for _ in range(6) for part in (filled(nn.Conv1d(8, 8, 3, padding=1)), nn.ReLU())]
    network = nn.Sequential(nn.MaxPool1d(2), *layers).eval()
    port = nn.Sequential(nn.MaxPool1d(2, ceil_mode=True), *layers).eval()
    report = soundalike.compare(network, port, random(1, 8, 41), progress=False)
    assert not report.passed
