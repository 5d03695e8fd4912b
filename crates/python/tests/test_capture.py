"""What a capture records: the stages of any module, their golden outputs, and their floors."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from soundalike import _capture_main
from soundalike._capture import capture, forced_floors
from soundalike._errors import InputError, ModuleError, ReferenceError
from soundalike._inputs import Example
from soundalike._norms import is_norm, reference_norm
from soundalike._redraw import REDRAWS, moved
from soundalike._runner import Runner, Step
from soundalike._trace_file import Trace
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def steps_of(module: nn.Module, *args: Any, see: Any = None, **kwargs: Any) -> list[Step]:
    steps: list[Step] = []

    def keep(step: Step) -> Tensor | None:
        steps.append(step)
        return see(step) if see else None

    Runner(module.eval()).run(Example(args, kwargs), keep)
    return steps


def inputs_of(module: nn.Module, *args: Any, **kwargs: Any) -> dict[str, list[str]]:
    return {step.name: step.inputs for step in steps_of(module, *args, **kwargs)}


class Forward(nn.Module):
    """A network whose forward is a function; submodules by keyword."""

    def __init__(self, function: Any, **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


class Block(nn.Module):
    """As in a ResNet: one ReLU twice, in place, and a sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn(self.conv(x)))
        out += x
        return self.relu(out)


@dataclass
class Pair:
    left: Tensor
    right: Tensor


class Splits(nn.Module):
    def forward(self, x: Tensor) -> Pair:
        return Pair(x.exp(), x.sin())


def test_a_residual_block_has_a_stage_for_each_call() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Block())
    assert inputs_of(network, torch.randn(1, 3, 5, 5)) == {
        "0": ["input"],
        "1.conv": ["0"],
        "1.bn": ["1.conv"],
        "1.relu": ["1.bn"],
        "1.add": ["1.relu", "0"],
        "1.relu#1": ["1.add"],
    }


def test_values_in_place_are_those_of_their_own_time() -> None:
    steps = {step.name: step for step in steps_of(Block(), torch.randn(1, 3, 5, 5))}
    assert steps["bn"].value.min() < 0
    assert steps["relu"].value.min() == 0
    assert torch.equal(steps["relu"].value, steps["bn"].value.relu())
    assert torch.equal(steps["add"].args[0], steps["relu"].value)
    assert torch.equal(steps["relu#1"].args[0], steps["add"].value)


def test_every_tensor_of_an_output_is_a_stage() -> None:
    network = Forward(lambda self, x: self.lstm(x)[1][0], lstm=nn.LSTM(4, 6))
    assert inputs_of(network, torch.randn(3, 1, 4)) == {
        "lstm": ["input"],
        "lstm:1": ["input"],
        "lstm:2": ["input"],
        "output": ["lstm:1"],
    }
    network = Forward(lambda self, x: self.splits(x).left + self.splits(x).right, splits=Splits())
    assert inputs_of(network, torch.randn(3)) == {
        "splits": ["input"],
        "splits:1": ["input"],
        "splits#1": ["input"],
        "splits#1:1": ["input"],
        "add": ["splits", "splits#1:1"],
    }


MOVES: dict[str, Any] = {
    "view": lambda x: x.view(6, 2),
    "transpose": lambda x: x.mT.contiguous(),
    "split": lambda x: torch.cat(x.split(2, 1), 1),
    "stack": lambda x: torch.stack([x, x]),
    "getitem": lambda x: x[:, :2],
    "unbind": lambda x: [*x][1],
    "pad": lambda x: F.pad(x, (1, 1)),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "cast": lambda x: x.double().float(),
    "setitem": lambda x: _filled(x),
}


def _filled(x: Tensor) -> Tensor:
    whole = torch.zeros(3, 8)
    whole[:, 2:6] = x
    return whole


@pytest.mark.parametrize("name", MOVES)
def test_data_movement_is_no_stage(name: str) -> None:
    network = Forward(lambda self, x: MOVES[name](self.fc(x)).tanh(), fc=nn.Linear(4, 4))
    assert inputs_of(network, torch.randn(3, 4)) == {"fc": ["input"], "tanh": ["fc"]}


