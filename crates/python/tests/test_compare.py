"""Comparisons from end to end: ports in several forms, faults that are found where they are, and inputs that cannot be used."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundalike
from soundalike import CandidateError, Error, InputError, ReferenceError, Report, _report_data
from soundalike._trace_file import Trace

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import torch.nn.functional as F  # noqa: E402
from small_network import SmallNetwork, inputs, network, tanh_port  # noqa: E402
from torch import Tensor, nn  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[nn.Module], Path]:
    """Exports a network to ONNX, once. Norms are folded into the convolutions."""
    folder = tmp_path_factory.mktemp("exported")
    known: dict[str, Path] = {}

    def export(module: nn.Module) -> Path:
        key = f"{module}"
        if key not in known:
            known[key] = folder / f"{len(known)}.onnx"
            torch.onnx.export(
                module,
                (inputs(),),
                str(known[key]),
                dynamo=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": [2]},
            )
        return known[key]

    return export


def verdicts(report: Report) -> dict[str, str]:
    return {stage["name"]: stage["verdict"] for stage in report.stages}


def forced_r(report: Report, stage: str) -> float:
    [found] = (found for found in report.stages if found["name"] == stage)
    assert found["teacher_forced"] is not None and found["teacher_forced"]["r"] is not None
    return found["teacher_forced"]["r"]


class Port:
    """A port by hand, with names of its own and channels last. It can be asked for a single stage."""

    ORDER = ("conv", "bn", "relu", "lstm", "gelu", "head")

    def __init__(self, weights: SmallNetwork, **changed: Callable[[Tensor], Tensor]) -> None:
        self._weights = weights
        self._changed = changed

    def __call__(self, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        value = x
        for name in self.ORDER:
            value = self.stage(name, value)
            yield f"my.{name}", value.transpose(0, 2, 1) if name in ("conv", "bn", "relu") else value

    def stage(self, name: str, *values: np.ndarray) -> np.ndarray | None:
        if name not in self.ORDER:
            return None
        with torch.no_grad():
            value = torch.from_numpy(values[0].copy())
            if name == "lstm":
                return self._weights.lstm(value.transpose(1, 2))[0].numpy()
            changed = self._changed.get(name)
            return (changed or getattr(self._weights, name))(value).numpy()


class FreePort(Port):
    """A port that can only be run."""

    stage = None  # type: ignore[assignment]

    def __call__(self, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
        return list(Port(self._weights, **self._changed)(x))


class Sigmoid(nn.Module):
    """A function."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


