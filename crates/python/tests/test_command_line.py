"""The command line: exit codes, what is on stdout and what on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundalike
from soundalike.__main__ import main

torch = pytest.importorskip("torch")

from small_network import inputs  # noqa: E402

NETWORK, TANH = "small_network:network", "small_network:tanh_port"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", inputs().numpy())


@pytest.fixture
def reference() -> str:
    assert main(["capture", NETWORK, "--inputs", "x.npy", "-o", "reference.npz", "-q"]) == 0
    return "reference.npz"


def test_a_captured_network_is_compared(reference: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", reference, NETWORK]) == 0
    out, err = capsys.readouterr()
    assert "Rounding, no bug" in out and err == ""
    assert main(["compare", reference, TANH]) == 3
    out, err = capsys.readouterr()
    assert "gelu is wrong" in out and err == ""


def test_modules_of_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", NETWORK, TANH, "--inputs", "x.npy", "--name", "small"]) == 3
    out, _ = capsys.readouterr()
    assert out.startswith("small: SmallNetwork against torch\n") and "tanh form of GELU" in out


def test_nothing_that_could_be_compared_is_no_pass(reference: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("empty.npz")
    assert main(["compare", reference, "empty.npz"]) == 3
    assert "INCONCLUSIVE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("table", "SmallNetwork: "),
        ("json", "{"),
        ("markdown", "## "),
        ("html", "<!DOCTYPE html>"),
        ("junit", "<?xml"),
        ("sarif", "{"),
    ],
)
def test_formats(reference: str, name: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", reference, NETWORK, "--format", name]
    assert main(arguments) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(start)
    assert main([*arguments, "-o", "report"]) == 0
    assert Path("report").read_text(encoding="utf-8") == out
    assert capsys.readouterr() == ("", "")


def test_names_are_written_and_read(reference: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", reference, NETWORK, "--names-out", "names.toml"]) == 0
    assert "gelu" in Path("names.toml").read_text()
    assert main(["compare", reference, NETWORK, "--names", "names.toml"]) == 0


def test_a_gate(reference: str) -> None:
    Path("gate.toml").write_text('[[stage]]\npattern = "*"\nr = 1e9\nr_local = 1e9\nr_free = 1e9\nbecause = "a test"\n')
    assert main(["compare", reference, TANH, "--gate", "gate.toml"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compare", "nope.npz", NETWORK], "nope.npz: cannot be read: No such file or directory"),
        (["compare", NETWORK, "nope.onnx", "--inputs", "x.npy"], "nope.onnx: cannot be read: No such file or directory"),
        (["compare", NETWORK, TANH], "inputs: are missing; give what the network is called with"),
        (["compare", NETWORK, TANH, "--inputs", "nope.npy"], "nope.npy: cannot be read"),
        (["compare", "nope:network", TANH], "nope:network: cannot be imported: ModuleNotFoundError"),
        (["compare", "small_network:nope", TANH], "small_network:nope: cannot be imported: AttributeError"),
        (["compare", "broken:network", TANH], "broken:network: cannot be imported: ZeroDivisionError"),
        (["compare", "json:dumps", TANH], "json:dumps: cannot be imported: TypeError"),
        (["compare", "json:scanner", TANH], "json:scanner: is a module, expected a torch.nn.Module"),
        (["compare", "model.pt", TANH, "--inputs", "x.npy"], "reference: is model.pt; give a torch.nn.Module"),
        (["compare", NETWORK, TANH, "--inputs", "x.npy", "-o", "nope/report"], "nope/report"),
        (["capture", NETWORK, "--inputs", "x.npy", "-o", "nope/reference.npz", "-q"], "nope"),
    ],
)
def test_errors_are_one_line_on_stderr(
    arguments: list[str], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.py").write_text("1 / 0")
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and text in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["nope"], ["compare"], ["compare", "a.npz"], ["compare", "a.npz", "b.npz", "--format", "pdf"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and err.startswith("usage: soundalike")


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["capture", "--help"], ["--version"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert end.value.code == 0 and err == ""
    assert out.startswith("usage: ") or out == f"soundalike {soundalike.__version__}\n"


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundalike.__main__.compare", interrupted)
    assert main(["compare", "a.npz", "b.npz"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_no_files(number: str, tmp_path: Path) -> None:
    # Ended in the middle of a run, when both sides have been written to temporary files.
    code = f"""
import os, signal, sys, tempfile, numpy, soundalike
from small_network import inputs, network
def port(x):
    yield "first", x
    print(*os.listdir(tempfile.gettempdir()), flush=True)
    os.kill(os.getpid(), signal.{number})
    yield "second", x
soundalike.compare(network(), port, inputs())
"""
    command = [sys.executable, "-c", code]
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("soundalike-") and done.returncode != 0, done
    assert list((tmp_path / "temporary").iterdir()) == []


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "soundalike", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)  # type: ignore[call-overload]


def test_the_module_is_a_program(reference: str) -> None:
    done = run("compare", reference, reference, "--format", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["gate"]["passed"] and done.stderr == ""
    done = run("compare", "nope.npz", reference)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("error: nope.npz")


def test_a_module_in_the_current_folder_is_found() -> None:
    Path("mine.py").write_text("import torch\nrelu = torch.nn.ReLU()\n")
    done = run("compare", "mine:relu", "mine:relu", "--inputs", "x.npy")
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_error(reference: str) -> None:
    # `true` is gone before there is a report.
    command = f"{sys.executable} -m soundalike compare {reference} {reference} | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
