"""Parity kits: a port on a device, in C and in Python, records what it computes."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundalike
from soundalike import CandidateError, InputError
from soundalike._candidates import candidate_of
from soundalike._inputs import Example

torch = pytest.importorskip("torch")

COMPILER = shutil.which("cc")
NETWORK = "network.sak"

C_PORT = r"""
#include "kit.h"
#include "weights.h"

static void linear(const float *w, const float *b, const float *x, float *y, int inputs, int outputs) {
    for (int row = 0; row < 5; row++)
        for (int o = 0; o < outputs; o++) {
            float sum = b[o];
            for (int i = 0; i < inputs; i++) sum += w[o * inputs + i] * x[row * inputs + i];
            y[row * outputs + o] = sum;
        }
}

int main(void) {
    kit k;
    float x[5 * 6], hidden[5 * 8], output[5 * 3];
    if (kit_open(&k, "network.sak", "port.sak")) return 1;
    for (k.forced = 0; k.forced < 2; k.forced++) {
        kit_read(&k, "input/input", x, 5 * 6);
        linear(W0, B0, x, hidden, 6, 8);
        printf("fc0 %.3f\n", kit_step(&k, "fc0", hidden, 5 * 8));
        for (int i = 0; i < 5 * 8; i++)
            if (hidden[i] < 0) hidden[i] *= SLOPE;
        printf("act %.3f\n", kit_step(&k, "act", hidden, 5 * 8));
        linear(W1, B1, hidden, output, 8, 3);
        printf("fc1 %.3f\n", kit_step(&k, "fc1", output, 5 * 3));
    }
    return kit_close(&k) != 0;
}
"""

PYTHON_PORT = """
import sys
import numpy as np
from kit import Kit

weights, slope = np.load("weights.npz"), np.float32(sys.argv[1])
with Kit("network.sak", "port.sak") as kit:
    for kit.forced in (False, True):
        x = kit["input/input"] @ weights["fc0.weight"].T + weights["fc0.bias"]
        print("fc0", kit.r("fc0", x))
        x = kit.step("fc0", x)
        x = np.where(x < 0, slope * x, x)
        print("act", kit.r("act", x))
        x = kit.step("act", x)
        x = x @ weights["fc1.weight"].T + weights["fc1.bias"]
        print("fc1", kit.r("fc1", x))
        kit.step("fc1", x)