class TestPorts:
    """Right and wrong ports of the small network."""

    def test_a_right_export_passes(self, exported: Callable[[nn.Module], Path]) -> None:
        report = soundalike.compare(network(), exported(network()), inputs())
        assert report.passed and report.sources == [] and report.diagnosis is None, report
        assert report.data["missing"] == ["conv"]
        assert all(verdict == "exact" for name, verdict in verdicts(report).items() if name != "conv")
        assert forced_r(report, "head") < 4

    def test_gelu_by_tanh_is_located_and_named(self, exported: Callable[[nn.Module], Path]) -> None:
        report = soundalike.compare(network(), exported(tanh_port()), inputs())
        assert not report.passed and report.sources == ["gelu"], report
        assert report.diagnosis is not None and report.diagnosis["cause"] == "gelu-tanh"
        assert "tanh form of GELU" in report.finding
        assert forced_r(report, "gelu") > 100 and forced_r(report, "head") < 4

    def test_a_fault_in_a_folded_norm_is_located_to_the_group(self, exported: Callable[[nn.Module], Path]) -> None:
        report = soundalike.compare(network(), exported(SmallNetwork(eps=1e-3)), inputs())
        assert not report.passed and report.sources == ["bn"] and report.data["missing"] == ["conv"], report
        assert report.diagnosis is not None and report.diagnosis["cause"] == "eps"

    def test_a_fault_in_a_folded_convolution_is_located_to_the_group(
        self, exported: Callable[[nn.Module], Path], tmp_path: Path
    ) -> None:
        model = onnx.load(exported(network()))
        [kernel] = (weight for weight in model.graph.initializer if list(weight.dims) == [8, 3, 5])
        flipped = onnx.numpy_helper.to_array(kernel)[:, :, ::-1]
        kernel.CopyFrom(onnx.numpy_helper.from_array(flipped.copy(), kernel.name))
        onnx.save(model, tmp_path / "flipped.onnx")
        report = soundalike.compare(network(), tmp_path / "flipped.onnx", inputs())
        assert not report.passed and report.sources == ["bn"] and report.data["missing"] == ["conv"], report

    def test_a_folded_norm_that_changes_little_is_the_norm(self, tmp_path: Path) -> None:
        # At its defaults, a norm multiplies by 0.999995: the convolution it is folded into resembles both.
        layers = {"conv": nn.Conv1d(3, 8, 5), "norm": nn.BatchNorm1d(8), "relu": nn.ReLU()}
        module = nn.Sequential(OrderedDict(layers)).eval()
        torch.onnx.export(module, (inputs(),), str(tmp_path / "port.onnx"), dynamo=False)
        report = soundalike.compare(module, tmp_path / "port.onnx", inputs())
        assert report.passed and report.data["missing"] == ["conv"], report

    def test_scrambled_names_are_found_by_value(self, exported: Callable[[nn.Module], Path], tmp_path: Path) -> None:
        for module, sources in ((network(), []), (tanh_port(), ["gelu"])):
            model = onnx.load(exported(module))
            made = sorted(name for node in model.graph.node for name in node.output)
            random.Random(0).shuffle(made)
            renamed = {name: f"t{number}" for number, name in enumerate(made)}
            for node in model.graph.node:
                node.name = ""
                for names in (node.input, node.output):
                    names[:] = [renamed.get(name, name) for name in names]
            model.graph.output[0].name = renamed[model.graph.output[0].name]
            onnx.save(model, tmp_path / "scrambled.onnx")
            report = soundalike.compare(network(), tmp_path / "scrambled.onnx", inputs())
            assert report.sources == sources and report.passed == (not sources), report
            matched = [stage["matched"] for stage in report.stages if "matched" in stage]
            assert len(matched) == 7 and {match["by"] for match in matched} <= {"value", "order"}

    def test_a_module_is_a_candidate(self) -> None:
        assert soundalike.compare(network(), network(), inputs()).passed
        report = soundalike.compare(network(), tanh_port(), inputs())
        assert report.sources == ["gelu"] and forced_r(report, "head") < 4

    def test_small_values_of_a_sigmoid_may_have_the_rounding_of_large_ones(self) -> None:
        x = torch.linspace(-6, -4, 60).reshape(1, 60)
        for reference in (nn.Sequential(OrderedDict(sigmoid=nn.Sigmoid())), Sigmoid()):
            by_tanh = soundalike.compare(reference, lambda x: {"sigmoid": (1 + np.tanh(x / 2)) / 2}, x)
            assert by_tanh.passed and by_tanh.finding.startswith("Rounding, no bug"), by_tanh
            shifted = soundalike.compare(reference, lambda x: {"sigmoid": 1 / (1 + np.exp(1e-4 - x))}, x)
            assert shifted.sources == ["sigmoid"], shifted

    def test_a_module_in_f64_is_over_precise(self, tmp_path: Path) -> None:
        trace = soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        for reference in (network(), trace):
            report = soundalike.compare(reference, network().double(), inputs())
            assert report.passed and report.finding.startswith("More exact than f32 can be"), report
            assert set(verdicts(report).values()) == {"over_precise"}
        # In f32, values may be equal to those of PyTorch, and no nearer than an f32 can be.
        report = soundalike.compare(trace, network())
        assert report.finding.startswith("Rounding, no bug") and set(verdicts(report).values()) == {"exact"}
        # f32 holds these values as they are.
        doubling = nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2))
        report = soundalike.compare(doubling, copy.deepcopy(doubling).double(), inputs())
        assert report.finding.startswith("Rounding, no bug"), report

    def test_a_function_with_stages_is_forced(self) -> None:
        report = soundalike.compare(network(), Port(network()), inputs())
        assert report.passed, report
        assert {stage["name"] for stage in report.stages if stage["teacher_forced"]} == {*Port.ORDER}
        wrong = Port(network(), relu=lambda x: F.leaky_relu(x, 0.01), gelu=lambda x: F.gelu(x, approximate="tanh"))
        report = soundalike.compare(network(), wrong, inputs())
        assert report.sources == ["relu", "gelu"] and forced_r(report, "head") < 4, report

    def test_a_function_may_show_less_than_it_computes(self) -> None:
        class Output(Port):
            def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[override]
                return {"y": dict(super().__call__(x))["my.head"]}

        assert soundalike.compare(network(), Output(network()), inputs()).passed
        wrong = Output(network(), gelu=lambda x: F.gelu(x, approximate="tanh"))
        report = soundalike.compare(network(), wrong, inputs())
        assert report.sources[0] == "gelu" and forced_r(report, "head") < 4, report

    def test_a_function_may_compute_fewer_stages_than_it_shows(self) -> None:
        class Gelu(Port):
            def stage(self, name: str, *values: np.ndarray) -> np.ndarray | None:
                return super().stage(name, *values) if name == "gelu" else None

            def __call__(self, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
                return Port(self._weights, **self._changed)(x)

        wrong = Gelu(network(), gelu=lambda x: x.clamp(-3, 0.3))
        report = soundalike.compare(network(), wrong, inputs())
        assert report.sources == ["gelu"] and report.data["missing"] == ["lstm:1", "lstm:2"], report

    def test_a_function_without_stages_is_compared_free_running(self) -> None:
        assert soundalike.compare(network(), FreePort(network()), inputs()).passed
        wrong = FreePort(network(), relu=lambda x: F.leaky_relu(x, 0.01))
        report = soundalike.compare(network(), wrong, inputs())
        assert not report.passed and report.sources == ["relu"], report
        assert not any(stage["teacher_forced"] for stage in report.stages)

    def test_a_trace_is_a_candidate(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "port.npz", **dict(Port(tanh_port())(inputs().numpy())))
        report = soundalike.compare(network(), tmp_path / "port.npz", inputs())
        assert not report.passed and report.sources == ["gelu"], report

    def test_integers_of_16_bits_are_bf16_on_request(self, tmp_path: Path) -> None:
        def upper(value: np.ndarray) -> np.ndarray:
            return (np.ascontiguousarray(value, np.float32).view(np.uint32) >> 16).astype(np.uint16)

        trace = soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        port = tmp_path / "port.npz"
        np.savez(port, **{name: upper(value) for name, value in Port(network())(inputs().numpy())})
        assert soundalike.compare(trace, port).finding.startswith("INCONCLUSIVE")
        report = soundalike.compare(trace, port, u2_as_bf16=True)
        errors = [stage["free_running"]["rel_l2"] or 1 for stage in report.stages if stage["free_running"]]
        assert len(errors) == 6 and max(errors) < 2**-7, report
        assert soundalike.compare(network(), port, inputs(), u2_as_bf16=True).sources == report.sources
        with pytest.raises(CandidateError, match="is no trace"):
            soundalike.compare(trace, network(), u2_as_bf16=True)

    def test_a_trace_may_be_forced(self, tmp_path: Path) -> None:
        # A port that feeds itself the golden values.
        reference = Trace(soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False))
        port, before = Port(tanh_port()), "input/input"
        seen: dict[str, Any] = dict(port(inputs().numpy()))
        for name in Port.ORDER:
            seen[f"forced/my.{name}"] = port.stage(name, reference[before].astype(np.float32))
            before = name
        for name in ("conv", "bn", "relu"):
            seen[f"forced/my.{name}"] = seen[f"forced/my.{name}"].transpose(0, 2, 1)
        np.savez(tmp_path / "port.npz", **seen)
        report = soundalike.compare(tmp_path / "reference.npz", tmp_path / "port.npz")
        assert report.sources == ["gelu"] and forced_r(report, "head") < 4, report
        assert report.data["unexpected"] == []

    def test_what_was_fed_tells_which_array_is_which_stage(self, tmp_path: Path) -> None:
        # Behind the fault, no array of the free run has the values of a stage, and their order is another one.
        class Halves(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.left, self.right = nn.Tanh(), nn.Sigmoid(), nn.GELU()

            def forward(self, x: Tensor) -> Tensor:
                x = self.first(x)
                return torch.cat([self.left(x), self.right(x)])

        x = inputs()[0]
        trace = soundalike.capture(Halves(), x, tmp_path / "reference.npz", progress=False)
        wrong, right = torch.relu(x), torch.tanh(x)
        seen = {"a": wrong, "c": F.gelu(wrong), "b": torch.sigmoid(wrong)}
        seen |= {"forced/a": wrong, "forced/c": F.gelu(right), "forced/b": torch.sigmoid(right)}
        np.savez(tmp_path / "port.npz", **{name: value.numpy() for name, value in seen.items()})
        report = soundalike.compare(trace, tmp_path / "port.npz")
        found = {stage["name"]: stage["matched"]["name"] for stage in report.stages if "matched" in stage}
        assert found == {"first": "a", "left": "b", "right": "c"} and report.sources == ["first"], report

    def test_large_traces_are_not_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trace = soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        np.savez(tmp_path / "port.npz", **dict(Port(network())(inputs().numpy())))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        assert soundalike.compare(trace, tmp_path / "port.npz").passed
        with pytest.raises(FileNotFoundError):
            soundalike.compare(trace, Port(network()))

    def test_an_array_of_another_size_is_told_by_its_shape_and_not_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "port"
        folder.mkdir()
        trace = soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        for name in ("conv", "bn", "relu"):
            np.save(folder / f"{name}.npy", Trace(trace)[name].astype(np.float32))
        # 16 GB that take no space, of which nothing fits into memory here.
        np.save(folder / "gelu.npy", np.zeros((0, 1 << 20, 4096), np.float32))
        content = (folder / "gelu.npy").read_bytes().replace(b"(0, 1048576", b"(1, 1048576")
        with open(folder / "gelu.npy", "wb") as file:
            file.write(content)
            file.truncate(len(content) + (1 << 34))
        code = (
            "import resource, soundalike; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
            "report = soundalike.compare('reference.npz', 'port'); print(report.finding)"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert "its shape is [1, 1048576, 4096], expected [2, 40, 6]" in done.stdout, done

    @pytest.mark.parametrize("kind", ["a.npz", "a.safetensors", "a"])
    def test_a_trace_of_another_tool_is_a_reference_without_floors(
        self, kind: str, tmp_path: Path, exported: Callable[[nn.Module], Path]
    ) -> None:
        safetensors_numpy = pytest.importorskip("safetensors.numpy")
        arrays = dict(Port(network())(inputs().numpy()))
        for name, factor in (("a", 1), ("b", 3)):
            (tmp_path / name).mkdir()
            scaled = {stage: factor * array if "gelu" in stage else array for stage, array in arrays.items()}
            for stage, array in scaled.items():
                np.save(tmp_path / name / f"{stage}.npy", array)
            np.savez(tmp_path / f"{name}.npz", **scaled)
            safetensors_numpy.save_file(
                {stage: np.ascontiguousarray(array) for stage, array in scaled.items()}, tmp_path / f"{name}.safetensors"
            )
        reference, port = tmp_path / kind, tmp_path / kind.replace("a", "b", 1)
        assert soundalike.compare(reference, reference).passed
        report = soundalike.compare(reference, port)
        assert not report.passed and report.finding.startswith("INCONCLUSIVE"), report
        assert {name for name, found in verdicts(report).items() if found == "inconclusive"} == {"my.gelu"}
        # As a candidate, it is one like any other.
        assert soundalike.compare(network(), reference, inputs()).passed
        assert soundalike.compare(network(), port, inputs()).sources == ["gelu"]
        # A port is run, and not fed.
        report = soundalike.compare(reference, exported(tanh_port()), inputs())
        assert report.finding.startswith("INCONCLUSIVE") and len(report.stages) == 6, report
        assert not any(stage["teacher_forced"] for stage in report.stages)

    def test_traces_of_both_sides_need_no_pytorch(self, tmp_path: Path) -> None:
        soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        np.savez(tmp_path / "port.npz", **dict(Port(tanh_port())(inputs().numpy())))
        code = (
            "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; import soundalike; "
            "report = soundalike.compare('reference.npz', 'port.npz'); print(report.passed, report.sources)"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert done.stdout == "False ['gelu']\n"

    def test_a_captured_reference_is_compared_on_its_inputs(
        self, exported: Callable[[nn.Module], Path], tmp_path: Path
    ) -> None:
        trace = soundalike.capture(network(), inputs(), tmp_path / "reference.npz", progress=False)
        assert soundalike.compare(trace, exported(network())).passed
        assert soundalike.compare(trace, exported(network()), inputs()).passed
        assert soundalike.compare(trace, exported(tanh_port())).sources == ["gelu"]

    def test_a_fault_on_one_of_several_examples_is_found(self) -> None:
        # The bound is reached by the second example alone.
        port = Port(network(), conv=lambda x: network().conv(x).clamp(-5, 5))
        quiet, loud = 0.1 * inputs(1), 5 * inputs(2)
        assert soundalike.compare(network(), port, quiet).passed
        report = soundalike.compare(network(), port, [quiet, loud])
        assert not report.passed and report.sources == ["conv"], report
        assert [example["source"] for example in report.data["inputs"]] == [[], ["conv"]]
        assert [example["uri"] for example in report.data["inputs"]] == ["example 1", "example 2"]

    def test_inputs_by_keyword(self, exported: Callable[[nn.Module], Path]) -> None:
        assert soundalike.compare(network(), exported(network()), {"x": inputs()}).passed
        assert soundalike.compare(network(), exported(network()), (inputs().numpy(),)).passed

    def test_neither_side_is_changed(self) -> None:
        module, port = network().train(), tanh_port().train()
        before = copy.deepcopy(module.state_dict()), copy.deepcopy(port.state_dict())
        soundalike.compare(module, port, inputs())
        for part, state in zip((module, port), before):
            assert part.training and part.bn.training
            assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items())


@pytest.fixture(scope="module")
def report() -> Report:
    return soundalike.compare(network(), tanh_port(), inputs(), name="small")


class TestReports:
    """A report in its formats."""

    def test_text(self, report: Report) -> None:
        assert str(report) == report.to_text()
        assert report.finding in str(report) and "small: SmallNetwork against torch" in str(report)
        assert repr(report) == f"<Report: {report.finding}>"
        assert len(report.to_text(every_stage=True)) > len(report.to_text())

    def test_data(self, report: Report) -> None:
        data = json.loads(report.to_json())
        assert data == report.data and data["schema"] == 1 and data["model"] == "small"
        assert data["candidate"] == "SmallNetwork" and data["reference"] == "torch"
        assert data["provenance"]["candidate"]["engine"] == "torch"
        assert data["gate"]["passed"] is False and "gelu" in data["gate"]["failures"][0]["text"]

    def test_data_has_the_documented_keys(self, report: Report) -> None:
        def has_keys(found: Mapping[str, Any], kind: Any) -> bool:
            return set(kind.__required_keys__) <= set(found)

        data = json.loads(report.to_json())
        assert has_keys(data, _report_data.ReportData) and has_keys(data["gate"], _report_data.GateResult)
        assert has_keys(data["gate"]["failures"][0], _report_data.Failure)
        assert has_keys(data["diagnosis"], _report_data.Diagnosis)
        for stage in data["stages"]:
            assert has_keys(stage, _report_data.Stage) and has_keys(stage["matched"], _report_data.Matched)
            assert stage["verdict"] in get_args(_report_data.Verdict)
            assert has_keys(stage["teacher_forced"], _report_data.StageError)

    def test_pages(self, report: Report) -> None:
        assert report.to_html().startswith("<!DOCTYPE html>") and "gelu" in report.to_html()
        assert report.to_markdown().startswith("## ") and report.to_markdown(4).startswith("#### ")
        assert "srcdoc" in report._repr_html_()

    def test_formats_of_ci_servers(self, report: Report) -> None:
        suites = ElementTree.fromstring(report.to_junit())
        failed = {case.get("classname") for case in suites.iter("testcase") if case.find("failure") is not None}
        assert failed == {"gelu", "head"}
        assert json.loads(report.to_sarif())["version"] == "2.1.0"

    @pytest.mark.parametrize("suffix", ["html", "json", "md", "xml", "sarif", "txt"])
    def test_a_file_has_the_format_of_its_suffix(self, report: Report, tmp_path: Path, suffix: str) -> None:
        formats = {
            "html": report.to_html,
            "json": report.to_json,
            "md": report.to_markdown,
            "xml": report.to_junit,
            "sarif": report.to_sarif,
        }
        path = report.save(tmp_path / f"report.{suffix}")
        assert path.read_text(encoding="utf-8") == formats.get(suffix, report.to_text)()

    def test_assert_same_shows_the_report(self) -> None:
        assert soundalike.assert_same(network(), network(), inputs()).passed
        with pytest.raises(AssertionError, match=r"(?s)is not the reference.*tanh form of GELU"):
            soundalike.assert_same(network(), tanh_port(), inputs())

    def test_the_same_comparison_gives_the_same_report(self, report: Report) -> None:
        assert soundalike.compare(network(), tanh_port(), inputs(), name="small").to_json() == report.to_json()

    def test_progress_is_on_stderr_if_it_is_wanted(self, capsys: pytest.CaptureFixture[str]) -> None:
        soundalike.compare(network(), network(), inputs())
        assert capsys.readouterr() == ("", "")
        soundalike.compare(network(), network(), inputs(), progress=True)
        out, err = capsys.readouterr()
        assert out == "" and "capturing example 1" in err and "SmallNetwork: free-running" in err


class TestNamesAndGates:
    """Files that say what is compared, and how strictly."""

    def test_names_that_were_found_can_be_given(self, tmp_path: Path) -> None:
        names = tmp_path / "names.toml"
        first = soundalike.compare(network(), Port(network()), inputs(), names_out=names)
        again = soundalike.compare(network(), Port(network()), inputs(), names=names)
        assert first.passed and again.passed
        assert verdicts(first) == verdicts(again)

    def test_a_map_of_names(self) -> None:
        names = {f"my.{name}": name for name in ("lstm", "gelu", "head")}
        assert soundalike.compare(network(), Port(network()), inputs(), names=names).passed
        swapped = {"my.gelu": "lstm", "my.lstm": "gelu"}
        assert not soundalike.compare(network(), Port(network()), inputs(), names=swapped).passed

    def test_a_gate(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate.toml"
        gate.write_text('[[stage]]\npattern = "*"\nr = 1e9\nr_local = 1e9\nr_free = 1e9\nbecause = "a test"\n')
        assert soundalike.compare(network(), tanh_port(), inputs(), gate=gate).passed
        gate.write_text('[[stage]]\npattern = "*"\nr = 1e-9\nbecause = "a test"\n')
        assert not soundalike.compare(network(), Port(network()), inputs(), gate=gate).passed


class Failing(nn.Module):
    """Has f32 buffers that ``double()`` does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, 3)
        self.table = [torch.eye(3)]

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(self.linear(x), self.table[0])


class Integers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax()


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


OBJECTS = np.array([{}], object)

Case = tuple[str, type[Error], str, Callable[[], Any]]
CASES: list[Case] = [
    ("f64", ReferenceError, "Failing, in f64", lambda: (Failing(), network(), inputs())),
    ("no stages", ReferenceError, "nothing to compare", lambda: (Integers(), network(), inputs())),
    ("NaN", ReferenceError, "`log` has values that are not finite", lambda: (Logarithm(), network(), inputs())),
    ("NaN inputs", ReferenceError, "not finite", lambda: (network(), network(), inputs() * np.nan)),
    ("shape", ReferenceError, r"`conv` \(Conv1d\) fails", lambda: (network(), network(), torch.ones(2, 4, 40))),
    ("keyword", ReferenceError, "unexpected keyword", lambda: (network(), network(), {"y": inputs()})),
    ("no inputs", InputError, "inputs: are missing", lambda: (network(), network())),
    ("empty list", InputError, "an empty list", lambda: (network(), network(), [])),
    ("object inputs", InputError, "no array of numbers", lambda: (network(), network(), OBJECTS)),
    ("None among inputs", InputError, "NoneType is no array", lambda: (network(), network(), (None,))),
    ("reference type", ReferenceError, "reference: is int", lambda: (3, network(), inputs())),
    ("reference class", ReferenceError, "is the class SmallNetwork", lambda: (SmallNetwork, network(), inputs())),
    ("reference suffix", ReferenceError, r"is x\.pt", lambda: ("x.pt", network(), inputs())),
    ("reference missing", Error, r"nope\.npz: cannot be read: No such file", lambda: ("nope.npz", network())),
    ("candidate type", CandidateError, "candidate: is a int", lambda: (network(), 3, inputs())),
    ("candidate class", CandidateError, "is the class SmallNetwork", lambda: (network(), SmallNetwork, inputs())),
    ("candidate suffix", CandidateError, r"x\.pt: is none of", lambda: (network(), "x.pt", inputs())),
    ("candidate missing", CandidateError, r"nope\.onnx: cannot be read", lambda: (network(), "nope.onnx", inputs())),
    ("trace missing", Error, r"nope\.npz: cannot be read", lambda: (network(), "nope.npz", inputs())),
    ("a function that fails", CandidateError, "ZeroDivisionError", lambda: (network(), lambda x: 1 / 0, inputs())),
    ("a function that returns nothing", CandidateError, "NoneType", lambda: (network(), lambda x: None, inputs())),
    ("objects", CandidateError, "`x` is no array", lambda: (network(), lambda x: {"x": OBJECTS}, inputs())),
]


@pytest.mark.parametrize(("kind", "text", "sides"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_cannot_be_compared_is_an_error_in_one_line(
    kind: type[Error], text: str, sides: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=text) as failed:
        soundalike.compare(*sides())
    assert len(str(failed.value).splitlines()) == 1


class TestFiles:
    """Files that are broken, or not what they should be."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def fails(self, text: str, *sides: Any, **options: Any) -> None:
        with pytest.raises(Error, match=text) as failed:
            soundalike.compare(*sides, **options)
        assert len(str(failed.value).splitlines()) == 1

    @pytest.fixture
    def reference(self) -> Path:
        return soundalike.capture(network(), inputs(), "reference.npz", progress=False)

    @pytest.mark.parametrize("size", [0, 1, 100, 5000, -1, -100])
    def test_truncated_traces(self, reference: Path, size: int) -> None:
        Path("truncated.npz").write_bytes(reference.read_bytes()[:size])
        self.fails(r"truncated\.npz: ", "truncated.npz", network())
        self.fails(r"truncated\.npz: ", network(), "truncated.npz", inputs())

    def test_a_damaged_array(self, reference: Path) -> None:
        content = bytearray(reference.read_bytes())
        content[content.find(b"\x93NUMPY", content.find(b"conv.npy")) + 500] ^= 1
        Path("damaged.npz").write_bytes(content)
        self.fails(r"damaged\.npz", "damaged.npz", network())

    def test_traces_that_are_none(self, reference: Path) -> None:
        np.savez("objects.npz", conv=OBJECTS)
        np.savez("arrays.npz", conv=np.zeros(3))
        np.save("array.npy", np.zeros(3))
        Path("array.npy").rename("array.npz")
        Path("folder.npz").mkdir()
        self.fails(r"inputs: are missing, and arrays\.npz has none", "arrays.npz", network())
        self.fails(r"objects\.npz: has no array of f16, bf16, f32 or f64", "objects.npz", reference)
        self.fails(r"array\.npz: is a single array", "array.npz", network())
        self.fails(r"folder\.npz: is a folder without \.npy files", "folder.npz", network())
        self.fails("Object arrays cannot be loaded", network(), "objects.npz", inputs())

    def test_traces_of_other_inputs(self, reference: Path) -> None:
        self.fails("is a trace of other inputs", reference, network(), inputs(1))
        self.fails("was recorded on other inputs", network(), reference, inputs(1))
        self.fails("was recorded on other inputs", network(), reference, [inputs(), inputs(1)])
        self.fails("one example, found 2", reference, network(), [inputs(), inputs()])

    def test_a_candidate_without_the_stages_is_inconclusive(self, reference: Path) -> None:
        np.savez("arrays.npz", other=np.zeros(3))
        np.savez("empty.npz")
        for path in ("arrays.npz", "empty.npz"):
            report = soundalike.compare(reference, path)
            assert not report.passed and report.finding.startswith("INCONCLUSIVE")

    def test_nan_in_the_candidate_fails(self) -> None:
        def broken(x: Tensor) -> Tensor:
            return F.gelu(x).index_fill(1, torch.tensor([7]), torch.nan)

        for port in (Port(network(), gelu=broken), FreePort(network(), gelu=broken)):
            report = soundalike.compare(network(), port, inputs())
            assert not report.passed and report.sources == ["gelu"], report

    def test_onnx_files(self, exported: Callable[[nn.Module], Path]) -> None:
        content = exported(network()).read_bytes()
        for size in (0, 10, 1000):
            Path("truncated.onnx").write_bytes(content[:size])
            self.fails(r"truncated\.onnx: ", network(), "truncated.onnx", inputs())
        model = onnx.load_from_string(content)
        model.graph.node[0].op_type = "Nonsense"
        onnx.save(model, "refused.onnx")
        self.fails(r"refused\.onnx: ONNX Runtime does not load it", network(), "refused.onnx", inputs())

    def test_tflite_files(self) -> None:
        pytest.importorskip("ai_edge_litert")
        Path("truncated.tflite").write_bytes(b"\x1c\0\0\0TFL3")
        self.fails(r"truncated\.tflite: ", network(), "truncated.tflite", inputs())

    def test_names_and_gates(self) -> None:
        Path("broken.toml").write_text("[[[")
        Path("binary.toml").write_bytes(b"\xff\xfe\xff")
        sides = network(), Port(network()), inputs()
        self.fails("map: line 1: ", *sides, names="broken.toml")
        self.fails("gate: line 1: ", *sides, gate="broken.toml")
        for option in ("names", "gate"):
            self.fails(r"nope\.toml: cannot be read", *sides, **{option: "nope.toml"})
            self.fails(r"binary\.toml: is no text", *sides, **{option: "binary.toml"})
            self.fails("3: is a int", *sides, **{option: 3})
        self.fails("names `nothing`, which Port does not have", *sides, names={"nothing": "gelu"})
        self.fails("nope/names.toml: cannot be written", *sides, names_out="nope/names.toml")


@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        ("torch", "soundalike.capture", "torch"),
        ("onnx", "soundalike.compare('r.npz', 'x.onnx')", "onnx"),
        ("onnx", "soundalike.compare('x.onnx', 'x.npz', 1)", "onnx"),
        ("onnxruntime", "soundalike.compare('r.npz', 'x.onnx')", "onnx"),
        ("ai_edge_litert", "soundalike.compare('r.npz', 'x.tflite')", "tflite"),
    ],
)
def test_a_missing_package_is_named(missing: str, code: str, extra: str, tmp_path: Path) -> None:
    soundalike.capture(nn.ReLU(), torch.ones(3), tmp_path / "r.npz", progress=False)
    lines = [
        "import sys",
        f"sys.modules['{missing}'] = None",
        "import soundalike",
        f"try: {code}",
        "except soundalike.Error as error: print(error)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert f"pip install 'soundalike[{extra}]'" in done.stdout and done.stdout.count("\n") == 1
