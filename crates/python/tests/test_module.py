"""A module as candidate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from soundalike._capture import capture
from soundalike._errors import CandidateError
from soundalike._inputs import Example
from soundalike._module import ModuleCandidate
from soundalike._trace_file import Trace
from torch import Tensor, nn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(x + self.lstm(x)[0]))
        x += 1
        return self.head(self.drop(self.relu(x)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Network()


def example() -> Example:
    return Example((torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(1)),))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_the_network_itself_in_f32_has_the_error_of_the_floor(network: nn.Module, tmp_path: Path) -> None:
    trace = Trace(capture(network, example(), tmp_path / "ref.npz", progress=False))
    candidate = ModuleCandidate(network)
    free = dict(candidate.free(example()))
    taught = {name: trace[name].astype(np.float32) for name in free}
    forced = candidate.forced(example(), taught)
    assert forced is not None
    for way, values in (("free", free), ("forced", dict(forced))):
        for name, value in values.items():
            error, floor = rms(value - trace[name]), trace[f"floor.{way}/{name}"][0]
            redrawn = way == "forced" and name.startswith("lstm")
            assert error <= floor < 4 * error if redrawn else error == floor, (way, name)


def test_a_taught_value_is_read_and_the_own_one_returned(network: nn.Module) -> None:
    candidate = ModuleCandidate(network, name="port")
    assert candidate.name == "port"
    free = dict(candidate.free(example()))
    taught = {"relu": np.zeros_like(free["relu"])}
    forced = candidate.forced(example(), taught)
    assert forced is not None
    values = dict(forced)
    assert np.array_equal(values["relu"], free["relu"])
    assert np.array_equal(values["add#1"], np.ones_like(free["add#1"]))
    with pytest.raises(CandidateError, match="port: has no stage `fc`"):
        candidate.forced(example(), {"fc": np.zeros(1)})


def test_the_module_keeps_its_mode(network: nn.Module) -> None:
    network.train()
    network.norm.eval()
    dict(ModuleCandidate(network).free(example()))
    assert network.training and network.drop.training and not network.norm.training
    assert not network.head._forward_hooks


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        (torch.bfloat16, np.float32),
        (torch.float16, np.float16),
        (torch.float32, np.float32),
        (torch.float64, np.float64),
    ],
)
def test_values_of_any_dtype(network: nn.Module, dtype: torch.dtype, shown: type) -> None:
    candidate = ModuleCandidate(network.to(dtype))
    assert candidate.describe()["dtype"] == str(dtype).removeprefix("torch.")
    assert {value.dtype for _, value in candidate.free(example())} == {np.dtype(shown)}


def test_quantised_values_are_dequantised(network: nn.Module) -> None:
    network.eval().qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
    stack = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Linear(6, 4), torch.ao.quantization.DeQuantStub())
    stack.eval().qconfig = network.qconfig  # type: ignore[assignment]
    torch.ao.quantization.prepare(stack, inplace=True)
    stack(*example().args)
    torch.ao.quantization.convert(stack, inplace=True)
    candidate = ModuleCandidate(stack)
    free = dict(candidate.free(example()))
    assert free["1"].dtype == np.float32
    assert len(np.unique(free["1"])) <= 256
    forced = candidate.forced(example(), {"1": np.zeros_like(free["1"])})
    assert forced is not None
    assert not dict(forced)["2"].any()


def test_compiled_code_cannot_be_forced(network: nn.Module) -> None:
    compiled = torch.compile(network.eval(), backend="eager")
    candidate = ModuleCandidate(compiled)
    assert [name for name, _ in candidate.free(example())] == ["output"]
    assert candidate.forced(example(), {}) is None
    assert candidate.notes


def test_a_failure_is_an_error_of_the_candidate(network: nn.Module) -> None:
    with pytest.raises(CandidateError, match=r"Network: `lstm` \(LSTM\) fails: RuntimeError"):
        ModuleCandidate(network).free(Example((torch.randn(1, 9, 5),)))
