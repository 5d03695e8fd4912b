"""Tests of the program that reads checkpoints for `soundalike compare --reference official`. It runs as there: isolated."""

import json
import os
import subprocess
import sys

import check_bundles  # first: it keeps the package from reporting its use
import pytest
import torch
from make_variants import PYANNET, WESPEAKER, pyannet, resnet, save

SCRIPT = check_bundles.official.__file__
# As in a Python that has torch only.
WITHOUT_PACKAGES = f"""
import sys
sys.modules["pyannote.audio"] = sys.modules["omegaconf"] = None
exec(compile(open({SCRIPT!r}).read(), "official.py", "exec"))
"""


def run(script, checkpoint, directory):
    directory.mkdir()
    command = [sys.executable, "-I", "-c", script, checkpoint, directory]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def reading(script, checkpoint, directory):
    result = run(script, checkpoint, directory)
    assert result.returncode == 0, result.stderr
    return json.loads((directory / "reading.json").read_text())


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("call, name", [(os.system, "system"), (eval, "eval"), (getattr, "getattr")])
def test_a_call_is_refused_by_name_and_not_made(tmp_path, call, name):
    trap = tmp_path / "executed"
    arguments = {"system": [f"touch {trap}"], "eval": [f"open({str(trap)!r}, 'w')"], "getattr": [str(trap), "title"]}
    checkpoint = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "evil": Evil(call, *arguments[name])}, checkpoint)
    result = run(open(SCRIPT).read(), checkpoint, tmp_path / "result")
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("torch.load refuses ") and f".{name}: not in the list" in message
    assert not trap.exists() and not list((tmp_path / "result").iterdir())


@pytest.mark.parametrize("model", [lambda: pyannet(*PYANNET["split"]), lambda: resnet(*WESPEAKER["wespeaker-34-64-mels"])])
def test_without_pyannote_audio_the_stored_values_are_the_same(tmp_path, model):
    checkpoint = tmp_path / "model.ckpt"
    save(model(), checkpoint)
    official = reading(open(SCRIPT).read(), checkpoint, tmp_path / "official")
    stored = reading(WITHOUT_PACKAGES, checkpoint, tmp_path / "stored")
    assert list(stored["versions"]) == ["torch"] and not stored["layers"] and official["layers"]
    assert len(stored["values"]) > 10
    assert stored["values"] == {name: official["values"].get(name) for name in stored["values"]}
    first, second = (tmp_path / name / "tensors.safetensors" for name in ("official", "stored"))
    assert first.read_bytes() == second.read_bytes()