FUNCTIONS: dict[str, tuple[str, Any]] = {
    "operator": ("add", lambda x: x + x),
    "reflected": ("sub", lambda x: 1 - x),
    "function": ("softmax", lambda x: F.softmax(x, -1)),
    "method": ("exp", lambda x: x.exp()),
    "in place": ("mul", lambda x: x.clone().mul_(2)),
    "out": ("add", lambda x: torch.add(x, 1, out=torch.empty_like(x))),
    "constant pad": ("pad", lambda x: F.pad(x, (1, 1), value=1.0)),
}


@pytest.mark.parametrize("form", FUNCTIONS)
def test_functions_are_named_without_their_form(form: str) -> None:
    name, function = FUNCTIONS[form]
    network = nn.Sequential(Forward(lambda self, x: function(self.id(x)), id=nn.Identity()))
    assert inputs_of(network, torch.randn(2, 3)) == {f"0.{name}": ["input"]}


def test_constants_masks_and_integers_are_no_stages() -> None:
    def forward(self: Any, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids) + self.position.weight.cos() + torch.arange(4).sin()
        scores = x @ x.mT / x.shape[-1] ** 0.5
        scores = scores + (1 - mask.float()) * torch.finfo(scores.dtype).min
        return scores.softmax(-1)[..., : int(ids.max())] @ F.one_hot(scores.argmax(-1), 4).to(x.dtype)

    network = Forward(forward, embed=nn.Embedding(9, 4), position=nn.Embedding(3, 4))
    assert inputs_of(network, torch.tensor([[1, 2, 3]]), mask=torch.tensor([1, 1, 0])) == {
        "embed": ["input"],
        "add": ["embed"],
        "add#1": ["add"],
        "matmul": ["add#1"],
        "div": ["matmul"],
        # The masked scores, the third sum, are part of the softmax.
        "softmax": ["div", "input:mask"],
        "matmul#1": ["softmax", "div", "input:mask"],
    }


def test_complex_values_belong_to_the_step_behind_them() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.stft(x, 16, window=torch.hann_window(16), return_complex=True).abs().log1p()

    assert inputs_of(Forward(forward), torch.randn(1, 64)) == {"abs": ["input"], "log1p": ["abs"]}


def test_a_tensor_of_unknown_origin_is_said() -> None:
    network = Forward(lambda self, x: x + torch.from_numpy(x.numpy() * 2))
    assert inputs_of(network, torch.randn(3)) == {"add": ["input", "?"]}
    network = Forward(lambda self, x: torch.vmap(torch.exp)(x).sin())
    assert inputs_of(network, torch.randn(2, 3)) == {"sin": ["?"]}


def test_tied_and_parametrised_modules_and_modules_that_return_their_input() -> None:
    shared = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    network = nn.Sequential(nn.Identity(), shared, nn.Dropout(), shared, nn.Sequential(), nn.Flatten())
    assert inputs_of(network, torch.randn(2, 4)) == {"1": ["input"], "1#1": ["1"]}
    assert {step.kind for step in steps_of(network, torch.randn(2, 4))} == {"Linear"}


def test_transformer_layers_are_looked_into() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    kinds = {step.name: step.kind for step in steps_of(encoder, torch.randn(1, 5, 8))}
    assert torch.backends.mha.get_fastpath_enabled()
    assert kinds["layers.0.self_attn"] == "MultiheadAttention"
    padded = inputs_of(encoder, torch.randn(1, 5, 8), src_key_padding_mask=torch.tensor([[False] * 4 + [True]]))
    assert padded["layers.0.self_attn"] == ["input", "input:src_key_padding_mask"]
    assert list(kinds)[-1] == "layers.0.norm2" and len(kinds) == 8


def test_names_of_returned_tensors() -> None:
    two = Forward(lambda self, x: (x.exp(), x.sin()))
    assert inputs_of(two, torch.randn(3)) == {
        "exp": ["input"],
        "sin": ["input"],
        "output:1": ["sin"],
        "output": ["exp"],
    }
    assert list(inputs_of(two, torch.randn(3)))[-1] == "output"
    last = Forward(lambda self, x: (x.exp().sin()[0], x))
    assert list(inputs_of(last, torch.randn(3))) == ["exp", "sin"]