"""


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc0 = torch.nn.Linear(6, 8)
        self.act = torch.nn.LeakyReLU(0.01)
        self.fc1 = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc1(self.act(self.fc0(x)))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Network()


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def kit(network: Network, inputs: torch.Tensor, tmp_path: Path) -> Path:
    trace = soundalike.capture(network, inputs, tmp_path / "reference.npz", progress=False)
    return soundalike.parity_kit(trace, tmp_path / NETWORK)


def run_c(network: Network, folder: Path, slope: str) -> list[float]:
    """Compiles and runs the port; R of each stage, free-running and teacher-forced."""
    names = {"W0": network.fc0.weight, "B0": network.fc0.bias, "W1": network.fc1.weight, "B1": network.fc1.bias}
    arrays = [
        f"static const float {name}[] = {{{', '.join(f'{x:.9e}f' for x in tensor.flatten().tolist())}}};"
        for name, tensor in names.items()
    ]
    (folder / "weights.h").write_text("\n".join([*arrays, f"#define SLOPE {slope}f\n"]))
    (folder / "port.c").write_text(C_PORT)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
    subprocess.run([COMPILER, *flags, "port.c", "kit.c", "-lm", "-o", "port"], cwd=folder, check=True)
    return printed(subprocess.run([folder / "port"], cwd=folder, check=True, capture_output=True, text=True).stdout)


def run_python(network: Network, folder: Path, slope: str) -> list[float]:
    np.savez(folder / "weights.npz", **{name: value.numpy() for name, value in network.state_dict().items()})
    (folder / "port.py").write_text(PYTHON_PORT)
    command = [sys.executable, "port.py", slope]
    return printed(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)


def printed(text: str) -> list[float]:
    return [float(line.split()[1]) for line in text.splitlines()]


PORTS = [
    pytest.param(run_c, id="c", marks=pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")),
    pytest.param(run_python, id="python"),
]


@pytest.mark.parametrize("run", PORTS)
def test_a_right_port_passes(run, network: Network, inputs: torch.Tensor, kit: Path) -> None:
    r = run(network, kit.parent, "0.01")
    report = soundalike.compare(network, kit.with_name("port.sak"), inputs)
    assert report.passed, report
    assert [stage["verdict"] for stage in report.stages] == ["exact"] * 3
    assert len(r) == 6 and max(r) < 4


@pytest.mark.parametrize("run", PORTS)
def test_a_wrong_slope_is_found_at_its_stage(run, network: Network, inputs: torch.Tensor, kit: Path) -> None:
    r = run(network, kit.parent, "0.02")
    report = soundalike.compare(network, kit.with_name("port.sak"), inputs)
    assert not report.passed and report.sources == ["act"]
    assert report.diagnosis is not None and "slope" in report.diagnosis["text"]
    # The port itself shows it, and that the last layer is right.
    free, forced = r[:3], r[3:]
    assert free[0] < 4 < 100 < min(free[1:])
    assert max(forced[0], forced[2]) < 4 < 100 < forced[1]
    # With goldens of f32, these are nearly the numbers of the report.
    for r, stage in zip(forced, report.stages):
        assert stage["teacher_forced"] is not None
        assert r == pytest.approx(stage["teacher_forced"]["r"], rel=0.05, abs=1)


def test_the_trace_is_the_reference_as_well(network: Network, kit: Path) -> None:
    run_python(network, kit.parent, "0.01")
    assert soundalike.compare(kit.with_name("reference.npz"), kit.with_name("port.sak")).passed


def test_a_recording_on_other_inputs_is_refused(network: Network, inputs: torch.Tensor, kit: Path) -> None:
    run_python(network, kit.parent, "0.01")
    with pytest.raises(CandidateError, match="recorded on other inputs"):
        soundalike.compare(network, kit.with_name("port.sak"), inputs + 1)


def test_the_kit_itself_is_no_candidate(kit: Path) -> None:
    with pytest.raises(CandidateError, match="is the kit"):
        candidate_of(kit)


@pytest.mark.parametrize("size", [0, 4, 20, 100, -1])
def test_a_truncated_recording_is_refused(network: Network, kit: Path, size: int) -> None:
    run_python(network, kit.parent, "0.01")
    recording = kit.with_name("port.sak")
    recording.write_bytes(recording.read_bytes()[:size])
    with pytest.raises(CandidateError, match=r"port\.sak: "):
        candidate_of(recording)


def test_a_hostile_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "port.sak"
    head = b"SAKIT\0\0\1" + bytes(8) + struct.pack("<I4sI", 4, b"x\0\0\0", 2)
    for shape in [(2**32 - 1, 2**32 - 1), (1, 2**31)]:
        path.write_bytes(head + struct.pack("<2I", *shape))
        with pytest.raises(CandidateError, match="is truncated"):
            candidate_of(path)


def test_a_port_that_fails_leaves_no_recording(kit: Path) -> None:
    from soundalike._kit.kit import Kit

    with pytest.raises(KeyError), Kit(kit, kit.with_name("port.sak")) as open_kit:
        open_kit.step("fc0", open_kit["fc0"])
        open_kit.step("fc9", open_kit["fc0"])
    with pytest.raises(CandidateError, match="is truncated"):
        candidate_of(kit.with_name("port.sak"))


def test_recordings_have_the_bytes_of_the_port(kit: Path, inputs: torch.Tensor) -> None:
    from soundalike._kit.kit import Kit

    with Kit(kit, kit.with_name("port.sak")) as open_kit:
        open_kit.step("fc0", open_kit["fc0"] + 1)
    candidate = candidate_of(kit.with_name("port.sak"))
    [(name, value)] = candidate.free(Example((inputs,)))
    assert name == "fc0" and np.array_equal(value, open_kit["fc0"] + 1)
    assert candidate.forced(Example((inputs,)), {}) is None


def test_integers_that_f32_does_not_hold_are_refused(tmp_path: Path) -> None:
    module = torch.nn.Embedding(3, 4)
    trace = soundalike.capture(module, torch.tensor([1, 2]), tmp_path / "reference.npz", progress=False)
    soundalike.parity_kit(trace, tmp_path / NETWORK)
    broken = dict(np.load(trace))
    broken["input/input"] = np.array([1, 2**24 + 1])
    np.savez(tmp_path / "broken.npz", **broken)
    with pytest.raises(InputError, match="f32 does not hold"):
        soundalike.parity_kit(tmp_path / "broken.npz", tmp_path / NETWORK)
