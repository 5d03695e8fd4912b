"""The README's code runs, and its report is what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from small_network import inputs, network  # noqa: E402

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    """The code blocks in a language; those without one: ``""``."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [code for kind, code in found if kind == language]


def words(report: str) -> list[str]:
    """A report without numbers, bars, versions and what depends on the machine."""
    machine = ("soundalike ", "reference:", "candidate:", "optimised graph:")
    lines = [line for line in report.splitlines() if not line.startswith(machine)]
    return re.sub(r"[^a-zA-Z.:,_ \n]+|\be\b", " ", "\n".join(lines)).split()


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    torch.onnx.export(network(), (inputs(),), "port.onnx", dynamo=False)

    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.tanh = torch.nn.Linear(4, 3, bias=False), torch.nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.tanh(self.linear(x)).sum(dim=-1)

    small = Sum()
    names = {
        "network": network(),
        "inputs": inputs(),
        "np": np,
        "small_network": small,
        "small_inputs": torch.ones(2, 4),
        "weight": small.linear.weight.detach().numpy().T,
    }
    printed = []
    for code in blocks("python"):
        exec(compile(code, str(README), "exec"), names)
        if code.startswith("import soundalike\n\ndef test_port"):
            names["test_port"]()
        printed.append(capsys.readouterr().out)
        if "report" in names and "Port" in names:
            assert names["report"].passed, names["report"]
    assert "Rounding, no bug" in printed[0]
    [shown] = blocks("")
    [example] = (out for out in printed if "gelu is wrong" in out)
    assert words(shown) == words(example), f"the README shows another report than this:\n{example}"
    assert (tmp_path / "network.sak").exists() and (tmp_path / "kit.c").exists()