TEACHINGS: dict[str, tuple[str, Any]] = {
    "function": ("exp", lambda self, x: x.exp().sin()),
    "place of a tuple": ("lstm:1", lambda self, x: self.lstm(x[None])[1][0].sin()),
    "field": ("splits:1", lambda self, x: self.splits(x).right.sin()),
    "in place, not returned": ("exp", lambda self, x: (x.exp_(), x.sin())[1]),
    "in place, a module": ("relu", lambda self, x: (self.relu(x), x.sin())[1]),
    "a view in place": ("exp", lambda self, x: (x[:1].exp_(), x[:1].sin())[1]),
    "expanded": ("wide", lambda self, x: self.wide(x).sin()),
}


@pytest.mark.parametrize("name", TEACHINGS)
def test_a_value_replaces_the_output(name: str) -> None:
    stage, forward = TEACHINGS[name]
    wide = Forward(lambda self, x: x.mean(0, keepdim=True).expand(3, -1))
    network = Forward(forward, lstm=nn.LSTM(4, 4), splits=Splits(), relu=nn.ReLU(inplace=True), wide=wide)
    taught: list[Tensor] = []

    def teach(step: Step) -> Tensor | None:
        if step.name != stage:
            return None
        taught.append(torch.full_like(step.value, 0.25))
        return taught[0]

    steps = steps_of(network, torch.randn(3, 4), see=teach)
    assert torch.equal(steps[-1].value, taught[0].sin())
    assert not torch.equal({step.name: step.value for step in steps}[stage], taught[0])


def test_a_write_into_a_view_is_a_write_into_the_whole() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.fc(x)
        x[:, :1].exp_()
        return x.sin()

    network = Forward(forward, fc=nn.Linear(3, 3))
    assert inputs_of(network, torch.randn(2, 3)) == {"fc": ["input"], "exp": ["fc"], "sin": ["fc", "exp"]}


def test_a_run_changes_neither_the_input_nor_the_random_numbers() -> None:
    x, random = torch.randn(3), torch.get_rng_state()
    steps_of(Forward(lambda self, x: x.exp_() + torch.rand(3)), x)
    assert x.min() < 0
    assert torch.equal(torch.get_rng_state(), random)


def test_a_failing_module_is_named() -> None:
    with pytest.raises(ModuleError, match=r"`1` \(Linear\) fails: RuntimeError: mat1 and mat2"):
        steps_of(nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4)), torch.randn(1, 3))

    def forward(self: Any, x: Tensor) -> Tensor:
        try:
            return self.fc(x)
        except RuntimeError:
            return x

    with pytest.raises(ModuleError, match=r"`fc` \(Linear\) fails, and the network handles the error"):
        steps_of(Forward(forward, fc=nn.Linear(3, 4)), torch.randn(1, 4))


def test_compiled_code_shows_its_output_only() -> None:
    scripted = nn.Sequential(torch.jit.trace(nn.Linear(3, 3), torch.randn(1, 3)))
    assert inputs_of(scripted, torch.randn(1, 3)) == {"output": ["input"]}


# --- captures


class Speech(nn.Module):
    """Convolution, norm, recurrence, attention, residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 5, stride=2)
        self.norm = nn.InstanceNorm1d(8, affine=True)
        self.lstm = nn.LSTM(8, 4, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(self.conv(x)), 0.01, inplace=True).transpose(1, 2)
        x = x + self.lstm(x)[0]
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.float()).log_softmax(-1, dtype=torch.float32)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = dict(Trace(path))
    return arrays, json.loads(arrays["manifest"].tobytes())


def test_a_trace_has_the_entries_of_the_format(tmp_path: Path) -> None:
    network, x = Speech(), torch.randn(1, 1, 101)
    assert capture(network, x, tmp_path / "ref.npz", progress=False) == tmp_path / "ref.npz"
    assert [file.name for file in tmp_path.iterdir()] == ["ref.npz"]
    arrays, manifest = read(tmp_path / "ref.npz")
    names = [stage["name"] for stage in manifest["stages"]]
    assert names == [
        "conv", "norm", "leaky_relu", "lstm", "lstm:1", "lstm:2", "add", "attention", "add#1", "head", "log_softmax",
    ]  # fmt: skip
    slices = [f"{way}{part}" for way in ("free", "forced") for part in ("", ".channel", ".frame")]
    expected = ["manifest", "input/input"]
    for name in names:
        framed = name not in ("lstm:1", "lstm:2")
        expected += [name, *(f"floor.{part}/{name}" for part in slices if framed or not part.endswith("frame"))]
    assert list(arrays) == [*expected, "f32/log_softmax"]
    assert arrays["input/input"].dtype == np.float32 and arrays["conv"].dtype == np.float64
    output = Runner(network.eval()).run(Example((x,)), lambda step: None)
    assert np.array_equal(arrays["f32/log_softmax"], output)
    conv, lstm, state = manifest["stages"][0], manifest["stages"][3], manifest["stages"][4]
    assert (conv["axes"], conv["channel_axis"], conv["frame_axis"]) == (["batch", "channel", "time"], 1, 2)
    assert manifest["stages"][2]["axes"] == conv["axes"]
    assert (lstm["axes"], lstm["channel_axis"], lstm["frame_axis"]) == (["batch", "frame", "feature"], 2, 1)
    assert (state["channel_axis"], state["frame_axis"]) == (2, None)
    assert (manifest["schema"], manifest["engine"], manifest["model"]["name"]) == (1, "torch", "Speech")
    assert not any(stage["degenerate"] for stage in manifest["stages"])


def test_goldens_are_f64_although_the_network_asks_for_f32(tmp_path: Path) -> None:
    network, x = Speech().eval(), torch.randn(1, 1, 101)
    capture(network, x, tmp_path / "ref.npz", progress=False)
    arrays, _ = read(tmp_path / "ref.npz")
    wide = copy.deepcopy(network).double()
    conv = wide.conv(x.double())
    assert np.array_equal(arrays["conv"], conv.detach())
    head = torch.from_numpy(arrays["head"])
    assert np.array_equal(arrays["log_softmax"], head.log_softmax(-1))
    assert arrays["log_softmax"].astype(np.float32).astype(np.float64).tolist() != arrays["log_softmax"].tolist()


def test_constants_of_a_golden_run_are_f64(tmp_path: Path) -> None:
    network = Forward(lambda self, x: x @ torch.hann_window(5)[None].mT)
    capture(network, torch.ones(1, 5), tmp_path / "ref.npz", progress=False)
    assert read(tmp_path / "ref.npz")[0]["matmul"] == torch.hann_window(5, dtype=torch.float64).sum().numpy()


def test_floors_are_the_errors_of_f32(tmp_path: Path) -> None:
    network, x = Speech().eval(), torch.randn(1, 1, 101)
    capture(network, x, tmp_path / "ref.npz", progress=False)
    arrays, _ = read(tmp_path / "ref.npz")
    free = network.conv(x).detach().double().numpy() - arrays["conv"]
    assert arrays["floor.free/conv"] == np.sqrt(np.mean(free**2))
    assert np.allclose(arrays["floor.free.channel/conv"], np.sqrt(np.mean(free**2, (0, 2))), 1e-12)
    assert np.allclose(arrays["floor.free.frame/conv"], np.sqrt(np.mean(free**2, (0, 1))), 1e-12)
    golden = torch.from_numpy(arrays["head"]).float()
    forced = golden.log_softmax(-1).double().numpy() - arrays["log_softmax"]
    assert arrays["floor.forced/log_softmax"] == np.sqrt(np.mean(forced**2))
    assert arrays["floor.free/log_softmax"] != arrays["floor.forced/log_softmax"]


def test_floors_of_fused_groups(tmp_path: Path) -> None:
    network, x = Speech(), torch.randn(1, 1, 101)
    capture(network, x, tmp_path / "ref.npz", progress=False)
    arrays, manifest = read(tmp_path / "ref.npz")
    names = [stage["name"] for stage in manifest["stages"]]
    for way, taught in (("free", []), ("forced", names)):
        for name, found in forced_floors(network, x, tmp_path / "ref.npz", taught).items():
            for part, floor in found.items():
                assert np.array_equal(floor, arrays[f"floor.{way}{part}/{name}"])
    fused = forced_floors(network, x, tmp_path / "ref.npz", [name for name in names if name != "norm"])
    assert fused["head"][""] == arrays["floor.forced/head"]
    assert fused["leaky_relu"][""] > arrays["floor.forced/leaky_relu"]


def test_the_module_and_the_settings_are_as_before(tmp_path: Path) -> None:
    network = Speech().train()
    network.conv.weight.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    capture(network, torch.randn(1, 1, 101, generator=torch.Generator()), tmp_path / "ref.npz", progress=False)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) and value.dtype == before[name].dtype
    for part in network.modules():
        assert part.training and not part._forward_hooks and not part._forward_pre_hooks
    assert [name for name, one in network.named_parameters() if not one.requires_grad] == ["conv.weight"]


def test_settings_are_restored_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match="Speech, in f64 on the CPU: `conv` .Conv1d. fails: RuntimeError"):
        capture(Speech(), torch.randn(1, 2, 101), tmp_path / "ref.npz", progress=False)
    assert torch.get_default_dtype() == torch.float32 and torch.backends.mha.get_fastpath_enabled()
    assert not list(tmp_path.iterdir())


def test_silence_is_degenerate_up_to_the_next_healthy_norm(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv1d(1, 8, 5), nn.InstanceNorm1d(8, affine=True), nn.Tanh(), nn.Sequential(
        nn.Conv1d(8, 8, 1), nn.GroupNorm(1, 8), nn.ReLU()))  # fmt: skip
    nn.init.uniform_(network[1].bias)
    capture(network, torch.zeros(1, 1, 99), tmp_path / "ref.npz", progress=False)
    arrays, manifest = read(tmp_path / "ref.npz")
    assert {stage["name"]: stage["degenerate"] for stage in manifest["stages"]} == {
        "0": False, "1": True, "2": True, "3.0": True, "3.1": False, "3.2": False,
    }  # fmt: skip
    capture(network, torch.randn(1, 1, 99), tmp_path / "ref.npz", progress=False)
    assert not any(stage["degenerate"] for stage in read(tmp_path / "ref.npz")[1]["stages"])


def test_the_floor_of_a_degenerate_stage_is_the_larger_of_two(tmp_path: Path) -> None:
    network, x = nn.Sequential(nn.LayerNorm(33), nn.Tanh()), torch.full((1, 2, 33), 0.1)
    capture(network, x, tmp_path / "ref.npz", progress=False)
    arrays, _ = read(tmp_path / "ref.npz")
    own, _ = steps_of(network, x)
    norms = own.value, reference_norm(own).detach()
    for name, values in (("0", norms), ("1", tuple(norm.tanh() for norm in norms))):
        errors = [np.sqrt(np.mean((value.double().numpy() - arrays[name]) ** 2)) for value in values]
        assert errors[0] != errors[1]
        assert arrays[f"floor.free/{name}"] == max(errors)
        slices = arrays[f"floor.free.frame/{name}"]
        assert np.sqrt(np.mean(slices**2)) == pytest.approx(max(errors))


@pytest.mark.parametrize("first", [True, False])
def test_the_floor_of_a_fed_recurrent_stage_is_the_largest_of_four(tmp_path: Path, first: bool) -> None:
    lstm = nn.LSTM(5, 6, bidirectional=True, batch_first=True)
    network = Forward(lambda self, x: self.lstm(x if first else x.sin())[0] + x.sum(), lstm=lstm)
    x = torch.randn(1, 40, 5)
    capture(network, x, tmp_path / "ref.npz", progress=False)
    arrays, _ = read(tmp_path / "ref.npz")
    given = x.numpy() if first else arrays["sin"].astype(np.float32)
    fed = [given, *(moved(given, draw) for draw in range(REDRAWS))]
    golden = arrays["lstm"]
    with torch.no_grad():
        errors = [np.sqrt(np.mean((lstm(torch.from_numpy(one))[0].double().numpy() - golden) ** 2)) for one in fed]
    assert len(set(errors)) == 4
    assert arrays["floor.forced/lstm"] == pytest.approx(max(errors))
    slices = arrays["floor.forced.frame/lstm"]
    assert np.sqrt(np.mean(slices**2)) > max(errors)


def test_values_are_moved_by_one_unit_and_flags_are_not() -> None:
    ones = np.ones(1000, np.float32)
    first, second = (moved(ones, draw) for draw in range(2))
    assert set(first.tolist()) == {1 + 2.0**-23, 1 - 2.0**-24}
    assert 400 < np.sum(first > 1) < 600 and 400 < np.sum(first != second) < 600
    assert moved(np.arange(3), 0).tolist() == [0, 1, 2]


NORMS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "instance": (nn.InstanceNorm1d(6, affine=True), (2, 6, 9)),
    "instance without batch": (nn.InstanceNorm2d(6), (6, 9, 4)),
    "group": (nn.GroupNorm(3, 6), (2, 6, 9, 4)),
    "layer": (nn.LayerNorm((9, 4)), (2, 6, 9, 4)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_from_elementary_operations_are_the_norms(name: str) -> None:
    norm, shape = NORMS[name]
    for parameter in norm.parameters():
        nn.init.uniform_(parameter)
    (step,) = steps_of(nn.Sequential(norm), torch.randn(shape))
    assert is_norm(step)
    assert torch.allclose(reference_norm(step), step.value, atol=1e-6)


def test_a_reference_must_be_reproducible_finite_and_have_stages(tmp_path: Path) -> None:
    def refused(forward: Any, x: Any = None) -> str:
        with pytest.raises(ReferenceError) as caught:
            capture(Forward(forward), torch.ones(3) if x is None else x, tmp_path / "ref.npz", progress=False)
        return str(caught.value)

    assert "`add` differs by" in refused(lambda self, x: x.exp() + torch.rand(3))
    assert "`log` has values that are not finite in f64" in refused(lambda self, x: (x - 2).log().exp())
    assert "`exp` has values that are not finite in f32" in refused(lambda self, x: (x * 100).exp())
    assert "nothing to compare" in refused(lambda self, x: x.argmax())
    by_precision = refused(lambda self, x: x.sin() if x.dtype == torch.float64 else x.cos())
    assert "`cos` is computed in f32 and has no golden output" in by_precision


def test_inputs_keep_their_dtypes_and_f64_is_rounded(tmp_path: Path) -> None:
    network = Forward(lambda self, x, ids, scale: self.embed(ids) * x * scale, embed=nn.Embedding(5, 4))
    one = {"x": np.full(4, 0.1), "ids": torch.tensor([1, 2]), "scale": 2}
    capture(network, [one, one], tmp_path / "refs", progress=False, name="net")
    assert sorted(file.name for file in (tmp_path / "refs").iterdir()) == ["0.npz", "1.npz"]
    arrays, manifest = read(tmp_path / "refs" / "1.npz")
    assert arrays["input/input:ids"].tolist() == [1, 2]
    assert manifest["notes"] == ["input `input:x` was f64; it is rounded to f32"]
    expected = network.embed.weight[1:3].detach().double().numpy() * np.float64(np.float32(0.1))
    assert np.array_equal(arrays["mul"], expected)


def test_the_same_capture_gives_the_same_bytes(tmp_path: Path) -> None:
    network, x = Speech(), torch.randn(1, 1, 101)
    for name in ("a", "b"):
        capture(network, x, tmp_path / f"{name}.npz", progress=False)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(3, 2))\n"
    (tmp_path / "mynetwork.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "x.npz", input=np.ones((1, 3), np.float32))
    options = ["--inputs", str(tmp_path / "x.npz"), "-o", str(tmp_path / "ref.npz")]
    assert _capture_main.main(["mynetwork:make", *options]) == 0
    assert "teacher-forced" in capsys.readouterr().err
    assert [stage["name"] for stage in read(tmp_path / "ref.npz")[1]["stages"]] == ["0"]
    with pytest.raises(ReferenceError, match="mynetwork:no: cannot be imported"):
        _capture_main.main(["mynetwork:no", *options])
    np.savez(tmp_path / "y.npz", **{"input:1": np.ones(3), "mask": np.ones(3)})
    with pytest.raises(InputError, match="has no argument 0"):
        _capture_main.read_example(tmp_path / "y.npz")
